"""Checks before training: whether all inputs exist and are valid; fail fast, within a second or two and without torch.

All errors are reported together, one line each, along with remarks on data that is too scarce for good results.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from clinragen import tasks
from clinragen.added_variables import NONE
from clinragen.artifacts import read_json
from clinragen.choices import ASK, PRETRAIN, WITHOUT_STUDENT
from clinragen.cohort.folder import Cohort
from clinragen.cohort.freshness import years_of
from clinragen.cohort.window import training_window
from clinragen.errors import UserError
from clinragen.inference.finished import FinishedRun
from clinragen.knowledge.relabel import open_graph
from clinragen.label_sets import shipped
from clinragen.manifests import StageManifest
from clinragen.model.config import ModelConfig
from clinragen.stages.config import RunConfig, resolve, settings_of, stage_name
from clinragen.stages.loggers import check_tracker
from clinragen.stages.mixture import labelled, weights_of
from clinragen.stages.run_dir import Request, check_folder, expected_parent, finished

#: Below these the metrics of a run are not informative: a threshold fitted on nine stays is chance.
FEW = {"train": 100, "validation": 20}


def check(request: Request, later: Sequence[Request] = (), say: Callable[[str], object] | None = None) -> Cohort:
    """All checks that need no model.

    Args:
        request: the stage to run.
        later: stages that will continue this one; their settings and requirements of the cohort are checked.
        say: called with each remark, a sentence that does not stop the run.

    Returns:
        The cohort of the request.

    Raises:
        UserError: the last error found; the others have been printed to standard error, one line each.
    """
    stage_name(request.stage)
    mistakes = _Mistakes()
    cohort = mistakes.attempt(lambda: Cohort.load(request.cohort))
    if cohort:
        _check_tables(request, cohort, mistakes)
    _check_start(request, cohort, mistakes)
    readable = not mistakes.errors
    stages = (request, *later)
    configs = [mistakes.attempt(partial(_check_settings, stage)) for stage in stages]
    for stage, config in zip(stages, configs, strict=True):
        if config and config.stage.token_weight and stage.stage not in WITHOUT_STUDENT:
            mistakes.attempt(partial(_check_logprobs, stage.cohort, stage.teacher))
    mistakes.attempt(lambda: check_folder(request.out, request.overwrite or request.finish, request.inputs))
    remarks: dict[str, None] = {}
    if cohort and configs[0] and configs[0].stage.mixture is not None and readable:
        configs[0].stage.mixture = weights_of(configs[0].stage, cohort, questions=request.questions is not None)
    if cohort and configs[0] and readable:
        remark = mistakes.attempt(partial(_check_window, request, configs[0], cohort))
        remarks |= dict.fromkeys([remark] if remark else [])
        for stage, config in zip(stages, configs, strict=True):
            if config and stage.cohort == request.cohort:
                remarks |= dict.fromkeys(mistakes.attempt(partial(_check_content, cohort, config)) or [])
    mistakes.report()
    assert cohort is not None
    for remark in remarks if say else ():
        say(remark)  # type: ignore[misc]
    return cohort


class _Mistakes:
    """Collects user errors, so that all are reported together."""

    def __init__(self) -> None:
        self.errors: list[UserError] = []

    def attempt[T](self, look: Callable[[], T]) -> T | None:
        """The result of ``look``; None after an error."""
        try:
            return look()
        except UserError as error:
            if str(error) not in map(str, self.errors):
                self.errors.append(error)
            return None

    def report(self) -> None:
        """Print all errors but the last, and raise that one."""
        for error in self.errors[:-1]:
            print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        if self.errors:
            raise self.errors[-1]


def _check_tables(request: Request, cohort: Cohort, mistakes: _Mistakes) -> None:
    """The tables of the cohort that the stage reads."""
    learned = [tasks.load(name) for name in mistakes.attempt(partial(_learned, request, cohort)) or []]
    for task in learned:
        if not task.available(cohort):
            task.table(cohort)  # this error names a missing file, from which all others follow
    mistakes.attempt(cohort.hold_patients_apart)
    mistakes.attempt(lambda: cohort.split("train"))
    mistakes.attempt(lambda: cohort.split("validation"))
    mistakes.attempt(lambda: cohort.series)
    if request.stage not in WITHOUT_STUDENT:
        mistakes.attempt(lambda: cohort.notes)
        for task in learned:
            mistakes.attempt(partial(task.table, cohort))
        mistakes.attempt(lambda: cohort.rationales(request.teacher))


def _several(request: Request) -> bool:
    """Whether the stage learns several tasks; not if its settings cannot be read, which is reported elsewhere."""
    with suppress(UserError):
        return settings_of(request.stage).mixture is not None
    return False


def _learned(request: Request, cohort: Cohort) -> list[str]:
    """Names of the tasks with labels that the stage learns.

    Raises:
        UserError: unknown tasks, or some that do not fit the stage.
    """
    if request.stage in WITHOUT_STUDENT:
        return []
    if not _several(request):
        return [request.task]
    settings = settings_of(request.stage, request.overrides)
    settings.check(stage_name(request.stage))
    if request.task != tasks.DEFAULT:
        raise UserError(f"--task {request.task}: stage '{request.stage}' learns several tasks: name them with --tasks")
    return labelled(weights_of(settings, cohort, questions=request.questions is not None))


def _check_start(request: Request, cohort: Cohort | None, mistakes: _Mistakes) -> None:
    """Check the start of the stage: the graph, the parent, a pre-trained encoder."""
    if request.stage == PRETRAIN:
        mistakes.attempt(partial(_starts_from_nothing, request))
        return
    several = _several(request)
    if request.questions and request.stage != ASK and not several:
        mistakes.attempt(partial(_no_questions, request))
    if request.stage == ASK:
        mistakes.attempt(partial(_check_ask, request, cohort))
        return
    if request.graph:
        labels = (mistakes.attempt(lambda: cohort.label_set) if cohort else None) or shipped()
        added = (mistakes.attempt(lambda: cohort.added) if cohort else None) or NONE
        mistakes.attempt(lambda: open_graph(request.graph, labels, added))
    if several:
        mistakes.attempt(partial(_check_several, request, cohort))
    else:
        mistakes.attempt(lambda: expected_parent(request))
    if pretrained := request.pretrained:
        mistakes.attempt(lambda: finished(StageManifest, pretrained, PRETRAIN, "--pretrained"))


def _starts_from_nothing(request: Request) -> None:
    for folder, option in ((request.parent, "--parent"), (request.pretrained, "--pretrained")):
        if folder:
            raise UserError(f"{option} {folder}: stage '{PRETRAIN}' starts from nothing")


def _no_questions(request: Request) -> None:
    raise UserError(f"--questions {request.questions}: only stage '{ASK}' learns from questions")


def _check_several(request: Request, cohort: Cohort | None) -> None:
    """Check what a student of several tasks starts from: questions, and any student to continue, if they are named."""
    if request.questions:
        _check_questions(request.questions, request.cohort, cohort)
    if request.parent and request.pretrained:
        raise UserError(f"--pretrained {request.pretrained}: only a new student takes an encoder, not --parent")
    if request.parent:
        FinishedRun.open(request.parent)


def _check_questions(questions: Path, folder: Path, cohort: Cohort | None) -> None:
    """Check that questions are about the cohort of a folder."""
    stored = read_json(questions / "manifest.json", "the manifest of `clinragen teach questions`")
    if cohort and stored.get("cohort_hash") != cohort.sha256:
        raise UserError(f"--questions {questions}: they are about another cohort than {folder}")


def _check_ask(request: Request, cohort: Cohort | None) -> None:
    """Check that there are questions about this cohort, and a student to continue, if one is named."""
    if request.questions is None:
        raise UserError(f"stage '{ASK}' learns from questions: pass the folder of `clinragen teach questions`")
    _check_questions(request.questions, request.cohort, cohort)
    if request.pretrained:
        raise UserError(f"--pretrained {request.pretrained}: stage '{ASK}' reads no series")
    if request.parent:
        FinishedRun.open(request.parent)


def _check_settings(request: Request) -> RunConfig:
    model = request.model if request.parent is None else ModelConfig()  # a parent's graph is read with the parent
    config = resolve(request.stage, model, request.teacher, [*request.overrides], request.trainer, request.task)
    check_tracker(config.trainer.logger)
    if config.stage.mixture is not None and not _several(request):
        raise UserError(f"--tasks: stage '{config.stage_name}' learns one task: pass --task, or train stage generalist")
    if config.stage.mixture is not None and config.trainer.devices * config.trainer.num_nodes > 1:
        raise UserError(f"stage '{config.stage_name}' learns its tasks in one process: set trainer.devices=1")
    if config.stage.refine and config.trainer.devices * config.trainer.num_nodes > 1:
        raise UserError(f"stage '{config.stage_name}' samples and learns in one process: set trainer.devices=1")
    return config


def _check_logprobs(cohort: Path, teacher: str) -> None:
    Cohort.load(cohort).logprobs(teacher)


def _check_window(request: Request, config: RunConfig, cohort: Cohort) -> str | None:
    """Check that the student reads the cohort's hours: a new one by its settings, another by its training window."""
    if request.stage in WITHOUT_STUDENT:
        return None
    if request.parent is None:
        training_window(config.model.hours, cohort)
        return None
    return FinishedRun.open(request.parent).window.check(cohort)


def _check_content(cohort: Cohort, config: RunConfig) -> list[str]:
    """Check that a cohort has what the stage needs.

    Returns:
        Remarks on scarce data.

    Raises:
        UserError: something is missing.
    """
    splits = {name: cohort.split(name) for name in ("train", "validation")}
    root, remarks = cohort.paths.root, []
    if short := [f"{len(ids)} {name}" for name, ids in splits.items() if len(ids) < FEW[name]]:
        remarks.append(
            f"{root} has only {' and '.join(short)} stays: enough to try the commands, too few for figures to mean "
            "anything"
        )
    if not cohort.series["stay_id"].is_in(splits["train"]).any():
        raise UserError(f"{cohort.paths.series}: no variable is measured in any training stay: prepare the cohort anew")
    if config.stage_name in WITHOUT_STUDENT:
        return remarks
    for name in [config.task] if config.stage.mixture is None else labelled(config.stage.mixture):
        remarks += _check_labels(cohort, replace(config, task=name), splits)
    if "note" in config.stage.inputs:
        remarks += _check_notes(cohort, config, splits["train"])
    if config.stage.freshness == "validation" and np.isnan(years_of(cohort)).all():
        remarks.append(f"{root} does not say when its stays were: they are not weighed by age (stage.freshness)")
    return remarks


def _check_labels(cohort: Cohort, config: RunConfig, splits: dict[str, np.ndarray]) -> list[str]:
    """Remarks on the labels of the task; a UserError if nothing can be learned of them."""
    remarks: list[str] = []
    task = tasks.load(config.task)
    count, labels = len(task.label_set(cohort)), {name: task.labels(cohort, ids) for name, ids in splits.items()}
    noun = "diagnoses" if task.name == tasks.DEFAULT else f"labels of task '{task.name}'"
    for name, part in labels.items():
        remarks += task.check(cohort, part, name)
        if not (part.eligible & ~part.present).any():
            raise UserError(
                f"{cohort.paths.root}: every {name} stay has every label of task '{task.name}': nothing can be learned "
                "or calibrated; prepare more stays"
            )
        if not part.present.any():
            where = cohort.paths.labels if task.name == tasks.DEFAULT else cohort.paths.root
            raise UserError(
                f"{where}: no {name} stay has any of the {count} {noun}: nothing can "
                "be learned or calibrated; prepare more stays, or other labels (mimic-prep --set labels=...)"
            )
    absent = (~labels["train"].present.any(0)).sum()
    if absent:
        remarks.append(f"{absent} of {count} {noun} have no training stay: they cannot be learned")
    return remarks


def _check_notes(cohort: Cohort, config: RunConfig, train: np.ndarray) -> list[str]:
    """A remark if few training stays have a note; a UserError if none has."""
    written = cohort.notes.filter(pl.col("text").str.strip_chars() != "")["stay_id"]
    noted = int(pl.Series(train).is_in(written.implode()).sum())
    if not noted:
        raise UserError(
            f"{cohort.paths.notes}: no training stay has any text, and stage '{config.stage_name}' reads notes: "
            "prepare the cohort with notes.digest=missing, which writes one from the tables"
        )
    if noted < len(train) / 2:
        return [f"only {noted:,} of {len(train):,} training stays have a note"]
    return []
