"""``clinragen index build`` and ``clinragen similar``: similar cases, what they share, and what can go wrong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import clinragen
from clinragen.cohort.folder import Cohort
from clinragen.similarity.index import ENCODERS, MANIFEST, VECTORS


@pytest.fixture(scope="module")
def cohort(hospital) -> Cohort:
    return Cohort.load(hospital.cohort)


@pytest.fixture(scope="module")
def opened(indexed):
    return clinragen.open_index(indexed)


@pytest.fixture(scope="module")
def answers(opened, cohort):
    return [clinragen.similar(opened, cohort, stay, count=5) for stay in cohort.split("test").tolist()]


def test_cases_are_training_stays_of_other_patients_with_their_labels(answers, cohort):
    subjects = dict(cohort.stays.select("stay_id", "subject_id").iter_rows())
    train = set(cohort.split("train").tolist())
    starts = numbers_started(cohort)
    assert all(len(result) == 5 for result in answers)
    for result in answers:
        assert [case.score for case in result] == sorted((case.score for case in result), reverse=True)
        for case in result:
            assert case.stay_id in train
            assert subjects[case.stay_id] != subjects[result.stay_id]
            row = cohort.labels.row(by_predicate=pl.col("stay_id") == case.stay_id, named=True)
            assert {key for key in cohort.label_set if row[key]} == set(case.labels)
            assert [cohort.label_set[key].name for key in case.labels] == list(case.label_names)
            assert len(case.started) == starts.get(case.stay_id, 0)


def numbers_started(cohort: Cohort) -> dict[int, int]:
    from clinragen.cohort.orders import new_starts
    from clinragen.tasks.prescription import treatments

    rows = new_starts(cohort).filter(pl.col("drug_class").is_in(list(treatments())))
    return dict(rows.group_by("stay_id").len().iter_rows())


def test_what_is_shared_stands_in_both_charts(answers, cohort):
    rows = cohort.notes.select("stay_id", "section", "text").iter_rows()
    notes = {(stay, section): text for stay, section, text in rows}
    series = {(stay, variable, hour): value for stay, hour, variable, value in cohort.series.iter_rows()}
    of_note = of_series = 0
    for result in answers:
        for case in result:
            for shared in case.shared:
                for stay, where in ((result.stay_id, shared.here), (case.stay_id, shared.there)):
                    if shared.kind == "note":
                        text = notes[stay, where["section"]]
                        assert text[where["start"] : where["end"]].strip()
                        of_note += 1
                    else:
                        value = series[stay, where["variable"], where["hour"]]
                        assert where["value"] == pytest.approx(value, rel=0.02, abs=0.06)
                        of_series += 1
    assert of_note > 20
    assert of_series > 20


def test_the_index_holds_no_text(indexed, cohort):
    held = b"".join((indexed / name).read_bytes() for name in (VECTORS, ENCODERS, MANIFEST)).decode("latin-1").lower()
    train = cohort.notes.filter(pl.col("stay_id").is_in(cohort.split("train").tolist()))
    for text in train["text"]:
        words = text.lower().split()
        for begin in range(0, len(words) - 4, 5):
            assert " ".join(words[begin : begin + 5]) not in held


def changed(hospital, restamp, folder: Path, name: str, change) -> Path:
    """A copy of the cohort with one table changed."""
    shutil.copytree(hospital.cohort, folder)
    path = folder / f"{name}.parquet"
    table = pl.read_parquet(path)
    after = change(table)
    assert not after.equals(table)
    import pyarrow.parquet as pq

    pq.write_table(after.to_arrow().cast(pq.read_schema(path)), path)
    restamp(folder)
    return folder


def future_of_test_stays(cohort: Cohort) -> dict[str, object]:
    test = pl.col("stay_id").is_in(cohort.split("test").tolist())
    return {
        "labels": lambda rows: rows.with_columns(
            pl.when(test).then(~pl.col(key)).otherwise(pl.col(key)).alias(key) for key in cohort.label_set
        ),
        "orders": lambda rows: rows.filter(~test),
        "outcomes": lambda rows: rows.with_columns(
            pl.when(test).then(pl.lit(None)).otherwise(pl.col("hospital_outtime")).alias("hospital_outtime")
        ),
    }


@pytest.mark.parametrize("name", ["labels", "orders", "outcomes"])
def test_the_labels_and_the_future_of_test_stays_change_no_byte(
    hospital, cohort, indexed, answers, restamp, tmp_path, name
):
    folder = changed(hospital, restamp, tmp_path / "changed", name, future_of_test_stays(cohort)[name])
    clinragen.build_index(folder, tmp_path / "index")
    for file in (VECTORS, ENCODERS):
        assert (tmp_path / "index" / file).read_bytes() == (indexed / file).read_bytes()
    others = clinragen.open_index(tmp_path / "index")
    for before in answers[:3]:
        assert clinragen.similar(others, folder, before.stay_id, count=5).as_json() == before.as_json()


def test_a_stay_of_another_cohort_is_compared_without_charts_of_the_index(
    hospital, cohort, opened, restamp, tmp_path, answers
):
    folder = changed(
        hospital, restamp, tmp_path / "other", "labels", lambda rows: rows.with_columns(~pl.col("pneumonia"))
    )
    result = clinragen.similar(opened, folder, answers[0].stay_id, count=5)
    assert [case.stay_id for case in result] == [case.stay_id for case in answers[0]]
    assert all(not case.shared for case in result)
    assert any(case.concepts for case in result)


def test_the_command_shows_cases_and_prints_them_as_json(indexed, hospital, cohort, command, capsys):
    stay = int(cohort.split("test")[0])
    given = ("similar", "--index", indexed, "--cohort", hospital.cohort, "--stay", stay, "--k", 3)
    assert command("clinragen", *given) == 0
    shown = capsys.readouterr().out
    assert f"3 cases most like stay {stay}" in shown
    assert shown.count("coded:") == 3
    assert command("clinragen", *given, "--json") == 0
    values = json.loads(capsys.readouterr().out)
    assert [f"stay {case['stay_id']}," in shown for case in values["cases"]] == [True] * 3
    assert sum(values["weights"].values()) == pytest.approx(1, abs=1e-4)


def test_an_index_of_one_modality_compares_by_that_alone(hospital, cohort, command, tmp_path, capsys):
    out = tmp_path / "words"
    given = ("index", "build", "--cohort", hospital.cohort, "--out", out)
    assert command("clinragen", *given, "--modality", "words", "--json") == 0
    assert json.loads(capsys.readouterr().out)["weights"] == {"words": 1.0}
    result = clinragen.similar(out, cohort, int(cohort.split("test")[0]))
    assert {name for case in result for name in case.similarities} == {"words"}
    assert command("clinragen", *given, "--overwrite", "--modality", "word") == 2
    assert "unknown modality 'word': did you mean 'words'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda given: {**given, "--stay": 1}, "has no stay 1: give --stay an id of its"),
        (lambda given: {**given, "--k": 0}, "--k 0: expected 1 or more"),
        (lambda given: {**given, "--index": given["--cohort"]}, "expected a similarity index"),
        (lambda given: {**given, "--index": "nowhere"}, "nowhere is not a folder: expected an index"),
    ],
    ids=["no such stay", "no cases", "a cohort", "nothing there"],
)
def test_mistakes_are_told_in_one_line(indexed, hospital, cohort, command, capsys, change, says):
    given = {"--index": indexed, "--cohort": hospital.cohort, "--stay": int(cohort.split("test")[0]), "--k": 3}
    words = [word for option in change(given).items() for word in option]
    assert command("clinragen", "similar", *words) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


def test_a_damaged_index_and_one_of_another_graph_are_told(indexed, hospital, command, capsys, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(indexed, broken)
    (broken / VECTORS).write_bytes(b"\x00" * 40)
    given = ("--cohort", hospital.cohort, "--stay", int(Cohort.load(hospital.cohort).split("test")[0]))
    assert command("clinragen", "similar", "--index", broken, *given) == 2
    assert "is not the file that its manifest describes" in capsys.readouterr().err
    other = tmp_path / "other"
    shutil.copytree(indexed, other)
    manifest = json.loads((other / MANIFEST).read_text())
    (other / MANIFEST).write_text(json.dumps({**manifest, "concepts_hash": "0"}))
    assert command("clinragen", "similar", "--index", other, *given) == 2
    assert "was built with another concept graph" in capsys.readouterr().err


def test_a_cohort_without_labels_is_compared_by_its_charts(hospital, restamp, tmp_path):
    folder = tmp_path / "uncoded"
    shutil.copytree(hospital.cohort, folder)
    (folder / "labels.parquet").unlink()
    restamp(folder)
    opened = clinragen.build_index(folder, tmp_path / "index")
    assert set(opened.index.weights) == {"words", "concepts", "series"}
    cohort = Cohort.load(folder)
    result = clinragen.similar(opened, cohort, int(cohort.split("test")[0]), count=4)
    assert len(result) == 4
    assert all(not case.labels for case in result)
    assert np.isfinite([case.score for case in result]).all()


@pytest.fixture
def own_chart(cohort, tmp_path) -> tuple[int, Path, Path]:
    """A test stay, and its note and series as files."""
    stay = int(cohort.split("test")[1])
    note, series = tmp_path / "note.txt", tmp_path / "series.csv"
    note.write_text("\n".join(cohort.notes.filter(stay_id=stay)["text"]))
    cohort.series.filter(stay_id=stay).select("hour", "variable", "value").write_csv(series)
    return stay, note, series


def test_a_chart_in_files_has_the_cases_of_its_stay(opened, cohort, own_chart):
    stay, note, series = own_chart
    of_stay = [case.stay_id for case in clinragen.similar(opened, cohort, stay, count=10)]
    result = clinragen.similar(opened, cohort, text=note, series=series, count=10)
    assert result.stay_id is None
    assert len({*of_stay} & {case.stay_id for case in result}) >= 5
    assert any(case.shared for case in result)
    by_text, by_series = clinragen.similar(opened, text=note), clinragen.similar(opened, series=series)
    assert {case.similarities["series"] for case in by_text} == {0.0}
    assert {case.similarities["words"] for case in by_series} == {0.0}
    assert all(not case.shared for case in by_text)  # the charts of the index are not at hand


def test_two_charts_one_after_the_other_are_not_confused(opened, cohort):
    first, other = (
        clinragen.similar(opened, cohort, text=f"Patient with {sign}.", count=5)
        for sign in ("fever and cough", "chest pain and hypertension")
    )
    texts = [{one.text for case in result for one in case.shared} for result in (first, other)]
    assert not texts[0] & {"chest pain", "essential hypertension"}
    assert not texts[1] & {"fever", "cough"}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("hour,variable\n1,heart_rate\n", "column 'value' is missing: expected a CSV file with the columns hour,"),
        ("hour,variable,value\n1,heart_rate,80\n2,heart_rate,high\n", "line 3: hour and value must be numbers"),
        ("hour,variable,value\n-1,heart_rate,80\n", "line 2: hour and value must be numbers, and no hour negative"),
        ("hour,variable,value\n1,heart_rat,80\n", "did you mean 'heart_rate'?"),
        (None, "cannot be read: expected a CSV file"),
    ],
    ids=["a column less", "no number", "before the stay", "unknown variable", "no file"],
)
def test_mistakes_in_a_series_are_told_with_their_line(indexed, command, capsys, tmp_path, content, says):
    path = tmp_path / "series.csv"
    if content is not None:
        path.write_text(content)
    assert command("clinragen", "similar", "--index", indexed, "--series", path) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


def test_a_chart_is_given_once(indexed, hospital, command, capsys):
    assert command("clinragen", "similar", "--index", indexed) == 2
    assert "give a chart: either --stay, or --text" in capsys.readouterr().err
    assert command("clinragen", "similar", "--index", indexed, "--stay", 1) == 2
    assert "--stay needs --cohort" in capsys.readouterr().err
    assert command("clinragen", "similar", "--index", indexed, "--text", "absent.txt") == 2
    assert "--text absent.txt cannot be read (FileNotFoundError)" in capsys.readouterr().err
