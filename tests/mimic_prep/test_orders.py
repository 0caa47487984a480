"""Orders of drugs: which rows of which table, when they were entered, and what may be read of them."""

from __future__ import annotations

import ast
import copy
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest

import clinragen
from clinragen.cohort.folder import Cohort
from clinragen.cohort.orders import already_ordered, in_force, new_starts, readable
from clinragen.errors import UserError
from clinragen.schema import ORDERS
from mimic_prep import prepare as preparation
from tests.mimic_prep import fhir_export, test_clif, test_omop
from tests.mimic_prep.exports import Export
from tests.mimic_prep.test_prepare_eicu import _TABLES as EICU
from tests.mimic_prep.test_prepare_mimic_iii import _TABLES as MIMIC3


def _rows(cohort: Cohort, *columns: str) -> list[tuple[Any, ...]]:
    return cohort.orders.select(columns or ORDERS.names).rows()


def _cohort(source: str, tables: dict[str, str], folder: Path, **settings: Any) -> Cohort:
    (folder / "raw").mkdir()
    for name, text in tables.items():
        (folder / "raw" / f"{name}.csv").write_text(text)
    preparation.prepare(folder / "raw", folder / "cohort", source=source, workers=1, **settings)
    return Cohort.load(folder / "cohort")


def _eicu(folder: Path, **tables: list[str]) -> Cohort:
    lines = {name: "\n".join(rows) for name, rows in {**EICU, **tables}.items()}
    return _cohort("eicu", lines, folder)


def test_every_stay_of_an_admission_has_its_prescriptions(hospital, prepared):
    cohort = Cohort.load(prepared(hospital).root)
    assert pq.read_table(cohort.paths.orders).schema.equals(ORDERS)
    assert _rows(cohort, "stay_id", "kind", "name", "ingredient", "source", "start") == [
        (100, "order", "Furosemide", "furosemide", "prescriptions", datetime(2151, 3, 1, 7)),
        (100, "order", "Levofloxacin", "levofloxacin", "prescriptions", datetime(2151, 3, 4, 7)),
        (200, "order", "Warfarin", "warfarin", "prescriptions", datetime(2150, 6, 1, 1)),
        (201, "order", "Warfarin", "warfarin", "prescriptions", datetime(2150, 6, 1, 1)),
    ]
    counts = cohort.manifest["cohort"]["orders"]
    assert counts == {"rows": 4, "with_class": 4, "without_name": 0, "names_without_class": 0}
    account = cohort.manifest["tables"]["hosp/prescriptions.csv.gz (orders)"]
    assert (account["kept"], account["out_of_scope"]) == (3, {"admission not in the cohort": 1, "diluent": 1})


def test_what_may_be_read_ends_at_the_prediction_time(hospital, prepared):
    cohort = Cohort.load(prepared(hospital).root)  # the first 48 hours, from 2151-03-01 08:00
    assert readable(cohort).filter(stay_id=100)["ingredient"].to_list() == ["furosemide"]
    assert new_starts(cohort).select("stay_id", "start").rows() == [(100, datetime(2151, 3, 4, 7))]
    assert new_starts(cohort, hours=22).is_empty()
    assert already_ordered(cohort)["stay_id"].to_list() == [100, 200, 201]


def test_a_stop_after_the_prediction_time_is_not_known(hospital, prepared):
    first = hospital.tables["hosp/prescriptions"][1]
    first["stoptime"] = "2151-03-03 07:59:00"
    ended = Cohort.load(prepared(hospital).root)
    assert readable(ended).filter(stay_id=100)["stop"].to_list() == [datetime(2151, 3, 3, 7, 59)]
    assert 100 not in in_force(ended)["stay_id"]
    first["stoptime"] = "2151-03-03 08:00:00"
    going_on = Cohort.load(prepared(hospital).root)
    assert readable(going_on).filter(stay_id=100)["stop"].to_list() == [None]
    assert 100 in in_force(going_on)["stay_id"]


def test_an_order_counts_from_its_entry_where_the_pharmacy_says_when(hospital, prepared):
    for number, row in enumerate(hospital.tables["hosp/prescriptions"]):
        row["pharmacy_id"] = number
    hospital.tables["hosp/pharmacy"] = [
        {"hadm_id": 10, "pharmacy_id": 1, "entertime": "2151-03-03 09:00:00"},  # furosemide, written down afterwards
        {"hadm_id": 10, "pharmacy_id": 3, "entertime": "2151-03-03 07:00:00"},  # levofloxacin, ordered for tomorrow
        {"hadm_id": 10, "pharmacy_id": 3, "entertime": "2151-03-05 07:00:00"},  # and changed
    ]
    cohort = Cohort.load(prepared(hospital).root)
    assert readable(cohort).filter(stay_id=100).is_empty()
    assert new_starts(cohort).is_empty()
    assert already_ordered(cohort).filter(stay_id=100)["drug_class"].n_unique() == 2


def test_the_route_decides_where_the_name_does_not(hospital, prepared):
    first, second = hospital.tables["hosp/prescriptions"][1], hospital.tables["hosp/prescriptions"][3]
    first.update(drug="Vancomycin", route="IV")
    second.update(drug="Vancomycin", route="PO")
    classes = Cohort.load(prepared(hospital).root).orders.filter(stay_id=100)["drug_class"].to_list()
    assert len(set(classes)) == 2
    assert classes[1] == "gut_antibiotic"


def test_infusions_follow_their_parts(hospital, prepared):
    hospital.tables["icu/d_items"] = [{"itemid": 221906, "label": "Norepinephrine"}, {"itemid": 1, "label": "Other"}]
    parts = [("08:30", "09:00"), ("09:00", "11:00"), ("16:59", "17:30"), ("23:31", "23:40")]
    hospital.tables["icu/inputevents"] = [
        {
            "stay_id": 100, "itemid": 221906, "starttime": f"2151-03-01 {start}:00", "endtime": f"2151-03-01 {end}:00",
            "storetime": "2151-03-01 12:00:00", "statusdescription": "FinishedRunning", "rate": "", "rateuom": "",
            "amount": 1, "amountuom": "mg",
        }
        for start, end in parts
    ]  # fmt: skip
    rewritten = {**hospital.tables["icu/inputevents"][0], "statusdescription": "Rewritten", "itemid": 1}
    hospital.tables["icu/inputevents"].append(rewritten)
    cohort = Cohort.load(prepared(hospital).root)
    infusions = cohort.orders.filter(kind="infusion")
    hours = infusions.select(pl.col("start").dt.to_string("%H:%M"), pl.col("stop").dt.to_string("%H:%M")).rows()
    assert hours == [("08:30", "17:30"), ("23:31", "23:40")]
    assert infusions["ingredient"].unique().to_list() == ["norepinephrine"]


def test_a_date_is_known_at_the_end_of_its_day(tmp_path):
    tables = {
        **MIMIC3,
        "PRESCRIPTIONS": "row_id,subject_id,hadm_id,startdate,enddate,drug_type,drug\n"
        "1,1,10,2151-03-02 00:00:00,2151-03-03 00:00:00,MAIN,Furosemide\n",
    }
    cohort = _cohort("mimic-iii", tables, tmp_path, settings=["rules.max_bad_share=1"])
    rows = set(_rows(cohort, "start", "entered", "stop"))
    assert rows == {(datetime(2151, 3, 2), datetime(2151, 3, 3), datetime(2151, 3, 4))}


def test_minutes_cancelled_orders_and_codes_without_a_name(tmp_path):
    header = (
        "patientunitstayid,drugorderoffset,drugstartoffset,drugstopoffset,drugordercancelled,drugname,drughiclseqno"
    )
    cohort = _eicu(
        tmp_path,
        medication=[
            header,
            "1,5,60,600,No,ASPIRIN EC 81 MG PO TBEC,1820",
            "2,5,30,,No,,1820",  # the same ingredient
            "1,5,30,,No,,99",  # nobody names it
            "1,5,30,,No,,0",
            "1,5,30,,Yes,HEPARIN,4",
            "1,700,,,No,WARFARIN SODIUM 5 MG PO TABS,2812",
        ],
        admissionDrug=[
            "patientunitstayid,drugoffset,drugenteredoffset,drugname,drughiclseqno",
            "1,-9000,12,LASIX,3660",
        ],
    )
    into = dict(cohort.stays.select("stay_id", "intime").iter_rows())
    times = (pl.col(name) - pl.col("stay_id").replace_strict(into) for name in ("entered", "start", "stop"))
    minutes = cohort.orders.select("stay_id", "kind", "ingredient", *(time.dt.total_minutes() for time in times))
    assert minutes.rows() == [
        (1, "home", "furosemide", 12, -9000, None),
        (1, "order", None, 5, 30, None),
        (1, "order", "aspirin", 5, 60, 600),
        (1, "order", "warfarin", 700, 700, None),
        (2, "order", "aspirin", 5, 30, None),
    ]
    account = cohort.manifest["tables"]["medication.csv (orders)"]
    assert account["out_of_scope"] == {"cancelled order": 1, "drug without a name": 1}
    assert cohort.manifest["cohort"]["orders"]["without_name"] == 1


def test_names_that_no_class_has_are_listed(hospital, prepared):
    hospital.tables["hosp/prescriptions"][1]["drug"] = "Xyzzyamab"
    cohort = Cohort.load(prepared(hospital).root)
    assert (cohort.paths.root / "drugs_without_class.csv").read_text() == "name,rows\nXyzzyamab,1\n"
    assert cohort.manifest["cohort"]["orders"]["names_without_class"] == 1


def _made(source: str, export: Export, folder: Path) -> Cohort:
    preparation.prepare(export.write(folder / "export"), folder / "cohort", source=source, workers=1)
    return Cohort.load(folder / "cohort")


@pytest.mark.slow
@pytest.mark.parametrize(("source", "export"), [("omop", test_omop._GOOD), ("clif", test_clif._GOOD)])
def test_other_forms_have_the_drugs_of_their_tables(source, export, tmp_path):
    cohort = _made(source, export.copy(), tmp_path)
    assert cohort.orders.height
    assert cohort.orders["drug_class"].null_count() == 0


@pytest.mark.slow
def test_fhir_has_requests_and_administrations(tmp_path):
    of_first = fhir_export.OF_FIRST
    resources = [
        {"resourceType": "MedicationRequest", "id": "m", "status": "active", "authoredOn": fhir_export.at(1),
         "medicationCodeableConcept": {"text": "Furosemide 40 MG Oral Tablet"}, **of_first},
        {"resourceType": "MedicationAdministration", "id": "a", "status": "completed",
         "effectiveDateTime": fhir_export.at(2), "medicationCodeableConcept": {"text": "vancomycin"}, **of_first},
    ]  # fmt: skip
    fhir_export.write(tmp_path / "export", fhir_export.base() + resources)
    preparation.prepare(tmp_path / "export", tmp_path / "cohort", source="fhir", workers=1)
    assert _rows(Cohort.load(tmp_path / "cohort"), "ingredient") == [("furosemide",), ("vancomycin",)]


def test_a_source_without_drugs_has_no_file(hospital, prepared):
    del hospital.tables["hosp/prescriptions"]
    cohort = Cohort.load(prepared(hospital).root)
    assert not cohort.paths.orders.exists()
    assert not cohort.ordered
    assert "orders" not in cohort.manifest["cohort"]
    with pytest.raises(UserError, match="no orders of drugs"):
        readable(cohort)


def test_orders_change_no_other_file(hospital, prepared):
    before = prepared(hospital, notes__digest="never")
    later = copy.deepcopy(hospital.tables["hosp/prescriptions"][1])
    hospital.tables["hosp/prescriptions"].append({**later, "drug": "Insulin"})
    after = prepared(hospital, notes__digest="never")
    files = {path.name for path in before.root.glob("*.parquet")}
    assert {name for name in files if (before.root / name).read_bytes() != (after.root / name).read_bytes()} == {
        "orders.parquet"
    }


#: who may read orders as a whole: the folder's schema and reader, and what may be read at the prediction time
_MAY_READ = ("schema.py", "cohort/")


def _reads_orders(source: str) -> bool:
    """Whether code names the file, its schema, or ``orders`` of a cohort or of its paths."""
    nodes = list(ast.walk(ast.parse(source)))
    owners = {ast.unparse(node.value) for node in nodes if isinstance(node, ast.Attribute) and node.attr == "orders"}
    owners = {owner for owner in owners if owner.rpartition(".")[2] in ("cohort", "paths", "self")}
    imported = {alias.name for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names}
    texts = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return bool(owners) or bool((imported | texts) & {"ORDERS", "orders.parquet"})


def test_no_input_of_a_model_reads_all_orders():
    assert _reads_orders("def read(cohort):\n    return cohort.orders\n")
    root = Path(clinragen.__file__).parent
    modules = {path.relative_to(root).as_posix(): path.read_text() for path in root.rglob("*.py")}
    readers = [name for name, source in modules.items() if _reads_orders(source)]
    assert "cohort/orders.py" in readers
    assert [name for name in readers if not name.startswith(_MAY_READ)] == []
