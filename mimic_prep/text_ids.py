"""Numbers for ids that are text: a cohort identifies patients and stays by whole numbers."""

from __future__ import annotations

import hashlib

import polars as pl

_DIGITS = 18  # the numbers of longer ids might not fit


def number_of(text: str) -> int:
    """The number of an id: itself where it is one, else above 2^62 and derived from its SHA-256.

    >>> number_of("10004235"), number_of("A-17") > 1 << 62, number_of("007") > 1 << 62
    (10004235, True, True)
    """
    if text.isascii() and text.isdigit() and len(text) <= _DIGITS and (text == "0" or text[0] != "0"):
        return int(text)
    return (1 << 62) | int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 2


def numbered(ids: pl.Series) -> pl.Series:
    """The numbers of a column of ids, null where the cell is empty."""
    ids = ids.cast(pl.String).str.strip_chars()
    distinct = [text for text in ids.unique().drop_nulls().to_list() if text]
    return ids.replace_strict(distinct, [number_of(text) for text in distinct], default=None, return_dtype=pl.Int64)
