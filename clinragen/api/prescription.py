"""Suggestions of drugs from Python: ranked classes, their grounds and their cautions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from clinragen.api.values import CohortLike, GraphLike, ModelLike, cohort_folder, open_cohort, path
from clinragen.choices import Device, PrescriptionEngine, Split
from clinragen.errors import UserError
from clinragen.integrity import thorough

if TYPE_CHECKING:
    import numpy as np

    from clinragen.knowledge.graph import ConceptGraph
    from clinragen.prescription.history import History
    from clinragen.prescription.suggest import Prescription

TASK = "prescription"


@dataclass(frozen=True)
class Prescriptions:
    """Suggestions for stays; iterating gives those of each stay.

    Attributes:
        stays: the suggestions.
        engine: what they were ranked by.
        unchecked: what the safety screen could not check.
        folder: where they were written, if they were.
    """

    stays: list[Prescription] = field(repr=False)
    engine: str
    unchecked: list[str]
    folder: Path | None = None

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
    device: Device = "auto",
    overwrite: bool = False,
    verify: bool = False,
) -> Prescriptions:
    """Suggest classes of drugs to start within 24 hours of the prediction time, with grounds and cautions.

    Args:
        cohort: a cohort with orders; the engines other than ``student`` learn from its training split.
        out: a folder to write, with ``prescriptions.jsonl``; None: nothing is written.
        engine: what ranks the classes: how often they are started, what similar stays were started on, or a student.
        model: a run of task ``prescription``, for engine ``student``.
        graph: says what each class treats; None: the curated core.
        split: the stays.
        limit: only the first ones.
        most: how many classes to suggest for each stay.
        device: where the student runs.
        overwrite: replace what an earlier run wrote.
        verify: check the hashes of large files, too.

    Raises:
        UserError: the cohort has no orders, no training stay can be learned from, or the model is of another task.
    """
    from clinragen import tasks
    from clinragen.outputs import PRESCRIPTIONS, check_output
    from clinragen.prescription.history import History, usual_ingredients
    from clinragen.prescription.rankers import Neighbours, Popularity
    from clinragen.prescription.suggest import Ranking, Suggester
    from clinragen.safety.screen import unchecked
    from clinragen.tasks.prescription import treatments

    if (engine == "student") != (model is not None):
        raise UserError("--engine student needs --model, a run of task 'prescription'; no other engine takes one")
    if most < 1:
        raise UserError(f"--most {most}: expected 1 or more")
    if out is not None:
        check_output(Path(out), PRESCRIPTIONS, overwrite=overwrite, inputs=[cohort_folder(cohort)])
    with thorough(verify):
        opened = open_cohort(cohort)
        stay_ids = opened.split(split)[:limit]
        train = opened.split("train")
        keys = tuple(treatments())
        history = History(opened, stay_ids, keys)
        votes: tuple[np.ndarray, np.ndarray] | None = None
        labels = tasks.load(TASK).labels(opened, train)
        if not labels.eligible.any():
            raise UserError(
                f"{opened.paths.root}: no training stay has an order before its prediction time: prepare more stays, "
                "or a later prediction time"
            )
        if engine == "student":
            assert model is not None
            probabilities = _student(model, history, device)
        elif engine == "popularity":
            probabilities = Popularity.fit(labels).probabilities(history)
        else:
            some = labels.eligible.any(1)
            of_some = type(labels)(*(part[some] for part in labels))
            ranker = Neighbours(opened, History(opened, train[some], keys), of_some)
            probabilities, votes = ranker.ranked(history)
        suggester = Suggester(_graph(graph), treatments(), usual_ingredients(opened, train), most)
        prescriptions = list(suggester.suggest(history, Ranking(probabilities, votes)))
    result = Prescriptions(prescriptions, engine, unchecked(), path(out))
    if out is not None:
        _write(result, opened.sha256, overwrite)
    return result


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

    manifest = FinishedRun.open(model).manifest if isinstance(model, str | Path) else model.manifest
    if manifest.task != TASK:  # said before the weights are read
        raise UserError(
            f"the model predicts task '{manifest.task or 'diagnosis'}', not '{TASK}': train one with "
            f"clinragen distill --task {TASK}"
        )
    trained = load(model, device=device) if isinstance(model, str | Path) else model
    if tuple(trained.model.labels) != history.keys:
        raise UserError("the model was trained for other classes of drugs: train it anew")
    stays = history.cohort.stays.filter(history.cohort.stays["stay_id"].is_in(history.stay_ids.tolist()))
    (split,) = stays["split"].unique()
    logits, _ = score(trained.model, trained.dataset(history.cohort, split), trained.manifest.inputs)
    of_split = history.cohort.split(split)
    return trained.calibration.probabilities(logits)[np.searchsorted(of_split, history.stay_ids)]


def _write(result: Prescriptions, cohort_hash: str, overwrite: bool) -> None:
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
            **outputs_of([folder / "prescriptions.jsonl"]),
        }
        write_json(folder / "manifest.json", manifest)
