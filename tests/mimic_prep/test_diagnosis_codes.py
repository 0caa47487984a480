"""ICD codes to CCS categories and phenotypes."""

from __future__ import annotations

import polars as pl
import pytest

from clinragen.catalog import phenotypes
from clinragen.icd import code_map
from mimic_prep import labels
from mimic_prep.code_repair import repaired


@pytest.mark.parametrize(
    ("version", "code", "phenotype"),
    [
        (9, "5849", "acute_renal_failure"), (10, "N179", "acute_renal_failure"),
        (9, "43491", "acute_cerebrovascular_disease"), (10, "I639", "acute_cerebrovascular_disease"),
        (9, "41071", "acute_myocardial_infarction"), (10, "I214", "acute_myocardial_infarction"),
        (9, "42731", "cardiac_dysrhythmias"), (10, "I4891", "cardiac_dysrhythmias"),
        (9, "5859", "chronic_kidney_disease"), (10, "N189", "chronic_kidney_disease"),
        (9, "49121", "copd"), (10, "J441", "copd"),
        (9, "4280", "congestive_heart_failure"), (10, "I5021", "congestive_heart_failure"),
        (9, "25000", "diabetes_without_complication"), (10, "E119", "diabetes_without_complication"),
        (9, "25060", "diabetes_with_complications"), (10, "E1140", "diabetes_with_complications"),
        (9, "4019", "essential_hypertension"), (10, "I10", "essential_hypertension"),
        (9, "2761", "fluid_electrolyte_disorders"), (10, "E871", "fluid_electrolyte_disorders"),
        (9, "486", "pneumonia"), (10, "J189", "pneumonia"),
        (9, "51881", "respiratory_failure"), (10, "J9601", "respiratory_failure"),
        (9, "0389", "septicemia"), (10, "A419", "septicemia"),
        (9, "78552", "shock"), (10, "R6521", "shock"),
        (10, "N1830", "chronic_kidney_disease"),  # newer than the map: N18.3 was split in 2020
    ],
)  # fmt: skip
def test_well_known_codes(version, code, phenotype):
    mapping = code_map(version)
    assert mapping is not None
    assert mapping.ccs(code) in phenotypes()[phenotype].ccs


def test_codes_nobody_knows_have_no_category():
    icd9, icd10 = code_map(9), code_map(10)
    assert icd9 is not None
    assert icd10 is not None
    assert icd10.ccs("U071") is None
    assert icd10.ccs("") is None
    assert icd9.ccs("9") is None
    assert code_map(11) is None


def test_a_prefix_counts_only_where_its_codes_agree():
    icd10 = code_map(10)
    assert icd10 is not None
    assert icd10.ccs("I50") == 108
    assert icd10.ccs("E11") is None  # with and without complications


def test_codes_come_with_dots_blanks_and_in_lower_case():
    rows = pl.DataFrame({"hadm_id": [1, 1], "code": [" j18.9", "486 "], "version": [10, 9]})
    clean, _ = repaired(rows, phenotypes(), "a table")
    assert clean["code"].to_list() == ["J189", "486"]
    assert labels.owners(clean, phenotypes())["label"].to_list() == ["pneumonia", "pneumonia"]


def test_each_stay_of_an_admission_carries_its_labels():
    diagnoses = pl.DataFrame(
        {"hadm_id": [1, 1, 2], "code": ["J189", "A419", None], "version": [10, 10, None]},
        schema={"hadm_id": pl.Int64, "code": pl.String, "version": pl.Int64},
    )
    stays = pl.DataFrame({"stay_id": [10, 11, 20, 30], "hadm_id": [1, 1, 2, 3]})
    table = labels.build(diagnoses, stays, phenotypes()).to_pylist()
    assert [[key for key, value in row.items() if value is True] for row in table] == [
        ["pneumonia", "septicemia"], ["pneumonia", "septicemia"], [], [],
    ]  # fmt: skip
