"""Drugs that the text names before they are ordered: how much more often than in stays that are never given them.

Of a stay whose drugs are to be suggested, no later order may be in the text. A drug that is first ordered from the
prediction time on, and was not taken at home, is looked for in every section, beside the same drug in stays without any
order of it. What was known at admission may name it rightly, such as a list of drugs of an earlier stay.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import TypedDict

import polars as pl

from clinragen.drugs import drug_of
from mimic_prep.audit.check import Check, Field, Status, plural
from mimic_prep.audit.cohort_tables import CohortTables
from mimic_prep.protocol import known_at_admission

#: A section gives away later orders if it names this share of them, this many times as often as in stays without an
#: order of the same drug, and at least this many of them.
MIN_SHARE, MIN_RATIO, MIN_NAMED = 0.10, 5.0, 5
#: Stays that are read, spread evenly over more: to find drugs in text takes milliseconds a stay.
MOST_STAYS = 5_000
_ENTRY = re.compile(r"[;,\n]|\.\s")


class LaterOrders(TypedDict):
    """Of one section: pairs of a stay and a drug that is ordered later, those named, and the shares that are named."""

    section: str
    later: int
    named: int
    share: float
    expected: float
    verdict: str
    flagged: bool


def later_orders(tables: CohortTables) -> Check:
    """For each section: how often it names drugs that are first ordered from the prediction time on."""
    title = "Text does not name later orders"
    asks = (
        "Drugs that are first ordered from the prediction time on and were not taken at home, in the text of the stay, "
        f"against the same drugs in stays without any order of them. Given away: at least {MIN_SHARE:.0%} of them are "
        f"named, {MIN_RATIO:g} times as often, in a section that is not of the admission."
    )
    if not tables.cohort.ordered:
        return Check("later_orders", title, asks, "pass", "The cohort has no orders of drugs.")
    stays = _spread(tables.stays["stay_id"])
    later, had = _pairs(tables, stays)
    rows = sorted(_rows(_named(tables, stays), later, had), key=lambda row: (not row["flagged"], -row["share"]))
    leaks = [row for row in rows if row["verdict"] == "gives away"]
    earlier = [row for row in rows if row["verdict"] == "known at admission"]
    says = "No section names later orders more often than chance and habit do."
    if leaks:
        worst = leaks[0]
        says = (
            f"The text of {', '.join(row['section'] for row in leaks)} gives away later orders. Worst: "
            f"{worst['named']:,} of {worst['later']:,} are named in {worst['section']}, against "
            f"{worst['expected']:.1%} where the drug is never ordered. Prepare without it (notes.sections and "
            "notes.kinds of the protocol)."
        )
    elif earlier:
        says = f"Only sections of the admission name them ({plural(len(earlier), 'section')}): known before the stay."
    status: Status = "leak" if leaks else "note" if earlier else "pass"
    columns = (
        Field("section", "Section"), Field("verdict", "Verdict"), Field("later", "later orders", "count"),
        Field("named", "named in text", "count"), Field("share", "share named", "share"),
        Field("expected", "named where never ordered", "share"),
    )  # fmt: skip
    return Check("later_orders", title, asks, status, says, columns, rows)


def _spread(stay_ids: pl.Series) -> pl.Series:
    ids = stay_ids.sort()
    return ids.gather_every(-(-len(ids) // MOST_STAYS) or 1)


def _pairs(tables: CohortTables, stays: pl.Series) -> tuple[dict[int, set[str]], dict[int, set[str]]]:
    """stay -> drugs that are first ordered from its prediction time on, and all that it has any order of."""
    times = tables.stays.select("stay_id", "prediction_time")
    rows = tables.cohort.orders.drop_nulls("ingredient").filter(pl.col("stay_id").is_in(stays.implode()))
    entered = pl.coalesce("entered", "start") < pl.col("prediction_time")
    before = entered | (pl.col("start") < pl.col("prediction_time")) | (pl.col("kind") == "home")
    rows = rows.join(times, on="stay_id").group_by("stay_id", "ingredient").agg(before=before.fill_null(True).any())
    later: dict[int, set[str]] = defaultdict(set)
    had: dict[int, set[str]] = defaultdict(set)
    for stay, ingredient, before_ in rows.select("stay_id", "ingredient", "before").iter_rows():
        had[stay].add(ingredient)
        if not before_:
            later[stay].add(ingredient)
    return later, had


def _named(tables: CohortTables, stays: pl.Series) -> Iterator[tuple[str, dict[int, set[str]]]]:
    """Each section with the drugs that it names, by stay; a stay with the section that names none has an empty set."""
    texts = tables.notes.drop_nulls(["section", "text"]).filter(pl.col("stay_id").is_in(stays.implode()))
    for (section,), rows in texts.sort("section", "stay_id").group_by("section", maintain_order=True):
        named: dict[int, set[str]] = defaultdict(set)
        for stay, text in rows.select("stay_id", "text").iter_rows():
            named[stay] |= {name for entry in _ENTRY.split(text) if (name := _ingredient(" ".join(entry.split())))}
        yield str(section), named


@lru_cache(maxsize=200_000)
def _ingredient(entry: str) -> str | None:
    drug = drug_of(entry) if entry else None
    return drug.ingredient if drug is not None else None


def _rows(
    sections: Iterator[tuple[str, dict[int, set[str]]]], later: Mapping[int, set[str]], had: Mapping[int, set[str]]
) -> Iterator[LaterOrders]:
    admission = known_at_admission()
    for section, named in sections:
        pairs, hits = Counter[str](), 0
        with_order, named_without = Counter[str](), Counter[str]()
        for stay, drugs in named.items():
            pairs.update(later.get(stay, ()))
            hits += len(drugs & later.get(stay, set()))
            named_without.update(drugs - had.get(stay, set()))
            with_order.update(had.get(stay, ()))
        total = pairs.total()
        if not total:
            continue
        expected = sum(
            count * named_without[drug] / (len(named) - with_order[drug])
            for drug, count in pairs.items()
            if len(named) > with_order[drug]
        )
        share, chance = hits / total, expected / total
        given = hits >= MIN_NAMED and share >= max(MIN_SHARE, MIN_RATIO * chance)
        verdict = ("known at admission" if section in admission else "gives away") if given else ""
        yield {
            "section": section, "later": total, "named": hits, "share": share, "expected": chance,
            "verdict": verdict, "flagged": given,
        }  # fmt: skip
