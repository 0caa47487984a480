"""Labels other than the 25: chapters of ICD, and a user's own YAML file. A cohort carries what it is labelled with."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinragen import label_sets
from clinragen.adapters.meds import export_cohort, import_cohort
from clinragen.catalog import phenotypes
from clinragen.cohort.folder import Cohort
from clinragen.errors import UserError
from clinragen.icd import code_map
from clinragen.knowledge import graph
from clinragen.knowledge.relabel import open_graph, relabel, unknown
from clinragen.label_sets import Phenotype
from mimic_prep import labels
from mimic_prep.cli import main

_OWN = """labels:
  lung: {name: any lung disease, kind: acute, ccs: [122], icd10: [J80-J84]}
  kidney: {icd9: ["584", "585.4-585.6"], icd10: [N17, N18]}
  pneumonia: {name: pneumonia, ccs: [122]}
"""


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text(_OWN)
    return path


def test_the_default_is_the_25_phenotypes(good):
    assert good.labels.columns[1:] == list(label_sets.shipped())
    assert good.manifest["label_set"]["name"] == "phenotypes"


def test_a_users_own_labels(own, hospital, prepared):
    cohort = prepared(hospital, labels=own)
    assert cohort.labels.rows() == [(100, True, False, True), (200, False, True, False), (201, False, True, False)]
    loaded = Cohort.load(cohort.root)
    assert list(loaded.label_set) == loaded.labels.columns[1:] == ["lung", "kidney", "pneumonia"]
    assert loaded.label_set["kidney"].name == "kidney"
    assert loaded.label_set["lung"].covers == ("pneumonia",)
    assert phenotypes() == label_sets.shipped()  # the default is what it was


def test_the_chapters_of_both_versions(hospital, prepared):
    carried = prepared(hospital, labels="icd_chapters").labels
    assert carried.filter(stay_id=100).select("respiratory", "circulatory").row(0) == (True, False)
    assert carried.filter(stay_id=200).select("genitourinary", "respiratory").row(0) == (True, False)


def test_every_disease_code_lies_in_one_chapter():
    chapters = label_sets.load("icd_chapters")
    for version, others in ((9, "EV"), (10, "UVWXYZ")):
        mapping = code_map(version)
        assert mapping is not None
        for code in sorted({code[:4] for code, _ in mapping.items()}):  # chapters are told by three or four letters
            inside = [key for key, chapter in chapters.items() if chapter.has_code(code, version)]
            assert len(inside) == (code[0] not in others), code


def test_the_cohort_is_made_anew_when_the_file_changes(own, hospital, tmp_path, capsys):
    raw = hospital.write(tmp_path / "raw")
    command = ["mimic-iv", "--raw", str(raw), "--out", str(tmp_path / "cohort"), "--set", f"labels={own}"]
    assert main(command) == main(command) == 0
    assert "any lung disease" in capsys.readouterr().out
    own.write_text(_OWN.replace("[122]", "[131]"))
    assert main(command) == 2
    assert "made from other tables or settings" in capsys.readouterr().err


def test_labels_travel_to_meds_and_back(own, hospital, prepared, tmp_path):
    cohort = Cohort.load(prepared(hospital, labels=own).root)
    export_cohort(cohort, tmp_path / "meds")
    import_cohort(tmp_path / "meds", tmp_path / "back")
    back = Cohort.load(tmp_path / "back")
    assert back.label_set == cohort.label_set
    assert back.labels.equals(cohort.labels)


def test_the_audit_looks_for_the_names_of_the_labels_of_the_cohort(own, hospital, tmp_path, capsys):
    cohort = tmp_path / "cohort"
    raw = hospital.write(tmp_path / "raw")
    assert main(["mimic-iv", "--raw", str(raw), "--out", str(cohort), "--set", f"labels={own}"]) == 0
    assert main(["audit", str(cohort)]) == 0
    found = json.loads((cohort / "audit" / "audit.json").read_text())["checks"]["prevalence"]["rows"]
    assert [row["phenotype"] for row in found] == ["any lung disease", "kidney", "pneumonia"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("labels: {}\n", "expected 'labels:'"),
        ("[1]\n", "expected a mapping"),
        ("labels: {a: [1]}\n", "labels.a: expected a mapping"),
        ("labels: {a: {name: a}}\n", "labels.a: no diagnosis gives this label"),
        ("labels: {a: {ccs: 2}}\n", "labels.a.ccs: expected a list"),
        ("labels: {a: {ccs: [two]}}\n", "'two' is not a number"),
        ("labels: {a: {ccs: [9999]}}\n", "labels.a: no ICD code that is known"),
        ("labels: {a: {icd10: [I99-I00]}}\n", "'I99-I00' is neither"),
        ("labels: {a: {icd10: ['I50*']}}\n", "'I50*' is neither"),
        ("labels: {a: {icd11: [I50]}}\n", "labels.a.icd11 is unknown; valid keys here: name"),
        ("labels: {A b: {ccs: [2]}}\n", "small letters"),
        ("labels: {stay_id: {ccs: [2]}}\n", "not stay_id"),
        ("labels: {a: {ccs: [2], kind: slow}}\n", "kind 'slow' is unknown"),
        ("labels: {a: {ccs: [2], name: 'one; two'}}\n", "labels.a.name"),
        ("labels: {a: {ccs: [2], name: x}, b: {ccs: [2], name: x}}\n", "is that of a too"),
        ("labels: {a: {ccs: [2]\n", "is not valid YAML"),
    ],
)
def test_a_mistake_is_one_line(hospital, tmp_path, capsys, text, says):
    (tmp_path / "own.yaml").write_text(text)
    raw = hospital.write(tmp_path / "raw")
    given = ["--raw", str(raw), "--out", str(tmp_path / "cohort"), "--set", f"labels={tmp_path / 'own.yaml'}"]
    assert main(["mimic-iv", *given]) == 2
    line = capsys.readouterr().err.strip()
    assert says in line
    assert len(line.splitlines()) == 1
    assert not (tmp_path / "cohort").exists()


@pytest.mark.parametrize(("name", "says"), [("chapters", "did you mean"), ("no.yaml", "not found")])
def test_no_such_set(name, says):
    with pytest.raises(UserError, match=says):
        label_sets.load(name)


@given(code=st.from_regex(r"[A-TV-Z][0-9][0-9A-Z][0-9A-Z]{0,4}", fullmatch=True))
def test_a_range_holds_what_its_prefixes_hold(code):
    whole = Phenotype("x", "x", icd10=("A00-Z99",))
    assert whole.has_code(code, 10) == ("A00" <= code[:3] <= "Z99")
    assert Phenotype("x", "x", icd10=(code[:3],)).has_code(code, 10)
    assert not whole.has_code(code, 9)


def test_the_graph_holds_the_labels_and_no_other_phenotype():
    chapters = labels.load("icd_chapters")
    core = graph.build()
    assert relabel(core, label_sets.shipped()) is core
    built = relabel(core, chapters)
    assert relabel(built, chapters) is built
    assert {node.removeprefix("phenotype:") for node in built.of_kind("phenotype")} == set(chapters)
    assert "disease:pneumonia" in built.graph
    ties, before = built.evidence["respiratory"], core.evidence["pneumonia"]
    assert ties["disease:pneumonia"] == (1.0, "is_a")
    assert all(ties[node][0] >= weight for node, (weight, _) in before.items() if not node.startswith("phenotype:"))
    assert "congenital" in unknown(built)
    assert open_graph(None, chapters).manifest == built.manifest
    assert open_graph(None, label_sets.shipped()).manifest == core.manifest


def test_a_saved_graph_keeps_its_labels(tmp_path):
    chapters = labels.load("icd_chapters")
    open_graph(None, chapters).save(tmp_path / "chapters")
    loaded = graph.ConceptGraph.load(tmp_path / "chapters")
    assert loaded.labels == chapters
    assert loaded.labels["respiratory"].covers == chapters["respiratory"].covers
    open_graph(None, label_sets.shipped()).save(tmp_path / "core")
    assert graph.ConceptGraph.load(tmp_path / "core").labels == label_sets.shipped()
