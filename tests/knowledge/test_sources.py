"""External sources: read from the user's folder, merged with provenance, and clear about what is wrong."""

import gzip

import pytest

from clinragen.errors import UserError
from clinragen.knowledge.graph import build
from clinragen.knowledge.linker import Linker
from clinragen.knowledge.sources import curated, external

CORE = build()


def with_source(name, folder):
    return build([curated.contribute(), external.contribute(name, folder, CORE.names)])


def test_hpo_adds_synonyms_that_the_linker_then_finds(tmp_path):
    obo = (
        "data-version: hp/releases/2025-01-16\n\n[Term]\nid: HP:0002094\nname: Dyspnea\n"
        'synonym: "Panting heavily" EXACT layperson []\nsynonym: "Gasp" RELATED []\nsynonym: "Cough" EXACT []\n'
    )
    with gzip.open(tmp_path / "hp.obo.gz", "wt") as handle:
        handle.write(obo)
    graph = with_source("hpo", tmp_path)
    assert "panting heavily" in graph.nodes["symptom:dyspnea"]["synonyms"]
    assert "gasp" not in graph.nodes["symptom:dyspnea"]["synonyms"]
    assert [mention.concept for mention in Linker(graph).link("cough, panting heavily")] == [
        "symptom:cough",
        "symptom:dyspnea",
    ]
    assert graph.manifest["sources"]["hpo"]["version"] == "hp/releases/2025-01-16"


def test_hetionet_adds_edges_and_drugs_of_known_diseases(tmp_path):
    (tmp_path / "hetionet_v1.0_clinical_edges.tsv").write_text(
        "source\tmetaedge\ttarget\tsource_name\ttarget_name\n"
        "Disease::1\tDpS\tSymptom::1\tcoronary artery disease\tChest Pain\n"
        "Disease::2\tDpS\tSymptom::1\tgerm cell cancer\tChest Pain\n"
        "Compound::DB01118\tCtD\tDisease::3\tAmiodarone\tatrial fibrillation\n"
        "Compound::DB99999\tCtD\tDisease::1\tNovelumab\tcoronary artery disease\n"
    )
    graph = with_source("hetionet", tmp_path)
    new = [(h, t, d["relation"]) for h, t, d in graph.graph.edges(data=True) if d["origin"] == "hetionet"]
    assert ("symptom:chest_pain", "phenotype:coronary_atherosclerosis", "suggests") in new
    assert ("drug:amiodarone", "disease:atrial_fibrillation", "treats") in new
    assert graph.nodes["drug:novelumab"]["identifiers"] == {"DrugBank": "DB99999"}
    assert len(new) == 3
    assert "hetionet" in graph.manifest["citations"]


def test_rotmensch_adds_weighted_edges(tmp_path):
    (tmp_path / "DerivedKnowledgeGraph_final.csv").write_text(
        'Diseases,Symptoms\npneumonia,"cough (0.412), fever (0.301), moon (0.5)"\nunknownitis,"cough (0.9)"\n'
    )
    graph = with_source("rotmensch", tmp_path)
    weights = {h: d["weight"] for h, _, d in graph.graph.edges(data=True) if d["origin"] == "rotmensch"}
    assert weights == {"symptom:cough": 0.412, "finding:temperature:high": 0.301}


HEADER = "head,relation,tail,weight,source,evidence\n"


def test_the_user_adds_edges_by_name(tmp_path):
    (tmp_path / "edges.csv").write_text(HEADER + "SOB,suggests,CHF,0.6,Our audit 2024,\n")
    graph = with_source("edges", tmp_path)
    (edge,) = [d for _, _, d in graph.graph.edges(data=True) if d["origin"] == "edges"]
    assert edge["source"] == "Our audit 2024"
    assert graph.manifest["citations"]["Our audit 2024"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (HEADER + "xyzzy,suggests,CHF,0.6,a,b\n", "line 2: no concept is called 'xyzzy'"),
        (HEADER + "SOB,cures,CHF,0.6,a,b\n", "line 2: relation 'cures'"),
        (HEADER + "SOB,suggests,CHF,6,a,b\n", "line 2: weight"),
        (HEADER + "SOB,suggests,CHF,much,a,b\n", "could not convert"),
        ("head,tail\nSOB,CHF\n", "column relation is missing"),
        ("", "column head is missing"),
    ],
)
def test_a_slip_in_the_users_edges_names_the_line(tmp_path, content, says):
    (tmp_path / "edges.csv").write_text(content)
    with pytest.raises(UserError, match=says):
        external.contribute("edges", tmp_path, CORE.names)


def test_missing_unknown_and_broken_sources(tmp_path):
    with pytest.raises(UserError, match=r"hp\.obo not found"):
        external.contribute("hpo", tmp_path, CORE.names)
    with pytest.raises(UserError, match="Choose from: edges, hetionet"):
        external.contribute("umlz", tmp_path, CORE.names)
    (tmp_path / "hp.obo.gz").write_bytes(b"\x1f\x8b\x08\x00 truncated")
    with pytest.raises(UserError, match="cannot be read"):
        external.contribute("hpo", tmp_path, CORE.names)
