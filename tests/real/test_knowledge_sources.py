"""The external knowledge sources as published, and identifiers of the curated core against them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from clinragen.knowledge.graph import build
from clinragen.knowledge.linker import Linker
from clinragen.knowledge.sources import curated, external
from clinragen.knowledge.sources.files import opened

pytestmark = pytest.mark.real
FOLDERS = {"hpo": "hpo", "hetionet": "hetionet", "rotmensch": "health_knowledge_graph"}


@pytest.fixture(scope="module")
def knowledge(shared: Callable[[str], Path]) -> Path:
    return shared("knowledge")


def test_all_sources_build_one_graph_twice_alike(knowledge, tmp_path):
    core = build()
    for name in ("a", "b"):
        parts = [external.contribute(source, knowledge / folder, core.names) for source, folder in FOLDERS.items()]
        build([curated.contribute(), *parts]).save(tmp_path / name)
    assert (tmp_path / "a" / "edges.parquet").read_bytes() == (tmp_path / "b" / "edges.parquet").read_bytes()
    graph = build([curated.contribute(), *parts])
    origins = {data["origin"] for _, _, data in graph.graph.edges(data=True)}
    assert origins == {"curated", "hetionet", "rotmensch"}
    assert graph.graph.number_of_edges() > core.graph.number_of_edges() + 200
    assert Linker(graph).link("dyspnea")


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
