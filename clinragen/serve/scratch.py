"""The cohort of one request, in a private folder that exists no longer than the answer takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pyarrow as pa

from clinragen import __version__, versions
from clinragen.artifacts import PRIVATE_FOLDER, write_json, write_table
from clinragen.inference.finished import FinishedRun
from clinragen.integrity import outputs_of
from clinragen.outputs import COHORT
from clinragen.schema import NOTES, SERIES, STAYS, CohortPaths
from clinragen.serve.intake import Intake
from clinragen.tasks import DEFAULT

PREFIX = "clinragen-serve-"


@contextmanager
def scratch_cohort(intake: Intake, run: FinishedRun) -> Iterator[Path]:
    """A folder with the cohort of a request in ``cohort``, which any command can read; removed at the end.

    Args:
        intake: the stays.
        run: the model that is to read them: its window and its labels are the cohort's.
    """
    with TemporaryDirectory(prefix=PREFIX) as name:
        root = Path(name)
        paths = CohortPaths(root / "cohort")
        paths.root.mkdir(mode=PRIVATE_FOLDER)
        for path, rows, schema in (
            (paths.stays, intake.stays, STAYS),
            (paths.series, intake.series, SERIES),
            (paths.notes, intake.notes, NOTES),
        ):
            write_table(path, _typed(rows, schema))
        write_json(paths.manifest, _manifest(intake, run) | dict(outputs_of(paths.root.glob("*.parquet"))))
        yield root


def _typed(rows: pl.DataFrame, schema: pa.Schema) -> pa.Table:
    return rows.select(schema.names).to_arrow().cast(schema)


def _manifest(intake: Intake, run: FinishedRun) -> dict[str, Any]:
    window = {"kind": run.window.kind, "hours": None if run.window.kind == "whole" else run.window.hours}
    return {
        "kind": COHORT.name,
        **versions.COHORT.mark,
        "created_by": f"clinragen serve {__version__}",
        "source": intake.source,
        "protocol": {"window": window},
        **run.added.marked(),
        **({"label_set": run.labels.to_json()} if run.task.name == DEFAULT else {}),
    }
