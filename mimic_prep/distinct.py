"""Ask once for each distinct value of a column, or pair of two: a block has few, and asking for each row is slow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import polars as pl
import pyarrow as pa


def of_values(column: pl.Series, answer: Callable[[Any], Any], dtype: pl.DataType) -> pl.Series:
    """``answer(value)`` of each row; null where the column is null.

    >>> of_values(pl.Series([7, None, 7]), {7: 700}.get, pl.Int64()).to_list()
    [700, None, 700]
    """
    encoded = _encoded(column)
    return pl.Series([answer(value) for value in encoded.dictionary.to_pylist()], dtype=dtype).gather(_indices(encoded))


def of_pairs(first: pl.Series, second: pl.Series, text_of: Callable[[Any, Any], str | None]) -> pl.Series:
    """``text_of(one, other)`` of each row; null where either is null.

    >>> of_pairs(pl.Series([7, 7, 8]), pl.Series(["mg", None, "mg"]), lambda item, unit: f"{item} {unit}").to_list()
    ['7 mg', None, '8 mg']
    """
    sides = [_encoded(column) for column in (first, second)]
    values = [side.dictionary.to_pylist() for side in sides]
    places = [
        _indices(side).fill_null(len(distinct)).to_numpy().astype(np.int64)
        for side, distinct in zip(sides, values, strict=True)
    ]
    width = len(values[1]) + 1
    pairs = _encoded(pl.Series(places[0] * width + places[1]))
    split = (divmod(pair, width) for pair in pairs.dictionary.to_pylist())
    texts = [
        text_of(values[0][one], values[1][other]) if one < len(values[0]) and other < len(values[1]) else None
        for one, other in split
    ]
    return pl.Series(texts, dtype=pl.String).gather(_indices(pairs))


def _encoded(column: pl.Series) -> pa.DictionaryArray:
    return column.to_arrow().dictionary_encode()


def _indices(encoded: pa.DictionaryArray) -> pl.Series:
    return cast(pl.Series, pl.from_arrow(encoded.indices))  # not Arrow's own methods: some import pandas
