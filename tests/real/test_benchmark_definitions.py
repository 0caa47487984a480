"""The catalogue against the MIMIC-III benchmark, MIMIC-Extract, mimic-code and the demos' own dictionaries."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import polars as pl
import pytest
import yaml

from clinragen.catalog import variables
from clinragen.icd import code_map
from clinragen.label_sets import shipped

pytestmark = pytest.mark.real


def test_phenotypes_are_those_of_the_benchmark(shared):
    """Every ICD-9 code of each of the 25 groups. Its file knows no mixed kind; the paper does."""
    path = shared("knowledge") / "mimic3_benchmarks" / "hcup_ccs_2015_definitions.yaml"
    groups = yaml.safe_load(path.read_text())
    theirs = {group["id"]: group for group in groups.values() if group["use_in_benchmark"]}
    ours = {phenotype.ccs[0]: phenotype for phenotype in shipped().values()}
    assert {category for phenotype in shipped().values() for category in phenotype.ccs} == set(theirs) == set(ours)
    icd9 = code_map(9)
    assert icd9 is not None
    for category, group in theirs.items():
        assert ours[category].kind in (group["type"], "mixed")
        assert set(icd9.codes_of(category)) == {str(code) for code in group["codes"]}, ours[category].key


#: LEVEL2 of the benchmark's map of item ids -> variables of the catalogue that may own such an id
_NAMES = {
    "Alanine aminotransferase": {"alt"}, "Albumin": {"albumin"}, "Alkaline phosphate": {"alp"},
    "Anion gap": {"anion_gap"}, "Asparate aminotransferase": {"ast"}, "Bicarbonate": {"bicarbonate"},
    "Bilirubin": {"bilirubin_total", "bilirubin_direct"}, "Blood urea nitrogen": {"bun"},
    "Calcium": {"calcium", "ionized_calcium"}, "Calcium ionized": {"ionized_calcium"},
    "Capillary refill rate": {"capillary_refill"}, "Chloride": {"chloride"},
    "Cholesterol": {"cholesterol_total", "hdl", "ldl"}, "Creatinine": {"creatinine"},
    "Diastolic blood pressure": {"diastolic_bp"}, "Fraction inspired oxygen": {"fio2"},
    "Glascow coma scale eye opening": {"gcs_eye"}, "Glascow coma scale motor response": {"gcs_motor"},
    "Glascow coma scale total": {"gcs_total"}, "Glascow coma scale verbal response": {"gcs_verbal"},
    "Glucose": {"glucose"}, "Heart Rate": {"heart_rate"}, "Height": {"height"}, "Hematocrit": {"hematocrit"},
    "Hemoglobin": {"hemoglobin", "hba1c"}, "Lactate": {"lactate"}, "Lactate dehydrogenase": {"ldh"},
    "Lactic acid": {"lactate"}, "Lymphocytes": {"lymphocytes"}, "Magnesium": {"magnesium"},
    "Mean blood pressure": {"mean_bp"}, "Mean corpuscular hemoglobin": {"mch"},
    "Mean corpuscular hemoglobin concentration": {"mchc"}, "Mean corpuscular volume": {"mcv"},
    "Neutrophils": {"neutrophils"}, "Oxygen saturation": {"spo2"},
    "Partial pressure of carbon dioxide": {"paco2"}, "Partial pressure of oxygen": {"pao2"},
    "Partial thromboplastin time": {"ptt"}, "Phosphate": {"phosphate"}, "Platelets": {"platelets"},
    "Positive end-expiratory pressure": {"peep"}, "Potassium": {"potassium"}, "Prothrombin time": {"inr"},
    "Respiratory rate": {"respiratory_rate"}, "Sodium": {"sodium"}, "Systolic blood pressure": {"systolic_bp"},
    "Temperature": {"temperature"}, "Troponin-I": {"troponin_i"}, "Troponin-T": {"troponin_t"},
    "Urine output": {"urine_output"}, "Weight": {"weight"}, "White blood cell count": {"wbc"}, "pH": {"ph"},
}  # fmt: skip


@pytest.mark.parametrize("folder", ["mimic3_benchmarks", "mimic_extract"])
def test_no_item_id_means_something_else_to_others(shared, folder):
    ours = {
        (table, item): key
        for key, variable in variables().items()
        for table, items in variable.items.get("mimic3", {}).items()
        for item in items
    }
    compared = set()
    path = shared("knowledge") / folder / "itemid_to_variable_map.csv"
    with path.open(encoding="latin-1") as file:
        for row in csv.DictReader(file):
            key = ours.get((row["LINKSTO"].strip(), int(row["ITEMID"]))) if row["ITEMID"].strip().isdigit() else None
            if key and row["LEVEL2"] in _NAMES:
                assert key in _NAMES[row["LEVEL2"]], row["ITEMID"]
                compared.add(key)
    assert len(compared) >= 40


def _labels_of(path: Path) -> dict[int, tuple[str, str]]:
    """itemid -> table it links to and label; only blood counts among laboratory items."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = [{name.lower(): cell for name, cell in row.items()} for row in csv.DictReader(file)]
    return {
        int(row["itemid"]): (
            row["linksto"] if "linksto" in row else f"labevents of {row['fluid'].lower()}",
            row["label"],
        )
        for row in rows
    }


@pytest.mark.parametrize(
    ("release", "folder", "dictionaries"),
    [
        ("mimic4", "mimic-iv-demo", ("icu/d_items.csv.gz", "hosp/d_labitems.csv.gz")),
        ("mimic3", "mimic-iii-demo-20", ("D_ITEMS.csv.gz", "D_LABITEMS.csv.gz")),
    ],
)
def test_every_item_id_is_in_the_dictionary_of_its_release(shared, release, folder, dictionaries):
    known: dict[int, tuple[str, str]] = {}
    for name in dictionaries:
        known |= _labels_of(shared(folder) / name)
    for key, variable in variables().items():
        for table, items in variable.items.get(release, {}).items():
            for item in items:
                place, label = known[int(item)]
                assert place.startswith(table), (key, item, label)
                assert table != "labevents" or place == "labevents of blood", (key, item, label)


def test_laboratory_ids_agree_with_the_loinc_codes_of_mimic_code(shared):
    """Where mimic-code maps an id to LOINC, ids of one variable share few codes, and no code is that of another."""
    path = shared("knowledge") / "mimic_code" / "d_labitems_to_loinc.csv"
    table = pl.read_csv(path, infer_schema=False, encoding="latin-1")
    loinc = dict(table.select("itemid (omop_source_code)", "omop_concept_code").iter_rows())
    owner: dict[str, str] = {}
    compared = 0
    for key, variable in variables().items():
        for item in variable.items.get("mimic4", {}).get("labevents", {}):
            code = loinc.get(str(item))
            if code:
                assert owner.setdefault(code, key) == key, (item, code)
                compared += 1
    assert compared >= 50


def test_names_of_the_eicu_demo_grid_are_all_used(shared):
    columns = pl.read_parquet_schema(shared("eicu-demo") / "hourly_dyn.parquet")
    used = {item for v in variables().values() for item in v.items.get("eicu", {}).get("hourly_dyn", {})}
    assert set(columns) - {"stay_id", "time"} == used
