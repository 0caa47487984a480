"""Tasks: what a student predicts. A task is one file of this package that defines ``TASK``, under the file's name.

A task defines its labels, which stays are eligible for each, what the student writes, how it is scored, and its title
in reports. No other file lists the tasks.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from clinragen.errors import UserError, unknown_choice

if TYPE_CHECKING:
    import polars as pl

    from clinragen.cohort.folder import Cohort
    from clinragen.label_sets import LabelSet

DEFAULT = "diagnosis"
SECTIONS = ("note", "series", "diagnoses")
#: In the folder of a model of several tasks: a folder for each of them, by name, and its description.
FOLDER, DESCRIPTION = "tasks", "task.json"
#: A score of one label on its eligible stays: gold [n] bool, probabilities [n], threshold -> a number, or NaN.
Scorer = Callable[[np.ndarray, np.ndarray, float], float]


class Labels(NamedTuple):
    """Labels of n stays; ineligible ones are never counted, and false in ``present``.

    Attributes:
        present, eligible: bool [n, labels].
    """

    present: np.ndarray
    eligible: np.ndarray


@dataclass(frozen=True)
class ListWording:
    """How the student writes the list of labels: ``TITLE: first; second.``, or ``TITLE: NOTHING.``

    >>> ListWording().marker
    ' Diagnoses:'
    """

    title: str = "Diagnoses"
    nothing: str = "none of the listed phenotypes"

    @property
    def marker(self) -> str:
        """The marker at the start of the list in a target."""
        return f" {self.title}:"


@dataclass(frozen=True)
class Task:
    """What a student predicts.

    Attributes:
        name: name of its file.
        summary: the question in one sentence, for help and reports.
        label_set: the labels of a cohort, in the order of the logits.
        table: ``stay_id`` and one nullable boolean column for each label, a row for each stay of the cohort: true,
            false, or null for a stay that is not eligible.
        available: whether a cohort has the data for the table; if not, ``table`` raises an error that says what to do.
        sections: what the student writes, of ``SECTIONS``: rationales of note and series, and the list of labels,
            which settings of stages call ``diagnoses`` for every task.
        wording: wording of that list.
        scorers: additional scores of each label, by name.
        argued: whether rationales argue for the labels themselves, so that each listed one needs a ground.
        panel: title of the table of labels in evaluations.
    """

    name: str
    summary: str
    label_set: Callable[[Cohort], LabelSet]
    table: Callable[[Cohort], pl.DataFrame]
    available: Callable[[Cohort], bool] = lambda cohort: True
    sections: tuple[str, ...] = SECTIONS
    wording: ListWording = field(default_factory=ListWording)
    scorers: Mapping[str, Scorer] = field(default_factory=dict)
    argued: bool = False
    panel: str = "By label"

    def labels(self, cohort: Cohort, stay_ids: np.ndarray) -> Labels:
        """The labels of stays of a cohort, in their order.

        Raises:
            UserError: the cohort lacks the data for the labels.
        """
        keys = list(self.label_set(cohort))
        table = cohort.stays.select("stay_id").join(self.table(cohort), on="stay_id", how="left", maintain_order="left")
        rows = table[np.searchsorted(cohort.stays["stay_id"].to_numpy(), stay_ids)].select(keys)
        return Labels(
            rows.select(each.fill_null(False) for each in rows).to_numpy().astype(bool),
            rows.select(each.is_not_null() for each in rows).to_numpy(),
        )

    def check(self, cohort: Cohort, labels: Labels, split: str) -> list[str]:
        """Sentences about labels that cannot be learned, calibrated or scored on a split.

        Raises:
            UserError: none of them can, since no stay is eligible for any.
        """
        lacking = [
            label.name
            for label, some in zip(self.label_set(cohort).values(), labels.eligible.any(0), strict=True)
            if not some
        ]
        if len(lacking) == labels.eligible.shape[1]:
            raise UserError(
                f"{cohort.paths.root}: no {split} stay is eligible for task '{self.name}' ({'; '.join(lacking)}): "
                "prepare more stays, or a protocol that predicts earlier"
            )
        return [f"no {split} stay is eligible for {name}: it is left out there" for name in lacking]


def in_intensive_care(cohort: Cohort) -> pl.DataFrame:
    """stay_id, and ``eligible``: whether a stay is still in the ICU, its patient alive, at the prediction time.

    False if the end of the stay is unknown. An outcome that is known before the prediction time is no prediction.
    """
    import polars as pl

    stays = cohort.stays.select("stay_id", "prediction_time", "outtime")
    here = (pl.col("outtime") > pl.col("prediction_time")).fill_null(False)
    if not cohort.paths.outcomes.exists():
        return stays.select("stay_id", eligible=here)
    deaths = cohort.outcomes.select("stay_id", "death_time")
    alive = (pl.col("death_time") > pl.col("prediction_time")).fill_null(
        True
    )  # without a time of death, alive as far as known
    return stays.join(deaths, on="stay_id", how="left", maintain_order="left").select("stay_id", eligible=here & alive)


def names() -> list[str]:
    """Names of all tasks: the default, then the others alphabetically."""
    modules = [module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")]
    return sorted(modules, key=lambda name: (name != DEFAULT, name))


def load(name: Any) -> Task:
    """A task by name.

    Raises:
        UserError: there is no task of this name; the error suggests the nearest.
    """
    if name not in names():
        raise unknown_choice("task", name, names())
    return import_module(f"clinragen.tasks.{name}").TASK
