"""What ``import clinragen`` offers."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import clinragen

OFFERED = ["prepare", "Cohort", "ConceptGraph", "teach", "train", "load", "predict", "verify", "report"]


def test_importing_it_imports_nothing_else():
    code = "import sys, clinragen; print(sorted(m for m in sys.modules if 'clinragen' in m or m in " + repr(
        ("torch", "polars", "pyarrow", "numpy", "pandas", "cyclopts", "rich")
    )
    done = subprocess.run([sys.executable, "-c", code + "))"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['clinragen']"


def test_every_name_is_there_and_says_what_it_is_for():
    assert set(OFFERED) <= set(clinragen.__all__) <= set(dir(clinragen))
    for name in clinragen.__all__:
        assert getattr(clinragen, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'predit'"):
        clinragen.predit  # noqa: B018


def test_a_package_of_the_same_name_leaves_the_function_callable():
    import clinragen.reporting.build
    import clinragen.verification.claims

    for function in (clinragen.verify, clinragen.report):
        with pytest.raises(clinragen.UserError, match="not found"):
            function(Path("nowhere"), Path("neither"), *([Path("out")] if function is clinragen.report else []))


def test_it_is_typed():
    assert (Path(clinragen.__file__).parent / "py.typed").is_file()


def test_raw_tables_become_the_same_cohort_as_by_the_command(hospital, tmp_path):
    cohort = clinragen.prepare(hospital.raw, tmp_path / "cohort")
    assert isinstance(cohort, clinragen.Cohort)
    for name in ("stays", "series", "notes", "labels"):
        assert (tmp_path / "cohort" / f"{name}.parquet").read_bytes() == (
            hospital.cohort / f"{name}.parquet"
        ).read_bytes()
    with pytest.raises(clinragen.UserError, match="unknown source 'mimic'"):
        clinragen.prepare(hospital.raw, tmp_path / "other", source="mimic")
    with pytest.raises(clinragen.UserError, match="already exists, made from other"):
        clinragen.prepare(hospital.raw, tmp_path / "cohort", set={"window.hours": 24})


def test_rationales_of_a_graph_in_memory_are_those_of_its_folder(hospital, tmp_path):
    for name in ("first", "second"):
        shutil.copytree(hospital.cohort, tmp_path / name, ignore=shutil.ignore_patterns("rationales"))
    graph = clinragen.build_graph()
    graph.save(tmp_path / "graph")
    first = clinragen.teach(clinragen.Cohort.load(tmp_path / "first"), graph=graph)
    second = clinragen.teach(tmp_path / "second", graph=tmp_path / "graph")
    assert first.frame().equals(second.frame())
    assert set(first.to_pandas()["kind"]) == {"note", "series"}
    with pytest.raises(clinragen.UserError, match="unknown teacher"):
        clinragen.teach(tmp_path / "first", teacher="evidnce")  # type: ignore[arg-type]


def test_predictions_are_those_of_the_command_and_vanish_with_their_value(hospital, runs, capsys):
    predictions = clinragen.predict(clinragen.load(runs.multimodal), hospital.cohort)
    root = predictions.root
    assert (root / "predictions.parquet").read_bytes() == (runs.predictions / "predictions.parquet").read_bytes()
    table = predictions.to_pandas()
    cohort = clinragen.Cohort.load(hospital.cohort)
    assert table["stay_id"].tolist() == cohort.split("test").tolist()
    assert {"diagnoses", "note_rationale", "series_rationale", "parsed", "probability_shock"} <= {*table.columns}
    assert table.filter(like="probability_").to_numpy().min() >= 0
    assert predictions.frame().shape == table.shape
    told = capsys.readouterr()
    assert told.out == told.err == ""  # progress is off unless it is asked for
    del predictions
    assert not root.exists()


def test_claims_have_their_words_and_a_verdict(hospital, runs):
    predictions = clinragen.predict(runs.multimodal, hospital.cohort, limit=5)
    claims = clinragen.verify(predictions, hospital.cohort).frame()
    texts = {
        (row["stay_id"], kind): row[f"{kind}_rationale"]
        for row in predictions.frame().to_dicts()
        for kind in ("note", "series")
    }
    assert all(row["text"] in texts[row["stay_id"], row["rationale"]] for row in claims.to_dicts())
    assert set(claims["verdict"]) <= {"supported", "contradicted", "not in the chart", "absence"}


def test_scores_and_report_go_from_values(hospital, runs, tmp_path):
    predictions = clinragen.predict(runs.multimodal, hospital.cohort, tmp_path / "predictions")
    evaluation = clinragen.evaluate(predictions, hospital.cohort, no_controls=True, replicates=10)
    score = evaluation.score("macro_auroc")
    assert score is None or 0 <= score <= 1
    written = clinragen.report(predictions, hospital.cohort, tmp_path / "site", evaluation=evaluation)
    assert written.index.is_file()
    assert written.stays == len(predictions.stay_ids)


def test_a_device_that_is_not_there_is_told(runs):
    with pytest.raises(clinragen.UserError, match="--device mps: this machine has none"):
        clinragen.load(runs.multimodal, device="mps")


def test_preflight_trains_nothing(hospital, tmp_path):
    run = clinragen.train("notes", hospital.cohort, tmp_path / "run", model=str(hospital.model), preflight=True)
    assert run is None
    assert not (tmp_path / "run" / "manifest.json").exists()
