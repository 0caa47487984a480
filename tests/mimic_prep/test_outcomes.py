"""Outcomes: read from every source, null if unknown, and never an input of a model."""

from __future__ import annotations

import ast
import json
from datetime import datetime
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

import clinragen
from clinragen.artifacts import sha256_file
from clinragen.cohort.folder import Cohort
from clinragen.errors import UserError
from clinragen.schema import OUTCOMES
from mimic_prep.audit import row_checks
from mimic_prep.audit.cohort_tables import CohortTables
from mimic_prep.cli import main
from tests.mimic_prep.test_meds_datasets import patient, write
from tests.mimic_prep.test_prepare_eicu import _TABLES as EICU
from tests.mimic_prep.test_prepare_mimic_iii import _TABLES as MIMIC3

Outcome = tuple[bool | None, datetime | None, datetime | None]
LEFT = datetime(2151, 3, 9, 12)  # admission 10 of the hospital of the tests


def outcomes(root: Path) -> dict[int, Outcome]:
    """stay_id -> died_in_hospital, death_time, hospital_outtime."""
    table = pq.read_table(root / "outcomes.parquet")
    assert table.schema.equals(OUTCOMES)
    return {row["stay_id"]: tuple(list(row.values())[1:]) for row in table.to_pylist()}


#: cells of an admission, whether its patient died there, and when; of one patient each
_MIMIC: list[tuple[dict[str, object], bool | None, datetime | None]] = [
    ({"hospital_expire_flag": 1, "deathtime": "2151-03-09 11:30:00"}, True, datetime(2151, 3, 9, 11, 30)),
    ({"hospital_expire_flag": 1}, True, None),
    ({"hospital_expire_flag": "1.0"}, True, None),
    ({"hospital_expire_flag": 0}, False, None),
    ({"hospital_expire_flag": 0, "deathtime": "2151-03-09 11:30:00"}, False, None),
    ({"hospital_expire_flag": ""}, None, None),
    ({"deathtime": "2151-03-09 11:30:00"}, True, datetime(2151, 3, 9, 11, 30)),
]


def test_admissions_of_mimic_say_who_died(hospital, prepared):
    for subject, (cells, _, _) in enumerate(_MIMIC, 4):
        for table in ("hosp/patients", "hosp/admissions", "icu/icustays"):
            [first] = [row for row in hospital.tables[table] if row.get("hadm_id", 10) == 10 and row["subject_id"] == 1]
            ids = {"subject_id": subject, "hadm_id": subject * 10, "stay_id": subject * 100}
            hospital.tables[table].append(first | {key: ids[key] for key in ids if key in first})
        hospital.tables["hosp/admissions"][-1].update(cells)
        row = hospital.tables["icu/chartevents"][0]
        hospital.tables["icu/chartevents"].append(row | {"subject_id": subject, "stay_id": subject * 100})
    cohort = prepared(hospital)
    found = outcomes(cohort.root)
    assert {stay: found[stay] for stay in found if stay >= 400} == {
        subject * 100: (died, death, LEFT) for subject, (_, died, death) in enumerate(_MIMIC, 4)
    }
    loaded = Cohort.load(cohort.root).outcomes.filter(pl.col("stay_id") >= 400)
    assert loaded["died_in_hospital"].to_list() == [died for _, died, _ in _MIMIC]


def test_admissions_that_do_not_say_who_died_leave_it_open(good):
    assert outcomes(good.root) == {
        100: (None, None, LEFT),
        200: (None, None, datetime(2150, 6, 20)),
        201: (None, None, datetime(2150, 6, 20)),
    }


def test_an_outcome_that_cannot_be_read_costs_no_stay(hospital, prepared):
    hospital.tables["hosp/admissions"][1].update(hospital_expire_flag="perhaps", deathtime="soon")
    cohort = prepared(hospital)
    assert outcomes(cohort.root)[100] == (None, None, LEFT)
    assert [line.split(" for ")[0] for line in cohort.manifest["warnings"] if "became of" in line] == [
        "hospital_expire_flag cannot be read",
        "deathtime cannot be read",
    ]


def test_an_outcome_changes_no_other_file(hospital, prepared):
    before = prepared(hospital)
    hospital.tables["hosp/admissions"][1].update(hospital_expire_flag=1, deathtime="2151-03-02 11:30:00")
    after = prepared(hospital)
    files = {path.name for path in before.root.glob("*.parquet")}
    assert "outcomes.parquet" in files
    same = {name for name in files if (before.root / name).read_bytes() == (after.root / name).read_bytes()}
    assert files - same == {"outcomes.parquet"}
    assert after.manifest["outputs"]["outcomes.parquet"] == sha256_file(after.root / "outcomes.parquet")


def test_mimic_iii_says_so_in_the_same_columns(tmp_path):
    lines = MIMIC3["ADMISSIONS"].splitlines()
    lines = [lines[0] + ",DEATHTIME,HOSPITAL_EXPIRE_FLAG", lines[1] + ",2151-03-09 12:00:00,1", lines[2] + ",,0"]
    (tmp_path / "raw").mkdir()
    for name, text in {**MIMIC3, "ADMISSIONS": "\n".join(lines) + "\n"}.items():
        (tmp_path / "raw" / f"{name}.csv").write_text(text)
    assert main(["mimic-iii", "--raw", str(tmp_path / "raw"), "--out", str(tmp_path / "cohort")]) == 0
    assert outcomes(tmp_path / "cohort") == {100: (True, LEFT, LEFT), 200: (False, None, LEFT)}


def test_eicu_says_alive_expired_or_nothing(tmp_path):
    rows = [f"{row},{status}" for row, status in zip(EICU["patient"][1:4], ("Alive", "Expired", ""), strict=True)]
    adult = EICU["patient"][4].replace(",17,", ",71,")
    tables = {**EICU, "patient": [EICU["patient"][0] + ",hospitaldischargestatus", *rows, adult + ","]}
    tables["vitalPeriodic"] = [*EICU["vitalPeriodic"], "4,5,37,80,97"]
    (tmp_path / "raw").mkdir()
    for name, lines in tables.items():
        (tmp_path / "raw" / f"{name}.csv").write_text("\n".join(lines) + "\n")
    assert main(["eicu", "--raw", str(tmp_path / "raw"), "--out", str(tmp_path / "cohort")]) == 0
    stays = dict(pl.read_parquet(tmp_path / "cohort" / "stays.parquet").select("stay_id", "intime").iter_rows())
    found = outcomes(tmp_path / "cohort")
    assert {stay: died for stay, (died, _, _) in found.items()} == {1: False, 2: True, 4: None}
    assert all(death is None for _, death, _ in found.values())  # eICU has no time of death
    minutes = {stay: (out - stays[stay]).total_seconds() / 60 for stay, (_, _, out) in found.items() if out}
    assert minutes == {1: 9000, 2: 3000, 4: 900}


_HOME, _DIED = "HOSPITAL_DISCHARGE//HOME", "HOSPITAL_DISCHARGE//DIED"


#: what a patient's discharge is called, a time of death, whether the patient died in hospital, and when
_MEDS: list[tuple[str, str | None, bool, datetime | None]] = [
    (_DIED, "2150-01-08 23:10:00", True, datetime(2150, 1, 8, 23, 10)),
    (_DIED, None, True, None),
    (_HOME, "2150-01-09 00:00:00", False, None),  # a date alone: home in the morning, dead in the evening
    (_HOME, None, False, None),
    ("HOSPITAL_DISCHARGE", "2150-01-07 01:00:00", True, datetime(2150, 1, 7, 1)),
    ("HOSPITAL_DISCHARGE", "2150-01-09 23:59:59", True, datetime(2150, 1, 9, 23, 59, 59)),
    ("HOSPITAL_DISCHARGE", "2150-02-01 10:00:00", False, None),
]


def of_meds(root: Path, patients: list[tuple[str, str | None]]) -> dict[int, Outcome]:
    """The outcomes of a dataset of patients with such a discharge and time of death."""
    rows = []
    for subject, (leaving, death) in enumerate(patients, 1):
        rows += [(*row[:2], leaving, *row[3:]) if row[2] == _HOME else row for row in patient(subject)]
        if death:
            rows.append((subject, death, "MEDS_DEATH", None, None, None, None))
    write(root / "raw", {"0.parquet": rows})
    assert main(["meds", "--raw", str(root / "raw"), "--out", str(root / "cohort")]) == 0
    return outcomes(root / "cohort")


def test_meds_says_so_by_disposition_and_time_of_death(tmp_path):
    assert of_meds(tmp_path, [(leaving, death) for leaving, death, _, _ in _MEDS]) == {
        subject * 100: (died, time, datetime(2150, 1, 9)) for subject, (_, _, died, time) in enumerate(_MEDS, 1)
    }


def test_meds_leaves_it_open_where_nobody_is_said_to_have_died(tmp_path):
    assert of_meds(tmp_path, [("HOSPITAL_DISCHARGE//UNK", None)]) == {100: (None, None, datetime(2150, 1, 9))}


def test_meds_of_a_death_that_nobody_else_tells(tmp_path):
    assert of_meds(tmp_path, [(_DIED, None)]) == {100: (True, None, datetime(2150, 1, 9))}


def test_who_is_not_said_to_have_died_lives_where_deaths_are_told(tmp_path):
    found = of_meds(tmp_path, [("HOSPITAL_DISCHARGE", None), ("HOSPITAL_DISCHARGE", "2150-01-07 01:00:00")])
    assert {stay: died for stay, (died, _, _) in found.items()} == {100: False, 200: True}


def test_the_challenge_gives_days(tmp_path):
    raw = tmp_path / "raw" / "set-a"
    raw.mkdir(parents=True)
    for stay in (1, 2, 3):
        (raw / f"{stay}.txt").write_text("Time,Parameter,Value\n00:00,Age,60\n00:07,HR,80\n")
    (raw.parent / "Outcomes-a.txt").write_text(
        "RecordID,SAPS-I,SOFA,Length_of_stay,Survival,In-hospital_death\n1,6,1,9,-1,0\n2,6,1,5,4,1\n"
    )
    assert main(["physionet-2012", "--raw", str(raw.parent), "--out", str(tmp_path / "cohort")]) == 0
    assert outcomes(tmp_path / "cohort") == {
        1: (False, None, datetime(2012, 1, 10)),
        2: (True, datetime(2012, 1, 5), datetime(2012, 1, 6)),
        3: (None, None, None),
    }
    assert "Outcomes-a.txt" in json.loads((tmp_path / "cohort" / "manifest.json").read_text())["inputs"]


def test_a_cohort_from_before_says_what_to_do(prepared, hospital):
    cohort = prepared(hospital)
    (cohort.root / "outcomes.parquet").unlink()
    del cohort.manifest["outputs"]["outcomes.parquet"]
    (cohort.root / "manifest.json").write_text(json.dumps(cohort.manifest))
    old = Cohort.load(cohort.root)
    with pytest.raises(UserError, match=r"outcomes\.parquet.*prepare it anew"):
        _ = old.outcomes
    assert row_checks.outcomes(CohortTables.of(old)).status == "note"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"death_time": datetime(2149, 1, 1)}, "death before the stay"),
        ({"died_in_hospital": False}, "time of death of a stay that was survived"),
        ({"hospital_outtime": datetime(2149, 1, 1)}, "hospital discharge before the stay"),
        ({}, None),
    ],
)
def test_the_audit_tells_outcomes_that_cannot_be(hospital, prepared, change, says):
    hospital.tables["hosp/admissions"][1].update(hospital_expire_flag=1, deathtime="2151-03-09 11:30:00")
    cohort = Cohort.load(prepared(hospital).root)
    one = pl.col("stay_id") == 100
    replaced = [pl.when(one).then(pl.lit(value)).otherwise(name).alias(name) for name, value in change.items()]
    cohort.__dict__["outcomes"] = cohort.outcomes.with_columns(replaced)
    check = row_checks.outcomes(CohortTables.of(cohort))
    assert [row["what"] for row in check.rows] == ([says] if says else [])
    assert check.status == ("warning" if says else "pass")
    assert "among 1 stay of which it is known; of 2 stays it is not." in check.says


#: who may read outcomes: the folder's own names and reader, the tasks that make labels of them, the adapters, and the
#: index of similar cases, which leaves out stays that had not ended when another is predicted
_MAY_READ = ("schema.py", "cohort/folder.py", "tasks/", "adapters/", "similarity/build.py")


def _reads_outcomes(source: str) -> bool:
    """Whether code names the file, its columns, or ``outcomes`` of a cohort or of its paths."""
    nodes = list(ast.walk(ast.parse(source)))
    owners = {ast.unparse(node.value) for node in nodes if isinstance(node, ast.Attribute) and node.attr == "outcomes"}
    imported = {alias.name for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names}
    texts = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    of_cohort = any(owner.rsplit(".", 1)[-1].strip("_") in ("cohort", "paths", "self") for owner in owners - {"self"})
    return of_cohort or bool((imported | texts) & {"OUTCOMES", "outcomes.parquet", *OUTCOMES.names[1:]})


@pytest.mark.parametrize(
    "line", ["cohort.outcomes", "self._cohort.outcomes", "cohort.paths.outcomes", "frame['death_time']"]
)
def test_what_reads_them_is_noticed(line: str) -> None:
    assert _reads_outcomes(f"def read(cohort):\n    return {line}\n")
    assert not _reads_outcomes("def run(run):\n    return run.outcomes()\n")


def test_no_input_of_a_model_reads_outcomes() -> None:
    root = Path(clinragen.__file__).parent
    modules = {path.relative_to(root).as_posix(): path.read_text() for path in root.rglob("*.py")}
    readers = [name for name, source in modules.items() if _reads_outcomes(source)]
    assert "cohort/folder.py" in readers
    assert [name for name in readers if not name.startswith(_MAY_READ)] == []
