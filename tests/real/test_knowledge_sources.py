"""The external knowledge sources as published, and identifiers of the curated core against them."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from clinragen.knowledge.concepts import Contribution
from clinragen.knowledge.graph import ConceptGraph, build
from clinragen.knowledge.linker import Linker
from clinragen.knowledge.sources import curated, external
from clinragen.knowledge.sources.files import opened

sys.path.insert(0, str(Path(__file__).parents[1] / "knowledge"))
from textbook import named, textbook

pytestmark = pytest.mark.real
FOLDERS = {
    "icd_ccs": None, "hpo": "hpo", "hpoa": "hpo", "loinc2hpo": "loinc2hpo", "disease_ontology": "disease_ontology",
    "symptom_ontology": "symptom_ontology", "hetionet": "hetionet", "rotmensch": "health_knowledge_graph",
    "pharmacotherapydb": "pharmacotherapydb", "wikidata": "wikidata_medical", "mimic_code": "mimic_code",
}  # fmt: skip


@pytest.fixture(scope="module")
def knowledge(shared: Callable[[str], Path]) -> Path:
    return shared("knowledge")


@pytest.fixture(scope="module")
def parts(knowledge: Path) -> list[Contribution]:
    index = build().index
    return [external.contribute(name, folder and knowledge / folder, index) for name, folder in FOLDERS.items()]


@pytest.fixture(scope="module")
def graph(parts: list[Contribution]) -> ConceptGraph:
    return build([curated.contribute(), *parts])


def test_every_source_adds_what_it_promises(parts):
    for part in parts:
        assert part.edges or part.synonyms or part.identifiers, part.name
        assert part.files
        assert part.licence
    by_name = {part.name: part for part in parts}
    for name in ("hetionet", "rotmensch", "pharmacotherapydb", "wikidata"):
        assert len(by_name[name].edges) > 150, name
    assert len(by_name["hpo"].synonyms) > 50
    assert len(by_name["loinc2hpo"].edges) > 60


def test_all_sources_build_one_graph_twice_alike(parts, graph, tmp_path):
    graph.save(tmp_path / "a")
    build([curated.contribute(), *parts[::-1]]).save(tmp_path / "b")
    for name in ("nodes.parquet", "edges.parquet", "manifest.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert [mention.concept for mention in Linker(graph).link("dyspnea")] == ["symptom:dyspnea"]


@pytest.mark.parametrize(("head", "tail"), textbook("TRUE"))
def test_textbook_statements_hold_with_every_source(graph, head, tail):
    assert graph.paths(named(graph, head), named(graph, tail), hops=2)


def test_no_source_states_a_false_one(graph):
    stated = [
        (head, tail) for head, tail in textbook("FALSE") if graph.graph.has_edge(named(graph, head), named(graph, tail))
    ]
    assert not stated


def test_loinc2hpo_agrees_with_the_findings_of_the_core(graph):
    """A high or low result of a variable never means the finding of another side."""
    for head, tail, data in graph.graph.edges(data=True):
        if data["origin"] == "loinc2hpo" and tail.startswith(f"finding:{head.partition(':')[2]}:"):
            assert f" {tail.rpartition(':')[2]} result " in data["evidence"]


def test_every_hpo_identifier_of_the_core_is_a_current_term(knowledge):
    current, term = set(), ""
    obsolete = set()
    with opened(knowledge / "hpo" / "hp.obo.gz") as handle:
        for line in handle:
            if line.startswith("id: HP:"):
                term = line[4:].strip()
                current.add(term)
            elif line.startswith("is_obsolete: true"):
                obsolete.add(term)
    used = {data["identifiers"]["HPO"] for _, data in build().nodes(data=True) if "HPO" in data["identifiers"]}
    assert len(used) > 150
    assert used <= current - obsolete
