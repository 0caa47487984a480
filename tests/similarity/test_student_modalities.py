"""Index modalities of a trained student: the aligned space, in which a series finds notes, and its own states."""

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
from tests.conftest import EXACT, call

pytestmark = pytest.mark.slow  # what its fixtures make takes seconds


@pytest.fixture(scope="module")
def cohort(hospital) -> Cohort:
    return Cohort.load(hospital.cohort)


@pytest.fixture(scope="module")
def aligned(hospital, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("aligned") / "run"
    settings = ("stage.batch_size=16", "stage.align.prototypes=8", "stage.epochs=6")
    given = ("--cohort", hospital.cohort, "--model", hospital.model, "--out", out, *EXACT)
    assert call("clinragen", "train", "align", *given, *(part for one in settings for part in ("--set", one))) == 0
    return out


@pytest.fixture(scope="module")
def indexed(hospital, aligned, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("by-student") / "index"
    assert call("clinragen", "index", "build", "--cohort", hospital.cohort, "--model", aligned, "--out", out) == 0
    return out


@pytest.fixture(scope="module")
def opened(indexed, aligned):
    return clinragen.open_index(indexed, model=aligned)


def test_stays_are_compared_by_the_student_too(opened, cohort):
    weights = opened.index.weights
    assert set(weights) == {"words", "concepts", "series", "aligned", "embedding", "diagnoses"}
    for name in ("aligned", "embedding"):
        assert np.allclose(np.linalg.norm(opened.index.vectors[name], axis=1), 1, atol=1e-5)
        (query,) = opened.index.queries_of(cohort, cohort.split("test")[:1])
        case, *_ = opened.index.search(query, 3, weights={name: 1.0})
        assert case.score == case.similarities[name] > 0


def test_a_stay_that_was_indexed_is_nearest_to_itself_as_a_chart_in_files(opened, cohort, tmp_path):
    stay = int(cohort.split("train")[3])
    note, series = tmp_path / "note.txt", tmp_path / "series.csv"
    note.write_text("\n".join(cohort.notes.filter(stay_id=stay)["text"]))
    cohort.series.filter(stay_id=stay).select("hour", "variable", "value").write_csv(series)
    similarities = {
        case.stay_id: case.similarities for case in clinragen.similar(opened, text=note, series=series, count=200)
    }
    for name in ("aligned", "embedding"):
        ranked = sorted(similarities, key=lambda one, name=name: -similarities[one][name])
        assert stay in ranked[:3]


def test_a_series_finds_notes(opened, cohort):
    """Rows of notes alone, queries of series alone: those of the same stay are nearer than chance has it."""
    student, train = opened.index.encoders.student, cohort.split("train")
    read = student._read(cohort, train, lambda count: None)
    of_note, of_series = (
        student._project(read._replace(some=read.some & np.array(which)[:, None]))["aligned"]
        for which in ([True, False], [False, True])
    )
    near = of_series @ of_note.T
    nearer = (near > near.diagonal()[:, None]).sum(1)
    assert nearer.mean() < 0.35 * len(train)  # by chance half of them are nearer


def test_what_a_chart_lacks_is_not_compared(opened, cohort, restamp, hospital, tmp_path):
    text = "Fever, productive cough and shortness of breath for three days."
    by_text = clinragen.similar(opened, text=text, count=3)
    assert all(case.similarities["aligned"] and case.similarities["embedding"] for case in by_text)
    assert {case.similarities["series"] for case in by_text} == {0.0}
    folder = tmp_path / "empty"
    shutil.copytree(hospital.cohort, folder)
    (stay,) = cohort.split("test")[:1].tolist()
    for name in ("notes", "series"):
        rows = pl.read_parquet(folder / f"{name}.parquet").filter(pl.col("stay_id") != stay)
        rows.write_parquet(folder / f"{name}.parquet")
    restamp(folder)
    (query,) = opened.index.queries_of(Cohort.load(folder), np.array([stay]))
    assert set(query.vectors) == {"diagnoses"}


def test_labels_and_the_future_of_test_stays_change_no_byte(hospital, cohort, indexed, aligned, restamp, tmp_path):
    folder = tmp_path / "changed"
    shutil.copytree(hospital.cohort, folder)
    test = pl.col("stay_id").is_in(cohort.split("test").tolist())
    labels = pl.read_parquet(folder / "labels.parquet")
    flipped = (pl.when(test).then(~pl.col(key)).otherwise(pl.col(key)).alias(key) for key in cohort.label_set)
    labels.with_columns(flipped).write_parquet(folder / "labels.parquet")
    restamp(folder)
    others = clinragen.build_index(folder, tmp_path / "index", model=aligned)
    for file in (VECTORS, ENCODERS):
        assert (tmp_path / "index" / file).read_bytes() == (indexed / file).read_bytes()
    stay = int(cohort.split("test")[0])
    before = clinragen.similar(indexed, hospital.cohort, stay, model=aligned)
    assert clinragen.similar(others, folder, stay).as_json() == before.as_json()


def test_the_index_holds_a_hash_of_the_model_and_no_path(indexed, aligned):
    manifest = json.loads((indexed / MANIFEST).read_text())
    assert len(manifest["model_hash"]) == 64
    held = b"".join((indexed / name).read_bytes() for name in (VECTORS, ENCODERS, MANIFEST))
    assert str(aligned).encode() not in held


def test_an_index_without_a_model_needs_none_and_is_as_before(hospital, tmp_path, aligned, cohort):
    stay = int(cohort.split("test")[0])
    clinragen.build_index(hospital.cohort, tmp_path / "plain")
    assert "model_hash" not in json.loads((tmp_path / "plain" / MANIFEST).read_text())
    with_model = clinragen.similar(tmp_path / "plain", cohort, stay, model=aligned)
    assert with_model.as_json() == clinragen.similar(tmp_path / "plain", cohort, stay).as_json()


def test_any_student_has_an_embedding(runs, hospital, cohort, tmp_path):
    index = clinragen.build_index(hospital.cohort, tmp_path / "index", model=runs.notes, modalities=["embedding"])
    assert set(index.index.weights) == {"embedding"}
    assert len(clinragen.similar(index, cohort, int(cohort.split("test")[0]), count=4)) == 4
    by_series = clinragen.similar(index, series=_series(tmp_path), count=4)
    assert len(by_series) == 0  # it reads notes alone


def _series(folder: Path) -> Path:
    path = folder / "series.csv"
    path.write_text("hour,variable,value\n1,heart_rate,120\n1.5,heart_rate,130\n2,lactate,4.5\n")
    return path


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (lambda runs, aligned: (), "give --model, the run that it was built with"),
        (lambda runs, aligned: ("--model", runs.multimodal), "is not the model that"),
        (lambda runs, aligned: ("--model", "nowhere"), "nowhere is not a folder"),
    ],
    ids=["no model", "another model", "no run"],
)
def test_an_index_is_asked_with_its_own_model(indexed, runs, aligned, command, capsys, tmp_path, given, says):
    series = ("--series", _series(tmp_path))
    assert command("clinragen", "similar", "--index", indexed, *series, *given(runs, aligned)) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert command("clinragen", "similar", "--index", indexed, *series, "--model", aligned) == 0


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (lambda runs: ("--modality", "embedding"), "give --model"),
        (lambda runs: ("--modality", "aligned", "--model", runs.multimodal), "'aligned' needs one of stage align"),
        (lambda runs: ("--modality", "words", "--model", runs.multimodal), "or leave it out"),
    ],
    ids=["no model", "not aligned", "nothing of the model"],
)
def test_modalities_and_model_fit(hospital, runs, command, capsys, tmp_path, given, says):
    out = ("--cohort", hospital.cohort, "--out", tmp_path / "index")
    assert command("clinragen", "index", "build", *out, *given(runs)) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "index").exists()
