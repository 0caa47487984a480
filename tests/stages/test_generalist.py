"""`clinragen train generalist`: one student learns several tasks, and each command takes it for its alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from whole_graph import GRAPH, LINKER

import clinragen
from clinragen import tasks
from clinragen.cohort.folder import Cohort
from clinragen.errors import UserError
from clinragen.inference.captions import caption_writer, supported_shares, write_captions
from clinragen.inference.predict import TrainedModel, score
from clinragen.model.query_reader import QuestionReader
from clinragen.stages.mixture import instruction
from tests.conftest import EXACT, MICRO_MODEL, call

TASKS = "diagnosis,prescription=0.5,ask=0.5,captions=0.5"
#: The list of a hundred classes of drugs is long in a vocabulary of 600; probes of so many labels take long to fit.
SMALL = (
    "model.language_model.scratch.max_position_embeddings=2048",
    "model.head.linear_probes=false",
    "stage.epochs=1",
)


@pytest.fixture(scope="module")
def early(hospital, tmp_path_factory) -> Path:
    """A cohort twelve hours after admission, when drugs are still to be started, with rationales."""
    out = tmp_path_factory.mktemp("early") / "cohort"
    splits = ("splits.train=0.5", "splits.validation=0.3", "splits.test=0.2", "window.hours=12")
    settings = [option for setting in splits for option in ("--set", setting)]
    assert call("mimic-prep", "mimic-iv", "--raw", hospital.raw, "--out", out, *settings) == 0
    assert call("clinragen", "teach", "--cohort", out) == 0
    return out


@pytest.fixture(scope="module")
def questions(early, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("questions") / "questions"
    clinragen.teach_questions(early, out, per_stay=2, splits=("train", "validation"))
    return out


@pytest.fixture(scope="module")
def command(early, questions) -> tuple:
    settings = [option for setting in SMALL for option in ("--set", setting)]
    given = ("--cohort", early, "--questions", questions, "--model", MICRO_MODEL, "--tasks", TASKS)
    return ("train", "generalist", *given, *settings, *EXACT)


@pytest.fixture(scope="module")
def run(command, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("generalist") / "run"
    assert call("clinragen", *command, "--out", out) == 0
    return out


def manifest_of(folder: Path) -> dict:
    return json.loads((folder / "manifest.json").read_text())


def test_the_manifest_says_what_was_learned_and_how_well(run):
    manifest = manifest_of(run)
    learned = manifest["tasks"]
    assert {name: entry["weight"] for name, entry in learned.items()} == {
        "diagnosis": 1, "prescription": 0.5, "ask": 0.5, "captions": 0.5,
    }  # fmt: skip
    assert manifest["task"] == "diagnosis"
    assert learned["captions"]["examples"] == learned["diagnosis"]["examples"] == manifest["stays"]
    assert "macro_auroc" in learned["prescription"]["best"]
    assert 0 <= learned["captions"]["supported"] <= 1
    losses = [entry["weight"] * entry["best"]["loss"] for entry in learned.values()]
    assert manifest["best"]["loss"] == pytest.approx(sum(losses) / 2.5)


def test_each_task_is_predicted_by_its_labels_with_the_same_weights(run, early, tmp_path):
    cohort = Cohort.load(early)
    student = clinragen.load(run, task="prescription")
    for task in ("diagnosis", "prescription"):
        alone = clinragen.load(run, task=task)
        labels = list(tasks.load(task).label_set(cohort))
        stays = alone.dataset(cohort, "test")
        logits, gold = score(alone.model, stays, alone.manifest.inputs)
        assert np.array_equal(gold > 0, tasks.load(task).labels(cohort, cohort.split("test")).present)
        of_task = student.of_task(task)
        assert np.array_equal(logits, score(of_task.model, stays, alone.manifest.inputs)[0])
        assert of_task.language_model is student.language_model
        predictions = clinragen.predict(run, early, tmp_path / task, task=task, diagnoses_only=True)
        assert (predictions.manifest.task, list(predictions.labels)) == (task, labels)
        assert np.allclose(predictions.system.probabilities, alone.calibration.probabilities(logits), atol=1e-5)
        alone.model.instruction = instruction("mortality")
        assert not np.allclose(logits, score(alone.model, stays, alone.manifest.inputs)[0])
    assert manifest_of(tmp_path / "diagnosis")["training"]["task"] == "diagnosis"
    first = TrainedModel.load(run)
    assert first.run.task.name == "diagnosis"
    assert first.run.predicts == ["diagnosis", "prescription"]


def test_predictions_of_one_task_are_not_taken_up_for_another(run, early, tmp_path, monkeypatch):
    from clinragen.inference import predict

    with monkeypatch.context() as patch:
        patch.setattr(predict, "_assemble", lambda *arguments, **options: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            clinragen.predict(run, early, tmp_path / "out", task="diagnosis", diagnoses_only=True)
    with pytest.raises(UserError, match="unfinished predictions of another model"):
        clinragen.predict(run, early, tmp_path / "out", task="prescription", diagnoses_only=True)


def test_evaluation_and_suggestions_take_the_run_for_their_task(run, early, tmp_path):
    command = ("predict", "--model", run, "--task", "prescription", "--cohort", early, "--diagnoses-only")
    assert call("clinragen", *command, "--out", tmp_path / "predictions") == 0
    clinragen.evaluate(tmp_path / "predictions", early, tmp_path / "evaluation", replicates=2)
    scored = json.loads((tmp_path / "evaluation" / "evaluation.json").read_text())
    assert len(scored["systems"]) >= 3  # the controls need the student of this task
    suggested = {one.stay_id: one for one in clinragen.prescribe(early, engine="student", model=run, most=3)}
    trained = clinragen.load(run, task="prescription")
    stays = trained.dataset(Cohort.load(early), "test")
    probabilities = trained.calibration.probabilities(score(trained.model, stays, trained.manifest.inputs)[0])
    keys = list(trained.model.labels)
    for stay, row in zip(stays.stay_ids.tolist(), probabilities, strict=True):
        for one in suggested[stay].suggestions:
            assert one.probability == pytest.approx(row[keys.index(one.drug_class)], abs=1e-5)


def test_it_reads_questions_and_puts_series_into_words(run, early):
    reader = QuestionReader.load(run, GRAPH, LINKER)
    assert reader.instruction == instruction("ask")
    queries = reader.read(["What was the highest lactate in the first 24 hours?", "How is the patient?"])
    assert [query and query.subject for query in queries] == ["lactate", None]
    trained = clinragen.load(run)
    writer, stays = caption_writer(trained), trained.dataset(Cohort.load(early), "test", limit=3)
    texts = write_captions(writer, stays)
    assert [write_captions(writer, trained.stays(stays.cohort, stays.stay_ids[[row]]))[0] for row in range(3)] == texts
    taught = [writer.tokenizer.decode(ids).removeprefix(" Measurements:") for ids in stays.in_words(200)]
    shares = supported_shares(stays, taught, writer)
    assert shares.min() > 0.9  # the captions that it learns are true


def test_a_run_that_was_stopped_ends_as_one_that_was_not(command, run, tmp_path, monkeypatch):
    from clinragen.stages.progress import StageProgress

    def stop(self, epoch):
        if (tmp_path / "run" / "resume" / "state.safetensors").exists():
            raise KeyboardInterrupt

    frequent = ("--set", "stage.checkpoint_steps=2", "--out", tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr(StageProgress, "step", stop)
        assert call("clinragen", *command, *frequent) == 130
    assert not (tmp_path / "run" / "manifest.json").exists()
    assert call("clinragen", *command, *frequent) == 0
    files = [path.relative_to(run / "model") for path in sorted((run / "model").rglob("*")) if path.is_file()]
    assert Path("tasks/prescription/head.safetensors") in files
    for path in files:
        assert (run / "model" / path).read_bytes() == (tmp_path / "run" / "model" / path).read_bytes(), path


def test_a_student_goes_on_with_its_heads(run, early, tmp_path):
    still = {"model.learning_rate": 0, "model.learning_rate_new": 0, "stage.epochs": 1}
    clinragen.train(
        "generalist", early, tmp_path / "run", parent=run, set=still, tasks={"prescription": 1, "diagnosis": 0.1}
    )
    for part in ("model.safetensors", "tasks/prescription/head.safetensors"):
        assert (run / "model" / part).read_bytes() == (tmp_path / "run" / "model" / part).read_bytes()
    assert manifest_of(tmp_path / "run")["parent_stages"] == ["generalist"]


def test_what_cannot_be_learned_or_predicted_is_refused_in_one_line(command, run, early, questions, tmp_path, capsys):
    lacking = tmp_path / "lacking"
    shutil.copytree(early, lacking)
    (lacking / "orders.parquet").unlink()
    manifest = manifest_of(lacking)
    for entry in ("outputs", "sizes"):
        del manifest[entry]["orders.parquet"]
    (lacking / "manifest.json").write_text(json.dumps(manifest))
    train = ("train", "generalist", "--cohort", early, "--preflight", "--out", tmp_path / "out")
    for given, says in (
        ((*train, "--tasks", "diagnosis,mortalit"), "did you mean 'mortality'"),
        ((*train, "--tasks", "diagnosis,ask"), "pass --questions"),
        ((*train, "--tasks", "diagnosis", "--questions", questions), "name it in --tasks"),
        ((*train, "--tasks", "captions"), "name a task with labels"),
        ((*train, "--tasks", "diagnosis=-1"), "expected a weight from 0"),
        ((*train, "--tasks", "diagnosis=much"), "mixture.diagnosis"),
        ((*train, "--tasks", "diagnosis=1,"), "expected names with weights"),
        ((*train, "--task", "prescription"), "name them with --tasks"),
        ((*train, "--set", "trainer.devices=2"), "one process"),
        ((*train, "--set", "stage.frozen=[language_model]", "--questions", questions), "trains the language model"),
        ((*train, "--set", "stage.inputs=[note]", "--tasks", "diagnosis,captions"), "add series to stage.inputs"),
        ((*train[:3], lacking, *train[4:], "--tasks", "diagnosis,prescription"), "orders.parquet"),
        (("train", "notes", *train[2:], "--tasks", "diagnosis"), "learns one task"),
        (("predict", "--model", run, "--cohort", early, "--out", tmp_path / "out", "--task", "mortality"),
         "predicts task diagnosis or prescription, not 'mortality'"),
    ):  # fmt: skip
        assert call("clinragen", *given) == 2, given
        errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1, errors
        assert says in errors[0]
    assert not (tmp_path / "out").exists()


def test_all_that_can_be_learned_is_learned_by_default(early, tmp_path, capsys):
    given = ("--cohort", early, "--model", MICRO_MODEL, "--set", SMALL[0], "--preflight", "--out", tmp_path / "out")
    assert call("clinragen", "train", "generalist", *given) == 0
    lines = " ".join(capsys.readouterr().err.split())
    expected = ("diagnosis", "length_of_stay_over_7_days", "prescription", "captions")  # nobody died in validation
    assert f"examples: {', '.join(f'{name} 1 (45)' for name in expected)} plan:" in lines


def test_a_run_of_one_task_is_what_it_was(runs, hospital, tmp_path):
    manifest = manifest_of(runs.multimodal)
    assert "tasks" not in manifest
    assert not (runs.multimodal / "model" / "tasks").exists()
    plain, asked = clinragen.load(runs.multimodal), clinragen.load(runs.multimodal, task="diagnosis")
    assert plain.run == asked.run
    assert plain.model.instruction == ""
    with pytest.raises(UserError, match="predicts task diagnosis, not 'mortality'"):
        clinragen.load(runs.multimodal, task="mortality")
    again = clinragen.predict(runs.multimodal, hospital.cohort, tmp_path / "again", task="diagnosis")
    assert (again.root / "predictions.jsonl").read_bytes() == (runs.predictions / "predictions.jsonl").read_bytes()
