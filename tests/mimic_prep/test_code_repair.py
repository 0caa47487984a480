"""Codes that a spreadsheet or a number column changed: repaired where certain, refused otherwise, and always told."""

from __future__ import annotations

import polars as pl
import pytest

from clinragen.catalog import phenotypes
from clinragen.errors import UserError
from mimic_prep import labels
from mimic_prep.code_repair import repaired

_TABLE = "hosp/diagnoses_icd.csv"


def _repair(codes, version=9, *, as_written=False):
    versions = version if isinstance(version, list) else [version] * len(codes)
    rows = pl.DataFrame(
        {"hadm_id": range(len(codes)), "code": codes, "version": versions},
        schema={"hadm_id": pl.Int64, "code": pl.String, "version": pl.Int64},
    )
    found, warnings = repaired(rows, phenotypes(), _TABLE, as_written=as_written)
    assert found["hadm_id"].to_list() == list(range(len(codes)))
    return found["code"].to_list(), found["version"].to_list(), warnings


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        (["389", "4019", "380", "42731", "4280", "388"], ["0389", "4019", "0380", "42731", "4280", "0388"]),
        (["42", "4280"], ["042", "4280"]),  # no ICD-9 code has two digits
        (["389.0", "4019.0", "42731.0", "V4581"], ["0389", "4019", "42731", "V4581"]),  # a column of fractions
        (["486.0", "5849.0", "99591.0"], ["486", "5849", "99591"]),
        (["389.0", "486.0", "V4581"], ["0389", "486", "V4581"]),  # 486 has no subdivision
        (["38.9", "401.9", "427.31"], ["0389", "4019", "42731"]),  # numbers with their dots
        (["8.45", "V45.81", "486"], ["00845", "V4581", "486"]),
        (["42", "38.9", "428"], ["042", "0389", "428"]),
    ],
)
def test_what_is_certain_is_repaired_and_told(codes, expected):
    found, versions, warnings = _repair(codes)
    assert found == expected
    assert set(versions) == {9}
    assert any("leading zeros" in line or "fractions" in line for line in warnings)


@pytest.mark.parametrize(
    "codes",
    [
        ["0389", "4019", "42731"],
        ["038.9", "401.9", "427.31", "428.0", "250.00"],
        ["428.0", "427.0"],
        ["486", "412", "4280", "4019"],
        ["V4581", "E8497", "4280"],
        ["0389", "389", "4280"],  # zeros are kept: 389 is a category without its digits
    ],
)
def test_codes_that_are_whole_stay_as_they_are(codes):
    found, _, warnings = _repair(codes)
    assert found == [code.replace(".", "") for code in codes]
    assert not warnings


@pytest.mark.parametrize(
    "codes",
    [
        ["389", "412", "4280"],  # 412 is an old infarction, 041.2 a germ
        ["389", "486", "428", "250"],  # 428 and 250 are categories: so may 389 be, of hearing loss
    ],
)
def test_what_is_uncertain_is_refused_with_the_way_out(codes):
    with pytest.raises(UserError, match="leading zeros") as error:
        _repair(codes)
    line = str(error.value)
    assert _TABLE in line
    assert "as text" in line
    assert "rules.ambiguous_codes=as_written" in line
    found, _, warnings = _repair(codes, as_written=True)
    assert found == ["0389" if code == "389" and "412" in codes else code for code in codes]
    assert any("as written" in line for line in warnings)


def test_two_meanings_with_the_same_labels_harm_nothing():
    found, _, _ = _repair(["845", "389", "4280"])  # 008.45 or 084.5: neither gives a label
    assert found[1] == "0389"
    assert found[0] in ("00845", "0845")


@pytest.mark.parametrize(
    ("codes", "version", "expected"),
    [
        (["I5021", "J189"], 9, [10, 10]),
        (["4280", "486"], 10, [9, 9]),
        (["4280", "I5021", "J189"], [10, 9, 9], [9, 10, 10]),
        (["V4581", "4280", "486"], 10, [9, 9, 9]),  # the column is swapped as a whole
        (["E119", "I10"], 9, [10, 10]),
        (["E119", "V4581", "4280", "I10"], [10, 9, 9, 10], [10, 9, 9, 10]),
        (["E8497", "4280"], 9, [9, 9]),
    ],
)
def test_versions_that_a_code_denies(codes, version, expected):
    _, versions, warnings = _repair(codes, version)
    assert versions == expected
    given = version if isinstance(version, list) else [version] * len(codes)
    assert bool(warnings) == (given != expected)


@pytest.mark.parametrize("code", ["038.9", " 0389 ", "0389\u00a0", "'0389", '="0389"', "038.9\t"])
def test_signs_around_a_code(code):
    found, _, _ = _repair([code, "4280"])
    assert found == ["0389", "4280"]


def test_lower_case():
    assert _repair(["i50.21", "v45.81"], [10, 9])[0] == ["I5021", "V4581"]


def test_codes_of_another_system_are_told():
    _, _, warnings = _repair(["195967001", "44054006", "233604007", "4280"], 10)
    assert any("3 of 4" in line and "neither" in line for line in warnings)


@pytest.fixture
def carried(hospital, prepared):
    """Labels of the stays when the diagnoses are replaced: (stay -> labels, warnings)."""

    def run(rows, **settings):
        hospital.tables["hosp/diagnoses_icd"] = [
            {"subject_id": 1, "hadm_id": 10, "seq_num": number, "icd_code": code, "icd_version": version}
            for number, (code, version) in enumerate(rows)
        ] + [{"subject_id": 2, "hadm_id": 20, "seq_num": 1, "icd_code": "5849", "icd_version": rows[0][1]}]
        cohort = prepared(hospital, **settings)
        row = cohort.labels.filter(pl.col("stay_id") == 100).row(0, named=True)
        return {key for key, value in row.items() if value is True}, cohort.manifest["warnings"]

    return run


@pytest.mark.parametrize(
    "rows",
    [
        [("389", 9), ("42731", 9)],
        [("389.0", "9.0"), ("42731.0", "9.0")],
        [("0389", "ICD9"), ("42731", "ICD-9-CM")],
        [("0389", "09"), ("42731", " 9 ")],
        [("A41.9", "icd10"), ("i48.91", "10")],
        [("A419", 9), ("I4891", 9)],
    ],
)
def test_every_way_gives_the_same_labels(carried, rows):
    if rows[0] == ("389.0", "9.0"):
        rows = [*rows, ("4019.0", "9.0")]
    found, _ = carried(rows)
    assert found - {"essential_hypertension"} == {"septicemia", "cardiac_dysrhythmias"}


@pytest.mark.parametrize("kind", [pl.Int64, pl.Float64, pl.String, pl.Categorical])
def test_codes_of_a_parquet_file_of_any_type(hospital, prepared, tmp_path, kind):
    raw = hospital.write(tmp_path / "raw")
    (raw / "hosp" / "diagnoses_icd.csv.gz").unlink()
    rows = {"subject_id": [1, 1, 2], "hadm_id": [10, 10, 20], "icd_code": ["389", "42731", "5849"], "icd_version": 9}
    frame = pl.DataFrame(rows).with_columns(pl.col("icd_code").cast(pl.Int64 if kind.is_numeric() else kind).cast(kind))
    frame.write_parquet(raw / "hosp" / "diagnoses_icd.parquet")
    labels = prepared(raw).labels.filter(pl.col("stay_id") == 100).row(0, named=True)
    assert {key for key, value in labels.items() if value is True} == {"septicemia", "cardiac_dysrhythmias"}


def test_repairs_stand_in_the_manifest(carried):
    _, warnings = carried([("389", 9), ("42731", 9)])
    assert any("hosp/diagnoses_icd.csv.gz" in line and "leading zeros" in line for line in warnings)


def test_a_dictionary_of_numbers_is_no_table_of_codes(hospital, prepared):
    names = [{"icd_code": "4280", "icd_version": 9, "long_title": "Congestive heart failure"}]
    hospital.tables["hosp/d_icd_diagnoses"] = names
    assert not any("zeros" in line for line in prepared(hospital).manifest["warnings"])


def test_known_codes_keep_their_labels():
    rows = pl.DataFrame({"hadm_id": [1], "code": ["0389"], "version": [9]})
    table, _ = repaired(rows, phenotypes(), _TABLE)
    assert labels.owners(table, phenotypes())["label"].to_list() == ["septicemia"]
