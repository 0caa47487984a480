"""A cohort of a few stays in a private folder that exists no longer than it is read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import polars as pl
import pyarrow as pa

from clinragen import __version__, versions
from clinragen.added_variables import NONE, AddedVariables
from clinragen.artifacts import PRIVATE_FOLDER, write_json, write_table
from clinragen.cohort.window import Window
from clinragen.integrity import outputs_of
from clinragen.label_sets import LabelSet
from clinragen.outputs import COHORT
from clinragen.schema import NOTES, SERIES, STAYS, CohortPaths


class StayTables(NamedTuple):
    """The tables ``schema.STAYS``, ``schema.SERIES`` and ``schema.NOTES`` of some stays."""

    stays: pl.DataFrame
    series: pl.DataFrame
    notes: pl.DataFrame


@contextmanager
def scratch_cohort(
    tables: StayTables,
    window: Window,
    *,
    prefix: str,
    source: str | None = None,
    labels: LabelSet | None = None,
    added: AddedVariables = NONE,
) -> Iterator[Path]:
    """A folder with the cohort in ``cohort``, which any command can read; removed at the end.

    Args:
        tables: the stays.
        window: the hours that are read of them.
        prefix: of the folder's name.
        source: database that they come from, if it is stated.
        labels: of the cohort; None: the usual ones.
        added: variables beside the catalogue's.
    """
    with TemporaryDirectory(prefix=prefix) as name:
        root = Path(name)
        paths = CohortPaths(root / "cohort")
        paths.root.mkdir(mode=PRIVATE_FOLDER)
        for path, rows, schema in (
            (paths.stays, tables.stays, STAYS),
            (paths.series, tables.series, SERIES),
            (paths.notes, tables.notes, NOTES),
        ):
            write_table(path, _typed(rows, schema))
        manifest = _manifest(window, source, labels, added)
        write_json(paths.manifest, manifest | dict(outputs_of(paths.root.glob("*.parquet"))))
        yield root


def _typed(rows: pl.DataFrame, schema: pa.Schema) -> pa.Table:
    return rows.select(schema.names).to_arrow().cast(schema)


def _manifest(window: Window, source: str | None, labels: LabelSet | None, added: AddedVariables) -> dict[str, Any]:
    return {
        "kind": COHORT.name,
        **versions.COHORT.mark,
        "created_by": f"clinragen {__version__}",
        "source": source,
        "protocol": {
            "window": {"kind": window.kind, "hours": None if window.kind == "whole" else window.hours},
        },
        **added.marked(),
        **({"label_set": labels.to_json()} if labels is not None else {}),
    }
