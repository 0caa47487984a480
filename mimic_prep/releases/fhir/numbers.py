"""The usual shape of Observations, a number at a time of one patient, many at a time.

Of each line only the elements that are read are taken, as they are written: a column of JSON for each. What a column
repeats, such as codes, patients and units, is then read once for all rows. Whatever is unusual about a line leaves it
to ``observations``, which gives the same rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal

import numpy as np
import polars as pl
import pyarrow as pa
from msgspec import Meta, MsgspecError, Raw, Struct, json

from mimic_prep.releases.fhir.clock import Clock, version_of
from mimic_prep.releases.fhir.elements import key_of
from mimic_prep.releases.fhir.files import Block
from mimic_prep.releases.fhir.observations import LARGEST, PART
from mimic_prep.releases.fhir.vocabulary import CONFLICT, NO_CODE, Meaning, Vocabulary

type _Meant = tuple[Meaning | None, str | None, tuple[str, str, str] | None]
_MOST = 50_000  # codes whose meaning is remembered
_UNUSUAL = object()  # stands for an element that makes a line unusual
_PLAIN_ID = re.compile(rb'"[!#-\[\]-~]+"\n')  # without blanks, escapes and letters beyond ASCII
_QUOTE = ord('"')
_FAULTS = (MsgspecError, UnicodeDecodeError)


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


_ELEMENTS = ("id", "code", "valueQuantity", "effectiveDateTime", "subject", "encounter", "meta", "issued", "specimen")
_SHAPES = {
    "valueQuantity": _Quantity, "effectiveDateTime": str, "subject": _Reference, "encounter": _Reference | None,
    "meta": _Meta | None, "issued": str, "specimen": _Reference | None,
}  # fmt: skip
_ONE = {name: json.Decoder(shape).decode for name, shape in _SHAPES.items()}
_MANY = {name: json.Decoder(list[shape]).decode for name, shape in _SHAPES.items()}  # type: ignore[valid-type]
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
        self._pieces: dict[str, list[bytes]] = {name: [] for name in _ELEMENTS}
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
            for name, column in zip(_ELEMENTS, columns, strict=True):
                self._pieces[name].append(b"\n".join(column))
            self._numbers.append(numbers)
            self._blocks.append(block)
            self.size += len(block.content)
        return others

    def take(self) -> tuple[pa.Table, list[tuple[int, bytes]]]:
        """The rows (``observations.PART``) of the lines added since the last time; and those that are not usual."""
        if not self._blocks:
            return PART.empty_table(), []
        lines = np.concatenate(self._numbers)
        ids, *columns = (_column(self._pieces[name]) for name in _ELEMENTS)
        read = {name: _Distinct(column, name) for name, column in zip(_ELEMENTS[1:], columns, strict=True)}
        unusual = _odd_ids(ids)
        for column in read.values():
            unusual |= column.unusual()
        others = self._lines(unusual)
        if others:
            usual = np.flatnonzero(~unusual)
            lines, ids = lines[usual], ids.take(pa.array(usual))
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

    def _rows(self, lines: np.ndarray, ids: pa.Array, read: dict[str, _Distinct]) -> pa.Table:
        code, quantity, begun = read["code"], read["valueQuantity"], read["effectiveDateTime"]
        meant = self._meant(code)
        time, late = self._clock.column(begun.values, begun.counts())
        entered, _ = self._clock.column(read["issued"].values, read["issued"].counts())
        versions = np.array(
            [version_of(one.lastUpdated if isinstance(one, _Meta) else None) for one in read["meta"].values]
        )
        pairs = _Numbering((one.unit, one.code) if one is not _UNUSUAL else (None, None) for one in quantity.values)
        packed = code.index.astype(np.int64) * len(pairs.values) + pairs.index[quantity.index]
        combined = pa.array(packed).dictionary_encode()
        which = combined.indices.to_numpy()
        units: list[str | None] = []
        skip: list[str | None] = []
        bad: list[str | None] = []
        for number in combined.dictionary.to_pylist():
            meaning, why, _ = meant[number // len(pairs.values)]
            unit, ucum = pairs.values[number % len(pairs.values)]
            spelt, odd = self._vocabulary.unit(meaning, ucum, unit) if meaning else (None, None)
            units.append(spelt)
            skip.append(why if why and not _bad(why) else None)
            bad.append(why if why and _bad(why) else odd)
        meanings = [meaning for meaning, _, _ in meant]
        numbers = np.array([one.value if one is not _UNUSUAL else 0 for one in quantity.values], dtype=np.float64)
        return pa.table(
            [
                pl.Series(ids).hash(seed=0).to_arrow(),
                versions.take(read["meta"].index),
                lines,
                _of_codes(code, [one and one.table for one in meanings], pa.int8()),
                _of_codes(code, [one and one.item for one in meanings], pa.int64()),
                _of_codes(code, [one and one.rank for one in meanings], pa.int16()),
                time.to_arrow().take(pa.array(begun.index)),
                entered.to_arrow().take(pa.array(read["issued"].index)),
                numbers.take(quantity.index),
                _words(which, units),
                pa.nulls(len(lines), PART.field("words").type),
                pa.nulls(len(lines), PART.field("comment").type),
                *(_words(read[name].index, read[name].keys()) for name in ("specimen", "subject", "encounter")),
                _words(which, skip),
                _problems(which, skip, bad, late.to_list(), begun.index),
            ],
            schema=PART,
        )

    def _meant(self, code: _Distinct) -> list[_Meant]:
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


class _Distinct:
    """A column of elements as they are written, of which each distinct one is read once.

    Attributes:
        written: the distinct elements in JSON.
        index: which of them each row has.
        values: what they are; ``_UNUSUAL`` for one of another shape.
    """

    def __init__(self, column: pa.Array, name: str) -> None:
        encoded = column.dictionary_encode()
        self.written: list[bytes] = encoded.dictionary.to_pylist()
        self.index: np.ndarray = encoded.indices.to_numpy()
        self.values: list[Any] = []
        if name in _SHAPES:
            self.values = _values(self.written, name)

    def counts(self) -> list[int]:
        """Rows of each distinct element."""
        return np.bincount(self.index, minlength=len(self.written)).tolist()

    def unusual(self) -> np.ndarray:
        """Which rows have an element that makes their line unusual."""
        odd = [number for number, value in enumerate(self.values) if value is _UNUSUAL]
        return np.isin(self.index, odd) if odd else np.zeros(len(self.index), dtype=bool)

    def keys(self) -> list[str | None]:
        """The keys of references."""
        return [key_of(one.reference) if isinstance(one, _Reference) else None for one in self.values]


class _Numbering:
    """Distinct values in the order of their first occurrence, and the index among them of each."""

    def __init__(self, values: Iterable[Any]) -> None:
        numbers: dict[Any, int] = {}
        self.index = np.array([numbers.setdefault(value, len(numbers)) for value in values], dtype=np.int32)
        self.values = list(numbers)


def _decoded(block: Block) -> tuple[list[_Line], np.ndarray, list[tuple[int, bytes]]]:
    """The usual lines of a block, their numbers, and the others."""
    try:
        usual = _LINES.decode_lines(block.content)
        if len(usual) == len(block.breaks) + 1 and _apart(block):
            return usual, np.arange(block.first, block.first + len(usual)), []
    except _FAULTS:
        pass
    usual, numbers = [], []
    others: list[tuple[int, bytes]] = []
    for number, line in enumerate(block.lines, block.first):
        try:
            usual.append(decode(line))
            numbers.append(number)
        except _FAULTS:
            others.append((number, line))
    return usual, np.array(numbers, dtype=np.int64), others


def _apart(block: Block) -> bool:
    """Whether each end of a line is between two objects, so that as many objects as lines are one in each line."""
    if not len(block.breaks):
        return True
    content = np.frombuffer(block.content, np.uint8)
    before, after = content[block.breaks - 1], content[np.minimum(block.breaks + 1, len(content) - 1)]
    return bool((before == ord("}")).all() and (after == ord("{")).all())


def _column(pieces: list[bytes]) -> pa.Array:
    """Elements that stand in lines of their own, each with the end of its line."""
    content = b"\n".join([*pieces, b""])
    ends = np.flatnonzero(np.frombuffer(content, np.uint8) == ord("\n"))
    offsets = np.zeros(len(ends) + 1, dtype=np.int32)
    offsets[1:] = ends + 1
    return pa.Array.from_buffers(pa.binary(), len(ends), [None, pa.py_buffer(offsets), pa.py_buffer(content)])


def _values(written: list[bytes], name: str) -> list[Any]:
    """What elements are, ``_UNUSUAL`` for those of another shape than ``_SHAPES`` says."""
    try:
        values = _MANY[name](b"[" + b",".join(written) + b"]")
    except _FAULTS:
        values = [_value(element, name) for element in written]
    refuses = _REFUSES.get(name)
    return [_UNUSUAL if value is not None and refuses(value) else value for value in values] if refuses else values


def _value(element: bytes, name: str) -> Any:
    try:
        return _ONE[name](element)
    except _FAULTS:
        return _UNUSUAL


#: Elements of the usual shape that are unusual by what they hold.
_REFUSES = {
    "valueQuantity": lambda one: one is _UNUSUAL or not abs(one.value) <= LARGEST,
    "subject": lambda one: one is _UNUSUAL or not one.reference.startswith("Patient/"),
    "encounter": lambda one: one is _UNUSUAL or not one.reference.strip(),
    "specimen": lambda one: one is _UNUSUAL or one.reference.strip()[:1] in ("", "#"),
}


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


def _of_codes(code: _Distinct, values: list[Any], kind: pa.DataType) -> pa.Array:
    return pa.array(values, kind).take(pa.array(code.index))


def _words(index: np.ndarray, texts: list[str | None]) -> pa.Array:
    """The text of each row by its index, as a dictionary."""
    places, distinct = _places(texts)
    return _as_dictionary(places.take(index), distinct)


def _problems(
    index: np.ndarray, skip: list[str | None], bad: list[str | None], late: list[str | None], at: np.ndarray
) -> pa.Array:
    """Why each row cannot be trusted: for its code or unit, else for its time; unless it is out of scope."""
    bad = [None if out else why for out, why in zip(skip, bad, strict=True)]
    if not any(late):
        return _words(index, bad)
    places, distinct = _places([*bad, *late])
    out = np.array([why is not None for why in skip])
    first, second = places[: len(bad)].take(index), places[len(bad) :].take(at)
    return _as_dictionary(np.where((first < 0) & ~out.take(index), second, first), distinct)


def _places(texts: list[str | None]) -> tuple[np.ndarray, list[str]]:
    """The index of each text among the distinct ones, -1 for none; and these."""
    numbers: dict[str, int] = {}
    places = [-1 if text is None else numbers.setdefault(text, len(numbers)) for text in texts]
    return np.array(places, dtype=np.int32), list(numbers)


def _as_dictionary(places: np.ndarray, texts: list[str]) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(places, mask=places < 0), pa.array(texts, pa.string()))
