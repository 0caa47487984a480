"""Which tasks a student of several learns, and with which weights; without torch."""

from __future__ import annotations

from collections.abc import Mapping

from clinragen import tasks
from clinragen.choices import ASK, CAPTIONS, WITHOUT_LABELS
from clinragen.cohort.folder import Cohort
from clinragen.errors import UserError
from clinragen.stages.config import StageConfig

#: What is read before a question, and before a series to be put into words; of other tasks it is their own question.
INSTRUCTIONS = {ASK: "Which query does this question mean?", CAPTIONS: "What do the measurements show?"}


def instruction(task: str) -> str:
    """The words that tell a task from others.

    >>> instruction("mortality")
    'Will the patient die in this hospital stay?'
    """
    return INSTRUCTIONS.get(task) or tasks.load(task).summary


def as_settings(mixture: str | Mapping[str, float]) -> list[str]:
    """A mixture as overrides of the settings of a stage.

    >>> as_settings("diagnosis, captions=0.25")
    ['stage.mixture.diagnosis=1', 'stage.mixture.captions=0.25']

    Args:
        mixture: weights by task, also as text; one without a weight has 1.
    """
    if isinstance(mixture, str):
        parts = [part.partition("=") for part in mixture.split(",")]
        weights = {name.strip(): weight.strip() if equals else "1" for name, equals, weight in parts}
        if not all(weights) or not all(weights.values()):
            raise UserError(f"--tasks {mixture}: expected names with weights, such as diagnosis=1,captions=0.25")
        return [f"stage.mixture.{name}={weight}" for name, weight in weights.items()]
    return [f"stage.mixture.{name}={weight}" for name, weight in mixture.items()]


def weights_of(settings: StageConfig, cohort: Cohort, *, questions: bool) -> dict[str, float]:
    """The weight of each task that a stage learns: those with labels in the order of ``tasks.names``, then the others.

    Args:
        settings: of a stage of several tasks.
        cohort: the training cohort.
        questions: whether there are questions to learn from.

    Raises:
        UserError: the tasks do not fit what is given, or none of them has labels.
    """
    able = {ASK: questions, CAPTIONS: "series" in settings.inputs}
    names = [*tasks.names(), *WITHOUT_LABELS]
    if settings.mixture:
        weights = {name: settings.mixture[name] for name in names if settings.mixture.get(name, 0) > 0}
    else:
        weights = {name: 1.0 for name in names if (able[name] if name in able else _learnable(name, cohort))}
    if ASK in weights and not questions:
        raise UserError(f"task '{ASK}' learns from questions: pass --questions, of `clinragen teach questions`")
    if questions and ASK not in weights:
        raise UserError(f"--questions: only task '{ASK}' learns from questions: name it in --tasks, too")
    if ASK in weights and "language_model" in settings.frozen:
        raise UserError(f"task '{ASK}' trains the language model: leave it out, or take it from stage.frozen")
    if CAPTIONS in weights and not able[CAPTIONS]:
        raise UserError(f"task '{CAPTIONS}' puts the series into words: add series to stage.inputs")
    if not set(weights) - set(WITHOUT_LABELS):
        raise UserError(f"--tasks: name a task with labels, of {', '.join(tasks.names())}")
    return weights


def _learnable(name: str, cohort: Cohort) -> bool:
    """Whether training and validation stays have labels of a task, and lack some."""
    task = tasks.load(name)
    if not task.available(cohort):
        return False
    splits = (task.labels(cohort, cohort.split(split)) for split in ("train", "validation"))
    return all(labels.present.any() and (labels.eligible & ~labels.present).any() for labels in splits)


def labelled(weights: Mapping[str, float]) -> list[str]:
    """Those of some tasks that have labels, in their order."""
    return [name for name in weights if name not in WITHOUT_LABELS]
