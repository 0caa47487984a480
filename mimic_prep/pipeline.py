"""Raw tables of a release -> cohort folder, in one pass over each table."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import polars as pl
import pyarrow as pa

from clinragen.artifacts import atomic_folder, write_table, write_text
from clinragen.catalog import phenotypes, variables
from clinragen.errors import UserError
from clinragen.schema import SPLITS, CohortPaths
from mimic_prep import canonical, cohort, consort, labels, notes, splits
from mimic_prep.cohort import Attrition, Population
from mimic_prep.events import EventRules
from mimic_prep.ingest import RawFolder
from mimic_prep.protocol import Protocol as CohortProtocol
from mimic_prep.sources import EventTable, Table
from mimic_prep.spill import STAYS_PER_SHARD, Spill
from mimic_prep.stays import StayIndex
from mimic_prep.timeline import hourly


class Reader(Protocol):
    """What a release family must provide; everything after it is common.

    ``items`` is its key in the catalogue, ``label_key`` the column by which diagnoses belong to stays.
    """

    name: str
    items: str
    events: tuple[EventTable, ...]
    label_key: str

    def tables(self) -> list[Table]:
        """All tables that a preparation may read."""
        ...

    def population(self, raw: RawFolder, attrition: Attrition) -> Population:
        """All stays; those that cannot be used at all are counted in ``attrition``."""
        ...

    def diagnoses(self, raw: RawFolder, stays: pl.DataFrame, population: Population) -> pl.DataFrame:
        """code, version and the column ``label_key``, of the cohort's patients."""
        ...

    def texts(
        self, raw: RawFolder, stays: pl.DataFrame, diagnoses: pl.DataFrame, protocol: CohortProtocol
    ) -> pl.DataFrame:
        """Text that each stay may read (columns ``notes.NOTES``)."""
        ...


def prepare(
    reader: Reader,
    raw: RawFolder,
    out: Path,
    protocol: CohortProtocol,
    *,
    overwrite: bool = False,
    stays_per_shard: int = STAYS_PER_SHARD,
) -> dict[str, Any]:
    """Prepare a cohort and return its manifest; ``out`` appears only when all is done.

    ``stays_per_shard`` bounds the memory and leaves no trace in the cohort.

    Raises:
        UserError: a table is missing or broken, no stay is included, or ``out`` exists.
    """
    for table in reader.tables():
        raw.locate(table)  # a missing table is told before hours of work
    if not any(raw.locate(source.table) for source in reader.events):
        tried = ", ".join(source.table.path for source in reader.events)
        raise UserError(f"{raw.root}: no table of measurements found; expected at least one of {tried}")
    inputs = raw.hashes(reader.tables())
    with atomic_folder(out, replace=overwrite) as folder:
        paths = CohortPaths(folder)
        attrition = Attrition()
        population = reader.population(raw, attrition)
        stays = cohort.select(population, protocol, attrition, raw.root)
        scratch = folder / ".spill"
        scratch.mkdir()
        spill = _spill_events(reader, raw, stays, protocol, Spill(scratch, stays.height, stays_per_shard))
        measured, rows = _reduce(spill, stays, paths.series)
        shutil.rmtree(scratch)
        if protocol.rules.require_series:
            stays = attrition.exclude(stays, ~pl.lit(pl.Series(measured)), "no measurement in the window")
        if not stays.height:
            raise UserError(
                f"{raw.root}: no stay has a measurement of a known variable in its window; check the protocol"
            )
        split = splits.assign(stays["subject_id"], protocol.splits)
        stays = stays.join(split, on="subject_id", how="left", maintain_order="left")
        diagnoses = labels.with_categories(reader.diagnoses(raw, stays, population))
        label_table = labels.build(diagnoses, stays, reader.label_key)
        texts = reader.texts(raw, stays, diagnoses, protocol).sort(*notes.ORDER)
        canonical.write_tables(paths, stays, texts, label_table)
        write_table(folder / "quarantine.parquet", raw.ledger.quarantine())
        counts = {
            "attrition": attrition.as_json(),
            "tables": raw.ledger.as_json(),
            "cohort": _summary(stays, label_table, texts, rows),
        }
        write_text(folder / "attrition.svg", consort.draw(attrition.as_json(), counts["cohort"]))
        return canonical.write_manifest(paths, source=reader.name, protocol=protocol, inputs=inputs, counts=counts)


def _spill_events(reader: Reader, raw: RawFolder, stays: pl.DataFrame, protocol: CohortProtocol, spill: Spill) -> Spill:
    index = StayIndex(stays)
    for source in reader.events:
        if any(raw.has(name) for name in source.unless):
            continue
        rules = EventRules(source, reader.items, index, drop_warnings=protocol.rules.drop_warnings)
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


def _summary(stays: pl.DataFrame, label_table: pa.Table, texts: pl.DataFrame, rows: int) -> dict[str, Any]:
    carried = cast(pl.DataFrame, pl.from_arrow(label_table)).select(list(phenotypes()))
    prevalence = {key: int(carried[key].sum()) for key in carried.columns}
    by_split = dict(stays["split"].value_counts().iter_rows())
    return {
        "stays": stays.height,
        "patients": stays["subject_id"].n_unique(),
        "splits": {name: by_split.get(name, 0) for name in SPLITS},
        "series_rows": rows,
        "variables": len(variables()),
        "stays_with_note": texts.filter(pl.col("kind") != "digest")["stay_id"].n_unique(),
        "stays_with_digest": texts.filter(pl.col("kind") == "digest")["stay_id"].n_unique(),
        "stays_with_phenotype": int(carried.select(pl.any_horizontal(pl.all())).to_series().sum()),
        "phenotypes": prevalence,
    }
