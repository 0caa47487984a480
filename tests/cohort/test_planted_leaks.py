"""Leaks planted in a synthetic cohort, one of each kind: each is found and named, and the cohort itself has none."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from clinragen.cohort.folder import Cohort
from clinragen.errors import UserError
from mimic_prep.audit import audit, duplicates, later, row_checks, single_inputs
from mimic_prep.audit.check import Check
from mimic_prep.audit.cohort_tables import CohortTables

LABEL = "essential_hypertension"
HPI = "history_of_present_illness"


class Planted:
    """A copy of the synthetic cohort, with its tables to change."""

    def __init__(self, root: Path, restamp: Callable[[Path], None]) -> None:
        self.root, self.restamp = root, restamp
        labels = pl.read_parquet(root / "labels.parquet")
        self.carriers = labels.filter(pl.col(LABEL))["stay_id"].to_list()

    def change(self, table: str, plant: Callable[[pl.DataFrame], pl.DataFrame]) -> CohortTables:
        path = self.root / f"{table}.parquet"
        before = pl.read_parquet(path)
        plant(before).select(before.columns).cast(before.schema).write_parquet(path)  # pyright: ignore[reportArgumentType]
        self.restamp(self.root)
        return CohortTables.of(Cohort.load(self.root))

    def tell(self, text: str) -> CohortTables:
        """A sentence at the end of the present illness of every stay with the label."""
        told = pl.col("stay_id").is_in(self.carriers) & (pl.col("section") == HPI)
        return self.change(
            "notes", lambda t: t.with_columns(text=pl.when(told).then(pl.col("text") + f"\n{text}").otherwise("text"))
        )

    def pair(self) -> tuple[int, int]:
        """A training stay and a test stay."""
        stays = pl.read_parquet(self.root / "stays.parquet")
        train, test = (stays.filter(pl.col("split") == split)["stay_id"].to_list() for split in ("train", "test"))
        return train[0], test[0]


@pytest.fixture
def planted(hospital, tmp_path: Path, restamp: Callable[[Path], None]) -> Planted:
    return Planted(shutil.copytree(hospital.cohort, tmp_path / "planted"), restamp)


def _first(check: Check) -> tuple[str, object]:
    assert check.status == "leak"
    return check.says, check.rows[0]


def test_the_synthetic_cohort_has_no_leak(hospital) -> None:
    assert audit(Cohort.load(hospital.cohort)).status != "leak"


def test_a_word_that_tells_a_label(planted: Planted) -> None:
    says, row = _first(single_inputs.single(planted.tell("Seen in clinic zq7.")))
    assert "'zq7'" in says
    assert (row["phenotype"], row["auroc"]) == ("essential hypertension", 1.0)  # type: ignore[index]


def test_a_pair_of_common_words_that_tells_a_label(planted: Planted) -> None:
    planted.change("notes", lambda t: t.with_columns(text=pl.col("text") + " signal signal amber"))
    rows = single_inputs.single(planted.tell("amber signal")).rows
    assert "the words 'amber signal'" in {row["input"] for row in rows}
    assert "the word 'amber'" not in {row["input"] for row in rows}


def test_a_section_that_tells_a_label(planted: Planted) -> None:
    def plant(notes: pl.DataFrame) -> pl.DataFrame:
        first = notes.unique("stay_id", keep="first", maintain_order=True)
        told = first.filter(pl.col("stay_id").is_in(planted.carriers))
        return pl.concat([notes, told.with_columns(section=pl.lit("clinic"), text=pl.lit("seen"))])

    rows = single_inputs.single(planted.change("notes", plant)).rows
    assert "section clinic" in {row["input"] for row in rows}


def test_a_variable_that_is_measured_where_a_label_is(planted: Planted) -> None:
    def plant(series: pl.DataFrame) -> pl.DataFrame:
        others = series.filter(pl.col("variable") != "magnesium")
        told = others.unique("stay_id", keep="first").filter(pl.col("stay_id").is_in(planted.carriers))
        return pl.concat([others, told.with_columns(variable=pl.lit("magnesium"), value=pl.lit(2.0, pl.Float32))])

    says, _ = _first(single_inputs.single(planted.change("series", plant)))
    assert "how often magnesium was measured tells essential hypertension" in says


def test_a_value_that_is_the_label_is_warned_of(planted: Planted) -> None:
    carries = pl.col("stay_id").is_in(planted.carriers) & (pl.col("variable") == "heart_rate")
    check = single_inputs.single(
        planted.change("series", lambda t: t.with_columns(value=pl.when(carries).then(140.0).otherwise("value")))
    )
    assert check.status == "warning"
    assert "heart_rate tells essential hypertension" in check.says


def test_ids_that_tell_a_label(planted: Planted) -> None:
    ids = pl.col("subject_id") + 10**9 * pl.col("stay_id").is_in(planted.carriers).cast(pl.Int64)
    says, _ = _first(single_inputs.single(planted.change("stays", lambda t: t.with_columns(subject_id=ids))))
    assert "the id of the patient tells" in says


def test_a_list_of_discharge_diagnoses(planted: Planted) -> None:
    tables = planted.tell("DISCHARGE DIAGNOSES:\n1. see below")
    says, row = _first(later.lists(tables))
    assert HPI in says
    assert row["stays"] > 10  # type: ignore[index]
    assert later.lists(tables, [HPI]).status == "pass"


@pytest.mark.parametrize(
    "text", ["The diagnosis was unclear.", "A final diagnosis is awaited", "Pre-operative diagnosis: gallstones"]
)
def test_other_words_about_diagnoses_are_no_list(planted: Planted, text: str) -> None:
    assert later.lists(planted.tell(text)).status == "pass"


def test_rows_after_the_prediction_time(planted: Planted) -> None:
    says, _ = _first(row_checks.times(planted.change("series", lambda t: t.with_columns(hour=pl.col("hour") + 48))))
    assert "could not have been known" in says


def test_the_measurements_of_a_stay_under_two_ids(planted: Planted) -> None:
    train, test = planted.pair()

    def plant(series: pl.DataFrame) -> pl.DataFrame:
        copy = series.filter(pl.col("stay_id") == train).with_columns(stay_id=pl.lit(test, pl.Int64))
        return pl.concat([series.filter(pl.col("stay_id") != test), copy.reverse()]).sort("stay_id")

    _, row = _first(duplicates.measurements(planted.change("series", plant)))
    assert (row["stay"], row["of"]) == (test, train)  # type: ignore[index]


def test_a_stay_with_one_other_value_is_no_copy(planted: Planted) -> None:
    train, test = planted.pair()

    def plant(series: pl.DataFrame) -> pl.DataFrame:
        copy = series.filter(pl.col("stay_id") == train).with_columns(stay_id=pl.lit(test, pl.Int64))
        value = pl.when(pl.int_range(pl.len()) == 0).then(pl.col("value") + 1).otherwise("value")
        return pl.concat([series.filter(pl.col("stay_id") != test), copy.with_columns(value=value)]).sort("stay_id")

    assert duplicates.measurements(planted.change("series", plant)).status == "pass"


def test_a_patient_in_two_splits_is_refused_where_figures_are_made(
    planted: Planted, command, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    train, test = planted.pair()
    stays = pl.read_parquet(planted.root / "stays.parquet")
    patient = stays.filter(pl.col("stay_id") == train)["subject_id"].item()
    same = pl.when(pl.col("stay_id") == test).then(patient).otherwise("subject_id")
    tables = planted.change("stays", lambda t: t.with_columns(subject_id=same))
    assert row_checks.patients(tables).status == "leak"
    with pytest.raises(UserError, match=r"1 of \d+ patients have stays in more than one split"):
        tables.cohort.hold_patients_apart()
    options = ("--cohort", planted.root, "--out", tmp_path / "out")
    assert command("clinragen", "baseline", *options, "--reads", "series") == 2
    assert command("clinragen", "train", "notes", *options, "--model", "tiny") == 2
    assert capsys.readouterr().err.count("more than one split") == 2


def test_notes_after_the_prediction_time(planted: Planted) -> None:
    check = row_checks.times(planted.change("notes", lambda t: t.with_columns(time=pl.col("time") + timedelta(days=9))))
    assert check.status == "leak"
    assert HPI in {row["section"] for row in check.rows}


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=40, max_size=80))
def test_areas_are_those_of_scikit_learn(rows: list[tuple[int, bool]]) -> None:
    values, gold = np.array([row[0] for row in rows], dtype=float), np.array([[row[1]] for row in rows])
    area = single_inputs._ranked(["value"], values[None], gold).auroc.item()
    if min(gold.sum(), (~gold).sum()) < single_inputs.SUPPORT:
        assert np.isnan(area)
    else:
        expected = float(roc_auc_score(gold[:, 0], values))
        assert area == pytest.approx(max(expected, 1 - expected))
