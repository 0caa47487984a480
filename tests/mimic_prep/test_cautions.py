"""Warnings at preparation about what a cohort lacks for training, with the setting that helps."""

from __future__ import annotations

import polars as pl
import pytest

from clinragen.catalog import phenotypes
from mimic_prep import cautions, protocol
from mimic_prep.splits import GivenSplits


def _cohort(patients: int = 60, **splits: int) -> pl.DataFrame:
    """One stay for each patient; ``splits`` count the patients of each, the others are in training."""
    names = [name for name, count in splits.items() for _ in range(count)]
    names += ["train"] * (patients - len(names))
    return pl.DataFrame({"stay_id": range(patients), "subject_id": range(patients), "split": names})


def _said(
    stays: pl.DataFrame, *overrides: str, series=("creatinine", "heart_rate"), texts=None, labels=None, given=None
):
    rows = [(stay, key) for stay in stays["stay_id"] for key in series]
    table = pl.DataFrame(rows, schema={"stay_id": pl.Int64, "variable": pl.String}, orient="row").lazy()
    written = stays["stay_id"].to_list() if texts is None else texts
    notes = pl.DataFrame(
        {"stay_id": written, "text": ["text"] * len(written)}, schema={"stay_id": pl.Int64, "text": pl.String}
    )
    carried = stays.select("stay_id", *(pl.lit(True).alias(key) for key in phenotypes())) if labels is None else labels
    chosen = protocol.load("admission", list(overrides))
    return cautions.of_cohort(stays, table, notes, carried, phenotypes(), chosen, given)


_WHOLE = {"validation": 6, "test": 12}


def test_a_whole_cohort_needs_no_word():
    assert _said(_cohort(**_WHOLE)) == []


@pytest.mark.parametrize(
    ("splits", "overrides", "words"),
    [
        ({"test": 12}, (), ["split validation is empty", "splits.validation=SHARE", "splits.salt=WORD"]),
        ({"validation": 6}, (), ["split test is empty", "splits.test=SHARE"]),
        ({"validation": 20, "test": 40}, (), ["split train is empty", "nothing can be trained"]),
        ({"validation": 6}, ("splits.train=0.9", "splits.test=0"), ["split test is empty", "splits.test is 0"]),
        ({"validation": 6}, ("splits.test_subjects=x.txt",), ["split test is empty", "splits.test_subjects"]),
    ],
)
def test_an_empty_split_names_the_setting_that_helps(splits, overrides, words):
    lines = [line for line in _said(_cohort(**splits), *overrides) if line.startswith("split ")]
    assert len(lines) == 1
    assert all(word in lines[0] for word in words)


def test_an_empty_split_of_the_dataset_s_own(tmp_path):
    given = GivenSplits(tmp_path / "s", "metadata/subject_splits.parquet", {}, "")
    [line] = _said(_cohort(test=12), given=given)
    assert "metadata/subject_splits.parquet puts none" in line
    assert "splits.dataset=false" in line


@pytest.mark.parametrize(
    ("patients", "told"), [(1, "1 patient is"), (8, "8 patients are"), (49, "49 patients are"), (50, "")]
)
def test_few_patients(patients, told):
    validation = min(6, patients // 3)
    lines = [line for line in _said(_cohort(patients, validation=validation, test=validation)) if "too few" in line]
    assert [told in line for line in lines] == ([True] if told else [])


def test_no_laboratory_values_and_no_vital_signs():
    assert "no laboratory value" in _said(_cohort(**_WHOLE), series=("heart_rate",))[0]
    assert "no vital sign" in _said(_cohort(**_WHOLE), series=("creatinine",))[0]
    assert "no stay has a measurement" in _said(_cohort(**_WHOLE), series=())[0]


def test_stays_without_text_or_series():
    assert "55 of 60 stays have no text" in _said(_cohort(**_WHOLE), texts=[0, 1, 2, 3, 4])[0]
    [line] = _said(_cohort(**_WHOLE), "notes.digest=never", texts=[])
    assert "60 of 60 stays have no text" in line
    assert "notes.digest=missing" in line
    stays = _cohort(**_WHOLE)
    rows = pl.DataFrame({"stay_id": [0, 0], "variable": ["creatinine", "heart_rate"]}).lazy()
    texts = stays.select("stay_id", text=pl.lit("x"))
    labels = stays.select("stay_id", pneumonia=pl.lit(True))
    said = cautions.of_cohort(stays, rows, texts, labels, phenotypes(), protocol.load("admission"), None)
    assert said == ["59 of 60 stays have no measurement at all"]


def test_labels_that_nobody_carries():
    stays = _cohort(**_WHOLE)
    trained = pl.col("split") == "train"
    lacking = stays.select("stay_id", pneumonia=~trained, septicemia=pl.lit(True))
    [line] = _said(stays, labels=lacking)
    assert "no training stay carries pneumonia" in line
    none = stays.select("stay_id", pneumonia=trained)
    [line] = _said(stays, labels=none)
    assert "no validation stay carries a label" in line
    assert any("no labels" in line for line in cautions.of_cohort(
        stays, pl.DataFrame({"stay_id": [0], "variable": ["creatinine"]}).lazy(),
        pl.DataFrame({"stay_id": [0], "text": ["x"]}), None, phenotypes(), protocol.load("admission"), None,
    ))  # fmt: skip


def test_the_summary_and_the_manifest_say_it(hospital, tmp_path, capsys):
    import json

    from mimic_prep.cli import main

    raw, out = hospital.write(tmp_path / "raw"), tmp_path / "cohort"
    assert main(["mimic-iv", "--raw", str(raw), "--out", str(out)]) == 0
    warnings = json.loads((out / "manifest.json").read_text())["warnings"]
    shown = capsys.readouterr().out
    assert any("2 patients are too few" in line for line in warnings)
    assert all(f"warning: {line}" in shown for line in warnings)


_LINES = [
    ({"test": 12}, (), {}, [
        "split validation is empty: training needs it to choose and calibrate; by chance no patient fell there; a "
        "larger share (--set splits.validation=SHARE, the three sum to 1) or another draw (--set splits.salt=WORD) "
        "helps",
    ]),
    ({"validation": 6}, ("splits.train=0.9", "splits.test=0"), {}, [
        "split test is empty: nothing can be evaluated; splits.test is 0; --set splits.test=SHARE gives it some",
    ]),
    ({"validation": 6}, ("splits.test_subjects=x.txt",), {}, [
        "split test is empty: nothing can be evaluated; the list of splits.test_subjects names none of its patients",
    ]),
    ({"validation": 20, "test": 40}, ("splits.test_subjects=x.txt",), {}, [
        "split train is empty: nothing can be trained; by chance no patient fell there; a larger share (--set "
        "splits.train=SHARE, the three sum to 1) or another draw (--set splits.salt=WORD) helps",
    ]),
    (_WHOLE, (), {"series": ("heart_rate",)}, [
        "no laboratory value of any stay was read: are the laboratory rows there, with item ids that are known?",
    ]),
    (_WHOLE, (), {"series": ("creatinine",)}, [
        "no vital sign of any stay was read: are the charted rows there, with item ids that are known?",
    ]),
    (_WHOLE, (), {"series": ()}, [
        "no stay has a measurement: stages that read the series have nothing to learn from",
    ]),
    (_WHOLE, (), {"texts": list(range(55))}, ["5 of 60 stays have no text"]),
    (_WHOLE, ("notes.digest=never",), {"texts": list(range(55))}, [
        "5 of 60 stays have no text; --set notes.digest=missing writes one from structured data",
    ]),
]  # fmt: skip


@pytest.mark.parametrize(("splits", "overrides", "data", "lines"), _LINES)
def test_what_is_lacking_is_told_in_a_whole_sentence(splits, overrides, data, lines):
    assert _said(_cohort(**splits), *overrides, **data) == lines


@pytest.mark.parametrize(
    ("patients", "line"),
    [
        (1, "1 patient is too few to train on, or to tell two models apart: 50 are a minimum"),
        (49, "49 patients are too few to train on, or to tell two models apart: 50 are a minimum"),
    ],
)
def test_few_patients_are_told_in_a_whole_sentence(patients, line):
    assert cautions._size(_cohort(patients)) == [line]


def test_labels_that_nobody_carries_are_named_six_at_most():
    stays = _cohort(**_WHOLE)
    names = [label.name for label in phenotypes().values()]
    none = stays.select("stay_id", *(pl.lit(False).alias(key) for key in phenotypes()))
    train, validation, missing = _said(stays, labels=none)
    refusal = "stay carries a label: training will refuse, for there is nothing to tell apart"
    assert (train, validation) == (f"no train {refusal}", f"no validation {refusal}")
    more = f"{', '.join(names[:6])} and {len(names) - 6} more"
    assert missing == f"no training stay carries {more}: a model cannot learn them"
    first, *others = phenotypes()
    one = stays.select("stay_id", pl.lit(False).alias(first), *(pl.lit(True).alias(key) for key in others[:7]))
    assert _said(stays, labels=one) == [f"no training stay carries {names[0]}: a model cannot learn it"]
    six = stays.select("stay_id", *(pl.lit(False).alias(key) for key in [first, *others[:5]]), x=pl.lit(True))
    assert _said(stays, labels=six)[-1].startswith(f"no training stay carries {', '.join(names[:6])}: a model")


@pytest.mark.parametrize(
    ("coded", "stays", "lines"),
    [
        (60, 60, []),
        (0, 60, []),  # of which the labels speak
        (59, 60, ["1 of 60 stays have no coded diagnosis at all (not coded yet?): they count as carrying no label"]),
        (1, 300, ["299 of 300 stays have no coded diagnosis at all (not coded yet?): they count as carrying no label"]),
    ],
)
def test_stays_without_a_code_beside_stays_with_some(coded, stays, lines):
    assert cautions.of_codes(coded, stays) == lines
