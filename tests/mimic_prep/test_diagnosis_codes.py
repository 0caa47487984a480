"""ICD codes to CCS categories and phenotypes."""

from __future__ import annotations

import polars as pl
import pytest

from clinragen import label_sets
from clinragen.catalog import phenotypes
from clinragen.errors import UserError
from clinragen.icd import code_map
from clinragen.label_sets import Phenotype
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


def test_stays_take_the_codes_of_their_admission_or_their_own_in_their_order():
    codes = {"code": ["J189", "J189", "A419"], "version": [10, 10, 10]}
    stays = pl.DataFrame({"stay_id": [30, 10, 20], "hadm_id": [1, 1, 2]})
    own = labels.build(pl.DataFrame({"stay_id": [10, 10, 20]} | codes), stays, phenotypes(), "stay_id").to_pylist()
    assert [(row["stay_id"], row["pneumonia"], row["septicemia"]) for row in own] == [
        (30, False, False), (10, True, False), (20, False, True),
    ]  # fmt: skip
    shared = labels.build(pl.DataFrame({"hadm_id": [1, 1, 2]} | codes), stays, phenotypes()).to_pylist()
    assert [row["pneumonia"] for row in shared] == [True, True, False]


def test_stays_with_any_code_at_all_are_counted():
    stays = pl.DataFrame({"stay_id": [10, 11, 20, 30], "hadm_id": [1, 1, 2, 3]})
    codes = pl.DataFrame({"hadm_id": [1, 1, 2], "stay_id": [10, 20, 30], "code": ["J189", "Z9999", None]})
    assert labels.coded(codes, stays) == 2  # both of the first admission; the second has a row without a code
    assert labels.coded(codes, stays, "stay_id") == 2
    assert labels.coded(codes.clear(), stays) == 0


HEART = Phenotype("heart", "heart disease", icd9=("428",), icd10=("I50",))
FAILURE = Phenotype("failure", "heart failure", ccs=(108,))


def test_one_code_may_give_several_labels_and_most_give_none():
    codes = pl.DataFrame(
        {"code": ["I5021", "4280", "I5021", "J189", "I5021", "U071", None], "version": [10, 9, 10, 10, 9, 10, None]}
    )
    assert labels.owners(codes, {"heart": HEART, "failure": FAILURE}).rows() == [
        ("4280", 9, "heart"), ("4280", 9, "failure"), ("I5021", 10, "heart"), ("I5021", 10, "failure"),
    ]  # fmt: skip


def test_a_version_that_nobody_knows_gives_no_label():
    codes = pl.DataFrame({"code": ["I5021"], "version": [11]})
    assert labels.owners(codes, {"heart": HEART, "failure": FAILURE}).rows() == []


def test_the_known_codes_of_a_label_are_those_of_its_categories_and_its_prefixes_each_once():
    assert labels.codes_of(Phenotype("x", "x", icd9=("0010",), icd10=("A000-A001",))) == [
        (9, "0010"), (10, "A000"), (10, "A001"),
    ]  # fmt: skip
    both = labels.codes_of(Phenotype("x", "x", ccs=(108,), icd10=("I50",)))
    assert len(both) == len(set(both))
    assert set(both) == {
        *labels.codes_of(FAILURE),
        *((10, code) for _, code in labels.codes_of(HEART) if code >= "I50"),
    }
    assert {version for version, _ in labels.codes_of(FAILURE)} == {9, 10}
    assert labels.codes_of(Phenotype("x", "x", icd9=("428",)))[0][0] == 9


@pytest.mark.parametrize(
    ("within", "mostly"),
    [
        ([(9, "1"), (10, "A")], False),  # half of each
        ([(9, "1"), (9, "2"), (10, "A")], True),  # all of one and half of the other
        ([(9, "1"), (9, "2")], False),  # of the versions, not of their codes
        ([(10, "A"), (10, "B"), (10, "C"), (10, "D")], False),
        ([(9, "1"), (10, "A"), (10, "B"), (10, "C"), (10, "D")], True),
    ],
)
def test_a_phenotype_lies_mostly_within_a_label_by_its_share_of_each_version(within, mostly):
    codes = {(9, "1"), (9, "2"), (10, "A"), (10, "B")}
    assert labels._mostly(codes, set(within)) == mostly


def test_each_chapter_covers_the_phenotypes_that_lie_mostly_within_it_and_keeps_its_name():
    chapters = labels.load("icd_chapters")
    assert chapters["endocrine"].covers == (
        "diabetes_with_complications", "lipid_disorders", "fluid_electrolyte_disorders",
    )  # fmt: skip
    assert chapters["genitourinary"].covers == ("acute_renal_failure",)
    assert chapters["neoplasms"].covers == ()
    assert (chapters.name, chapters) == ("icd_chapters", labels.load("icd_chapters"))
    assert labels.load("phenotypes") is label_sets.shipped()


def test_a_label_that_no_code_gives_is_named(tmp_path):
    (tmp_path / "own.yaml").write_text("labels: {lung: {ccs: [122]}, none: {icd10: [Z998877]}}")
    with pytest.raises(UserError, match=r"own\.yaml: labels\.none: no ICD code that is known"):
        labels.load(str(tmp_path / "own.yaml"))
