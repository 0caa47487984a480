"""The audit of a cohort: a sound one passes, and each way to spoil it is found, with the right exit code."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from clinragen.artifacts import sha256_file, write_json, write_table
from clinragen.catalog import phenotypes
from clinragen.cohort.folder import Cohort
from clinragen.errors import UserError
from clinragen.schema import NOTES, OUTCOMES, SERIES, STAYS, CohortPaths, labels_schema
from mimic_prep import cli
from mimic_prep.audit import Audit, audit
from mimic_prep.audit.duplicates import overlap, shingles
from mimic_prep.audit.named_diagnoses import NameFinder

STAYS_MADE = 300
_WORDS = [f"w{number}" for number in range(4000)]
_START = datetime(2150, 1, 1)


def _split(stay: int) -> str:
    return "train" if stay % 3 else ("test" if stay % 2 else "validation")


def _make(root: Path) -> Path:
    """A sound cohort: septicemia in every fifth stay, notes of random words, normal measurements."""
    draw = random.Random(7)
    ids = list(range(1, STAYS_MADE + 1))
    times = [_START + timedelta(days=stay) for stay in ids]
    stays = pl.DataFrame(
        {
            "stay_id": ids, "subject_id": [1000 + stay for stay in ids], "hadm_id": ids, "intime": times,
            "outtime": [time + timedelta(hours=60) for time in times],
            "prediction_time": [time + timedelta(hours=48) for time in times],
            "age": [60.0] * len(ids), "sex": ["F"] * len(ids), "split": [_split(stay) for stay in ids],
        }
    )  # fmt: skip
    series = [
        (stay, float(hour), key, draw.gauss(middle, spread))
        for stay in ids
        for hour in (0, 5)
        for key, middle, spread in (("heart_rate", 85, 12), ("weight", 80, 8), ("glucose", 120, 15))
    ]
    notes = [
        (stay, f"n{stay}", "discharge", "history_of_present_illness", time, " ".join(draw.choices(_WORDS, k=90)))
        for stay, time in zip(ids, times, strict=True)
    ]
    keys = list(phenotypes())
    labels = pl.DataFrame(
        {"stay_id": ids, **{key: [(stay + n) % 5 == 0 for stay in ids] for n, key in enumerate(keys)}}
    )
    paths = CohortPaths(root)
    write_table(paths.stays, stays.to_arrow().cast(STAYS))
    write_table(paths.series, pl.DataFrame(series, schema=SERIES.names, orient="row").to_arrow().cast(SERIES))
    write_table(paths.notes, pl.DataFrame(notes, schema=NOTES.names, orient="row").to_arrow().cast(NOTES))
    write_table(paths.labels, labels.to_arrow().cast(labels_schema(keys)))
    left = [time + timedelta(hours=90) for time in times]
    outcomes = pl.DataFrame({"stay_id": ids, "died_in_hospital": False, "death_time": None, "hospital_outtime": left})
    write_table(paths.outcomes, outcomes.to_arrow().cast(OUTCOMES))
    _seal(root)
    return root


def _seal(root: Path) -> None:
    outputs = {path.name: sha256_file(path) for path in sorted(root.glob("*.parquet"))}
    write_json(root / "manifest.json", {"schema_version": 1, "source": "synthetic", "outputs": outputs})


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _make(tmp_path_factory.mktemp("audit") / "cohort")


@pytest.fixture
def spoil(sound: Path, tmp_path: Path) -> Callable[..., Audit]:
    """Audit a copy of the sound cohort after ``change`` of one of its tables."""

    def run(name: str, change: Callable[[pl.DataFrame], pl.DataFrame], **options) -> Audit:
        root = tmp_path / "spoilt"
        shutil.copytree(sound, root)
        path = root / f"{name}.parquet"
        schema: pa.Schema = {"stays": STAYS, "series": SERIES, "notes": NOTES}[name]
        write_table(path, change(pl.read_parquet(path)).select(schema.names).to_arrow().cast(schema))
        _seal(root)
        return audit(Cohort.load(root), **options)

    return run


def _status(found: Audit) -> dict[str, str]:
    return {check.key: check.status for check in found.checks if check.status != "pass"}


def test_a_sound_cohort_passes(sound: Path) -> None:
    found = audit(Cohort.load(sound))
    assert _status(found) == {}
    assert found.status == "pass"


def test_a_patient_in_two_splits_leaks(spoil) -> None:
    found = spoil("stays", lambda stays: stays.with_columns(subject_id=pl.col("subject_id") // 2))
    assert _status(found) == {"patients": "leak"}


def test_measurements_and_notes_from_the_future_leak(spoil) -> None:
    late = pl.when(pl.col("stay_id") == 4).then(pl.lit(48.0)).otherwise(pl.col("hour"))
    assert _status(spoil("series", lambda series: series.with_columns(hour=late))) == {"times": "leak"}


def test_a_note_at_the_prediction_time_leaks(spoil) -> None:
    time = pl.when(pl.col("stay_id") == 4).then(pl.col("time") + pl.duration(hours=48)).otherwise(pl.col("time"))
    found = spoil("notes", lambda notes: notes.with_columns(time=time))
    assert _status(found) == {"times": "leak"}
    (row,) = next(check.rows for check in found.checks if check.key == "times")
    assert (row["section"], row["rows"], row["stays"]) == ("history_of_present_illness", 1, 1)


def _tell(text: str) -> Callable[[pl.DataFrame], pl.DataFrame]:
    """Every note of a stay with septicemia gains a sentence."""
    carries = (pl.col("stay_id") + list(phenotypes()).index("septicemia")) % 5 == 0
    told = pl.when(carries).then(pl.col("text") + pl.lit(f". {text}.")).otherwise(pl.col("text"))
    return lambda notes: notes.with_columns(text=told)


@pytest.mark.parametrize(
    "text", ["Admitted with septicemia", "She has sepsis", "Streptococcal sepsis", "ICD-10: A41.9"]
)
def test_a_label_named_in_its_stays_leaks(spoil, text: str) -> None:
    assert _status(spoil("notes", _tell(text))) == {"named": "leak", "single_inputs": "leak"}


def test_a_chronic_disease_in_the_history_was_known_before(spoil) -> None:
    def mention(notes: pl.DataFrame) -> pl.DataFrame:
        chronic = pl.col("stay_id").is_in([stay for stay in range(1, STAYS_MADE + 1) if (stay + place) % 5 == 0])
        lady = pl.format("A lady with chronic obstructive pulmonary disease came. {}", "text")
        return notes.with_columns(text=pl.when(chronic).then(lady).otherwise("text"))

    place = list(phenotypes()).index("copd")
    found = spoil("notes", mention)
    named = next(check for check in found.checks if check.key == "named")
    assert named.status == "note"
    assert [row["verdict"] for row in named.rows if row["flagged"]] == ["known before"]


def test_an_allowed_section_may_name_the_label(spoil) -> None:
    found = spoil("notes", _tell("Admitted with septicemia"), allow=["history_of_present_illness"])
    assert _status(found) == {"named": "note"}


def test_negated_names_are_counted_and_no_leak(spoil) -> None:
    found = spoil("notes", _tell("No evidence of septicemia"))
    assert _status(found) == {"single_inputs": "leak"}  # the words stand in every stay that has it, and in no other
    row = next(row for row in next(check for check in found.checks if check.key == "named").rows)
    assert (row["phenotype"], row["negated_with"], row["negated_without"]) == ("septicemia", 1.0, 0.0)


def test_a_section_nobody_has_is_told(sound: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'history_of_present_illness'"):
        audit(Cohort.load(sound), allow=["history_of_presentillness"])


def test_a_stay_under_two_ids_leaks(spoil) -> None:
    def copy(notes: pl.DataFrame) -> pl.DataFrame:
        text = notes.filter(pl.col("stay_id") == 1)["text"][0]
        return notes.with_columns(
            text=pl.when(pl.col("stay_id") == 3).then(pl.lit(f"{text} and more")).otherwise(pl.col("text"))
        )

    assert _status(spoil("notes", copy)) == {"duplicate_stays": "leak", "duplicate_notes": "warning"}


def test_overlap_of_near_copies() -> None:
    words = _WORDS[:200]
    changed = [*words[:100], "other", *words[101:]]
    assert overlap(shingles(" ".join(words)), shingles(" ".join(changed))) == pytest.approx(191 / 201)
    assert not len(shingles("too short"))


@pytest.mark.parametrize(("key", "factor", "suspect"), [("weight", 1 / 0.453592, "in lb"), ("glucose", 10, "times 10")])
def test_mixed_units_are_suspected(spoil, key: str, factor: float, suspect: str) -> None:
    wrong = (pl.col("variable") == key) & (pl.col("stay_id") % 10 == 0)
    value = pl.when(wrong).then(pl.col("value") * factor).otherwise(pl.col("value"))
    found = spoil("series", lambda series: series.with_columns(value=value))
    assert _status(found) == {"units": "warning"}
    rows = next(check.rows for check in found.checks if check.key == "units")
    assert suspect in {row["suspect"] for row in rows}
    assert {row["variable"] for row in rows} == {key}


def test_drift_between_splits_is_told(spoil) -> None:
    test = pl.col("stay_id").is_in([stay for stay in range(STAYS_MADE + 1) if _split(stay) == "test"])
    value = pl.when(test & (pl.col("variable") == "heart_rate")).then(pl.col("value") + 20).otherwise(pl.col("value"))
    found = spoil("series", lambda series: series.with_columns(value=value))
    assert _status(found) == {"drift": "warning"}
    flagged = [row for row in next(c.rows for c in found.checks if c.key == "drift") if row["flagged"]]
    assert [(row["variable"], row["split"]) for row in flagged] == [("heart rate", "test")]


def test_an_empty_split_and_changed_files_are_told(spoil, sound: Path, tmp_path: Path) -> None:
    found = spoil("stays", lambda stays: stays.with_columns(split=pl.lit("train")))
    assert _status(found) == {"prevalence": "warning"}
    changed = tmp_path / "changed"
    shutil.copytree(sound, changed)
    series = pl.read_parquet(changed / "series.parquet")
    write_table(changed / "series.parquet", series.head(-1).to_arrow().cast(SERIES))
    assert _status(audit(Cohort.load(changed)))["files"] == "warning"
    shutil.copy(tmp_path / "spoilt" / "stays.parquet", changed / "stays.parquet")
    with pytest.raises(UserError, match=r"stays\.parquet is not the file that its manifest describes"):
        Cohort.load(changed)


def test_history_and_doses_are_no_leak() -> None:
    finder = NameFinder(phenotypes())
    assert finder("Hypertension, pneumonia", "past_medical_history") <= {
        ("essential_hypertension", "name", "historical"), ("pneumonia", "name", "historical"),
    }  # fmt: skip
    assert finder("Vancomycin 250.00 mg given", "medications_on_admission") == set()


def test_the_command_writes_a_page_without_text(
    sound: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["audit", str(sound), "--out", str(tmp_path / "out")]) == 0
    page = (tmp_path / "out" / "audit.html").read_text(encoding="utf-8")
    assert "No leak found" in page
    assert "w17 " not in page
    assert "http" not in page.replace("http-equiv", "")
    found = json.loads((tmp_path / "out" / "audit.json").read_text(encoding="utf-8"))
    assert found["status"] == "pass"
    assert "Splits share no patient" in capsys.readouterr().out


def test_the_command_ends_with_one_on_a_leak(spoil, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spoil("notes", _tell("Admitted with septicemia"))
    assert cli.main(["audit", str(tmp_path / "spoilt")]) == 1
    assert (tmp_path / "spoilt" / "audit" / "audit.json").is_file()
    assert cli.main(["audit", str(tmp_path / "spoilt"), "--allow", "history_of_present_illness"]) == 0
    assert cli.main(["audit", str(tmp_path / "nowhere")]) == 2
    capsys.readouterr()
