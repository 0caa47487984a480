"""The graph says what textbooks say, in the right direction, and not the opposite."""

from collections import Counter

import pytest
from textbook import named, textbook

from clinragen.knowledge.graph import ConceptGraph, build


@pytest.fixture(scope="module")
def graph() -> ConceptGraph:
    return build()


def test_enough_statements():
    assert len(set(textbook("TRUE"))) >= 150
    assert len(set(textbook("FALSE"))) >= 50


def test_every_phenotype_has_its_share_of_statements(graph):
    told = Counter(named(graph, tail) for _, tail in textbook("TRUE"))
    denied = Counter(named(graph, tail) for _, tail in textbook("FALSE"))
    for phenotype in graph.of_kind("phenotype"):
        assert told[phenotype] >= 5, phenotype
        assert denied[phenotype] >= 2, phenotype


@pytest.mark.parametrize(("head", "tail"), textbook("TRUE"))
def test_textbook_statement_is_reachable_within_two_hops(graph, head, tail):
    assert graph.paths(named(graph, head), named(graph, tail), hops=2)


@pytest.mark.parametrize(("head", "tail"), textbook("FALSE"))
def test_false_statement_is_no_edge(graph, head, tail):
    assert not graph.graph.has_edge(named(graph, head), named(graph, tail))


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
