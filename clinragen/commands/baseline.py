"""``clinragen baseline``: what classical models predict, as predictions to evaluate and compare."""

from __future__ import annotations

from pathlib import Path

from clinragen.choices import BaselineReads, HeldOut
from clinragen.command_line import answer
from clinragen.options import AsJson, CohortFolder, Out, Overwrite


def command(
    *,
    cohort: CohortFolder,
    out: Out,
    reads: BaselineReads = "both",
    task: str = "diagnosis",
    split: HeldOut = "test",
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Fit a classical model and write its predictions, to evaluate, and to compare a student with.

    Args:
        reads: note: TF-IDF and logistic regression; series: statistics and gradient boosting; both: boosting on both.
        task: What to predict: diagnosis, mortality, length_of_stay_over_7_days, prescription, or a task of your own.
        split: The stays.
    """
    from clinragen.api.comparison import baseline

    folder = baseline(cohort, out, reads, task=task, split=split, overwrite=overwrite).root
    then = f"Next: clinragen compare {folder} PREDICTIONS --cohort {Path(cohort)}"
    answer(f"Written to {folder}\n{then}", {"predictions": str(folder), "reads": reads, "split": split}, as_json)
