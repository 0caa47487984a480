"""Comparison of predictions from Python: paired differences on the stays that all of them predicted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial, reduce
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from clinragen.api.values import (
    CohortLike,
    PredictionsLike,
    cohort_folder,
    console,
    open_cohort,
    open_predictions,
)
from clinragen.artifacts import write_json
from clinragen.choices import BASELINE_READS, HELD_OUT, BaselineReads, HeldOut
from clinragen.errors import UserError, unknown_choice
from clinragen.integrity import thorough
from clinragen.outputs import check_output_file
from clinragen.quiet import phase

if TYPE_CHECKING:
    from clinragen.evaluation.comparison import Comparison
    from clinragen.evaluation.diagnosis import System
    from clinragen.evaluation.inputs import Predictions


@dataclass(frozen=True)
class ComparedPredictions:
    """Predictions compared with the first of them.

    Attributes:
        values: the scores of every system, and differences to the reference by score and by label.
    """

    values: Comparison

    def difference(self, metric: str, system: str | None = None) -> float | None:
        """How far a system, by default the last, is ahead of the reference in one score."""
        rows = self.values["systems"]
        row = rows[system if system is not None else list(rows)[-1]]
        return row["differences"][metric]["difference"]["value"] if "differences" in row else 0.0


def compare(
    predictions: Sequence[PredictionsLike],
    cohort: CohortLike,
    out: str | Path | None = None,
    *,
    replicates: int = 1000,
    seed: int = 0,
    overwrite: bool = False,
    verify: bool = False,
) -> ComparedPredictions:
    """Compare predictions of the same stays with the first of them: paired intervals and p-values, by label too.

    Args:
        predictions: results of :func:`clinragen.predict`, or folders; two or more, of one task and one cohort.
        cohort: the one they were made from, with labels.
        out: JSON file for the whole comparison; None: none is written.
        replicates: number of bootstrap replicates.
        seed: seed of the bootstrap.
        overwrite: replace an earlier comparison.
        verify: also check the hashes of large files before reading them.

    Raises:
        UserError: fewer than two, no common stay, other labels or another cohort, or the file exists.
    """
    from clinragen.evaluation.comparison import compared
    from clinragen.evaluation.inputs import load_truth

    if len(predictions) < 2:
        raise UserError("name two or more predictions folders to compare: the first is the reference")
    for name, value, least, most in (("replicates", replicates, 1, 1_000_000), ("seed", seed, 0, 2**63 - 1)):
        if not least <= value <= most:
            raise UserError(f"--{name} {value}: expected a number from {least} to {most:,}")
    with thorough(verify):
        parts = [open_predictions(part) for part in predictions]
        if out is not None:
            folders = [cohort_folder(cohort), *(part.root for part in parts)]
            check_output_file(Path(out), (b"{",), overwrite=overwrite, inputs=folders)
        opened = open_cohort(cohort)
        first, *_ = [load_truth(part, opened) for part in parts]  # each raises what makes it another cohort's
        common = reduce(np.intersect1d, (part.stay_ids for part in parts))
        if not len(common):
            raise UserError(f"{parts[0].root} and {parts[-1].root} have no stay in common: compare the same split")
        alike = [_arranged(part, parts[0], common) for part in parts]
        truth = first.take(_rows(parts[0], common), common)
        labels, systems = compared(
            truth.gold,
            dict(zip(_names(parts), alike, strict=True)),
            truth.stays["subject_id"].to_numpy(),
            {key: label.name for key, label in parts[0].labels.items()},
            eligible=truth.eligible,
            replicates=replicates,
            seed=seed,
        )
    for row, part in zip(systems.values(), parts, strict=True):
        row["sha256"] = part.table_hash
    values: Comparison = {
        "task": parts[0].task.name,
        "cohort": {
            "sha256": opened.sha256,
            "stays": len(common),
            "patients": int(truth.stays["subject_id"].n_unique()),
            "splits": dict(sorted(Counter(truth.stays["split"]).items())),
        },
        "bootstrap": {"replicates": replicates, "seed": seed, "unit": "patient", "level": 0.95},
        "left_out": len(reduce(np.union1d, (part.stay_ids for part in parts))) - len(common),
        "labels": labels,
        "systems": systems,
    }
    if out is not None:
        write_json(Path(out), values)
    return ComparedPredictions(values)


def baseline(
    cohort: CohortLike,
    out: str | Path,
    reads: BaselineReads = "both",
    *,
    task: str = "diagnosis",
    split: HeldOut = "test",
    overwrite: bool = False,
    progress: bool = True,
) -> Predictions:
    """Fit a classical baseline and write its predictions, without rationales.

    Args:
        cohort: with labels, and stays for training and validation.
        out: folder to write, which :func:`clinragen.evaluate` and :func:`compare` take.
        reads: note: TF-IDF and logistic regression; series: statistics and gradient boosting; both: boosting on both.
        task: what to predict.
        split: the stays.
        overwrite: replace predictions that ``out`` holds.
        progress: print phases to standard error.

    Raises:
        UserError: an unknown choice, an empty split, labels or notes that the cohort lacks, or the folder exists.
    """
    from clinragen.baselines import write_baseline
    from clinragen.evaluation.inputs import load_predictions

    for name, value, choices in (("reads", reads, BASELINE_READS), ("split", split, HELD_OUT)):
        if value not in choices:
            raise unknown_choice(name, value, choices)
    folder = Path(out)
    say = partial(phase, console(progress))
    write_baseline(open_cohort(cohort), folder, reads, task=task, split=split, overwrite=overwrite, say=say)
    return load_predictions(folder)


def _rows(part: Predictions, common: np.ndarray) -> list[int]:
    """The rows of some stays, in their order."""
    row = {int(stay): number for number, stay in enumerate(part.stay_ids)}
    return [row[int(stay)] for stay in common]


def _arranged(part: Predictions, reference: Predictions, common: np.ndarray) -> System:
    """What is predicted for the common stays, with labels in the order of the reference."""
    from clinragen.evaluation.diagnosis import System

    if part.task.name != reference.task.name:
        raise UserError(
            f"{part.root} predicts {part.task.name} and {reference.root} {reference.task.name}: compare one task"
        )
    if set(part.labels) != set(reference.labels):
        odd = ", ".join(sorted(set(part.labels) ^ set(reference.labels))[:9])
        raise UserError(f"{part.root} and {reference.root} have different labels: they differ in {odd}")
    order = [list(part.labels).index(key) for key in reference.labels]
    system = part.system.take(_rows(part, common))
    written = None if system.written is None else system.written[:, order]
    return System(system.probabilities[:, order], system.thresholds[order], written)


def _names(parts: Sequence[Predictions]) -> list[str]:
    """A name for each: the last parts of its path that tell it from the others."""
    paths = [part.root.resolve().parts for part in parts]
    for length in range(1, max(map(len, paths)) + 1):
        names = ["/".join(path[-length:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    return [f"{path[-1]} ({number})" for number, path in enumerate(paths, 1)]
