"""Near-duplicates of text between held-out stays and the training split (MinHash, then the exact overlap), and equal
measurements.

Broder 1997: the share of equal minima over random orders estimates the Jaccard overlap of two sets of shingles.
"""

from __future__ import annotations

import re
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import TypedDict

import numpy as np
import polars as pl

from mimic_prep.audit.check import Check, Field, plural
from mimic_prep.audit.cohort_tables import CohortTables

SHINGLE = 5  # words
MIN_WORDS = 60  # shorter texts are similar by chance
SIMILAR = 0.8  # Jaccard overlap
MIN_VALUES = 20  # measurements: fewer may be equal by chance
_BANDS, _ROWS = 16, 4  # an overlap of 0.8 shares a band with probability 0.9998
_MOST_PER_BUCKET = 8  # most training texts compared with each held-out one; templates would make it quadratic
_SHOWN = 100  # copies
_WORD = re.compile(r"[a-z0-9]+")
_FACTORS = np.random.default_rng(20_110_714).integers(1, 2**63, size=_BANDS * _ROWS, dtype=np.uint64) | np.uint64(1)


class Compared(TypedDict):
    """Texts of one unit and held-out split, and how many of them are nearly in the training split."""

    unit: str
    split: str
    compared: int
    copies: int
    share: float
    flagged: bool


def shingles(text: str) -> np.ndarray:
    """Distinct hashes of all runs of five words, uint64, sorted; none for a short text."""
    words = _WORD.findall(text.lower())
    if len(words) < MIN_WORDS:
        return np.empty(0, dtype=np.uint64)
    codes = np.fromiter((zlib.crc32(word.encode()) for word in words), dtype=np.uint64, count=len(words))
    runs = np.zeros(len(words) - SHINGLE + 1, dtype=np.uint64)
    for offset in range(SHINGLE):
        runs = runs * np.uint64(0x9E3779B97F4A7C15) + codes[offset : offset + len(runs)]
    return np.unique(runs ^ (runs >> np.uint64(29)))


def signature(shingles: np.ndarray) -> np.ndarray:
    """The minima of shingles under 64 random orders, uint64 [64]."""
    return np.array([np.min((shingles * factor) ^ ((shingles * factor) >> np.uint64(32))) for factor in _FACTORS])


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Jaccard overlap of two sorted sets.

    >>> overlap(np.array([1, 2, 3]), np.array([2, 3, 4]))
    0.5
    """
    both = len(np.intersect1d(first, second, assume_unique=True))
    return both / (len(first) + len(second) - both)


def stays(tables: CohortTables) -> Check:
    """Stays whose whole text nearly equals that of another patient's stay in the training split: a leak."""
    texts = tables.notes.drop_nulls("text").sort("stay_id", "note_id", "section", "text")
    joined = texts.group_by("stay_id", maintain_order=True).agg(pl.col("text").str.join("\n"))
    rows, compared = _compare(tables, joined.with_columns(unit=pl.lit("whole text of a stay")))
    copies = sum(row["copies"] for row in rows)
    says = f"No held-out stay reads like one of another patient in training ({plural(compared, 'text')} compared)."
    if copies:
        says = f"{plural(copies, 'held-out stay')} read like another patient's stay in training: one stay, two ids?"
    return Check(
        "duplicate_stays", "No stay is in two splits under two ids",
        f"Whole texts of at least {MIN_WORDS} words that share {SIMILAR:.0%} of their runs of {SHINGLE} words.",
        "leak" if copies else "pass", says, _COLUMNS, rows,
    )  # fmt: skip


def notes(tables: CohortTables) -> Check:
    """Single notes that nearly equal those of another patient in the training split: templates, or a leak."""
    texts = tables.notes.drop_nulls("text").sort("stay_id", "note_id", "section", "text")
    joined = texts.group_by("stay_id", "kind", "note_id", maintain_order=True).agg(pl.col("text").str.join("\n"))
    rows, compared = _compare(tables, joined.rename({"kind": "unit"}))
    copies = sum(row["copies"] for row in rows)
    says = f"No held-out note reads like one of another patient in training ({plural(compared, 'note')} compared)."
    if copies:
        says = (
            f"{plural(copies, 'held-out note')} read like a note of another patient in training: templates, or copies."
        )
    return Check(
        "duplicate_notes", "Notes are not copies",
        f"Single notes of at least {MIN_WORDS} words that share {SIMILAR:.0%} of their runs of {SHINGLE} words.",
        "warning" if copies else "pass", says, _COLUMNS, rows,
    )  # fmt: skip


def measurements(tables: CohortTables) -> Check:
    """Stays whose measurements all equal those of a training stay under another id, at the same hours: a leak."""
    row = pl.struct("hour", "variable", "value").hash(seed=0)
    signed = tables.series.group_by("stay_id").agg(rows=pl.len(), low=row.min(), high=row.max(), all=row.sum())
    signed = signed.filter(pl.col("rows") >= MIN_VALUES).collect(engine="streaming")
    compared = signed.join(tables.stays.select("stay_id", "split"), on="stay_id")
    same = ["rows", "low", "high", "all"]
    train = compared.filter(pl.col("split") == "train").unique(same).select(*same, of=pl.col("stay_id"))
    copies = compared.filter(pl.col("split") != "train").join(train, on=same).sort("split", "stay_id")
    rows = [
        {"split": split, "stay": stay, "of": of, "values": values, "flagged": True}
        for split, stay, of, values in copies.select("split", "stay_id", "of", "rows").iter_rows()
    ]
    says = f"No held-out stay has the measurements of a training stay ({plural(compared.height, 'stay')} compared)."
    if rows:
        says = f"{plural(len(rows), 'held-out stay')} have every measurement of a training stay: one stay, two ids?"
    columns = (
        Field("split", "Split"), Field("stay", "Stay"), Field("of", "Training stay"),
        Field("values", "Measurements", "count"),
    )  # fmt: skip
    return Check(
        "duplicate_measurements", "No measurements are in two splits under two ids",
        f"Stays of at least {MIN_VALUES} measurements with the same variables, hours and values.",
        "leak" if rows else "pass", says, columns, rows[:_SHOWN],
    )  # fmt: skip


_COLUMNS = (
    Field("unit", "Text"), Field("split", "Split"), Field("compared", "Compared", "count"),
    Field("copies", "Near-duplicates in training", "count"), Field("share", "share", "share"),
)  # fmt: skip


def _compare(tables: CohortTables, texts: pl.DataFrame) -> tuple[list[Compared], int]:
    """Rows by unit and held-out split, and the number of texts that are long enough to compare."""
    owned = texts.join(tables.stays.select("stay_id", "subject_id", "split"), on="stay_id", maintain_order="left")
    train = owned.filter(pl.col("split") == "train")
    buckets: dict[tuple[int, bytes], list[int]] = defaultdict(list)
    compared = 0
    for index, text in enumerate(train["text"]):
        shingle_hashes = shingles(text)
        compared += bool(len(shingle_hashes))
        for band in _bands(shingle_hashes):
            if len(buckets[band]) < _MOST_PER_BUCKET:
                buckets[band].append(index)
    rows: list[Compared] = []
    held = owned.filter(pl.col("split") != "train")
    for (unit, split), part in held.group_by("unit", "split", maintain_order=True):
        long = copies = 0
        for subject, text in part.select("subject_id", "text").iter_rows():
            shingle_hashes = shingles(text)
            if not len(shingle_hashes):
                continue
            long += 1
            near = sorted({index for band in _bands(shingle_hashes) for index in buckets.get(band, ())})
            copies += any(
                train["subject_id"][index] != subject
                and overlap(shingle_hashes, shingles(train["text"][index])) >= SIMILAR
                for index in near
            )
        if long:
            rows.append(
                {
                    "unit": str(unit),
                    "split": str(split),
                    "compared": long,
                    "copies": copies,
                    "share": copies / long,
                    "flagged": copies > 0,
                }
            )
        compared += long
    return sorted(rows, key=lambda row: (row["unit"], row["split"])), compared


def _bands(shingles: np.ndarray) -> Iterable[tuple[int, bytes]]:
    if not len(shingles):
        return iter(())
    return _split(signature(shingles))


def _split(minima: np.ndarray) -> Iterator[tuple[int, bytes]]:
    for band, rows in enumerate(minima.reshape(_BANDS, _ROWS)):
        yield band, rows.tobytes()
