"""Diagnoses of eICU that have a string and no code: the code of the same or a wider string, or of a curated list.

A string goes from the wide to the narrow: ``pulmonary|respiratory failure|acute respiratory failure``.
"""

from __future__ import annotations

import re
from functools import cache

import polars as pl

from clinragen.config import CONFIG_ROOT, load_yaml

_FILE = "eicu_diagnoses.yaml"
_CHAPTERS = 2  # leading parts of a string that name a chapter of diseases


def filled(entries: pl.DataFrame) -> tuple[pl.DataFrame, int, int]:
    """``entries`` (codes, string) with codes where a string tells them; how many were told, and how many were not."""
    lacks = pl.col("codes").is_null()
    coded = entries.filter(~lacks).drop_nulls("string").select("string", "codes").unique()
    known: dict[str, set[str]] = {}
    for string, codes in coded.iter_rows():
        known.setdefault(_plain(string), set()).add(codes)
    strings = entries.filter(lacks)["string"].drop_nulls().unique().sort().to_list()
    found = {string: codes for string in strings if (codes := _codes(_plain(string), known))}
    told = pl.DataFrame(
        {"string": list(found), "told": list(found.values())}, schema={"string": pl.String, "told": pl.String}
    )
    entries = entries.join(told, on="string", how="left", maintain_order="left")
    count = entries.filter(lacks & pl.col("told").is_not_null()).height
    entries = entries.with_columns(codes=pl.coalesce("codes", "told")).drop("told")
    return entries.drop_nulls("codes"), count, entries["codes"].null_count()


def _plain(string: str) -> str:
    return "|".join(" ".join(part.split()).lower() for part in string.split("|")).strip("|")


def _codes(string: str, known: dict[str, set[str]]) -> str | None:
    unclear, patterns = _list()
    if unclear.search(string):
        return None
    parts = string.split("|")
    for length in range(len(parts), _CHAPTERS, -1):
        same = known.get("|".join(parts[:length]), set())
        if len(same) == 1:  # one string under several codes tells none
            return next(iter(same))
    for part in reversed(parts[_CHAPTERS:] or parts[-1:]):
        for pattern, codes in patterns:
            if pattern.search(part):
                return codes
    return None


@cache
def _list() -> tuple[re.Pattern[str], list[tuple[re.Pattern[str], str]]]:
    """What makes a string unclear, and what strings mean, in the order in which they are tried."""
    raw = load_yaml(CONFIG_ROOT / "concepts" / _FILE)
    unclear = raw["unclear"].replace(" |", "|")
    return _words(unclear), [(_words(row["finds"]), ", ".join(row["icd9"])) for row in raw["strings"]]


def _words(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w/])(?:{pattern})(?![\w/])", re.IGNORECASE)
