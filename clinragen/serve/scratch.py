"""The cohort of one request, in a private folder that exists no longer than the answer takes."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from clinragen.cohort.scratch import StayTables, scratch_cohort
from clinragen.inference.finished import FinishedRun
from clinragen.serve.intake import Intake
from clinragen.tasks import DEFAULT

PREFIX = "clinragen-serve-"


def request_cohort(intake: Intake, run: FinishedRun) -> AbstractContextManager[Path]:
    """A folder with the cohort of a request in ``cohort``; removed at the end.

    Args:
        intake: the stays.
        run: the model that is to read them: its window and its labels are the cohort's.
    """
    return scratch_cohort(
        StayTables(intake.stays, intake.series, intake.notes),
        run.window,
        prefix=PREFIX,
        source=intake.source,
        labels=run.labels if run.task.name == DEFAULT else None,
        added=run.added,
    )
