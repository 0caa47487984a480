"""The graph says what textbooks say, in the right direction, and not the opposite."""

from pathlib import Path

import pytest

from clinragen.catalog import variables
from clinragen.knowledge.concepts import finding_id
from clinragen.knowledge.graph import ConceptGraph, build

STATEMENTS = Path(__file__).parent / "textbook_statements.txt"
LABELS = {spec.label.replace(",", ""): key for key, spec in variables().items()}


def read(part: str) -> list[tuple[str, str]]:
    lines = [line for line in STATEMENTS.read_text().splitlines() if line and not line.startswith("#")]
    split = lines.index("FALSE")
    chosen = lines[1:split] if part == "TRUE" else lines[split + 1 :]
    return [tuple(line.split(" -> ")) for line in chosen]  # type: ignore[misc]


@pytest.fixture(scope="module")
def graph() -> ConceptGraph:
    return build()


def node(graph: ConceptGraph, name: str) -> str:
    label, _, direction = name.rpartition(" ")
    if direction in ("high", "low") and label in LABELS:
        return finding_id(LABELS[label], direction)
    return graph.find(name)


def test_enough_statements():
    assert len(set(read("TRUE"))) >= 150
    assert len(set(read("FALSE"))) >= 50


@pytest.mark.parametrize(("head", "tail"), read("TRUE"))
def test_textbook_statement_is_reachable_within_two_hops(graph, head, tail):
    assert graph.paths(node(graph, head), node(graph, tail), hops=2)


@pytest.mark.parametrize(("head", "tail"), read("FALSE"))
def test_false_statement_is_no_edge(graph, head, tail):
    assert not graph.graph.has_edge(node(graph, head), node(graph, tail))


def test_opposite_findings_do_not_speak_for_the_same_phenotype_unless_both_may(graph):
    # either side of these is abnormal in these diseases: electrolyte disorders are both, sepsis has both, and so on
    both = {
        "fluid_electrolyte_disorders": None,
        "septicemia": {"temperature", "wbc", "neutrophils"},
        "shock": {"cvp"},
        "pneumonia": {"wbc", "temperature"},
        "respiratory_failure": {"respiratory_rate", "minute_volume", "tidal_volume"},
        "cardiac_dysrhythmias": {"heart_rate", "potassium"},
        "diabetes_with_complications": {"glucose"},
        "diabetes_without_complication": {"glucose"},
    }
    for key in graph.evidence:
        sides: dict[str, set[str]] = {}
        for link in graph.findings_of(key):
            data = graph.nodes[link.node]
            if data["direction"] in ("high", "low"):
                sides.setdefault(data["variable"], set()).add(data["direction"])
        allowed = both.get(key, set())
        twice = {variable for variable, found in sides.items() if len(found) == 2}
        assert allowed is None or twice <= allowed, f"{key}: {twice}"
