"""Convert events of any MEDS dataset to the tables of the preparation; the meaning of codes is configuration.

One shard is in memory at a time. Unknown codes and unreadable events are counted.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from clinragen.artifacts import read_table, sha256_file
from clinragen.cohort.folder import frame
from clinragen.errors import UserError
from mimic_prep.cache import held_beside
from mimic_prep.cells import TYPES, converted
from mimic_prep.releases.meds.layout import TableWriters
from mimic_prep.releases.meds.tables import lasting
from mimic_prep.releases.meds.vocabulary import Codes, Vocabulary, head
from mimic_prep.tables import INTEGER, NUMBER, TEXT, TIME

NEEDED = ("subject_id", "time", "code")
ROWS_AT_ONCE = 20_000_000  # most events of patients in several files
MOST_HEADS = 20  # most kinds of unknown codes that are listed
_NOT_GIVEN = "drug stopped or not given"


class EventCounts(TypedDict):
    """What became of the events: ``read`` is the sum of the others, those not kept by reason."""

    read: int
    kept: int
    out_of_scope: dict[str, int]
    quarantined: dict[str, int]


@dataclass
class Converted:
    """Result of the conversion: SHA-256 by shard, event counts, and warnings."""

    shards: dict[str, str]
    account: EventCounts | None = None
    unknown: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


@contextmanager
def scratch_beside(out: Path) -> Iterator[Path]:
    """A temporary folder for the tables of a dataset: accessible to its owner only, since it contains patient data.

    Raises:
        UserError: another process is preparing the same cohort.
    """
    with held_beside(out, "meds") as folder:
        tables = folder / "tables"
        shutil.rmtree(tables, ignore_errors=True)  # left by a killed process
        tables.mkdir(mode=0o700)
        try:
            yield tables
        finally:
            shutil.rmtree(folder)


def convert(root: Path, codes: Codes, out: Path) -> Converted:
    """Write the tables of ``MEDS`` below ``out``.

    Raises:
        UserError: no shard, a shard without subject_id, time or code, or no stay at all.
    """
    shards = shards_of(root)
    if not shards:
        raise UserError(f"{root / 'data'} holds no .parquet file: --raw expects the folder of a MEDS dataset")
    vocabulary = Vocabulary(codes)
    converted = Converted({shard.relative_to(root).as_posix(): sha256_file(shard) for shard in shards})
    kinds, spread = _survey(shards, vocabulary)
    if spread.height:
        converted.warnings.append(
            f"{spread.height:,} {'patient lies' if spread.height == 1 else 'patients lie'} in several files of data/, "
            "against the standard: their events were put together"
        )
    counts: Counter[str] = Counter()
    bad: Counter[str] = Counter()
    unknown: Counter[str] = Counter()
    tables = TableWriters(out, by_stay="stay_start" in kinds, tells_deaths="death" in kinds)
    for events in _together(shards, codes, spread, bad):
        tables.add(_known(events, vocabulary, counts, unknown))
    tables.close()
    if not tables.stays:
        raise UserError(
            f"{root}: no event is known to begin a stay; say which codes do in a copy of configs/meds/default.yaml "
            "and pass it with --codes"
        )
    converted.unknown = dict(unknown.most_common(MOST_HEADS))
    if tables.rows.get("icu/chartevents") and not tables.rows.get("hosp/labevents"):
        kinds_named = ", ".join(list(converted.unknown)[:8]) or "none"
        converted.warnings.append(
            "no laboratory event is known, though charted values are; codes that no pattern knows begin with: "
            f"{kinds_named}; name those of the laboratory in a copy of configs/meds/default.yaml, passed with --codes"
        )
    skipped = {reason: counts[reason] for reason in ("code not used", _NOT_GIVEN, "no time") if counts[reason]}
    used = counts["read"] - sum(skipped.values())
    converted.account = {
        "read": counts["read"] + sum(bad.values()), "kept": used, "out_of_scope": skipped, "quarantined": dict(bad),
    }  # fmt: skip
    return converted


def shards_of(root: Path) -> list[Path]:
    """The event files of a MEDS dataset, sorted; none if ``root`` is no such dataset."""
    return sorted((root / "data").glob("**/*.parquet"))


def _survey(shards: list[Path], vocabulary: Vocabulary) -> tuple[set[str], pl.DataFrame]:
    """The kinds of events, and the patients (subject_id, rows) in more than one shard."""
    kinds: set[str] = set()
    parts = [pl.DataFrame(schema={"subject_id": pl.Int64, "count": pl.UInt32})]
    for shard in shards:
        _columns(shard)
        table = frame(read_table(shard, columns=["subject_id", "code"]))
        codes = _typed(table, "code", TEXT, shard)[0].unique().drop_nulls().to_list()
        kinds |= {kind for code in codes if (kind := vocabulary.read(code)["kind"])}
        parts.append(_typed(table, "subject_id", INTEGER, shard)[0].value_counts().cast({"count": pl.UInt32}))
    whole = pl.concat(parts).group_by("subject_id").agg(files=pl.len(), rows=pl.col("count").sum())
    return kinds, whole.filter(pl.col("files") > 1).select("subject_id", "rows").sort("subject_id")


def _columns(shard: Path) -> list[str]:
    try:
        names = pq.read_schema(shard).names
    except (pa.ArrowException, OSError) as error:
        message = str(error).splitlines()[0]
        raise UserError(f"{shard} cannot be read as Parquet ({message}): make it anew") from None
    if missing := [name for name in NEEDED if name not in names]:
        raise UserError(f"{shard}: column '{missing[0]}' is missing: expected the events of a MEDS dataset")
    return names


def _together(shards: list[Path], codes: Codes, spread: pl.DataFrame, bad: Counter[str]) -> Iterator[pl.DataFrame]:
    """All events, with those of a patient together: by shard, then patients of several shards."""
    apart = spread["subject_id"].implode()
    for shard in shards:
        events = _load(shard, codes, bad)
        yield events.filter(~pl.col("subject_id").is_in(apart)) if spread.height else events
    batches = spread.with_columns(batch=pl.col("rows").cast(pl.Int64).cum_sum() // ROWS_AT_ONCE)
    for batch in batches.partition_by("batch", maintain_order=True):
        mine = batch["subject_id"].implode()
        yield pl.concat([_load(shard, codes, Counter()).filter(pl.col("subject_id").is_in(mine)) for shard in shards])


def _known(events: pl.DataFrame, vocabulary: Vocabulary, counts: Counter[str], unknown: Counter[str]) -> pl.DataFrame:
    """Events with a known code, with its meaning; the others are counted."""
    counts["read"] += events.height
    table = vocabulary.table(events["code"].unique().sort().to_list())
    coded = events.join(table, on="code", how="left", maintain_order="left")
    nothing = coded.filter(pl.col("kind").is_null())["code"].value_counts()
    for code, count in nothing.iter_rows():
        unknown[head(code)] += count
    counts["code not used"] += int(nothing["count"].sum() or 0)
    counts[_NOT_GIVEN] += coded.filter(pl.col("kind") == "not_given").height
    timeless = ~pl.col("kind").is_in(["sex", "birth"]) & pl.col("time").is_null()
    coded = coded.drop_nulls("kind").filter(pl.col("kind") != "not_given")
    counts["no time"] += coded.filter(timeless).height
    return coded.filter(~timeless)


def _load(path: Path, codes: Codes, bad: Counter[str]) -> pl.DataFrame:
    """subject_id, code, time, numeric_value, text_value, own_unit, stay_id, hadm_id, known, order, status of one shard.

    Missing columns are null. Events with a cell of the wrong kind are left out and counted in ``bad``.
    """
    names = _columns(path)
    treated = bool(lasting())
    orders, states = (codes.order_columns, codes.status_columns) if treated else ([], [])
    kinds = {
        "subject_id": INTEGER, "code": TEXT, "time": TIME, "numeric_value": NUMBER, "text_value": TEXT, "unit": TEXT,
        **dict.fromkeys([*codes.stay_columns, *codes.admission_columns], INTEGER),
        **dict.fromkeys(codes.known_columns, TIME), **dict.fromkeys([*orders, *states], TEXT),
    }  # fmt: skip
    have = [name for name in kinds if name in names]
    table = frame(read_table(path, columns=have))
    wrong = pl.repeat(False, table.height, eager=True)
    columns: dict[str, pl.Series] = {}
    for name in have:
        columns[name], failed = _typed(table, name, kinds[name], path)
        if name in ("subject_id", "code"):
            missing = columns[name].is_null() & ~failed
            bad[f"no {name}"] += int((missing & ~wrong).sum())
            wrong |= missing
        bad[f"{name} is not {TYPES[kinds[name]][1].split(' (')[0]}"] += int((failed & ~wrong).sum())
        wrong |= failed
    for reason in [reason for reason, count in bad.items() if not count]:
        del bad[reason]
    events = pl.DataFrame(columns).filter(~wrong)

    def first(options: list[str], kind: type[pl.DataType] | pl.DataType) -> pl.Expr:
        return pl.coalesce([pl.col(name) for name in options if name in columns] or [pl.lit(None, dtype=kind)])

    return events.select(
        "subject_id", "code", "time", numeric_value=first(["numeric_value"], pl.Float64),
        text_value=first(["text_value"], pl.String), own_unit=first(["unit"], pl.String),
        stay_id=first(codes.stay_columns, pl.Int64), hadm_id=first(codes.admission_columns, pl.Int64),
        known=first(codes.known_columns, pl.Datetime("ms")), order=first(orders, pl.String),
        status=first(states, pl.String),
    )  # fmt: skip


def _typed(table: pl.DataFrame, name: str, kind: pa.DataType, shard: Path) -> tuple[pl.Series, pl.Series]:
    try:
        return converted(table[name], kind)
    except TypeError as error:
        raise UserError(f"{shard}: column '{name}' is of type {error}, expected {TYPES[kind][1]}") from None
