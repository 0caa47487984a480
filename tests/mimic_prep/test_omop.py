"""An OMOP CDM of two patients: its cohort by hand, and what becomes of dirt in it: nothing is silent."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from clinragen.errors import UserError
from tests.mimic_prep.exports import (
    Export,
    Outcome,
    check,
    excluded,
    left_out,
    made,
    quarantined,
    refused,
    repaired,
)  # fmt: skip

pytestmark = pytest.mark.slow

_A, _B = -7_000_000_000_000_000_001, 5  # ids may be any signed 64-bit numbers
_V, _W = -8_000_000_000_000_000_002, 6


def _detail(number: int, person: int, visit: int, start: str, end: str, site: int) -> dict[str, Any]:
    return {
        "visit_detail_id": number,
        "person_id": person,
        "visit_detail_concept_id": 0,
        "visit_detail_start_date": start[:10],
        "visit_detail_start_datetime": start,
        "visit_detail_end_date": end[:10],
        "visit_detail_end_datetime": end,
        "visit_detail_type_concept_id": 32817,
        "care_site_id": site,
        "visit_occurrence_id": visit,
    }


def _visit(number: int, person: int, start: str, end: str, to: int) -> dict[str, Any]:
    return {
        "visit_occurrence_id": number,
        "person_id": person,
        "visit_concept_id": 9201,
        "visit_start_date": start[:10],
        "visit_start_datetime": start,
        "visit_end_date": end[:10],
        "visit_end_datetime": end,
        "visit_type_concept_id": 32817,
        "discharge_to_concept_id": to,
        "discharge_to_source_value": "",
        "admitting_source_value": "EMERGENCY ROOM",
    }


def _value(concept: Any, time: str, value: Any, unit: Any, **cells: Any) -> dict[str, Any]:
    return {
        "measurement_id": 1,
        "person_id": _A,
        "measurement_concept_id": concept,
        "measurement_date": time[:10],
        "measurement_datetime": time,
        "measurement_time": "",
        "value_as_number": value,
        "unit_concept_id": unit,
        "measurement_source_value": "x",
        "measurement_source_concept_id": 0,
        "unit_source_value": "",
        "value_source_value": "",
    } | cells


def _condition(person: int, visit: int, code: str, concept: int = 0, kind: int = 32821) -> dict[str, Any]:
    return {
        "condition_occurrence_id": 1,
        "person_id": person,
        "condition_concept_id": 1,
        "condition_start_date": "2150-03-02",
        "condition_type_concept_id": kind,
        "condition_source_value": code,
        "condition_source_concept_id": concept,
        "visit_occurrence_id": visit,
    }


_GOOD = Export(
    {
        "person": [
            {"person_id": _A, "gender_concept_id": 8532, "year_of_birth": 2080, "month_of_birth": "",
             "day_of_birth": "", "birth_datetime": "", "gender_source_value": "F"},
            {"person_id": _B, "gender_concept_id": 8507, "year_of_birth": 2100, "month_of_birth": 3, "day_of_birth": 1,
             "birth_datetime": "", "gender_source_value": "M"},
        ],
        "care_site": [
            {"care_site_id": 1, "care_site_name": "Medical ICU", "place_of_service_concept_id": 0},
            {"care_site_id": 2, "care_site_name": "Ward 5", "place_of_service_concept_id": 0},
            {"care_site_id": 3, "care_site_name": "ICU step-down", "place_of_service_concept_id": 32037},
        ],
        "visit_occurrence": [
            _visit(_V, _A, "2150-03-01 06:00:00", "2150-03-09 12:00:00", 8536),
            _visit(_W, _B, "2150-04-01 06:00:00", "2150-04-03 20:00:00", 4216643),
        ],
        "visit_detail": [
            _detail(-90, _A, _V, "2150-03-01 08:00:00", "2150-03-02 08:00:00", 1),
            _detail(91, _A, _V, "2150-03-02 08:00:30", "2150-03-05 08:00:00", 1),
            _detail(92, _A, _V, "2150-03-05 08:00:00", "2150-03-09 12:00:00", 2),
            _detail(93, _B, _W, "2150-04-01 08:00:00", "2150-04-03 20:00:00", 1),
            _detail(94, _B, _W, "2150-04-01 06:00:00", "2150-04-01 08:00:00", 3),
        ],
        "death": [{"person_id": _B, "death_date": "2150-04-03", "death_datetime": "2150-04-03 19:30:00"}],
        "measurement": [
            _value(3027018, "2150-03-01 09:10:00", 88, 8541),
            _value(3020891, "2150-03-01 09:10:00", 100.4, 9289),
            _value(3016723, "2150-03-01 10:00:00", 1.4, 8840),
            _value(3016723, "2150-03-02 10:00:00", 1.1, 8840),
            _value(3004249, "2150-03-01 09:10:00", 120, 8876),
            _value(3027018, "2150-04-01 10:05:00", 120, 8541, person_id=_B),
            _value(3000905, "2150-04-01 10:05:00", 12, 8848, person_id=_B),
        ],
        "observation": [
            {"observation_id": 1, "person_id": _B, "observation_concept_id": 3014315, "observation_date": "2150-04-01",
             "observation_datetime": "2150-04-01 10:30:00", "value_as_number": 50, "value_as_string": "",
             "unit_concept_id": 8587, "unit_source_value": "", "observation_source_value": "uo",
             "observation_source_concept_id": 0, "observation_type_concept_id": 32817, "visit_occurrence_id": _W},
            {"observation_id": 2, "person_id": _A, "observation_concept_id": 1, "observation_date": "2150-03-02",
             "observation_datetime": "", "value_as_number": "", "value_as_string": "", "unit_concept_id": "",
             "unit_source_value": "", "observation_source_value": "V45.01", "observation_source_concept_id": 44822222,
             "observation_type_concept_id": 32821, "visit_occurrence_id": _V},
        ],
        "condition_occurrence": [
            _condition(_A, _V, "J18.9 ", 35208014),
            _condition(_A, _V, "4280", 44820000),
            _condition(_A, _V, "225085", 2000030131, kind=32817),
            _condition(_B, _W, "A41.9"),
        ],
        "drug_exposure": [
            {"drug_exposure_id": 1, "person_id": _A, "drug_concept_id": 0, "drug_exposure_start_date": "2150-03-01",
             "drug_exposure_start_datetime": "2150-03-01 07:00:00", "drug_source_value": "Furosemide",
             "drug_source_concept_id": 0, "visit_occurrence_id": _V},
        ],
        "note": [
            {"note_id": 7, "person_id": _A, "note_date": "2150-03-01", "note_datetime": "2150-03-01 07:30:00",
             "note_type_concept_id": 0, "note_class_concept_id": 0, "note_title": "Discharge summary",
             "note_text": "History of Present Illness:\nShe had dyspnea, \"for days\".\n\nHospital Course:\nFine.",
             "visit_occurrence_id": _V, "note_source_value": ""},
        ],
    }
)  # fmt: skip


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> tuple[dict, dict[str, bytes], Path]:
    folder = tmp_path_factory.mktemp("omop")
    manifest, tables = made("omop", _GOOD.write(folder / "export"), folder / "cohort")
    return manifest, tables, folder / "cohort"


def test_the_cohort_is_that_computed_by_hand(good):
    _, _, cohort = good
    stays = pl.read_parquet(cohort / "stays.parquet").sort("subject_id")
    assert stays.select("stay_id", "subject_id", "hadm_id", "age", "sex").rows() == [
        (-90, _A, _V, 70.0, "F"), (93, _B, _W, pytest.approx(50.08, abs=0.02), "M"),
    ]  # fmt: skip
    assert [str(time) for time in stays["outtime"]] == ["2150-03-05 08:00:00", "2150-04-03 20:00:00"]
    series = pl.read_parquet(cohort / "series.parquet").sort("stay_id", "hour", "variable")
    assert [(stay, hour, name, round(value, 3)) for stay, hour, name, value in series.rows()] == [
        (-90, 1.0, "heart_rate", 88.0), (-90, 1.0, "systolic_bp", 120.0), (-90, 1.0, "temperature", 38.0),
        (-90, 2.0, "creatinine", 1.4), (-90, 26.0, "creatinine", 1.1),
        (93, 2.0, "heart_rate", 120.0), (93, 2.0, "urine_output", 50.0), (93, 2.0, "wbc", 12.0),
    ]  # fmt: skip
    labels = pl.read_parquet(cohort / "labels.parquet").sort("stay_id")
    for label, carried in {"pneumonia": [True, False], "congestive_heart_failure": [True, False],
                           "septicemia": [False, True], "conduction_disorders": [True, False]}.items():  # fmt: skip
        assert labels[label].to_list() == carried, label
    outcomes = pl.read_parquet(cohort / "outcomes.parquet").sort("stay_id")
    assert outcomes["died_in_hospital"].to_list() == [False, True]
    assert [str(time) for time in outcomes["death_time"]] == ["None", "2150-04-03 19:30:00"]
    notes = pl.read_parquet(cohort / "notes.parquet")
    assert "for days" in notes.filter(pl.col("stay_id") == -90)["text"][0]
    assert "Fine" not in "".join(notes["text"])


def _edit(table: str, row: int = 0, **cells: Any):
    def change(export: Export) -> None:
        export.tables[table][row] |= cells

    return change


def _add(table: str, like: int = 0, **cells: Any):
    def change(export: Export) -> None:
        export.tables[table].append(export.tables[table][like] | cells)

    return change


def _drop_column(table: str, *columns: str):
    def change(export: Export) -> None:
        for row in export.tables[table]:
            for column in columns:
                del row[column]

    return change


def _drop_table(*tables: str):
    def change(export: Export) -> None:
        for table in tables:
            del export.tables[table]

    return change


def _rename(table: str, **names: str):
    def change(export: Export) -> None:
        rows = export.tables[table]
        export.tables[table] = [{names.get(key, key): value for key, value in row.items()} for row in rows]

    return change


def _bytes(table: str, edit):
    def change(export: Export) -> None:
        def rewrite(folder: Path) -> None:
            path = folder / f"{table}.csv"
            path.write_bytes(edit(path.read_bytes()))

        export.after.append(rewrite)

    return change


def _files(edit):
    return lambda export: export.after.append(edit)


def _every(edit):
    def change(export: Export) -> None:
        for table in export.tables:
            _bytes(table, edit)(export)

    return change


def _shuffled(export: Export) -> None:
    for rows in export.tables.values():
        rows.reverse()


def _parquet(folder: Path) -> None:
    for path in folder.glob("*.csv"):
        pl.read_csv(path, infer_schema_length=0).write_parquet(path.with_suffix(".parquet"))
        path.unlink()


def _shards(folder: Path) -> None:
    lines = (folder / "measurement.csv").read_bytes().splitlines(keepends=True)
    (folder / "measurement.csv").unlink()
    (folder / "measurement").mkdir()
    for part, rows in enumerate((lines[4:], lines[1:4])):
        (folder / "measurement" / f"part-{part:05}.csv.gz").write_bytes(gzip.compress(lines[0] + b"".join(rows)))


def _packed(folder: Path) -> None:
    for path in folder.glob("*.csv"):
        path.with_suffix(".csv.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()


def _cut(folder: Path) -> None:
    data = gzip.compress((folder / "measurement.csv").read_bytes())
    (folder / "measurement.csv").unlink()
    (folder / "measurement.csv.gz").write_bytes(data[:-12])


def _upper(folder: Path) -> None:
    for path in folder.glob("*.csv"):
        path.rename(path.with_name(path.name.upper()))


def _athena(columns: list[str], rows: list[list[str]]) -> bytes:
    """A vocabulary file of Athena: tabs, quotes as they stand."""
    return "".join("\t".join(row) + "\n" for row in [columns, *rows]).encode()


def _vocabulary(folder: Path) -> None:
    """Concepts with names that a reader of CSV stumbles over; two decide what values are."""
    columns = ["concept_id", "concept_name", "domain_id", "vocabulary_id", "concept_class_id", "standard_concept",
               "concept_code", "valid_start_date", "valid_end_date", "invalid_reason"]  # fmt: skip
    named = [
        ("123456", '5" catheter, "long', "Measurement", "None", "Lab Test", "S", "x"),
        ("7", 'unclosed "quote', "Measurement", "LOINC", "Lab Test", "S", "8867-4"),
        ("8", "it's", "Measurement", "None", "Lab Test", "", ""),
        ("35208014", 'pneumonia "walking"', "Condition", "ICD10CM", "4-char billing code", "", "J18.9"),
    ]
    rows = [[*row, "19700101", "20991231", ""] for row in named]
    (folder / "CONCEPT.csv").write_bytes(_athena(columns, rows))
    relations = [
        "concept_id_1",
        "concept_id_2",
        "relationship_id",
        "valid_start_date",
        "valid_end_date",
        "invalid_reason",
    ]
    rows = [["2000000077", "3027018", "Maps to", "19700101", "20991231", ""]]
    (folder / "CONCEPT_RELATIONSHIP.csv").write_bytes(_athena(relations, rows))


def _header(edit):
    def change(data: bytes) -> bytes:
        head, _, rest = data.partition(b"\n")
        return edit(head) + b"\n" + rest

    return change


def _quoted(data: bytes) -> bytes:
    rows = list(csv.reader(data.decode().splitlines()))
    return "".join(",".join(f'"{cell}"' for cell in row) + "\n" for row in rows).encode()


_IN = "2150-03-01 11:00:00"  # an hour of the first stay that has no value
_M, _D, _C = "measurement", "visit_detail", "condition_occurrence"


def _extra(**cells: Any):
    """A heart rate in an hour without values, changed."""
    return _add(_M, **{"measurement_date": _IN[:10], "measurement_datetime": _IN} | cells)


_CASES: dict[str, tuple[Any, Outcome]] = {
    # files and columns
    "rows in another order": (_shuffled, repaired()),
    "Parquet, all columns text": (_files(_parquet), repaired()),
    "packed": (_files(_packed), repaired()),
    "shards": (_files(_shards), repaired()),
    "upper-case file names": (_files(_upper), repaired()),
    "upper-case columns": (_every(_header(bytes.upper)), repaired()),
    "byte order mark": (_every(lambda data: b"\xef\xbb\xbf" + data), repaired()),
    "CRLF": (
        lambda export: [_bytes(t, lambda d: d.replace(b"\n", b"\r\n"))(export) for t in export.tables if t != "note"],
        repaired(),
    ),
    "every cell quoted": (_bytes(_M, _quoted), repaired()),
    "every row twice": (
        lambda export: [
            rows.extend([dict(row) for row in rows])
            for t, rows in export.tables.items()
            if t not in ("observation", "drug_exposure")
        ],
        repaired(),
    ),
    "an additional column": (lambda export: [row.update(extra="x") for row in export.tables[_M]], repaired()),
    "5.4's names of the disposition": (
        _rename(
            "visit_occurrence",
            discharge_to_concept_id="discharged_to_concept_id",
            admitting_source_value="admitted_from_source_value",
        ),
        repaired(),
    ),
    "no optional columns": (
        _drop_column(
            _M,
            "measurement_time",
            "measurement_source_value",
            "unit_source_value",
            "measurement_source_concept_id",
            "value_source_value",
        ),
        repaired(),
    ),
    "no table of deaths": (_drop_table("death"), Outcome(same=False)),
    "no table of notes": (_drop_table("note"), Outcome(same=False)),
    "no table of drugs": (_drop_table("drug_exposure"), Outcome(same=True)),
    "no table of diagnoses": (_drop_table(_C, "observation"), Outcome(same=False)),
    "no persons": (_drop_table("person"), refused("table person.csv.gz (or .csv, .parquet) of OMOP not found")),
    "no visits": (
        _drop_table("visit_occurrence"),
        refused("table visit_occurrence.csv.gz (or .csv, .parquet) of OMOP not found"),
    ),
    "no values": (_drop_table(_M, "observation"), refused("no table of measurements found")),
    "no column of persons": (_drop_column(_M, "person_id"), refused("column 'person_id' is missing")),
    "no column of concepts": (
        _drop_column(_M, "measurement_concept_id"),
        refused("'measurement_concept_id' is missing"),
    ),
    "no column of numbers": (_drop_column(_M, "value_as_number"), refused("column 'value_as_number' is missing")),
    "a column twice": (
        _bytes(_M, _header(lambda head: head.replace(b"measurement_id", b"person_id"))),
        refused("column 'person_id' stands twice in the header"),
    ),
    "cut off": (_files(_cut), refused("is cut off or corrupt")),
    "tabs, as Athena writes": (_bytes(_M, lambda data: data.replace(b",", b"\t")), refused("separated by tab")),
    "the vocabularies of Athena": (_files(_vocabulary), repaired()),
    "values by the vocabularies of Athena": (
        lambda export: (
            _edit(_M, measurement_concept_id=7)(export),
            _edit(_M, 5, measurement_concept_id=2000000077)(export),
            _files(_vocabulary)(export),
        ),
        repaired(),
    ),
    "a row of Athena too short": (
        _files(lambda folder: (_vocabulary(folder), (folder / "CONCEPT.csv").open("a").write("9\tshort\n"))),
        quarantined("concept", "expected 10 fields, found 2"),
    ),
    "semicolons": (_bytes(_M, lambda data: data.replace(b",", b";")), refused("separated by semicolon")),
    "UTF-16": (_bytes(_M, lambda data: data.decode().encode("utf-16")), refused("not UTF-8")),
    "an empty file": (_bytes("person", lambda _: b""), refused("is empty")),
    "a table without rows": (_bytes("person", lambda data: data.split(b"\n")[0] + b"\n"), refused("has no rows")),
    "a table twice": (
        _files(lambda folder: (folder / "person.csv.gz").write_bytes(gzip.compress(b"person_id\n1\n"))),
        refused("several files could be the table person"),
    ),
    "a spreadsheet": (
        _files(lambda folder: (folder / f"{_M}.csv").rename(folder / f"{_M}.xlsx")),
        refused("in a form that is not read"),
    ),
    "no unit of intensive care": (
        lambda export: export.tables["care_site"].__setitem__(
            0, export.tables["care_site"][0] | {"care_site_name": "Ward 4"}
        ),
        refused("the care sites are called ICU step-down, Ward 4"),
    ),
    # rows of values
    "text for a number": (_extra(value_as_number="high"), quarantined(_M, "value_as_number is not a number")),
    "a decimal comma": (_extra(value_as_number="77,5"), quarantined(_M, "value_as_number is not a number")),
    "an infinite value": (_extra(value_as_number="inf"), quarantined(_M, "no numeric value")),
    "no number anywhere": (_extra(value_as_number=""), quarantined(_M, "no numeric value")),
    "an impossible value": (_extra(value_as_number=8800), quarantined(_M, "implausible heart_rate")),
    "a number in the source value only": (
        lambda export: export.tables[_M][0].update(value_as_number="", value_source_value="88"),
        repaired(_M, "number read from the source value"),
    ),
    "a limit of the assay": (
        _add(_M, 2, measurement_datetime=_IN, value_as_number="", value_source_value="<0.2"),
        Outcome(same=False, where=((_M, "remarks", "no number: read from the text", 1),)),
    ),
    "no time": (_extra(measurement_date="", measurement_datetime=""), quarantined(_M, "no time")),
    "an impossible date": (
        _extra(measurement_datetime="2150-02-30 10:00:00"),
        quarantined(_M, "measurement_datetime is not"),
    ),
    "day before month": (
        _extra(measurement_datetime="30/03/2150 10:00"),
        quarantined(_M, "measurement_datetime is not"),
    ),
    "an offset from UTC": (
        _extra(measurement_datetime="2150-03-01T10:00:00-05:00"),
        quarantined(_M, "datetime is not"),
    ),
    "UTC by name": (
        lambda export: [
            row.update(measurement_datetime=f"{row['measurement_datetime']} UTC") for row in export.tables[_M]
        ],
        repaired(),
    ),
    "a time with a T": (
        lambda export: [
            row.update(measurement_datetime=row["measurement_datetime"].replace(" ", "T")) for row in export.tables[_M]
        ],
        repaired(),
    ),
    "a date and a separate time": (_edit(_M, measurement_datetime="", measurement_time="09:10:00"), repaired()),
    "a date alone": (
        _extra(measurement_datetime=""),
        Outcome(same=False, where=((_M, "remarks", "counts at the end of that day", 1),)),
    ),
    "times that are midnight": (
        lambda export: [
            row.update(measurement_datetime=f"{row['measurement_date']} 00:00:00") for row in export.tables[_M]
        ],
        Outcome(
            same=False,
            where=((_M, "remarks", "counts at the end of that day", 7),),
            warning="the times of measurement are midnight",
        ),
    ),
    "times that are midnight, beside a clock": (
        lambda export: [
            row.update(
                measurement_time=row["measurement_datetime"][11:],
                measurement_datetime=f"{row['measurement_date']} 00:00:00",
            )
            for row in export.tables[_M]
        ],
        Outcome(warning="the times of measurement are midnight"),
    ),
    "times of the first day that a database knows": (
        lambda export: [
            row.update(measurement_datetime=f"1900-01-01 {row['measurement_datetime'][11:]}")
            for row in export.tables[_M]
        ],
        repaired(_M, "on the day of the date column", 7),
    ),
    "numbers of a data frame": (
        lambda export: [
            row.update({key: f"{value}.0" for key, value in row.items() if isinstance(value, int) and key != "note_id"})
            for rows in export.tables.values()
            for row in rows
        ],
        repaired(),
    ),
    "in the year 9999": (_extra(measurement_datetime="9999-12-31 23:59:59"), left_out(_M, "outside the window")),
    "before the stay": (_extra(measurement_datetime="2150-03-01 07:00:00"), left_out(_M, "stay not in the cohort")),
    "of a stranger": (_extra(person_id=999), left_out(_M, "patient not in the cohort")),
    "of nobody": (_extra(person_id=""), left_out(_M, "no subject_id")),
    "an id that is a word": (_extra(person_id="A1"), quarantined(_M, "person_id is not a whole number")),
    "an id that is a fraction": (_extra(person_id="1.5"), quarantined(_M, "person_id is not a whole number")),
    "an id beyond 64 bits": (_extra(person_id="9" * 25), quarantined(_M, "person_id is not a whole number")),
    "an unknown concept": (_extra(measurement_concept_id=123456), left_out(_M, "concept not used")),
    "no concept, unknown source": (_extra(measurement_concept_id=0), left_out(_M, "a source that is not used")),
    "no concept, LOINC as source": (
        _edit(_M, measurement_concept_id=0, measurement_source_value="8867-4"),
        repaired(_M, "read from the source"),
    ),
    "no concept, a standard source concept": (
        _edit(_M, measurement_concept_id=0, measurement_source_concept_id=3027018),
        repaired(_M, "read from the source"),
    ),
    "a word for a concept": (_extra(measurement_concept_id="HR"), quarantined(_M, "measurement_concept_id is not")),
    "a unit of another kind": (_extra(unit_concept_id=8876), quarantined(_M, "unit not known for its variable")),
    "a unit nobody knows": (_extra(unit_concept_id=0, unit_source_value="furlong"), quarantined(_M, "unit not known")),
    "a unit in words only": (_edit(_M, unit_concept_id=0, unit_source_value="BPM"), repaired()),
    "UCUM in words": (_edit(_M, 6, unit_concept_id="", unit_source_value="10*3/uL"), repaired()),
    "no unit": (_edit(_M, unit_concept_id=""), repaired(_M, "no unit: taken as the usual one")),
    "a converted unit": (_edit(_M, 2, value_as_number=123.760, unit_concept_id=8749), repaired()),
    "the temperature in Celsius": (_edit(_M, 1, value_as_number=38.0, unit_concept_id=586323), repaired()),
    "a row too short": (_bytes(_M, lambda data: data + b"1,2\n"), quarantined(_M, "fields, found 2")),
    "a blank line": (_bytes(_M, lambda data: data + b"\n"), repaired()),
    # stays, visits, persons
    "an end before its start": (
        _edit(_D, 2, visit_detail_end_datetime="2150-03-01 00:00:00", care_site_id=1),
        quarantined(_D, "ends before it starts"),
    ),
    "a stay without start": (
        _add(_D, visit_detail_id=99, visit_detail_start_date="", visit_detail_start_datetime=""),
        quarantined(_D, "no start"),
    ),
    "a stay without end": (
        _add(
            _D,
            3,
            visit_detail_id=99,
            visit_detail_start_datetime="2150-04-03 21:00:00",
            visit_detail_end_date="",
            visit_detail_end_datetime="",
        ),
        excluded("no time of admission or discharge"),
    ),
    "a stay without visit": (_edit(_D, 3, visit_occurrence_id=""), repaired()),
    "a stay of an unknown visit": (
        _add(_D, 3, visit_detail_id=99, visit_occurrence_id=404),
        excluded("visit not in the table"),
    ),
    "a stay without person": (_add(_D, person_id="", visit_detail_id=99), quarantined(_D, "no subject_id")),
    "a stay within a stay": (
        _add(
            _D,
            visit_detail_id=99,
            visit_detail_start_datetime="2150-03-01 09:00:00",
            visit_detail_end_datetime="2150-03-01 10:00:00",
        ),
        repaired(_D, "joined to the row before"),
    ),
    "a stay of an unknown person": (
        lambda export: (
            _add(_D, 3, visit_detail_id=99, person_id=77, visit_occurrence_id=70)(export),
            _add("visit_occurrence", 1, visit_occurrence_id=70, person_id=77)(export),
        ),
        excluded("person not in the table"),
    ),
    "two rows of a person that differ": (
        _add("person", year_of_birth=2100),
        repaired("person", "another row of the person, which differs"),
    ),
    "a person without a year": (_edit("person", year_of_birth=""), excluded("age unknown", same=False)),
    "sex by words": (_edit("person", gender_concept_id=0), repaired()),
    "a visit that ends before it starts": (
        _add("visit_occurrence", visit_occurrence_id=71, visit_end_datetime="2149-01-01 00:00:00"),
        quarantined("visit_occurrence", "ends before it starts"),
    ),
    # diagnoses, drugs, notes
    "a code that is none": (_add(_C, condition_source_value="see note"), left_out(_C, "no ICD code")),
    "a vocabulary before the code": (_edit(_C, 3, condition_source_value="ICD10CM:A41.9"), repaired()),
    "a code in lower case": (_edit(_C, 3, condition_source_value="a419"), repaired()),
    "a problem list": (
        _add(_C, condition_type_concept_id=32840, condition_source_value="I50.9"),
        left_out(_C, "problem list"),
    ),
    "a diagnosis of a stranger": (_add(_C, person_id=999), left_out(_C, "not in the cohort")),
    "a diagnosis without visit": (_edit(_C, 1, visit_occurrence_id=""), repaired()),
    "a diagnosis years later": (
        _add(_C, visit_occurrence_id="", condition_start_date="2160-01-01", condition_source_value="I63.9"),
        repaired(_C, "outside any visit"),
    ),
    "a drug by number alone": (
        _add("drug_exposure", drug_source_value="00002751001"),
        left_out("drug_exposure", "drug without a name", rows=2),  # read twice: for the text, and for the orders
    ),
    "a note of an unknown kind": (
        _add("note", note_id=8, note_title="Diet sheet"),
        left_out("note", "other kind of note"),
    ),
    "a note in RTF": (
        _edit(
            "note",
            note_text=r"{\rtf1\ansi{\fonttbl\f0 Arial;}History of Present Illness:\par She had dyspnea, "
            r'"for \b days\b0 ".\par\par Hospital Course:\par Fine.}',
        ),
        repaired("note", "note in RTF: read as text"),
    ),
    "a note in HTML": (
        _edit(
            "note",
            note_text="<html><body><p>History of Present Illness:</p><p>She had dyspnea, &quot;for days&quot;."
            "</p><p></p><p>Hospital Course:</p><p>Fine.</p></body></html>",
        ),
        repaired("note", "note in HTML: read as text"),
    ),
    "a note in one line": (
        lambda export: export.tables["note"][0].update(
            note_text=export.tables["note"][0]["note_text"].replace("\n", "\\n")
        ),
        repaired("note", "note in one line with"),
    ),
    "a note without text": (_add("note", note_id=9, note_text=""), quarantined("note", "no text")),
}


@pytest.mark.parametrize(("change", "expected"), _CASES.values(), ids=_CASES)
def test_dirt_is_never_silent(good, tmp_path, change, expected):
    manifest, tables, _ = good
    export = _GOOD.copy()
    change(export)
    check("omop", export, expected, tables, tmp_path, manifest)


def test_there_are_sixty_kinds_of_dirt():
    assert len(_CASES) >= 60


def _with_unused(folder: Path) -> Path:
    """The good export with three rows of one unused concept and a value with a code of the site alone."""
    export = _GOOD.copy()
    for _ in range(3):
        _extra(measurement_concept_id=123456, value_as_number=77, unit_concept_id="")(export)
    _extra(measurement_concept_id=0, measurement_source_value="PULS", value_as_number=66)(export)
    _files(_vocabulary)(export)
    return export.write(folder / "export")


def test_concepts_that_no_variable_has_are_listed_to_be_filled_in(tmp_path, good):
    folder = _with_unused(tmp_path)
    manifest, before = made("omop", folder, tmp_path / "cohort")
    assert before == good[1]
    listed = yaml.safe_load((tmp_path / "cohort" / "concepts_to_fill.yaml").read_text())
    assert listed == {"concepts": {123456: {"variable": None}}, "source_values": {"PULS": {"variable": None}}}
    assert manifest["omop"]["most_frequent"] == [["123456", '5" catheter, "long', "measurement", 3]]
    (told,) = [line for line in manifest["warnings"] if "concepts_to_fill.yaml" in line and "most often" in line]
    assert '123456 (5" catheter, "long) 3' in told
    assert "PULS" not in str(manifest)  # a source value may hold anything, so only the file has it
    unchanged = made("omop", folder, tmp_path / "again", concepts=str(tmp_path / "cohort" / "concepts_to_fill.yaml"))
    assert unchanged[1] == before  # a template as it is changes nothing


def test_a_filled_in_concept_is_read(tmp_path):
    folder = _with_unused(tmp_path)
    filled = tmp_path / "ours.yaml"
    filled.write_text(
        "concepts: {123456: {variable: temperature, unit: degF}}\nsource_values: {PULS: {variable: heart_rate}}\n"
    )
    manifest, _ = made("omop", folder, tmp_path / "cohort", concepts=str(filled))
    series = pl.read_parquet(tmp_path / "cohort" / "series.parquet").filter(pl.col("hour") == 3)
    assert dict(series.select("variable", pl.col("value").round(2)).iter_rows()) == {
        "heart_rate": 66.0, "temperature": 25.0,
    }  # fmt: skip
    assert manifest["omop"]["unused_concepts"] == 0
    filled.write_text("concepts: {123456: {variable: temperatur}}\n")
    with pytest.raises(UserError, match=r"concepts\.123456: variable.*did you mean 'temperature'"):
        made("omop", folder, tmp_path / "other", concepts=str(filled))


def test_counts_of_unused_concepts_survive_a_resumed_preparation(tmp_path, monkeypatch):
    folder = _with_unused(tmp_path)
    whole, _ = made("omop", folder, tmp_path / "whole")
    from mimic_prep import outcomes

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(outcomes, "build", killed)
        with pytest.raises(KeyboardInterrupt):
            made("omop", folder, tmp_path / "cohort")
    resumed, _ = made("omop", folder, tmp_path / "cohort")
    assert resumed["omop"] == whole["omop"]
    assert resumed["tables"] == whole["tables"]


@pytest.mark.parametrize(("word", "read"), [("VEN.", False), ("ART.", True), ("-2.1", True)])
def test_the_specimen_of_a_blood_gas_decides(tmp_path, word, read):
    """In the MIMIC-IV demo the concept of a base excess holds the specimen; elsewhere it is a base excess."""
    export = _GOOD.copy()
    _extra(measurement_concept_id=3027315, value_as_number=44, unit_concept_id=8876)(export)
    _extra(measurement_concept_id=21490592, value_as_number="", value_source_value=word, unit_concept_id="")(export)
    made("omop", export.write(tmp_path / "export"), tmp_path / "cohort")
    series = pl.read_parquet(tmp_path / "cohort" / "series.parquet")
    assert ("pao2" in set(series["variable"])) is read
