"""The concept graph: complete, cited, rebuilt byte for byte, and strict about what it reads."""

import json
import shutil

import pytest

from clinragen.catalog import phenotypes, variables
from clinragen.config import CONFIG_ROOT, load_yaml
from clinragen.errors import UserError
from clinragen.icd import code_map
from clinragen.knowledge import describe
from clinragen.knowledge.concepts import NODE_KINDS, RELATIONS
from clinragen.knowledge.graph import ConceptGraph, build
from clinragen.knowledge.linker import tokens
from clinragen.knowledge.sources import curated


@pytest.fixture(scope="module")
def graph() -> ConceptGraph:
    return build()


@pytest.fixture
def sources(tmp_path):
    folder = tmp_path / "knowledge"
    shutil.copytree(CONFIG_ROOT / "knowledge", folder)
    return folder


def test_every_phenotype_has_enough_findings_symptoms_and_variables(graph):
    poor = [row for row in describe.coverage(graph) if not row.met]
    assert not poor
    assert [row.phenotype for row in describe.coverage(graph)] == list(phenotypes())


def test_nearly_all_variables_lead_to_findings_on_both_sides_where_both_exist(graph):
    tied, bounded = describe.tied_variables(graph)
    assert tied >= 0.9 * bounded
    raw = load_yaml(CONFIG_ROOT / "knowledge" / "findings.yaml")["findings"]
    for side in describe.uncovered_sides(graph):
        variable, direction = side.split()
        # either the file says why the side has no finding, or the catalogue bounds it only formally
        assert direction in (raw[variable].get("none") or {}), side


def test_edges_are_many_typed_cited_and_weighted(graph):
    edges = [data for _, _, data in graph.graph.edges(data=True)]
    assert len(edges) >= 300
    for data in edges:
        assert data["relation"] in RELATIONS
        assert graph.manifest["citations"][data["source"]]
        assert data["evidence"]
        assert 0 < data["weight"] <= 1


def test_nodes_are_described(graph):
    for node, data in graph.nodes(data=True):
        assert data["kind"] in NODE_KINDS
        assert node.startswith(f"{data['kind']}:")
        assert data["definition"].strip().endswith("."), node
        assert data["name"] == data["name"].strip()
    assert {n.removeprefix("phenotype:") for n in graph.of_kind("phenotype")} == set(phenotypes())
    assert {n.removeprefix("variable:") for n in graph.of_kind("variable")} == set(variables())


# CCS files these with another category than a clinician does: under its cause, its organ, or the infection alone.
OTHERWISE_BY_CCS = {
    "ischemic_cardiomyopathy", "cor_pulmonale", "gastroparesis", "mucus_plugging", "sinusitis", "bacteremia",
    "line_infection",
}  # fmt: skip


def test_icd_codes_exist_and_lie_in_the_category_of_their_phenotype(graph):
    for node in graph.of_kind("disease"):
        told = {link.node.partition(":")[2] for link in graph.out_of(node, ("is_a",))}
        wanted = {category for key in told for category in phenotypes()[key].ccs}
        for version in (9, 10):
            code = graph.nodes[node]["identifiers"][f"ICD{version}"].replace(".", "")
            category = code_map(version).ccs(code)
            assert category is not None, (node, code)
            assert not wanted or category in wanted or node.partition(":")[2] in OTHERWISE_BY_CCS, (node, code)


def test_no_surface_form_belongs_to_two_concepts(graph):
    owners: dict[tuple[bool, tuple[str, ...]], set[str]] = {}
    for node, data in graph.nodes(data=True):
        if data["kind"] != "variable" and data["direction"] not in ("rising", "falling"):
            for form in (data["name"], *data["synonyms"]):
                owners.setdefault((form.startswith("="), tuple(tokens(form))), set()).add(node)
    assert not {form: nodes for form, nodes in owners.items() if len(nodes) > 1}


def test_same_sources_give_the_same_bytes_and_load_returns_the_same_graph(graph, tmp_path):
    build().save(tmp_path / "a")
    build().save(tmp_path / "b")
    for name in ("nodes.parquet", "edges.parquet", "manifest.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    loaded = ConceptGraph.load(tmp_path / "a")
    assert dict(loaded.nodes(data=True)) == dict(graph.nodes(data=True))
    assert sorted(map(str, loaded.graph.edges(data=True))) == sorted(map(str, graph.graph.edges(data=True)))
    assert loaded.manifest == graph.manifest
    loaded.save(tmp_path / "c")
    assert (tmp_path / "c" / "edges.parquet").read_bytes() == (tmp_path / "a" / "edges.parquet").read_bytes()


def test_save_never_replaces_a_folder_unasked(graph, tmp_path):
    graph.save(tmp_path / "g")
    with pytest.raises(UserError, match="already exists"):
        graph.save(tmp_path / "g")
    graph.save(tmp_path / "g", overwrite=True)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda d: (d / "manifest.json").unlink(), "clinragen graph build"),
        (lambda d: (d / "manifest.json").write_text("{"), "not valid JSON"),
        (lambda d: (d / "manifest.json").write_text(json.dumps({"graph_version": 99})), "version"),
        (lambda d: (d / "edges.parquet").unlink(), "not found"),
        (lambda d: (d / "nodes.parquet").write_bytes(b"nothing"), "Parquet"),
        (lambda d: shutil.copy(d / "nodes.parquet", d / "edges.parquet"), "missing"),
    ],
)
def test_a_broken_folder_gives_one_clear_error(graph, tmp_path, spoil, says):
    graph.save(tmp_path / "g")
    spoil(tmp_path / "g")
    with pytest.raises(UserError, match=says):
        ConceptGraph.load(tmp_path / "g")


def test_an_altered_table_is_noticed(graph, tmp_path):
    graph.save(tmp_path / "g")
    smaller = build()
    smaller.graph.remove_node("symptom:dyspnea")
    smaller.save(tmp_path / "h")
    shutil.copy(tmp_path / "h" / "nodes.parquet", tmp_path / "g" / "nodes.parquet")
    with pytest.raises(UserError, match="differs from its manifest"):
        ConceptGraph.load(tmp_path / "g")


@pytest.mark.parametrize(
    ("file", "old", "new", "says"),
    [
        ("phenotypes.yaml", "creatinine high: 0.95", "creatinin high: 0.95", "creatinin:high"),
        ("phenotypes.yaml", "kdigo_aki | creatinine rise", "kdigo_nothing | creatinine rise", "kdigo_nothing"),
        ("phenotypes.yaml", "troponin_t high: 0.95", "troponin_t high: 1.95", "weight 1.95"),
        ("phenotypes.yaml", "kdigo_aki | creatinine rise", "creatinine rise", "source key"),
        ("phenotypes.yaml", "  shock:\n    synonyms", "  shok:\n    synonyms", "shock"),
        ("findings.yaml", "  lactate:\n", "  lactat:\n", "lactate"),
    ],
)
def test_a_slip_in_the_curated_files_names_the_place(sources, file, old, new, says):
    path = sources / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(UserError, match=says):
        curated.contribute(sources)


def test_find_takes_ids_names_synonyms_and_lists_the_nearest(graph):
    assert graph.find("SOB") == "symptom:dyspnea"
    assert graph.find("finding:lactate:high") == "finding:lactate:high"
    assert graph.find("Pneumonia") == "phenotype:pneumonia"
    assert graph.find("acute_renal_failure") == "phenotype:acute_renal_failure"
    assert graph.find("PE") == "disease:pulmonary_embolism"
    with pytest.raises(UserError, match="pneumonia"):
        graph.find("pnuemonia")
    with pytest.raises(UserError, match="shock"):
        graph.findings_of("shok")


def test_queries_are_ordered_by_weight(graph):
    links = graph.findings_of("shock")
    assert [link.weight for link in links] == sorted((link.weight for link in links), reverse=True)
    assert links[0].node == "finding:mean_bp:low"
    assert all(link.node.startswith("symptom:") for link in graph.symptoms_of("pneumonia"))


def test_evidence_holds_the_name_itself_members_and_drugs(graph):
    evidence = graph.evidence["congestive_heart_failure"]
    assert evidence["phenotype:congestive_heart_failure"] == (1.0, "is_a")
    assert evidence["disease:diastolic_heart_failure"][1] == "is_a"
    assert evidence["drug:furosemide"][1] == "treats"
    assert "phenotype:pneumonia" not in evidence


def test_entry_reads_like_a_textbook_with_numbered_sources(graph):
    text = describe.entry(graph, "phenotype:pneumonia")
    for part in ("PNEUMONIA", "CCS 122", "Also written", "Findings in the series", "Symptoms and signs", "Sources"):
        assert part in text
    assert "fever (temperature > 38 degC)" in text
    assert "[1] Metlay JP" in text
    assert max(map(len, text.splitlines())) <= 100
    assert "Measured as" in describe.entry(graph, "finding:lactate:high")
    assert "Is given or done for" in describe.entry(graph, "drug:metformin")


def test_every_node_has_an_entry(graph):
    for node in graph.nodes:
        assert graph.name(node).upper() in describe.entry(graph, node)
