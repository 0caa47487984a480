"""The audit of small and unusual cohorts reports what it can, without errors, and finds text of the course."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from clinragen.artifacts import sha256_file, write_json, write_table
from clinragen.catalog import phenotypes
from clinragen.cohort.folder import Cohort
from clinragen.schema import NOTES, OUTCOMES, SERIES, STAYS, CohortPaths, labels_schema
from mimic_prep import cli
from mimic_prep.audit import Audit, audit, later, named_diagnoses
from mimic_prep.audit.cohort_tables import CohortTables
from mimic_prep.audit.page import render

_START = datetime(2150, 1, 1)
HPI, EXAM, PAST = "history_of_present_illness", "admission_exam", "past_medical_history"


class Small:
    """A cohort of few stays: change its tables, then ``audit`` it."""

    def __init__(self, root: Path, stays: int = 12) -> None:
        self.root = root
        ids = list(range(1, stays + 1))
        splits = ["train", "train", "validation", "test"]
        times = [_START + timedelta(days=stay) for stay in ids]
        self.tables: dict[str, list[dict[str, Any]] | None] = {
            "stays": [
                {
                    "stay_id": stay, "subject_id": stay, "hadm_id": stay, "intime": time,
                    "outtime": time + timedelta(hours=60),
                    "prediction_time": time + timedelta(hours=48), "age": 60.0, "sex": "F", "split": splits[stay % 4],
                }
                for stay, time in zip(ids, times, strict=True)
            ],
            "series": [{"stay_id": stay, "hour": 1.0, "variable": "heart_rate", "value": 80.0 + stay} for stay in ids],
            "notes": [_note(stay, HPI, f"She came with pain of her {stay} fingers.") for stay in ids],
            "labels": [{"stay_id": stay, **dict.fromkeys(phenotypes(), False)} for stay in ids],
            "outcomes": [
                {
                    "stay_id": stay, "died_in_hospital": False, "death_time": None,
                    "hospital_outtime": time + timedelta(hours=80),
                }
                for stay, time in zip(ids, times, strict=True)
            ],
        }  # fmt: skip

    def carry(self, key: str, *stays: int) -> None:
        """Give stays a label; all of them when none is named."""
        for row in self.tables["labels"] or []:
            row[key] |= not stays or row["stay_id"] in stays

    def write(self) -> Path:
        schemas = {
            "stays": STAYS, "series": SERIES, "notes": NOTES, "labels": labels_schema(list(phenotypes())),
            "outcomes": OUTCOMES,
        }  # fmt: skip
        paths = CohortPaths(self.root)
        for name, rows in self.tables.items():
            if rows is not None:
                frame = pl.DataFrame(rows, schema=schemas[name].names, infer_schema_length=None)
                write_table(getattr(paths, name), frame.to_arrow().cast(schemas[name]))
        outputs = {path.name: sha256_file(path) for path in sorted(self.root.glob("*.parquet"))}
        write_json(paths.manifest, {"schema_version": 1, "source": "synthetic", "outputs": outputs})
        return self.root

    def audit(self) -> Audit:
        return audit(Cohort.load(self.write(), undated=True))


def _note(stay: int, section: str, text: str | None) -> dict[str, Any]:
    time = _START + timedelta(days=stay)
    return {"stay_id": stay, "note_id": f"n{stay}", "kind": "discharge", "section": section, "time": time, "text": text}


@pytest.fixture
def small(tmp_path: Path) -> Small:
    return Small(tmp_path / "cohort")


def _check(found: Audit, key: str) -> Any:
    return next(check for check in found.checks if check.key == key)


@pytest.fixture(autouse=True)
def _one_finder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of diagnoses are gathered once for all of these tests."""
    monkeypatch.setattr(named_diagnoses, "NameFinder", _finder)


_finder = cache(named_diagnoses.NameFinder)


def _course(small: Small) -> Any:
    return later.course(CohortTables.of(Cohort.load(small.write())))


def test_a_label_that_every_stay_carries_and_names(small: Small) -> None:
    small.carry("septicemia")
    small.tables["notes"] = [_note(stay, HPI, "She has sepsis.") for stay in range(1, 13)]
    found = _check(small.audit(), "named")
    assert found.status == "leak"
    assert "100% of the stays that carry it; no stay lacks it" in found.says
    assert (found.rows[0]["with"], found.rows[0]["without"]) == (1.0, None)


def test_a_label_that_no_stay_carries_and_some_name(small: Small) -> None:
    small.tables["notes"] = [_note(stay, HPI, "She has sepsis.") for stay in range(1, 13)]
    found = _check(small.audit(), "named")
    assert found.status == "pass"
    assert (found.rows[0]["with"], found.rows[0]["without"]) == (None, 1.0)


def _one_stay(small: Small) -> None:
    small.__init__(small.root, stays=1)  # type: ignore[misc]


def _one_patient(small: Small) -> None:
    for row in small.tables["stays"] or []:
        row |= {"subject_id": 1, "split": "train"}


def _only_test(small: Small) -> None:
    for row in small.tables["stays"] or []:
        row["split"] = "test"


def _set(table: str, rows: list[dict[str, Any]] | None) -> Callable[[Small], None]:
    return lambda small: small.tables.__setitem__(table, rows)


def _null(table: str, column: str) -> Callable[[Small], None]:
    def change(small: Small) -> None:
        for row in small.tables[table] or []:
            row[column] = None

    return change


@pytest.mark.parametrize(
    ("change", "status"),
    [
        (lambda small: small.carry("shock"), "note"),
        (_one_stay, "warning"),
        (_one_patient, "warning"),
        (_only_test, "warning"),
        (_set("notes", []), "note"),
        (_set("series", []), "note"),
        (_set("notes", None), "note"),
        (_set("labels", None), "note"),
        (_set("series", None), "note"),
        (_null("notes", "text"), "note"),
        (_null("notes", "section"), "note"),
        (_null("notes", "kind"), "note"),
        (_null("notes", "note_id"), "note"),
        (_null("notes", "time"), "leak"),
        (_null("stays", "prediction_time"), "leak"),
        (_null("stays", "intime"), "leak"),
        (_null("stays", "outtime"), "note"),
        (_null("stays", "subject_id"), "warning"),
        (_null("series", "variable"), "note"),
    ],
)  # fmt: skip
def test_odd_cohorts_are_audited_to_the_end(small: Small, change: Callable[[Small], None], status: str) -> None:
    change(small)
    found = small.audit()
    assert len(found.checks) == 16
    assert found.status == status, [(check.key, check.status) for check in found.checks]
    assert "stays" in json.dumps(found.as_json())
    assert render(found)


def test_the_cohort_may_be_named_as_other_commands_do(small: Small, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["audit", "--cohort", str(small.write())]) == 0
    assert json.loads((small.root / "audit" / "audit.json").read_text())["status"] == "note"
    capsys.readouterr()


def test_what_a_cohort_lacks_is_said(small: Small) -> None:
    small.tables |= {"labels": None, "notes": None}
    found = small.audit()
    assert "no labels" in _check(found, "prevalence").says
    assert "no labels" in _check(found, "named").says or "no notes" in _check(found, "named").says


def test_a_file_that_the_manifest_names_and_nobody_finds_is_an_error(
    small: Small, capsys: pytest.CaptureFixture[str]
) -> None:
    small.write()
    CohortPaths(small.root).notes.unlink()
    assert cli.main(["audit", str(small.root)]) == 2
    assert "notes.parquet" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"), [(["audit"], "expects one cohort"), (["audit", "{}", "--cohort", "{}"], "unexpected")]
)
def test_one_cohort_is_named_once(
    small: Small, words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    small.write()
    assert cli.main([word.format(small.root) for word in words]) == 2
    assert says in capsys.readouterr().err


#: the hospital course, a sentence or more
TELLING = [
    "On hospital day 3 she was extubated.",
    "She was weaned from pressors and was discharged home in good condition.",
    "Over the course of her stay she was diuresed.",
    "She was called out to the floor and did well for the remainder of his hospitalization.",
    "The rest of the hospital course was uneventful.",
    "At the time of discharge she was walking.",
    "The patient expired.",
    "He was admitted to the unit. He was started on vancomycin. He was intubated. Cultures grew E. coli.",
]  # fmt: skip
#: what is said at an admission
BEFORE = [
    "She was admitted to an outside hospital, where on hospital day 3 she was extubated, and was transferred here.",
    "He was recently discharged from rehab. Two weeks ago he was started on prednisone.",
    "In 2140 she was treated with chemotherapy and was discharged home.",
    "No purulent discharge from the wound. She was found at home by her son.",
    "He was started on lisinopril last year and was admitted from clinic.",
    "She takes a course of antibiotics. HD MWF.",
]  # fmt: skip


@pytest.mark.parametrize("section", [EXAM, "allergies", "family_history", "social_history", "medications_on_admission"])
@pytest.mark.parametrize("text", TELLING)
def test_one_stay_whose_admission_tells_of_the_course_leaks(small: Small, section: str, text: str) -> None:
    assert small.tables["notes"]
    small.tables["notes"].append(_note(7, section, f"Soft, not tender.\n{text}"))
    found = _course(small)
    assert (found.status, [(row["section"], row["stays"], row["stay_ids"]) for row in found.rows]) == (
        "leak", [(section, 1, "7")],
    )  # fmt: skip
    assert "extubated" not in json.dumps(found.rows)


@pytest.mark.parametrize("section", [HPI, PAST])
def test_in_a_history_one_phrase_is_a_warning_and_several_are_a_leak(small: Small, section: str) -> None:
    assert small.tables["notes"]
    small.tables["notes"] += [_note(3, section, TELLING[5]), _note(5, section, " ".join(TELLING[:3]))]
    found = _course(small)
    assert found.status == "leak"
    assert [(row["stays"], row["stay_ids"], row["finding"]) for row in found.rows] == [
        (1, "5", "tells the course"), (1, "3", "may tell an earlier stay"),
    ]  # fmt: skip


def test_an_exam_needs_two_phrases_only(small: Small) -> None:
    assert small.tables["notes"]
    small.tables["notes"].append(_note(7, EXAM, "She was found to have septic shock and was treated."))
    assert _course(small).status == "leak"


@pytest.mark.parametrize("section", [HPI, PAST])
@pytest.mark.parametrize("text", BEFORE)
def test_what_befell_a_patient_before_is_no_course(small: Small, section: str, text: str) -> None:
    small.tables["notes"] = [_note(stay, section, text) for stay in range(1, 13)]
    assert _course(small).status == "pass"


def test_a_section_of_a_retrospective_protocol_may_tell_the_course(small: Small) -> None:
    small.tables["notes"] = [_note(stay, "brief_hospital_course", TELLING[0]) for stay in range(1, 13)]
    assert _course(small).status == "pass"


def test_many_stays_are_counted_and_the_first_are_named(tmp_path: Path) -> None:
    many = Small(tmp_path / "many", stays=300)
    many.tables["notes"] = [_note(stay, EXAM, TELLING[0]) for stay in range(1, 301)]
    (row,) = _course(many).rows
    assert row["stays"] == 300
    assert row["stay_ids"].startswith("1, 2, 3, ")
    assert row["stay_ids"].endswith(", and 200 more")
