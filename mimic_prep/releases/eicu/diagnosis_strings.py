"""Codes for diagnoses of eICU that have only a string: from the same or a broader string, or a curated list.

A string goes from broad to narrow: ``pulmonary|respiratory failure|acute respiratory failure``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

import polars as pl

from clinragen.config import CONFIG_ROOT, load_yaml

_FILE = "eicu_diagnoses.yaml"
_CHAPTERS = 2  # number of leading parts that name a chapter of diseases


def filled(entries: pl.DataFrame) -> tuple[pl.DataFrame, int, int]:
    """``entries`` (codes, string) with codes from strings; the number with and without a code found."""
    lacks = pl.col("codes").is_null()
    coded = entries.filter(~lacks).drop_nulls("string").select("string", "codes").unique()
    codes_by_string: dict[str, set[str]] = {}
    for string, codes in coded.iter_rows():
        codes_by_string.setdefault(_plain(string), set()).add(codes)
    strings = entries.filter(lacks)["string"].drop_nulls().unique().sort().to_list()
    codes_of_strings = {string: codes for string in strings if (codes := _codes(_plain(string), codes_by_string))}
    filled_count = pl.DataFrame(
        {"string": list(codes_of_strings), "told": list(codes_of_strings.values())},
        schema={"string": pl.String, "told": pl.String},
    )
    entries = entries.join(filled_count, on="string", how="left", maintain_order="left")
    count = entries.filter(lacks & pl.col("told").is_not_null()).height
    entries = entries.with_columns(codes=pl.coalesce("codes", "told")).drop("told")
    return entries.drop_nulls("codes"), count, entries["codes"].null_count()


def _plain(string: str) -> str:
    return "|".join(" ".join(part.split()).lower() for part in string.split("|")).strip("|")


def _codes(string: str, codes_by_string: dict[str, set[str]]) -> str | None:
    known_list = _list()
    if known_list.unclear.search(string):
        return None
    parts = string.split("|")
    for length in range(len(parts), _CHAPTERS, -1):
        same = codes_by_string.get("|".join(parts[:length]), set())
        if len(same) == 1:  # a string with several codes is ambiguous
            return next(iter(same))
    for part in reversed(parts[_CHAPTERS:] or parts[-1:]):
        for pattern, codes in known_list.strings if not known_list.aside.match(part) else ():
            match = pattern.search(part)
            if match and not known_list.denied.search(part[: match.start()]):
                return codes
    return None


@dataclass(frozen=True)
class _List:
    """``eicu_diagnoses.yaml``; ``strings`` in the order in which they are tried, with their codes."""

    unclear: re.Pattern[str]
    denied: re.Pattern[str]
    aside: re.Pattern[str]
    strings: list[tuple[re.Pattern[str], str]]


@cache
def _list() -> _List:
    raw = load_yaml(CONFIG_ROOT / "concepts" / _FILE)
    return _List(
        unclear=_words(raw["unclear"].replace(" |", "|")),
        denied=re.compile(rf"\b(?:{raw['denied']})[ -]+$", re.IGNORECASE),
        aside=_words(raw["aside"]),
        strings=[(_words(row["finds"]), ", ".join(row["icd9"])) for row in raw["strings"]],
    )


def _words(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w/])(?:{pattern})(?![\w/])", re.IGNORECASE)
