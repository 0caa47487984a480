"""Drugs that were ordered, infused, or taken before admission: when, and which (``orders.parquet``).

The file holds the orders of the whole hospital admission, also those after the prediction time, since labels of tasks
are made of them. ``clinragen.cohort.orders`` gives what a model may read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import polars as pl
import pyarrow as pa

from clinragen.cohort.manifest import OrderCounts
from clinragen.drugs import Drug, drugs_by_code, drugs_of
from clinragen.schema import ORDERS
from mimic_prep.accounting import RowFilter
from mimic_prep.ingest import RawTables, Rules
from mimic_prep.tables import MimicLayout, Table

OrderKind = Literal["order", "infusion", "home"]
#: Rows of an infusion no further apart than this are one infusion (hours).
_SAME_INFUSION = 6
_DAY = pl.duration(days=1)
FRAME = {
    "stay_id": pl.Int64,
    "kind": pl.String,
    "entered": pl.Datetime("ms"),
    "start": pl.Datetime("ms"),
    "stop": pl.Datetime("ms"),
    "name": pl.String,
    "route": pl.String,
    "group": pl.String,
    "source": pl.String,
}
UNNAMED = "drugs_without_class.csv"
#: Codes of eICU's drugs that say nothing.
NO_GROUP = ("", "0")


@dataclass(frozen=True)
class OrderTable:
    """A table of drugs: canonical columns ``key``, drug (or item), time, and perhaps stop, entered, and others.

    Attributes:
        table: its file. ``drug_type`` marks diluents, ``cancelled`` what was cancelled, ``status`` what was rewritten;
            ``group`` is a code that all names of an ingredient share; ``route`` says how the drug is given.
        kind: orders, infusions that are charted again and again, or drugs taken before admission.
        key: ``stay_id``, or ``hadm_id`` where a row belongs to every stay of its admission.
        dated: times are dates: the order is known from the end of its day.
        minutes: times are minutes from admission to intensive care.
        names: names of the items, if ``item`` is a number.
        entries: a table of when orders were entered, by ``order``.
    """

    table: Table
    kind: OrderKind = "order"
    key: Literal["stay_id", "hadm_id"] = "hadm_id"
    dated: bool = False
    minutes: bool = False
    names: Table | None = None
    entries: Table | None = None

    def tables(self) -> Iterable[Table]:
        """The files that are read for it."""
        return (one for one in (self.table, self.names, self.entries) if one is not None)


def orders_of(layout: MimicLayout) -> tuple[OrderTable, ...]:
    """The tables of drugs of a release with the layout of MIMIC."""
    tables = [
        OrderTable(table, dated=layout.dated_prescriptions, entries=layout.order_entries)
        for table in (layout.prescriptions, *layout.more_prescriptions)
        if table is not None
    ]
    if layout.infusions is not None:
        tables.append(OrderTable(layout.infusions, kind="infusion", key="stay_id", names=layout.item_names))
    return tuple(tables)


def read(raw: RawTables, source: OrderTable, stays: pl.DataFrame) -> pl.DataFrame:
    """The rows of a table that belong to stays, in the columns of ``FRAME``; none if the table is absent.

    Args:
        raw: the tables of the release.
        source: which of them, and how it is read.
        stays: stay_id, hadm_id and intime.
    """
    if not raw.locate(source.table):
        return pl.DataFrame(schema=FRAME)
    names = _names(raw, source.names)
    blocks = [_columns(block) for block in raw.stream(_counted(source.table), _rules(source, stays, names))]
    rows = pl.concat(blocks) if blocks else _columns(raw.read(_counted(source.table), _rules(source, stays, names)))
    if source.entries is not None:
        rows = rows.drop("entered").join(_entries(raw, source.entries, stays), on="order", how="left")
    of_stays = stays.select("stay_id", "hadm_id", "intime").join(rows, on=source.key)
    times = {name: _time(name, source) for name in ("entered", "start", "stop")}
    if source.dated:
        times = {name: time.cast(pl.Datetime("ms")) for name, time in times.items()}
        times["entered"] = pl.coalesce(times["entered"], times["start"] + _DAY)
        times["stop"] = times["stop"] + _DAY
    of_stays = of_stays.select(
        "stay_id", "name", "route", "group",
        pl.lit(source.kind).alias("kind"), pl.lit(source.table.name).alias("source"),
        *(time.cast(pl.Datetime("ms")).alias(name) for name, time in times.items()),
    ).select(list(FRAME))  # fmt: skip
    return _runs(of_stays) if source.kind == "infusion" else of_stays.unique()


def build(rows: pl.DataFrame) -> tuple[pa.Table, OrderCounts, str]:
    """The table ``orders.parquet`` with ingredient and class, what was counted, and the names without a class.

    Args:
        rows: the columns of ``FRAME``.

    Returns:
        The table, sorted; its counts; and the content of a CSV file: name and rows of each name that no class has.
    """
    # how a drug is given decides, too: heparin as an infusion, vancomycin by mouth
    given = pl.when(pl.col("kind") == "infusion").then(pl.lit("infusion")).otherwise("route")
    rows = rows.with_columns(spelled=pl.concat_str("name", given.fill_null(""), separator=" "))
    by_name = drugs_of(rows["spelled"].drop_nulls().unique().to_list())
    by_group = drugs_by_code(rows.select("group", "spelled").drop_nulls().iter_rows())
    table = rows.with_columns(
        pl.coalesce(_part(part, "spelled", by_name), _part(part, "group", by_group)).alias(part)
        for part in ("ingredient", "drug_class")
    )
    table = table.select(ORDERS.names).sort(*_ORDER, nulls_last=True)
    without = table.filter(pl.col("drug_class").is_null())
    unknown = without.drop_nulls("name").group_by("name").len("rows").sort(["rows", "name"], descending=[True, False])
    counts: OrderCounts = {
        "rows": table.height,
        "with_class": table.height - without.height,
        "without_name": without["name"].null_count(),
        "names_without_class": unknown.height,
    }
    return table.to_arrow().cast(ORDERS), counts, unknown.write_csv()


def _part(part: str, column: str, drugs: Mapping[Any, Drug | None]) -> pl.Expr:
    """Ingredient or class of the drugs that a column names."""
    values = {name: getattr(drug, part) for name, drug in drugs.items() if drug is not None}
    return pl.col(column).replace_strict(values, default=None, return_dtype=pl.String)


_ORDER = ("stay_id", "start", "entered", "kind", "name", "ingredient", "drug_class", "stop", "source")


def _counted(table: Table) -> Table:
    """The table in its own account: others may read it, too."""
    return replace(table, part="orders")


def _rules(source: OrderTable, stays: pl.DataFrame, names: dict[int, str]) -> Rules:
    ids = stays[source.key].unique().implode()
    whose = "stay" if source.key == "stay_id" else "admission"

    def rules(row_filter: RowFilter) -> None:
        row_filter.reject_missing(source.key)
        row_filter.skip(~pl.col(source.key).is_in(ids), f"{whose} not in the cohort")
        columns = row_filter.frame.columns
        if "drug_type" in columns:
            row_filter.skip(_word("drug_type") == "base", "diluent")
        if "cancelled" in columns:
            row_filter.skip(_word("cancelled") == "yes", "cancelled order")
        if "status" in columns:
            row_filter.skip(_word("status") == "rewritten", "rewritten row")
        if source.names is not None:
            drug = pl.col("item").replace_strict(names, default=None, return_dtype=pl.String)
            row_filter.frame = row_filter.frame.with_columns(drug=drug)
        name = pl.col("drug").str.strip_chars().str.replace_all(r"\s+", " ")
        group = pl.col("group").cast(pl.String) if "group" in columns else pl.lit(None, dtype=pl.String)
        row_filter.frame = row_filter.frame.with_columns(
            name=pl.when(name != "").then(name), group=pl.when(~group.is_in(NO_GROUP)).then(group)
        )
        row_filter.skip(pl.col("name").is_null() & pl.col("group").is_null(), "drug without a name")
        if "entered" in columns:
            row_filter.frame = row_filter.frame.with_columns(time=pl.coalesce("time", "entered"))
        row_filter.skip(pl.col("time").is_null(), "no start time")

    return rules


def _word(name: str) -> pl.Expr:
    return pl.col(name).str.strip_chars().str.to_lowercase()


def _columns(block: pl.DataFrame) -> pl.DataFrame:
    """The columns of a filtered block that are read further, null where the table lacks them."""
    absent = [pl.lit(None).alias(name) for name in ("stop", "entered", "order") if name not in block.columns]
    absent += [pl.lit(None, dtype=pl.String).alias("route")] if "route" not in block.columns else []
    key = "stay_id" if "stay_id" in block.columns else "hadm_id"
    return block.with_columns(absent).select(key, "name", "route", "group", "entered", "stop", "order", start="time")


def _names(raw: RawTables, table: Table | None) -> dict[int, str]:
    """Names of items, from the release's dictionary of them."""
    if table is None or not raw.locate(table):
        return {}
    rows = raw.read(_counted(table), lambda row_filter: row_filter.reject_missing("item")).sort("item", "label")
    return dict(rows.select("item", "label").drop_nulls().iter_rows())


def _entries(raw: RawTables, table: Table, stays: pl.DataFrame) -> pl.DataFrame:
    """order, entered: when each order of the cohort's admissions was first entered; no rows without the table."""
    ids = stays["hadm_id"].unique().implode()

    def rules(row_filter: RowFilter) -> None:
        row_filter.skip(~pl.col("hadm_id").is_in(ids), "admission not in the cohort")
        row_filter.skip(pl.col("order").is_null() | pl.col("entered").is_null(), "no time of entry")

    return raw.read(_counted(table), rules).group_by("order").agg(pl.col("entered").min())


def _time(name: str, source: OrderTable) -> pl.Expr:
    return pl.col("intime") + pl.duration(minutes=pl.col(name).cast(pl.Int64)) if source.minutes else pl.col(name)


def _runs(rows: pl.DataFrame) -> pl.DataFrame:
    """One row for each infusion: its parts and charted rates follow each other within ``_SAME_INFUSION`` hours."""
    of_drug = ["stay_id", "name", "route", "group", "kind", "source"]
    rows = rows.with_columns(stop=pl.max_horizontal("start", "stop")).sort(*of_drug, "start", "stop", "entered")
    rows = rows.with_columns(until=pl.col("stop").cum_max().shift().over(of_drug))
    apart = (pl.col("start") - pl.col("until") > pl.duration(hours=_SAME_INFUSION)).fill_null(False)
    rows = rows.with_columns(apart=apart)
    rows = rows.with_columns(run=pl.col("apart").cum_sum().over(of_drug))
    runs = rows.group_by(*of_drug, "run").agg(pl.col("entered").first(), pl.col("start").min(), pl.col("stop").max())
    return runs.select(list(FRAME))
