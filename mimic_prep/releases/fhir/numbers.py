"""The usual shape of Observations, a number at a time of one patient, many at a time.

Of each line only the elements that are read are taken, as they are written: a column of JSON for each. What a column
repeats, such as codes, patients and units, is then read once for all rows. Whatever is unusual about a line leaves it
to ``observations``, which gives the same rows.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
import polars as pl
import pyarrow as pa
from msgspec import Meta, MsgspecError, Raw, Struct, json

from mimic_prep.releases.fhir.clock import Clock, version_of
from mimic_prep.releases.fhir.columns import (
    FAULTS,
    Distinct,
    Shape,
    as_arrow,
    as_dictionary,
    as_numpy,
    numbered,
    of_lines,
    texts_of,
)
from mimic_prep.releases.fhir.elements import key_of
from mimic_prep.releases.fhir.files import Block
from mimic_prep.releases.fhir.observations import LARGEST, PART
from mimic_prep.releases.fhir.vocabulary import CONFLICT, NO_CODE, Meaning, Vocabulary

type _Meant = tuple[Meaning | None, str | None, tuple[str, str, str] | None]
_MOST = 50_000  # codes whose meaning is remembered
_PLAIN_ID = re.compile(rb'"[!#-\[\]-~]+"\n')  # without blanks, escapes and letters beyond ASCII
_QUOTE = ord('"')


class _Line(Struct, frozen=True, gc=False, kw_only=True):
    """An Observation of the usual shape. Elements of type None make it unusual; so does a value of another type."""

    resourceType: Literal["Observation"]  # noqa: N815
    status: Literal["final", "amended", "corrected", "preliminary"]
    id: Raw
    code: Raw
    valueQuantity: Raw  # noqa: N815
    effectiveDateTime: Raw  # noqa: N815
    subject: Raw
    encounter: Raw = Raw(b"null")
    meta: Raw = Raw(b"null")
    issued: Raw = Raw(b'""')
    specimen: Raw = Raw(b"null")
    component: None = None
    note: None = None
    comment: None = None
    context: None = None
    dataAbsentReason: None = None  # noqa: N815
    modifierExtension: None = None  # noqa: N815


class _Reference(Struct, frozen=True, gc=False):
    reference: Annotated[str, Meta(min_length=1)]


class _Meta(Struct, frozen=True, gc=False):
    lastUpdated: str | None = None  # noqa: N815


class _Quantity(Struct, frozen=True, gc=False):
    value: float
    unit: str | None = None
    code: str | None = None
    comparator: None = None


_NOTHING = _Quantity(0)  # of lines that are left to the other reader


_SHAPES = {
    "id": None,
    "code": None,
    "valueQuantity": Shape(_Quantity, lambda one: not abs(one.value) <= LARGEST),
    "effectiveDateTime": Shape(str),
    "subject": Shape(_Reference, lambda one: not one.reference.startswith("Patient/")),
    "encounter": Shape(_Reference | None, lambda one: not one.reference.strip()),
    "meta": Shape(_Meta | None),
    "issued": Shape(str),
    "specimen": Shape(_Reference | None, lambda one: one.reference.strip()[:1] in ("", "#")),
}
_LINES = json.Decoder(_Line)
#: An Observation of the usual shape from its line.
decode = _LINES.decode


class NumberReader:
    """Reads lines of the usual shape.

    Attributes:
        size: bytes of the blocks that were added since the last rows were taken.
    """

    def __init__(self, vocabulary: Vocabulary, clock: Clock) -> None:
        self._vocabulary = vocabulary
        self._clock = clock
        self._meanings: list[_Meant] = []
        self._index: dict[bytes, int] = {}
        self._start()

    def _start(self) -> None:
        self._pieces: dict[str, list[bytes]] = {name: [] for name in _SHAPES}
        self._numbers: list[np.ndarray] = []
        self._blocks: list[Block] = []
        self.size = 0

    def add(self, block: Block) -> list[tuple[int, bytes]]:
        """Add the usual lines of a block; returns the others with their numbers."""
        usual, numbers, others = _decoded(block)
        if usual:
            columns = (  # loops of their own take half of the time of attrgetter
                [one.id for one in usual], [one.code for one in usual], [one.valueQuantity for one in usual],
                [one.effectiveDateTime for one in usual], [one.subject for one in usual],
                [one.encounter for one in usual], [one.meta for one in usual], [one.issued for one in usual],
                [one.specimen for one in usual],
            )  # fmt: skip
            for name, column in zip(_SHAPES, columns, strict=True):
                self._pieces[name].append(b"\n".join(column))
            self._numbers.append(numbers)
            self._blocks.append(block)
            self.size += len(block.content)
        return others

    def take(self) -> tuple[pa.Table, list[tuple[int, bytes]]]:
        """The rows (``observations.PART``) of the lines added since the last time; and those that are not usual."""
        if not self._blocks:
            return pa.Table.from_batches([], PART), []
        lines = np.concatenate(self._numbers)
        columns = {name: of_lines(pieces) for name, pieces in self._pieces.items()}
        ids = columns.pop("id")
        read = {name: Distinct(column, _SHAPES[name]) for name, column in columns.items()}
        unusual = _odd_ids(ids)
        for column in read.values():
            unusual |= column.unusual()
        others = self._lines(unusual)
        if unusual.all():
            self._start()
            return pa.Table.from_batches([], PART), others
        if others:
            usual = np.flatnonzero(~unusual)
            lines, ids = lines[usual], ids.take(as_arrow(usual))
            for column in read.values():
                column.index = column.index[usual]
        self._start()
        return self._rows(lines, ids, read), others

    def _lines(self, rows: np.ndarray) -> list[tuple[int, bytes]]:
        """Numbers and lines of the rows of a mask."""
        others: list[tuple[int, bytes]] = []
        begin = 0
        for block, numbers in zip(self._blocks, self._numbers, strict=True):
            odd = numbers[rows[begin : begin + len(numbers)]].tolist()
            begin += len(numbers)
            lines = block.lines if odd else []
            others += [(number, lines[number - block.first]) for number in odd]
        return others

    def _rows(self, lines: np.ndarray, ids: pa.Array, read: dict[str, Distinct]) -> pa.Table:
        code, quantity, begun = read["code"], read["valueQuantity"], read["effectiveDateTime"]
        meant = self._meant(code)
        time, late = self._clock.column(begun.values, begun.counts())
        entered, _ = self._clock.column(read["issued"].values, read["issued"].counts())
        stated = [one.lastUpdated if isinstance(one, _Meta) else None for one in read["meta"].values]
        versions = np.array([version_of(text) for text in stated], dtype=np.int64)
        quantities = [one if isinstance(one, _Quantity) else _NOTHING for one in quantity.values]
        values = np.array([one.value for one in quantities], dtype=np.float64)
        pairs: dict[tuple[str | None, str | None], int] = {}
        pair = np.array([pairs.setdefault((one.unit, one.code), len(pairs)) for one in quantities])
        combined = as_arrow(code.index * np.int64(len(pairs)) + pair.take(quantity.index)).dictionary_encode()
        which = as_numpy(combined.indices)
        units: list[str | None] = []
        skip: list[str | None] = []
        bad: list[str | None] = []
        stated_units = list(pairs)
        for number in combined.dictionary.to_pylist():
            meaning, why, _ = meant[number // len(pairs)]
            unit, ucum = stated_units[number % len(pairs)]
            spelt, odd = self._vocabulary.unit(meaning, ucum, unit) if meaning else (None, None)
            units.append(spelt)
            skip.append(why if why and not _bad(why) else None)
            bad.append(why if why and _bad(why) else odd)
        meanings = [meaning for meaning, _, _ in meant]
        columns = {
            "entry": pl.Series(ids).hash(seed=0).to_arrow(),
            "version": as_arrow(versions.take(read["meta"].index)),
            "line": as_arrow(lines),
            "table": _of_codes(code, [one and one.table for one in meanings], pl.Int8),
            "item": _of_codes(code, [one and one.item for one in meanings], pl.Int64),
            "rank": _of_codes(code, [one and one.rank for one in meanings], pl.Int16),
            "time": time.gather(begun.index).to_arrow(),
            "known": entered.gather(read["issued"].index).to_arrow(),
            "value": as_arrow(values.take(quantity.index)),
            "unit": texts_of(which, units),
            "words": pa.nulls(len(lines), PART.field("words").type),
            "comment": pa.nulls(len(lines), PART.field("comment").type),
            **{name: texts_of(read[name].index, _keys(read[name])) for name in ("specimen", "subject", "encounter")},
            "skip": texts_of(which, skip),
            "bad": _problems(which, skip, bad, late.to_list(), begun.index),
        }
        return pa.Table.from_arrays([columns[name] for name in PART.names], schema=PART)

    def _meant(self, code: Distinct) -> list[_Meant]:
        """The meaning of each distinct ``code``, as it is written; rows without one are counted."""
        if len(self._index) + len(code.written) > _MOST:
            self._index.clear()
            self._meanings.clear()
        for concept in code.written:
            if concept not in self._index:
                self._index[concept] = len(self._meanings)
                self._meanings.append(self._vocabulary.meaning(_lenient(concept)))
        meant = [self._meanings[self._index[concept]] for concept in code.written]
        for (_, _, coding), rows in zip(meant, code.counts(), strict=True):
            if coding and rows:
                self._vocabulary.count_unmapped(coding, rows)
        return meant


def _decoded(block: Block) -> tuple[list[_Line], np.ndarray, list[tuple[int, bytes]]]:
    """The usual lines of a block, their numbers, and the others."""
    try:
        usual = _LINES.decode_lines(block.content)
        if len(usual) == len(block.breaks) + 1 and _apart(block):
            return usual, np.arange(block.first, block.first + len(usual)), []
    except FAULTS:
        pass
    usual, numbers = [], []
    others: list[tuple[int, bytes]] = []
    for number, line in enumerate(block.lines, block.first):
        try:
            usual.append(decode(line))
            numbers.append(number)
        except FAULTS:
            others.append((number, line))
    return usual, np.array(numbers, dtype=np.int64), others


def _apart(block: Block) -> bool:
    """Whether each end of a line is between two objects, so that as many objects as lines are one in each line."""
    if not len(block.breaks):
        return True
    content = np.frombuffer(block.content, np.uint8)
    before, after = content[block.breaks - 1], content[np.minimum(block.breaks + 1, len(content) - 1)]
    return bool((before == ord("}")).all() and (after == ord("{")).all())


def _odd_ids(ids: pa.Array) -> np.ndarray:
    """Which ids need care: texts with escapes, blanks or letters beyond ASCII, empty ones, and other types."""
    _, offsets, content = ids.buffers()
    begins = np.frombuffer(offsets, np.int32)
    plain = bytes(content)
    quoted = (np.frombuffer(content, np.uint8)[begins[:-1]] == _QUOTE).all() and (np.diff(begins) > len('""\n')).all()
    if quoted and plain.isascii() and b"\\" not in plain and b" " not in plain:
        return np.zeros(len(ids), dtype=bool)
    return np.array([not _PLAIN_ID.fullmatch(one) for one in ids.to_pylist()])


def entries_of(ids: Sequence[str]) -> pl.Series:
    """Hashes of resource ids, by which observations are told apart."""
    return pl.Series([b'"%s"\n' % name.encode(errors="replace") for name in ids], dtype=pl.Binary).hash(seed=0)


def _lenient(concept: bytes) -> object:
    try:
        return json.decode(concept)
    except MsgspecError:
        return None


def _bad(why: str) -> bool:
    return why in (CONFLICT, NO_CODE)


def _keys(references: Distinct) -> list[str | None]:
    return [key_of(one.reference) if isinstance(one, _Reference) else None for one in references.values]


def _of_codes(code: Distinct, values: list[Any], kind: type[pl.DataType]) -> pa.Array:
    return pl.Series(values, dtype=kind).gather(code.index).to_arrow()


def _problems(
    index: np.ndarray, skip: list[str | None], bad: list[str | None], late: list[str | None], at: np.ndarray
) -> pa.Array:
    """Why each row cannot be trusted: for its code or unit, else for its time; unless it is out of scope."""
    bad = [None if out else why for out, why in zip(skip, bad, strict=True)]
    if not any(late):
        return texts_of(index, bad)
    places, distinct = numbered([*bad, *late])
    out = np.array([why is not None for why in skip])
    first, second = places[: len(bad)].take(index), places[len(bad) :].take(at)
    return as_dictionary(np.where((first < 0) & ~out.take(index), second, first), distinct)
