"""Where and when stays were: what each source says of it, and that nothing else depends on it."""

from __future__ import annotations

import ast
from datetime import date, datetime, timedelta
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import clinragen
from clinragen.artifacts import write_table
from clinragen.cohort.folder import Cohort
from clinragen.errors import UserError
from clinragen.schema import CARE_UNIT, SITES
from mimic_prep import prepare as preparation
from mimic_prep.sites import of_stays
from tests.mimic_prep import fhir_export, test_clif, test_omop
from tests.mimic_prep.exports import Export

_TODAY = date(2026, 6, 1)


def _sites(root: Path) -> list[tuple[str | None, ...]]:
    """Hospital, network and period of each stay, in the order of intime."""
    cohort = Cohort.load(root)
    assert pq.read_table(root / "sites.parquet").schema.equals(SITES.append(CARE_UNIT))
    rows = cohort.stays.join(cohort.sites, on="stay_id").sort("intime")
    return rows.select("hospital", "network", "period").rows()


@given(st.lists(st.integers(-9000, 9000), min_size=1, max_size=200), st.integers(0, 3))
def test_a_period_is_never_a_year_that_has_not_come(days, clock):
    chosen = ("absolute", "year", "year_group", "none")[clock]
    stays = pl.DataFrame(
        {"stay_id": range(len(days)), "intime": [datetime(2026, 6, 1) + timedelta(days=day) for day in days]}
    )
    sites = of_stays(stays, None, chosen, _TODAY)
    later = stays["intime"].dt.date() > _TODAY
    if chosen != "absolute" or later.mean() > 0.01 or later.all():
        assert sites.clock == "none"
        assert not sites.rows["period"].count()
        assert bool(sites.warnings) == (chosen == "absolute" and later.mean() > 0.01)
    else:
        years = stays["intime"].dt.year().cast(pl.String)
        assert sites.clock == "absolute"
        assert sites.rows["period"].equals(years.to_frame().select(pl.when(~later).then("intime")).to_series())


def _with_groups(hospital):
    for row, group in zip(hospital.tables["hosp/patients"], ("2008 - 2010", "2014 - 2016", ""), strict=True):
        row["anchor_year_group"] = group
    return hospital


def test_mimic_iv_has_spans_of_years_and_no_sites(hospital, prepared):
    cohort = prepared(_with_groups(hospital))
    assert _sites(cohort.root) == [(None, None, "2014 - 2016")] * 2 + [(None, None, "2008 - 2010")]
    assert cohort.manifest["clock"] == "year_group"
    assert cohort.manifest["cohort"]["periods"] == {"2008 - 2010": 1, "2014 - 2016": 2}
    assert "hospitals" not in cohort.manifest["cohort"]


def test_the_first_care_unit_stands_beside_the_sites_and_is_none_of_them(hospital, prepared, restamp):
    units = ("MICU", "", " CVICU ", "SICU")
    for row, name in zip(hospital.tables["icu/icustays"], units, strict=True):
        row["first_careunit"] = name
    cohort = Cohort.load(prepared(hospital).root)
    given = {int(row["stay_id"]): row["first_careunit"].strip() or None for row in hospital.tables["icu/icustays"]}
    assert cohort.care_units.to_list() == [given[stay] for stay in cohort.stays["stay_id"]]
    assert {"MICU", None} < set(cohort.care_units)
    assert cohort.sites.columns == SITES.names
    path = cohort.paths.sites
    write_table(path, pq.read_table(path).drop_columns(["care_unit"]))
    restamp(cohort.paths.root)
    older = Cohort.load(cohort.paths.root)
    assert older.care_units.to_list() == [None] * 3
    assert older.sites.rows() == cohort.sites.rows()


def test_tables_in_the_layout_of_mimic_iv_may_name_hospitals(hospital, prepared):
    for row, name in zip(hospital.tables["hosp/admissions"], ("A", "A", " B ", "B"), strict=True):
        row.update(hospital_id=name, network_id="N")
    cohort = prepared(hospital)
    assert _sites(cohort.root) == [("B", "N", None)] * 2 + [("A", "N", None)]
    assert (cohort.manifest["clock"], cohort.manifest["cohort"]["hospitals"]) == ("none", 2)
    held = prepared(hospital, splits__by="hospital", splits__held_out="[B]")
    assert held.stays["split"].to_list() == ["train", "test", "test"]
    with pytest.raises(UserError, match=r"splits\.held_out: no hospital is called 'C'; the cohort has A, B$"):
        prepared(hospital, splits__by="hospital", splits__held_out="[C]")


def test_a_patient_of_a_held_out_hospital_is_in_no_other_split(hospital, prepared):
    hospital.tables["icu/icustays"].append(hospital.tables["icu/icustays"][2] | {"stay_id": 99, "hadm_id": 21})
    hospital.tables["hosp/admissions"].append(hospital.tables["hosp/admissions"][2] | {"hadm_id": 21})
    for row in hospital.tables["hosp/admissions"]:
        row["hospital_id"] = "A" if row["hadm_id"] == 20 else "B"
    hospital.chart(99, "2150-06-10 03:00:00", 220045, 61, "bpm")
    cohort = prepared(hospital, splits__by="hospital", splits__held_out="[A]")
    assert cohort.stays.select("stay_id", "split").rows() == [(100, "train"), (200, "test"), (201, "test")]
    assert {"reason": "of a patient of the held-out hospitals, but elsewhere", "stays": 1} in (
        cohort.manifest["attrition"]["excluded"]
    )
    assert Cohort.load(cohort.root).series["stay_id"].is_in([100, 200, 201]).all()


def test_sites_change_no_other_file(hospital, prepared):
    before = prepared(_with_groups(hospital))
    for row in hospital.tables["hosp/admissions"]:
        row["hospital_id"] = str(row["hadm_id"])
    for row in hospital.tables["hosp/patients"]:
        row["anchor_year_group"] = "2020 - 2022"
    after = prepared(hospital)
    files = {path.name for path in before.root.glob("*.parquet")}
    assert "sites.parquet" in files
    differ = {name for name in files if (before.root / name).read_bytes() != (after.root / name).read_bytes()}
    assert differ == {"sites.parquet"}


def test_a_cohort_from_before_sites_were_read_knows_none(hospital, prepared):
    import json

    cohort = prepared(_with_groups(hospital))
    (cohort.root / "sites.parquet").unlink()
    with pytest.raises(UserError, match=r"sites\.parquet not found"):
        _ = Cohort.load(cohort.root).sites
    del cohort.manifest["outputs"]["sites.parquet"], cohort.manifest["clock"]
    (cohort.root / "manifest.json").write_text(json.dumps(cohort.manifest))
    older = Cohort.load(cohort.root)
    assert older.sites.rows() == [(stay, None, None, None) for stay in (100, 200, 201)]
    assert older.clock == "none"


def _made(source: str, export: Export, folder: Path) -> Path:
    preparation.prepare(export.write(folder / "export"), folder / "cohort", source=source, workers=1)
    return folder / "cohort"


@pytest.mark.slow
def test_omop_names_the_care_site_of_the_visit(tmp_path):
    export = test_omop._GOOD.copy()
    export.tables["care_site"].append(
        {"care_site_id": 9, "care_site_name": "St Mary", "place_of_service_concept_id": 0}
    )
    first, second = export.tables["visit_occurrence"]
    first["care_site_id"], second["care_site_id"] = 9, 1  # a visit of the unit alone
    cohort = _made("omop", export, tmp_path)
    assert _sites(cohort) == [("St Mary", None, None), (None, None, None)]  # its dates are of 2150
    manifest = Cohort.load(cohort).manifest
    assert manifest["clock"] == "none"
    assert any("they were shifted" in line for line in manifest["warnings"])


@pytest.mark.slow
def test_clif_names_the_hospital_and_true_years(tmp_path):
    export = test_clif._GOOD.copy()
    for number, row in enumerate(export.tables["clif_adt"]):
        row["hospital_id"] = "south" if number < 3 else "north"
    cohort = _made("clif", export, tmp_path)
    assert _sites(cohort) == [("south", None, "2024"), ("north", None, "2024")]
    assert Cohort.load(cohort).clock == "absolute"


@pytest.mark.slow
def test_fhir_names_the_organization_and_what_it_is_a_part_of(tmp_path):
    resources = fhir_export.base()
    by_id = {(one["resourceType"], one["id"]): one for one in resources}
    by_id["Encounter", "h1"]["serviceProvider"] = {"reference": "Organization/ward"}
    by_id["Encounter", "icu2"]["serviceProvider"] = {"reference": "https://x.example/Organization/9", "display": "Y"}
    resources += [
        {"resourceType": "Organization", "id": "ward", "name": "St Mary", "partOf": {"reference": "Organization/r"}},
        {"resourceType": "Organization", "id": "r", "partOf": {"reference": "Organization/top"}},
        {"resourceType": "Organization", "id": "top", "name": "All Saints"},
    ]
    fhir_export.write(tmp_path / "export", resources)
    preparation.prepare(tmp_path / "export", tmp_path / "cohort", source="fhir", workers=1)
    assert sorted(_sites(tmp_path / "cohort"), key=str) == [("St Mary", "All Saints", None), ("Y", None, None)]


#: who may read sites: the folder's schema and reader, the adapters, the evaluation, and what divides a cohort into the
#: sites of a simulated federation
_MAY_READ = ("schema.py", "cohort/", "adapters/", "evaluation/", "federation/simulation.py")
#: where ``sites`` are members of a federation: none of them has a cohort's
_OF_FEDERATIONS = (
    "commands/_ledger_writing.py",
    "commands/federate.py",
    "federation/flower.py",
    "federation/recording.py",
    "federation/statements.py",
    "ledger/",
)


def _reads_sites(source: str) -> bool:
    """Whether code names the file, its schema, or ``sites`` or ``care_units`` of a cohort or of its paths."""
    nodes = list(ast.walk(ast.parse(source)))
    owners = {
        ast.unparse(node.value)
        for node in nodes
        if isinstance(node, ast.Attribute) and node.attr in ("sites", "care_units")
    }
    imported = {alias.name for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names}
    texts = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return bool(owners) or bool((imported | texts) & {"SITES", "CARE_UNIT", "sites.parquet"})


def test_no_input_of_a_model_reads_sites():
    assert _reads_sites("def read(cohort):\n    return cohort.sites\n")
    root = Path(clinragen.__file__).parent
    modules = {path.relative_to(root).as_posix(): path.read_text() for path in root.rglob("*.py")}
    readers = [name for name, source in modules.items() if _reads_sites(source)]
    assert "cohort/folder.py" in readers
    assert [name for name in readers if not name.startswith((*_MAY_READ, *_OF_FEDERATIONS))] == []
