"""Columns of JSON elements as they are written, of which each distinct one is read once, and columns of few texts.

Arrow's own conversions from and to NumPy would import pandas, which takes longer than a small file; those of Polars do
not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from msgspec import MsgspecError, json

FAULTS = (MsgspecError, UnicodeDecodeError)  # of what is no JSON, or not of the expected shape
UNUSUAL = object()  # stands for an element of another shape


def as_numpy(column: pa.Array) -> np.ndarray:
    """Numbers of a column without nulls."""
    return pl.Series(column).to_numpy()


def as_arrow(values: np.ndarray) -> pa.Array:
    """The opposite."""
    return pl.Series(values).to_arrow()


def of_lines(pieces: list[bytes]) -> pa.Array:
    """A column of elements that stand in lines of their own, each with the end of its line."""
    content = b"\n".join([*pieces, b""])
    ends = np.flatnonzero(np.frombuffer(content, np.uint8) == ord("\n"))
    offsets = np.zeros(len(ends) + 1, dtype=np.int32)
    offsets[1:] = ends + 1
    return pa.Array.from_buffers(pa.binary(), len(ends), [None, pa.py_buffer(offsets), pa.py_buffer(content)])


class Shape:
    """Reads elements of a type of msgspec, unless ``refuses`` says that they are unusual by what they hold."""

    def __init__(self, kind: Any, refuses: Callable[[Any], bool] | None = None) -> None:
        self._one = json.Decoder(kind).decode
        self._many = json.Decoder(list[kind]).decode  # type: ignore[valid-type]
        self._refuses = refuses

    def read(self, written: list[bytes]) -> list[Any]:
        """What elements are; ``UNUSUAL`` for those of another type."""
        try:
            values = self._many(b"[" + b",".join(written) + b"]")
        except FAULTS:
            values = [self._read(element) for element in written]
        refuses = self._refuses
        if refuses is None:
            return values
        return [UNUSUAL if one is not None and one is not UNUSUAL and refuses(one) else one for one in values]

    def _read(self, element: bytes) -> Any:
        try:
            return self._one(element)
        except FAULTS:
            return UNUSUAL


class Distinct:
    """The distinct elements of a column.

    Attributes:
        written: each of them in JSON.
        index: which of them each row has.
        values: what each of them is, if a shape is given; ``UNUSUAL`` for one of another shape.
    """

    def __init__(self, column: pa.Array, shape: Shape | None) -> None:
        encoded = column.dictionary_encode()
        self.written: list[bytes] = pl.Series(encoded.dictionary).to_list()
        self.index = as_numpy(encoded.indices)
        self.values = shape.read(self.written) if shape else []

    def counts(self) -> list[int]:
        """Rows of each distinct element."""
        return np.bincount(self.index, minlength=len(self.written)).tolist()

    def unusual(self) -> np.ndarray:
        """Which rows have an element of another shape."""
        odd = [number for number, value in enumerate(self.values) if value is UNUSUAL]
        return np.isin(self.index, odd) if odd else np.zeros(len(self.index), dtype=bool)


def numbered(texts: list[str | None]) -> tuple[np.ndarray, list[str]]:
    """The number of each text among the distinct ones, -1 for none; and these."""
    numbers: dict[str, int] = {}
    places = [-1 if text is None else numbers.setdefault(text, len(numbers)) for text in texts]
    return np.array(places, dtype=np.int32), list(numbers)


def as_dictionary(places: np.ndarray, texts: list[str]) -> pa.DictionaryArray:
    """A column of texts by their numbers, -1 for null."""
    index = pl.Series(places)
    if (places < 0).any():
        index = index.set(index < 0, None)
    words = pl.Series(texts, dtype=pl.String).to_arrow().cast(pa.string())
    return pa.DictionaryArray.from_arrays(index.to_arrow(), words)


def texts_of(index: np.ndarray, texts: list[str | None]) -> pa.DictionaryArray:
    """The text of each row by its index among texts."""
    places, distinct = numbered(texts)
    return as_dictionary(places.take(index), distinct)


def numbers_of(keys: pa.DictionaryArray, numbers: Mapping[str, int]) -> np.ndarray:
    """The number that each key means, -1 for nothing; each distinct one is looked up once."""
    if keys.null_count == len(keys):
        return np.full(len(keys), -1)
    values = np.array([*(numbers.get(key, -1) for key in pl.Series(keys.dictionary)), -1], dtype=np.int64)
    index = pl.Series(keys.indices)
    return values.take((index.fill_null(len(values) - 1) if keys.null_count else index).to_numpy())


def has_text(texts: pa.Array) -> np.ndarray:
    """Which rows have a text."""
    if texts.null_count == len(texts):
        return np.zeros(len(texts), dtype=bool)
    return as_numpy(texts.is_valid())
