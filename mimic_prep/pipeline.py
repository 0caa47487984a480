"""Raw tables of a release -> cohort folder, in one pass over each table."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import polars as pl
import pyarrow as pa

from clinragen.artifacts import atomic_folder, write_table
from clinragen.catalog import phenotypes, variables
from clinragen.errors import UserError
from clinragen.schema import SPLITS, CohortPaths
from mimic_prep import canonical, digest, labels, splits
from mimic_prep.accounting import Sieve
from mimic_prep.cohort import Attrition, read_stays
from mimic_prep.events import EventRules
from mimic_prep.ingest import RawFolder
from mimic_prep.notes import read_notes
from mimic_prep.protocol import Protocol
from mimic_prep.sources import Release, Table
from mimic_prep.spill import STAYS_PER_SHARD, Spill
from mimic_prep.stays import StayIndex
from mimic_prep.timeline import hourly

Progress = Callable[[int], None]


def tables_of(release: Release) -> list[Table]:
    """All tables that a preparation may read."""
    named = [release.stays, release.patients, release.admissions, release.diagnoses]
    optional = [table for table in (release.prescriptions, release.diagnosis_names) if table is not None]
    events = [source.table for source in release.events]
    return [*named, *events, *(source.table for source in release.notes), *optional]


def prepare(
    release: Release,
    raw: RawFolder,
    out: Path,
    protocol: Protocol,
    *,
    overwrite: bool = False,
    stays_per_shard: int = STAYS_PER_SHARD,
) -> dict[str, Any]:
    """Prepare a cohort and return its manifest; ``out`` appears only when all is done.

    ``stays_per_shard`` bounds the memory and leaves no trace in the cohort.

    Raises:
        UserError: a table is missing or broken, no stay is included, or ``out`` exists.
    """
    for table in tables_of(release):
        raw.locate(table)  # a missing table is told before hours of work
    with atomic_folder(out, replace=overwrite) as folder:
        paths = CohortPaths(folder)
        attrition = Attrition()
        stays, admissions = read_stays(raw, release, protocol, attrition)
        scratch = folder / ".spill"
        scratch.mkdir()
        spill = _spill_events(release, raw, stays, protocol, Spill(scratch, stays.height, stays_per_shard))
        measured, rows = _reduce(spill, stays, paths.series)
        shutil.rmtree(scratch)
        if protocol.rules.require_series:
            stays = attrition.exclude(stays, ~pl.lit(pl.Series(measured)), "no measurement in the window")
        if not stays.height:
            raise UserError(
                f"{raw.root}: no stay has a measurement of a known variable in the window; check the protocol"
            )
        stays = stays.join(
            splits.assign(stays["subject_id"], protocol.splits), on="subject_id", how="left", maintain_order="left"
        )
        diagnoses = _read_diagnoses(release, raw, stays, admissions)
        label_table = labels.build(diagnoses, stays)
        notes = read_notes(raw, release, stays, protocol)
        notes = _with_digests(notes, release, raw, stays, diagnoses, protocol)
        canonical.write_tables(paths, stays, notes, label_table)
        write_table(folder / "quarantine.parquet", raw.ledger.quarantine())
        counts = {
            "attrition": attrition.as_json(),
            "tables": raw.ledger.as_json(),
            "cohort": _summary(stays, label_table, notes, rows),
        }
        return canonical.write_manifest(paths, source=release.name, protocol=protocol, inputs=raw.hashes, counts=counts)


def _spill_events(release: Release, raw: RawFolder, stays: pl.DataFrame, protocol: Protocol, spill: Spill) -> Spill:
    index = StayIndex(stays)
    for source in release.events:
        rules = EventRules(source, release.items, index, drop_warnings=protocol.rules.drop_warnings)
        for events in raw.stream(source.table, rules, rules.only):
            spill.add(events)
    spill.close()
    return spill


def _reduce(spill: Spill, stays: pl.DataFrame, path: Path) -> tuple[np.ndarray, int]:
    """Write the series file; which stays have a measurement, and how many rows there are."""
    stay_ids = stays["stay_id"].to_numpy()
    measured = np.zeros(len(stay_ids), dtype=bool)

    def parts() -> Iterator[pa.Table]:
        for shard in range(spill.shards):
            events = spill.load(shard)
            if events is not None:
                measured[events["stay"].unique().to_numpy()] = True
                yield hourly(events, stay_ids)

    rows = canonical.write_series(path, parts())
    return measured, rows


def _read_diagnoses(release: Release, raw: RawFolder, stays: pl.DataFrame, admissions: pl.DataFrame) -> pl.DataFrame:
    """All diagnoses of the cohort's patients with CCS category, position and their admission's end."""
    subjects = stays["subject_id"].unique().implode()

    def rules(sieve: Sieve) -> None:
        sieve.reject_missing("subject_id", "hadm_id", "code", "version")
        sieve.skip(~pl.col("subject_id").is_in(subjects), "patient not in the cohort")

    found = raw.read(release.diagnoses, rules)
    ends = admissions.group_by("hadm_id").agg(pl.col("dischtime").max())
    return labels.with_categories(found.drop("line")).join(ends, on="hadm_id", how="left", maintain_order="left")


def _with_digests(
    notes: pl.DataFrame,
    release: Release,
    raw: RawFolder,
    stays: pl.DataFrame,
    diagnoses: pl.DataFrame,
    protocol: Protocol,
) -> pl.DataFrame:
    wanted = protocol.notes.digest
    if wanted == "never":
        return notes
    lacking = stays if wanted == "always" else stays.join(notes, on="stay_id", how="anti")
    if not lacking.height:
        return notes
    digests = digest.build(raw, release, lacking, diagnoses)
    return pl.concat([notes, digests]).sort("stay_id", "kind", "time", "note_id", "section", "text")


def _summary(stays: pl.DataFrame, label_table: pa.Table, notes: pl.DataFrame, rows: int) -> dict[str, Any]:
    carried = cast(pl.DataFrame, pl.from_arrow(label_table)).select(list(phenotypes()))
    prevalence = {key: int(carried[key].sum()) for key in carried.columns}
    by_split = dict(stays["split"].value_counts().iter_rows())
    return {
        "stays": stays.height,
        "patients": stays["subject_id"].n_unique(),
        "splits": {name: by_split.get(name, 0) for name in SPLITS},
        "series_rows": rows,
        "variables": len(variables()),
        "stays_with_note": notes.filter(pl.col("kind") != "digest")["stay_id"].n_unique(),
        "stays_with_digest": notes.filter(pl.col("kind") == "digest")["stay_id"].n_unique(),
        "stays_with_phenotype": int(carried.select(pl.any_horizontal(pl.all())).to_series().sum()),
        "phenotypes": prevalence,
    }
