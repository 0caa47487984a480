"""Write the cohort folder: Parquet files that depend only on input and configuration, and their manifest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from clinragen import __version__, versions
from clinragen.added_variables import MANIFEST as ADDED
from clinragen.added_variables import NONE, AddedVariables
from clinragen.artifacts import read_json, sha256_file, sha256_json, write_json, write_table
from clinragen.cohort.manifest import Account, CohortManifest, Origin, ProtocolRecord
from clinragen.drugs import drugs_digest
from clinragen.integrity import Outputs, outputs_of
from clinragen.label_sets import LabelSet
from clinragen.outputs import COHORT
from clinragen.schema import NOTES, SERIES, STAYS, CohortPaths
from mimic_prep.protocol import Protocol
from mimic_prep.steps import catalogue_hash

SERIES_ROWS_PER_GROUP = 1 << 20


def typed(frame: pl.DataFrame, schema: pa.Schema) -> pa.Table:
    """The columns of ``schema`` in its order and types."""
    return frame.select(schema.names).to_arrow().cast(schema)


def write_series(path: Path, parts: Iterable[pa.Table]) -> int:
    """Write series tables one after the other, in row groups of fixed size, so that the bytes do not depend on
    sharding.

    Returns the number of rows.
    """
    waiting: list[pa.Table] = []
    rows = written = 0
    with pq.ParquetWriter(path, SERIES, compression="zstd") as writer:
        for part in parts:
            waiting.append(part)
            rows += part.num_rows
            while rows >= SERIES_ROWS_PER_GROUP:
                joined = pa.concat_tables(waiting)
                writer.write_table(joined.slice(0, SERIES_ROWS_PER_GROUP).combine_chunks())
                waiting = [joined.slice(SERIES_ROWS_PER_GROUP)]
                rows -= SERIES_ROWS_PER_GROUP
                written += SERIES_ROWS_PER_GROUP
        if rows:
            writer.write_table(pa.concat_tables(waiting).combine_chunks())
    return written + rows


def write_tables(
    paths: CohortPaths,
    stays: pl.DataFrame,
    notes: pl.DataFrame,
    labels: pa.Table | None,
    outcomes: pa.Table,
    sites: pa.Table,
) -> None:
    """Write stays, notes, outcomes, sites and, if any stay is coded, labels."""
    write_table(paths.stays, typed(stays, STAYS))
    write_table(paths.notes, typed(notes, NOTES))
    if labels is not None:
        write_table(paths.labels, labels)
    write_table(paths.outcomes, outcomes)
    write_table(paths.sites, sites)


def made_from(
    source: str,
    protocol: Protocol,
    labels: LabelSet,
    inputs: dict[str, str],
    steps: Mapping[str, int],
    added: AddedVariables = NONE,
) -> Origin:
    """All that a cohort depends on, in the form of its manifest. ``inputs`` are hashes, ``steps`` versions."""
    settings: dict[str, Any] = asdict(protocol) | {
        "labels": Path(protocol.labels).stem
    }  # the file's content is in label_set
    if protocol.splits.by == "patient":
        del settings["splits"]["by"]  # keeps the identity of cohorts from before this setting
    if not protocol.splits.held_out:
        del settings["splits"]["held_out"]  # likewise
    if not protocol.variables:
        del settings["variables"]  # likewise
    subjects = protocol.splits.test_subjects
    if subjects and Path(subjects).is_file():
        inputs = inputs | {"splits.test_subjects": sha256_file(Path(subjects))}
    origin: dict[str, Any] = {
        "schema_version": versions.COHORT.version,
        "created_by": f"mimic-prep {__version__}",
        "source": source,
        "protocol": cast(ProtocolRecord, settings),
        "label_set": labels.to_json(),
        "config_hash": sha256_json(settings),
        "steps": dict(steps),
        "catalogue": catalogue_hash(),
        "drugs": drugs_digest(),
        "inputs": dict(sorted(inputs.items())),
        **added.marked(),
    }
    return cast(Origin, origin)


def unchanged(paths: CohortPaths, made_from: Origin) -> CohortManifest | None:
    """The manifest of an existing cohort with the same inputs and unchanged tables; otherwise None."""
    if not paths.manifest.exists():
        return None
    manifest = read_json(paths.manifest, "the manifest of a cohort")
    same = all(manifest.get(key) == value for key, value in made_from.items())
    same = same and manifest.get(ADDED) == made_from.get(ADDED)  # also where none are asked for any more
    same = same and manifest.get("outputs") == _recorded(paths)["outputs"]
    return cast(CohortManifest, manifest) if same else None


def _recorded(paths: CohortPaths) -> Outputs:
    return outputs_of(paths.root.glob("*.parquet"))


def write_manifest(
    paths: CohortPaths, made_from: Origin, counts: Account, beside: Mapping[str, object] | None = None
) -> CohortManifest:
    """Write and return the manifest. It has no timestamp or absolute path: equal cohorts have equal manifests.

    Args:
        paths: of the cohort, whose tables are written.
        made_from: what it depends on.
        counts: what was counted.
        beside: what the reader of a database has to say of it.
    """
    manifest = {"kind": COHORT.name, **made_from, **_recorded(paths), **(beside or {}), **counts}
    write_json(paths.manifest, manifest)
    return cast(CohortManifest, manifest)
