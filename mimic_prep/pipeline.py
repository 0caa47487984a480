"""Prepare a cohort folder from the raw tables of a release, in one pass over each table."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from clinragen.added_variables import NONE, AddedVariables
from clinragen.artifacts import room_in, write_table, write_text
from clinragen.catalog import variables
from clinragen.cohort.manifest import Account, CohortCounts, CohortManifest, Origin
from clinragen.errors import UserError
from clinragen.label_sets import LabelSet
from clinragen.outputs import COHORT, check_kind, check_place, output_folder
from clinragen.schema import CARE_UNIT, JOURNAL, SERIES, SITES, SPLITS, CohortPaths
from mimic_prep import (
    canonical,
    cautions,
    consort,
    inclusion,
    intervals,
    labels,
    note_selection,
    orders,
    outcomes,
    shards,
    sites,
    splits,
)
from mimic_prep.accounting import Ledger
from mimic_prep.cache import StepCache, cache_of, frame_hash
from mimic_prep.code_repair import repaired
from mimic_prep.events import EventRules
from mimic_prep.inclusion import Attrition
from mimic_prep.ingest import RawTables
from mimic_prep.intervals import IntervalRules, Spreader
from mimic_prep.parallel import in_order
from mimic_prep.protocol import Protocol
from mimic_prep.qualify import Qualifier
from mimic_prep.reader import Reader
from mimic_prep.shards import STAYS_PER_SHARD, ShardWriter
from mimic_prep.stay_index import StayIndex
from mimic_prep.steps import VERSIONS
from mimic_prep.tables import EventTable, Table
from mimic_prep.timeline import hourly

_MEASURED, _TEXTS, _ORDERS = "measured.parquet", "texts.parquet", "orders.parquet"


def prepare(
    reader: Reader,
    raw: RawTables,
    out: Path,
    protocol: Protocol,
    *,
    overwrite: bool = False,
    added: AddedVariables = NONE,
    stays_per_shard: int = STAYS_PER_SHARD,
    tell: Callable[[str], None] = lambda _: None,
) -> CohortManifest:
    """Prepare a cohort and return its manifest; ``out`` appears only when it is complete.

    If ``out`` was prepared from the same tables and settings by steps of the same versions, it is left unchanged, and
    ``tell`` reports it. Finished steps of a killed preparation, or of an earlier one with other settings, are reused
    from the folder ``.<out>.work`` beside it. ``stays_per_shard`` bounds the memory and does not change the cohort.

    Raises:
        UserError: a table is missing or broken, no stay is included, or ``out`` exists and would change.
    """
    chosen = labels.load(protocol.labels)
    splits.test_subjects(protocol.splits)  # fail fast: also checks the settings
    for table in reader.tables():
        raw.locate(table)  # fail fast: a missing table stops here, before hours of reading
    if not any(raw.locate(source.table) for source in reader.events if not source.beside):
        tried = ", ".join(source.table.path for source in reader.events if not source.beside)
        raise UserError(f"{raw.shown}: no table of measurements found; expected at least one of {tried}")
    check_place(out, raw.paths)
    if out.exists():
        check_kind(out, COHORT)
    inputs = raw.hashes(reader.tables()) | reader.inputs
    steps = {**VERSIONS, "reader": reader.version}
    made_from = canonical.made_from(reader.name, protocol, chosen, inputs, steps, added)
    if (manifest := canonical.unchanged(CohortPaths(out), made_from)) is not None:
        tell(f"{out}: same tables, settings and steps as before; nothing to do")
        return manifest
    if out.exists() and not overwrite:
        raise UserError(
            f"{out} already exists, made from other tables or settings, or by an older version: choose another, or "
            "pass --overwrite to replace it"
        )
    raw.max_bad_share = protocol.rules.max_bad_share
    with cache_of(out, tell) as cache:
        run = _Preparation(reader, raw, protocol, chosen, inputs, cache, stays_per_shard)
        with (
            room_in(out.parent, "the last finished step"),
            output_folder(out, COHORT, overwrite=overwrite, inputs=raw.paths) as folder,
        ):
            manifest = _fill(run, CohortPaths(folder), made_from)
            _keep_answers(out, folder)
        cache.sweep()
    return manifest


def _keep_answers(old: Path, new: Path) -> None:
    """Copy the teachers' journals from a cohort that is replaced: their responses are expensive and remain valid."""
    for journal in sorted(old.glob(f"rationales/*{JOURNAL}")):
        (new / "rationales").mkdir(exist_ok=True)
        shutil.copy2(journal, new / "rationales" / journal.name)


@dataclass(frozen=True)
class _Preparation:
    """State shared by the steps of one preparation."""

    reader: Reader
    raw: RawTables
    protocol: Protocol
    labels: LabelSet
    inputs: dict[str, str]
    cache: StepCache
    stays_per_shard: int

    def step(self, name: str, key: object, make: Callable[[Path], None]) -> Path:
        """The folder of a cached step, filled by ``make`` unless it exists."""

        def booked(folder: Path, ledger: Ledger) -> None:
            with self.raw.booked_in(ledger):
                make(folder)

        return self.cache.build(name, [self.reader.name, self.reader.version, key], self.raw.ledger, booked)


def _fill(run: _Preparation, paths: CohortPaths, made_from: Origin) -> CohortManifest:
    reader, raw, protocol = run.reader, run.raw, run.protocol
    attrition = Attrition()
    population = reader.population(raw, attrition)
    stays = inclusion.select(population, protocol, attrition, raw.shown)
    placed = sites.of_stays(stays, population.sites, reader.clock)
    held = splits.held_out(placed.of(stays), protocol.splits, reader.name)
    stays = splits.without_elsewhere(stays, placed.of(stays), protocol.splits, held, attrition)
    series = _series(run, stays)
    shutil.copyfile(series / paths.series.name, paths.series)
    rows = pq.read_metadata(paths.series).num_rows
    if protocol.rules.require_series:
        measured = pl.read_parquet(series / _MEASURED)["stay_id"]
        has_none = pl.lit(~stays["stay_id"].is_in(measured.implode()))
        stays = attrition.exclude(stays, has_none, "no measurement in the window")
    if not stays.height:
        raise UserError(f"{raw.shown}: no stay has a measurement of a known variable in its window; check the protocol")
    order_table, order_counts, without_class = orders.build(_orders(run, stays))
    split = splits.of_stays(placed.of(stays), protocol.splits, held, reader.splits)
    diagnoses = _diagnoses(run, reader.diagnoses(raw, stays, population))
    texts = _texts(run, stays, diagnoses)
    stays = stays.join(split, on="subject_id", how="left", maintain_order="left")
    coded = labels.coded(diagnoses, stays, reader.label_key)
    label_table = labels.build(diagnoses, stays, run.labels, reader.label_key) if coded else None
    outcome_table = outcomes.build(stays, population.outcomes)
    site_table = canonical.typed(placed.of(stays), SITES.append(CARE_UNIT))
    canonical.write_tables(paths, stays, texts, label_table, outcome_table, site_table)
    if order_table.num_rows:
        write_table(paths.orders, order_table)
    for file in raw.ledger.tables:
        raw.ledger.check(file, raw.max_bad_share)  # a cached step may have been read with a larger allowed share
    write_table(paths.root / "quarantine.parquet", raw.ledger.quarantine())
    label_frame = None if label_table is None else cast(pl.DataFrame, pl.from_arrow(label_table))
    given = splits.followed(reader.splits, protocol.splits)
    lacking = cautions.of_cohort(
        stays, pl.scan_parquet(paths.series), texts, label_frame, run.labels, protocol, reader.splits
    )
    cohort = _summary(stays, label_frame, texts, rows)
    cohort["splits_from"] = given.name if given else "settings"
    cohort["stays_without_codes"] = stays.height - coded
    cohort |= sites.counts(placed.of(stays))
    if order_table.num_rows:
        cohort["orders"] = order_counts
        write_text(paths.root / orders.UNNAMED, without_class)
    reader.conclude(raw)
    counts: Account = {
        "attrition": attrition.as_json(),
        "tables": raw.ledger.as_json(),
        "cohort": cohort,
        "clock": placed.clock,
        "warnings": [*reader.warnings, *placed.warnings, *cautions.of_codes(coded, stays.height), *lacking],
    }
    for name, content in reader.files.items():
        write_text(paths.root / name, content)
    write_text(paths.root / "attrition.svg", consort.draw(attrition.as_json(), cohort))
    return canonical.write_manifest(paths, made_from, counts, beside={**reader.account, **raw.record()})


def _diagnoses(run: _Preparation, diagnoses: pl.DataFrame) -> pl.DataFrame:
    """Diagnoses with repaired codes; repairs are added to the reader's warnings."""
    raw, reader = run.raw, run.reader
    location = raw.locate(reader.diagnosis_table)
    table = location.name if location and not raw.converted else reader.diagnosis_table.name
    as_written = run.protocol.rules.ambiguous_codes == "as_written"
    coded, warnings = repaired(diagnoses, run.labels, table, as_written=as_written)
    reader.warnings += warnings
    return coded


def _series(run: _Preparation, stays: pl.DataFrame) -> Path:
    """The step that holds the series file and the stays that have a measurement."""
    index = StayIndex(stays)
    windows = frame_hash(stays.select("stay_id", "subject_id", "intime", "window_start", "prediction_time"))
    sources = [
        source
        for source in run.reader.events
        if run.raw.locate(source.table) and not any(run.raw.has(name) for name in source.unless)
    ]
    events = [_events(run, source, index, windows) for source in sources]
    qualifiers = [Qualifier(source.items or run.reader.items, source.named) for source in sources]
    read = list(zip(sources, events, qualifiers, strict=True))

    silent = ("body", "treatment")  # alone they make no series of a stay
    body = [index for index, variable in enumerate(variables().values()) if variable.kind in silent]
    required = run.protocol.rules.require_series
    chosen = run.protocol.variables or list(variables())
    telling_ones = [index for index, name in enumerate(variables()) if name in chosen and index not in body]

    def make(folder: Path) -> None:
        stay_ids = stays["stay_id"].to_numpy()
        measured = np.zeros(len(stay_ids), dtype=bool)

        remarks: list[tuple[Table, Counter[str]]] = []  # for all threads together

        def part(shard: int) -> pa.Table:
            tables = _of_shard(read, shard, remarks)
            if not tables:
                return SERIES.empty_table()
            rows = pl.concat(tables)
            measures = pl.col("variable").is_in(telling_ones) & pl.col("value").is_not_nan()
            telling = rows.filter(measures)["stay"].unique()
            measured[telling.to_numpy()] = True
            if required:  # stays without a series are excluded, together with their body sizes
                rows = rows.filter(pl.col("stay").is_in(telling.implode()))
            table = hourly(rows, stay_ids)
            return table.filter(pc.field("variable").isin(chosen)) if run.protocol.variables else table

        numbers = range(-(-len(stay_ids) // run.stays_per_shard))
        canonical.write_series(CohortPaths(folder).series, in_order(part, numbers, run.raw.workers))
        write_table(folder / _MEASURED, pl.DataFrame({"stay_id": stay_ids[measured]}).to_arrow())
        for table, remark in remarks:
            run.raw.remark(table, remark)

    key = [windows, required, [step.name for step in events]]
    return run.step("series", [*key, chosen] if run.protocol.variables else key, make)


def _of_shard(
    read: list[tuple[EventTable, Path, Qualifier]], shard: int, remarks: list[tuple[Table, Counter[str]]]
) -> list[pl.DataFrame]:
    """The events of a shard's stays by table; those of intervals are made last, as the others hold the weights."""
    tables: list[pl.DataFrame] = []
    for source, step, qualify in read:
        if not source.interval and (rows := shards.load(step, shard)) is not None:
            rows, remark = qualify(rows)
            tables.append(rows)
            remarks.append((source.table, remark))
    charted = pl.concat(tables) if tables else None
    for source, step, _ in read:
        if source.interval and (rows := shards.load(step, shard)) is not None:
            rows, remark = Spreader()(rows, charted)
            tables.append(rows)
            remarks.append((source.table, remark))
    return tables


def _events(run: _Preparation, source: EventTable, index: StayIndex, windows: str) -> Path:
    """The step that holds the events of one table."""
    drop_warnings, known_at = run.protocol.rules.drop_warnings, run.protocol.known_at

    def make(folder: Path) -> None:
        items = source.items or run.reader.items
        if source.interval:
            rules = IntervalRules(source, items, index, by_entry=known_at == "storetime")
        else:
            rules = EventRules(source, items, index, drop_warnings=drop_warnings, known_at=known_at)
        writer = ShardWriter(folder, run.stays_per_shard)
        table = source.table if drop_warnings else source.table.without("warning")
        for events in run.raw.stream(table, rules, rules.only):
            writer.add(events)
        writer.close()

    location = run.raw.locate(source.table)
    name = location.name if location else ""
    key = [name, run.inputs.get(name), windows, drop_warnings, known_at, run.stays_per_shard]
    if source.table.derived is not None:
        key.append(source.table.derived.key)
    if source.interval:
        key.append(f"intervals {intervals.VERSION}")
    return run.step(f"events-{source.table.name}", key, make)


def _texts(run: _Preparation, stays: pl.DataFrame, diagnoses: pl.DataFrame) -> pl.DataFrame:
    """Text of each stay, a step that depends on every table except those of measurements."""

    def make(folder: Path) -> None:
        texts = run.reader.texts(run.raw, stays, diagnoses, run.protocol)
        write_table(folder / _TEXTS, texts.sort(*note_selection.ORDER).to_arrow())

    whole = [source.table for source in run.reader.events if not source.table.part]  # of others text may be made, too
    measurements = {location.name for table in whole if (location := run.raw.locate(table))}
    others = {name: digest for name, digest in run.inputs.items() if name not in measurements}
    settings = [asdict(run.protocol.notes), run.protocol.retrospective, run.protocol.known_at]
    return pl.read_parquet(run.step("texts", [frame_hash(stays), others, settings], make) / _TEXTS)


def _orders(run: _Preparation, stays: pl.DataFrame) -> pl.DataFrame:
    """Drugs of each stay (columns ``orders.FRAME``), a step that depends on the tables of drugs alone."""

    def make(folder: Path) -> None:
        write_table(folder / _ORDERS, run.reader.orders(run.raw, stays).sort(*orders.FRAME).to_arrow())

    files = [table for source in run.reader.order_tables() for table in source.tables()]
    names = sorted({location.name for table in files if (location := run.raw.locate(table))})
    inputs = {name: run.inputs.get(name) for name in names}
    of_stays = stays.select("stay_id", "hadm_id", "intime")
    return pl.read_parquet(run.step("orders", [frame_hash(of_stays), inputs], make) / _ORDERS)


def _summary(stays: pl.DataFrame, labels: pl.DataFrame | None, texts: pl.DataFrame, rows: int) -> CohortCounts:
    by_split = dict(stays["split"].value_counts().iter_rows())
    counts: CohortCounts = {
        "stays": stays.height,
        "patients": stays["subject_id"].n_unique(),
        "splits": {name: by_split.get(name, 0) for name in SPLITS},
        "series_rows": rows,
        "variables": len(variables()),
        "stays_with_note": texts.filter(pl.col("kind") != "digest")["stay_id"].n_unique(),
        "stays_with_digest": texts.filter(pl.col("kind") == "digest")["stay_id"].n_unique(),
    }
    if labels is not None:
        carried = labels.drop("stay_id")
        counts["stays_with_phenotype"] = int(carried.select(pl.any_horizontal(pl.all())).to_series().sum())
        counts["phenotypes"] = {key: int(carried[key].sum()) for key in carried.columns}
    return counts
