"""The usual shape of Observations, a number at a time of one patient, many at a time.

Only the elements that are read are decoded. Whatever is unusual about a line leaves it to ``observations``, which gives
the same rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
import pyarrow as pa
from msgspec import MsgspecError, Raw, Struct, json

from mimic_prep.releases.fhir.clock import Clock, versions_of
from mimic_prep.releases.fhir.elements import key_of
from mimic_prep.releases.fhir.observations import ROWS, USED
from mimic_prep.releases.fhir.vocabulary import CONFLICT, NO_CODE, Meaning, Vocabulary

_UNUSUAL = Raw(b"")  # stands for the absence of an element that makes a line unusual
_MOST = 50_000  # codes whose meaning is remembered


class _Reference(Struct, frozen=True, gc=False):
    reference: str = ""


class _Meta(Struct, frozen=True, gc=False):
    lastUpdated: str | None = None  # noqa: N815


class _Quantity(Struct, frozen=True, gc=False):
    value: float
    unit: str | None = None
    code: str | None = None
    comparator: str | None = None


_NOBODY, _UNDATED = _Reference(), _Meta()


class _Observation(Struct, frozen=True, gc=False):
    id: str
    status: str
    code: Raw
    valueQuantity: _Quantity  # noqa: N815
    effectiveDateTime: str  # noqa: N815
    subject: _Reference
    resourceType: str  # noqa: N815
    encounter: _Reference = _NOBODY
    meta: _Meta = _UNDATED
    issued: str | None = None
    component: Raw = _UNUSUAL
    note: Raw = _UNUSUAL
    dataAbsentReason: Raw = _UNUSUAL  # noqa: N815
    modifierExtension: Raw = _UNUSUAL  # noqa: N815
    specimen: _Reference = _NOBODY


#: An Observation of the usual shape from its line.
decode = json.Decoder(_Observation).decode


class NumberReader:
    """Reads lines of the usual shape."""

    def __init__(self, vocabulary: Vocabulary, clock: Clock) -> None:
        self._vocabulary = vocabulary
        self._clock = clock
        self._meanings: list[tuple[Meaning | None, str | None, tuple[str, str, str] | None]] = []
        self._index: dict[bytes, int] = {}

    def read(self, lines: Sequence[bytes], first: int) -> tuple[pl.DataFrame, list[tuple[int, bytes]]]:
        """Rows (``observations.ROWS``) of the usual lines; and the others with their numbers.

        Args:
            lines: of a file.
            first: number of the first one.
        """
        usual: list[_Observation] = []
        numbers: list[int] = []
        others: list[tuple[int, bytes]] = []
        add, number_add = usual.append, numbers.append
        for number, line in enumerate(lines, first):
            try:
                one = decode(line)
            except (MsgspecError, UnicodeDecodeError):
                others.append((number, line))
                continue
            if (
                one.component is one.note is one.dataAbsentReason is one.modifierExtension is _UNUSUAL
                and one.resourceType == "Observation"
                and one.valueQuantity.comparator is None
                and one.status in USED
                and one.subject.reference[:8] == "Patient/"
                and (one.specimen is _NOBODY or one.specimen.reference[:1] not in ("", "#"))
            ):
                add(one)
                number_add(number)
            else:
                others.append((number, line))
        return self._rows(usual, numbers), others

    def _rows(self, usual: list[_Observation], numbers: list[int]) -> pl.DataFrame:
        quantities = [one.valueQuantity for one in usual]
        codes = self._codes([bytes(one.code) for one in usual])
        for code, rows in enumerate(np.bincount(codes).tolist()):
            if rows and (coding := self._meanings[code][2]):
                self._vocabulary.count_unmapped(coding, rows)
        unit, odd = self._spelt(codes, [one.code for one in quantities], [one.unit for one in quantities])
        time, late = self._clock.column([one.effectiveDateTime for one in usual])
        entered, _ = self._clock.column([one.issued for one in usual])
        frame = pl.DataFrame(
            {
                "entry": entries_of([one.id for one in usual]),
                "version": versions_of([one.meta.lastUpdated for one in usual]),
                "line": pl.Series(numbers, dtype=pl.Int64),
                "table": self._of_codes(
                    codes, [meaning.table if meaning else None for meaning, _, _ in self._meanings], pl.Int8
                ),
                "item": self._of_codes(
                    codes, [meaning.item if meaning else None for meaning, _, _ in self._meanings], pl.Int64
                ),
                "rank": self._of_codes(
                    codes, [meaning.rank if meaning else None for meaning, _, _ in self._meanings], pl.Int16
                ),
                "time": time,
                "known": entered,
                "value": pl.Series([quantity.value for quantity in quantities], dtype=pl.Float64),
                "unit": unit,
                "words": _nothing(len(usual)),
                "comment": _nothing(len(usual)),
                "specimen": _keys([one.specimen.reference for one in usual]),
                "subject": _keys([one.subject.reference for one in usual]),
                "encounter": _keys([one.encounter.reference for one in usual]),
                "skip": self._of_codes(
                    codes, [why if why and not _bad(why) else None for _, why, _ in self._meanings], pl.String
                ),
                "bad": self._of_codes(
                    codes, [why if why and _bad(why) else None for _, why, _ in self._meanings], pl.String
                ),
            },
            schema=ROWS,
        )
        if odd.null_count() < len(odd) or late.null_count() < len(late):
            frame = frame.with_columns(bad=pl.when(pl.col("skip").is_null()).then(pl.coalesce("bad", odd, late)))
        return frame

    def _codes(self, concepts: list[bytes]) -> np.ndarray:
        """The index among ``_meanings`` of each ``code``, as it is written."""
        if len(self._index) >= _MOST:
            self._index.clear()
            self._meanings.clear()
        index = self._index
        codes = [index.get(concept, -1) for concept in concepts]
        if -1 in codes:
            for concept in set(concepts) - index.keys():
                index[concept] = len(self._meanings)
                self._meanings.append(self._vocabulary.meaning(_lenient(concept)))
            codes = [index[concept] for concept in concepts]
        return np.array(codes, dtype=np.int64)

    def _of_codes(self, codes: np.ndarray, values: list[object], kind: object) -> pl.Series:
        series = pl.Series(values, dtype=kind, strict=False)  # type: ignore[arg-type]
        return series.gather(codes) if len(series) else series

    def _spelt(self, codes: np.ndarray, ucum: list[str | None], unit: list[str | None]) -> tuple[pl.Series, pl.Series]:
        """Unit of each row, and why it cannot be read; each distinct combination is looked up once."""
        sides = [pa.array(side, pa.string()).dictionary_encode(null_encoding="encode") for side in (ucum, unit)]
        first, second = (side.dictionary.to_pylist() for side in sides)
        indices = [side.indices.to_numpy() for side in sides]
        packed = (codes * max(len(first), 1) + indices[0]) * max(len(second), 1) + indices[1]
        combinations, places = np.unique(packed, return_inverse=True)
        looked_up = []
        for combination in combinations.tolist():
            rest_of, b = divmod(combination, max(len(second), 1))
            code, a = divmod(rest_of, max(len(first), 1))
            meaning = self._meanings[code][0]
            looked_up.append(self._vocabulary.unit(meaning, first[a], second[b]) if meaning else (None, None))
        spelt, why = (pl.Series([pair[side] for pair in looked_up], dtype=pl.String) for side in (0, 1))
        return spelt.gather(places), why.gather(places)


def entries_of(ids: list[str]) -> pl.Series:
    """Hashes of resource ids, by which observations are told apart."""
    return pl.Series(ids, dtype=pl.String).hash(seed=0)


def _lenient(concept: bytes) -> object:
    try:
        return json.decode(concept)
    except MsgspecError:
        return None


def _bad(why: str) -> bool:
    return why in (CONFLICT, NO_CODE)


def _nothing(rows: int) -> pl.Series:
    return pl.Series([None], dtype=pl.String).new_from_index(0, rows)


def _keys(references: list[str]) -> pl.Series:
    """Keys of references, of which each distinct one is read once; null for empty ones."""
    encoded = pa.array(references, pa.string()).dictionary_encode()
    keys = pl.Series([key_of(text) or None for text in encoded.dictionary.to_pylist()], dtype=pl.String)
    return keys.gather(pl.Series(encoded.indices))
