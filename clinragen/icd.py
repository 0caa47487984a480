"""Map ICD codes to single-level CCS categories and names, from `configs/concepts/icd_ccs.parquet`.

ICD-9-CM: AHRQ's CCS 2015, final. ICD-10-CM: AHRQ's beta CCS 2019.1, final. Codes newer than the map get the category
of all codes with their longest known prefix, if these agree. `tools/icd_ccs.py` builds the table.
"""

from __future__ import annotations

from bisect import bisect_left
from functools import cache, cached_property
from typing import Any

import polars as pl

from clinragen.config import CONFIG_ROOT

_LAST = "\uffff"  # sorts after every code with the same prefix


def normalise(code: pl.Expr) -> pl.Expr:
    """Upper case, only letters and digits: without dot, blanks, or a spreadsheet's quotes.

    >>> pl.select(normalise(pl.lit(" 'i50.21"))).item()
    'I5021'
    """
    return code.str.to_uppercase().str.replace_all(r"[^0-9A-Z]", "")


def version_of(text: pl.Expr) -> pl.Expr:
    """The ICD version in a cell; null if it names neither.

    >>> pl.select(version_of(pl.Series(["9", "10.0", "ICD-9-CM", "icd10", "09", "ten", "19"]))).to_series().to_list()
    [9, 10, 9, 10, 9, None, None]
    """
    return (
        text.str.strip_chars()
        .str.extract(r"^(?:[A-Za-z]+[ _-]?)?0?(9|10)(?:\.0+)?(?:[ _-]?[A-Za-z]+)?$", 1)
        .cast(pl.Int64)
    )


class CodeMap:
    """The map of one ICD version, 9 or 10: code -> (CCS category, name)."""

    def __init__(self, version: int) -> None:
        self._version = version
        self._categories: dict[str, int] = _column("category", version)
        self._sorted = sorted(self._categories)

    @cached_property
    def _names(self) -> dict[str, str]:
        return _column("name", self._version)  # long, and few commands ask for one

    @cached_property
    def _members(self) -> dict[int, list[str]]:
        members: dict[int, list[str]] = {}
        for code in self._sorted:
            members.setdefault(self._categories[code], []).append(code)
        return members

    def ccs(self, code: str) -> int | None:
        """The category of a normalised code; None if unknown."""
        exact = self._categories.get(code)
        if exact is not None:
            return exact
        for length in range(len(code), 2, -1):
            first, last = (bisect_left(self._sorted, code[:length] + end) for end in ("", _LAST))
            categories = {self._categories[other] for other in self._sorted[first:last]}
            if categories:
                return min(categories) if len(categories) == 1 else None
        return None

    def has(self, code: str) -> bool:
        """Whether the map has a normalised code."""
        return code in self._categories

    def begins(self, code: str) -> bool:
        """Whether a code of the map begins with these characters."""
        index = bisect_left(self._sorted, code)
        return index < len(self._sorted) and self._sorted[index].startswith(code)

    def has_any(self, code: str) -> bool:
        """Whether the map has a code, one that begins with it, or a prefix of it with at least three characters.

        >>> icd10 = code_map(10)
        >>> icd10.has_any("I50"), icd10.has_any("I50219"), icd10.has_any("195967001")
        (True, True, False)
        """
        if self.begins(code):
            return bool(code)
        return any(code[:length] in self._categories for length in range(3, len(code)))

    def codes_of(self, category: int) -> list[str]:
        """The codes of a category, sorted; empty for an unknown category."""
        return self._members.get(category, [])

    def name(self, code: str) -> str | None:
        """The official description of a normalised code."""
        return self._names.get(code)

    def __len__(self) -> int:
        return len(self._categories)

    def items(self) -> list[tuple[str, int]]:
        """(code, category), sorted."""
        return sorted(self._categories.items())


@cache
def code_map(version: int) -> CodeMap | None:
    """The map of ICD version 9 or 10; None for others."""
    return CodeMap(version) if version in (9, 10) else None


def _column(name: str, version: int) -> dict[str, Any]:
    """Code -> its cell, where there is one."""
    rows = pl.read_parquet(CONFIG_ROOT / "concepts" / "icd_ccs.parquet", columns=["version", "code", name])
    rows = rows.filter(pl.col("version") == version).drop_nulls(name)
    return dict(zip(rows["code"].to_list(), rows[name].to_list(), strict=True))
