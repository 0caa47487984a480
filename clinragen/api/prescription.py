"""Suggestions of drugs from Python: ranked classes, their grounds and their cautions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clinragen.api.prescriber import ASKING, PrescribingModel
from clinragen.api.values import CohortLike, GraphLike, ModelLike, SettingsLike, cohort_folder, open_cohort, path
from clinragen.choices import Device, PrescriptionEngine, PrescriptionPrompt, Retrieval, Split
from clinragen.errors import UserError
from clinragen.integrity import thorough

if TYPE_CHECKING:
    import numpy as np

    from clinragen.api.prescriber import ModelRanking
    from clinragen.knowledge.graph import ConceptGraph
    from clinragen.prescriber.run import Tally
    from clinragen.prescription.history import History
    from clinragen.prescription.rankers import Neighbours
    from clinragen.prescription.suggest import ClassRanking, Prescription
    from clinragen.tasks import Labels

TASK = "prescription"


@dataclass(frozen=True)
class Prescriptions:
    """Suggestions for stays; iterating gives those of each stay.

    Attributes:
        stays: the suggestions.
        engine: what they were ranked by.
        unchecked: what the safety screen could not check.
        folder: where they were written, if they were.
        answers: what became of the questions, where a language model was asked.
    """

    stays: list[Prescription] = field(repr=False)
    engine: str
    unchecked: list[str]
    folder: Path | None = None
    answers: Tally | None = None

    def __iter__(self) -> Iterator[Prescription]:
        return iter(self.stays)

    def __len__(self) -> int:
        return len(self.stays)


def prescribe(
    cohort: CohortLike,
    out: str | Path | None = None,
    *,
    engine: PrescriptionEngine = "neighbours",
    model: ModelLike | None = None,
    graph: GraphLike = None,
    split: Split = "test",
    limit: int | None = None,
    most: int = 5,
    rag: Retrieval = "none",
    prompt: PrescriptionPrompt = "free",
    config: str | Path | None = None,
    set: SettingsLike = (),
    device: Device = "auto",
    overwrite: bool = False,
    verify: bool = False,
    progress: bool = False,
) -> Prescriptions:
    """Suggest classes of drugs to start within 24 hours of the prediction time, with grounds and cautions.

    Args:
        cohort: a cohort with orders; the engines other than ``student`` learn from its training split.
        out: a folder to write, with ``prescriptions.jsonl``; None: nothing is written. An engine that asks a language
            model needs one: every answer is journaled beside it.
        engine: what ranks the classes: how often they are started, what similar stays were started on, a student, or a
            language model behind a server (openai) or in this process (vllm).
        model: a run that learned task ``prescription``, for engine ``student``.
        graph: says what each class treats; None: the curated core.
        split: the stays.
        limit: only the first ones.
        most: how many classes to suggest for each stay.
        rag: what a language model is shown beside the chart.
        prompt: what it is asked.
        config: its settings, a shipped name or a YAML file; that of the engine by default.
        set: settings of the config to override, as ``{"server.model": "llama"}``.
        device: where the student runs.
        overwrite: replace what an earlier run wrote; journaled answers are kept.
        verify: check the hashes of large files, too.
        progress: report on standard error how many stays a language model has answered.

    Raises:
        UserError: the cohort has no orders, no training stay can be learned from, the model is of another task, or a
            server that cannot be used.
    """
    from clinragen import tasks
    from clinragen.outputs import PRESCRIPTIONS, check_output
    from clinragen.prescription.charts import read_charts
    from clinragen.prescription.history import History, usual_ingredients
    from clinragen.prescription.suggest import Suggester
    from clinragen.safety.screen import unchecked
    from clinragen.tasks.prescription import treatments

    if (engine == "student") != (model is not None):
        raise UserError("--engine student needs --model, a run of task 'prescription'; no other engine takes one")
    if most < 1:
        raise UserError(f"--most {most}: expected 1 or more")
    if out is not None:
        check_output(Path(out), PRESCRIPTIONS, overwrite=overwrite, inputs=[cohort_folder(cohort)])
    language_model = PrescribingModel.of(engine, out, rag, prompt, config, set) if engine in ASKING else None
    if language_model is None:
        _check_foreign(engine, rag, prompt, config, set)
    answered: ModelRanking | None = None
    with thorough(verify):
        opened = open_cohort(cohort)
        stay_ids = opened.split(split)[:limit]
        train = opened.split("train")
        keys = tuple(treatments())
        history = History(opened, stay_ids, keys)
        labels = tasks.load(TASK).labels(opened, train)
        if not labels.eligible.any():
            raise UserError(
                f"{opened.paths.root}: no training stay has an order before its prediction time: prepare more stays, "
                "or a later prediction time"
            )
        suggester = Suggester(_graph(graph), treatments(), usual_ingredients(opened, train), most)
        charts = read_charts(history, suggester.graph)
        if language_model is not None:
            answered = language_model.ranking(
                history, charts, suggester, _neighbours(history, labels), progress=progress
            )
            ranking = answered.ranking
        else:
            ranking = _ranking(engine, history, labels, model, device)
        prescriptions = list(suggester.suggest(history, ranking, charts))
    tally, record = (answered.tally, {"language_model": answered.record}) if answered is not None else (None, {})
    result = Prescriptions(prescriptions, engine, unchecked(), path(out), tally)
    if out is not None:
        _write(result, opened.sha256, record, overwrite)
    return result


def _check_foreign(
    engine: str, rag: Retrieval, prompt: PrescriptionPrompt, config: str | Path | None, settings: SettingsLike
) -> None:
    """Refuse options of a language model where none is asked, instead of ignoring them."""
    given = {"--rag": rag != "none", "--prompt": prompt != "free", "--config": config, "--set": settings}
    if option := next((option for option, value in given.items() if value), None):
        raise UserError(f"{option} is for --engine openai and vllm: --engine {engine} asks no language model")


def _ranking(
    engine: PrescriptionEngine, history: History, labels: Labels, model: ModelLike | None, device: Device
) -> ClassRanking:
    """The ranking of an engine that asks no language model."""
    from clinragen.prescription.rankers import Popularity
    from clinragen.prescription.suggest import ClassRanking

    if engine == "student":
        assert model is not None
        return ClassRanking(_student(model, history, device))
    if engine == "popularity":
        return ClassRanking(Popularity.fit(labels).probabilities(history))
    return ClassRanking(*_neighbours(history, labels).ranked(history))


def _neighbours(history: History, labels: Labels) -> Neighbours:
    """The ranker by similar stays, of the training stays that something could be started in."""
    from clinragen.prescription.history import History
    from clinragen.prescription.rankers import Neighbours

    some = labels.eligible.any(1)
    of_some = type(labels)(*(part[some] for part in labels))
    cohort = history.cohort
    return Neighbours(cohort, History(cohort, cohort.split("train")[some], history.keys), of_some)


def _graph(graph: GraphLike) -> ConceptGraph:
    """The graph of a folder or value, or the curated core."""
    from clinragen.knowledge.graph import ConceptGraph, build

    if graph is None:
        return build()
    return ConceptGraph.load(Path(graph)) if isinstance(graph, str | Path) else graph


def _student(model: ModelLike, history: History, device: Device) -> np.ndarray:
    """Calibrated probabilities of a student, [n, classes]."""
    import numpy as np

    from clinragen.api.prediction import load
    from clinragen.inference.finished import FinishedRun
    from clinragen.inference.predict import score

    run = FinishedRun.open(model) if isinstance(model, str | Path) else model.run
    if TASK not in run.predicts:  # said before the weights are read
        raise UserError(
            f"the model predicts task '{"' and '".join(run.predicts)}', not '{TASK}': train one with "
            f"clinragen distill --task {TASK}"
        )
    trained = load(model, task=TASK, device=device) if isinstance(model, str | Path) else model.of_task(TASK)
    if tuple(trained.model.labels) != history.keys:
        raise UserError("the model was trained for other classes of drugs: train it anew")
    stays = history.cohort.stays.filter(history.cohort.stays["stay_id"].is_in(history.stay_ids.tolist()))
    (split,) = stays["split"].unique()
    logits, _ = score(trained.model, trained.dataset(history.cohort, split), trained.manifest.inputs)
    of_split = history.cohort.split(split)
    return trained.calibration.probabilities(logits)[np.searchsorted(of_split, history.stay_ids)]


def _write(result: Prescriptions, cohort_hash: str, record: dict[str, Any], overwrite: bool) -> None:
    from clinragen import __version__
    from clinragen.artifacts import write_json, write_text
    from clinragen.integrity import outputs_of
    from clinragen.outputs import PRESCRIPTIONS, output_folder

    assert result.folder is not None
    with output_folder(result.folder, PRESCRIPTIONS, overwrite=overwrite) as folder:
        lines = (json.dumps(stay.as_json(), ensure_ascii=False) for stay in result)
        write_text(folder / "prescriptions.jsonl", "".join(f"{line}\n" for line in lines))
        manifest = {
            "kind": PRESCRIPTIONS.name,
            "created_by": f"clinragen {__version__}",
            "cohort_hash": cohort_hash,
            "engine": result.engine,
            "stays": len(result),
            "unchecked": result.unchecked,
            **record,
            **outputs_of([folder / "prescriptions.jsonl"]),
        }
        write_json(folder / "manifest.json", manifest)
