"""Parse textual results: a number with a mark, or the limit of an assay (``<0.01``, ``>150``).

The limit is used as the value: it is what the laboratory reports, and dropping it would lose exactly the extreme
results. Titres (``1:40``), grades (``2+``), fractions, ranges, dates and sentences are no limits.
"""

from __future__ import annotations

import re

import polars as pl

from mimic_prep.unit_conversion import is_spelling

_LONGEST = 80  # most characters of a result; longer text is a sentence
_SIGN = (
    r"[<>]\s*=?|=\s*[<>]|[≤≥⩽⩾]|(?:less|lower|fewer|greater|more|higher)\s+than(?:\s+or\s+equal(?:\s+to)?)?"
    r"|below|above|under|over|lt\b|gt\b"
)
_NUMBER = r"-?(?:[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?|\d+(?:[.,]\d+)?|\.\d+)"
_RESULT = re.compile(rf"\s*(?P<sign>{_SIGN})?\s*(?P<number>{_NUMBER})(?P<rest>.*)", re.IGNORECASE | re.DOTALL)
_THOUSANDS = re.compile(r"-?[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?")
_SENTENCE_END = re.compile(r"\.(?=\s|$)|[;\n]")
#: Marks after a result: high, low, abnormal, critical.
_FLAGS = frozenset({"", "h", "l", "hh", "ll", "a", "aa", "c", "hc", "lc", "high", "low"})
_ENTITIES = {"&lt;": "<", "&gt;": ">"}


def limits(texts: pl.Series, *, remarks: bool = False) -> tuple[pl.Series, pl.Series]:
    """Value and unit of each text; null if it is no result, or names no unit.

    With ``remarks`` the texts are comments on a result: only a limit at the very beginning counts, up to the end of
    that sentence.

    A bare number is no result: if the source meant it as the result, it would be in the numeric column.

    >>> limits(pl.Series(["<0.01*", "1:40", ">150 sec", "7.4*", "7.4"]))[0].to_list()
    [0.01, None, 150.0, 7.4, None]
    >>> limits(pl.Series(["GREATER THAN 500.  VERIFIED.", "CTROPNT > 0.10"]), remarks=True)[0].to_list()
    [500.0, None]
    """
    distinct = texts.drop_nulls().unique().to_list()
    bounds = {text: _read(text, remarks) for text in distinct}
    results = {text: result for text, result in bounds.items() if result is not None}
    numbers, spelled = [value for value, _ in results.values()], [unit for _, unit in results.values()]
    values = texts.replace_strict(list(results), numbers, default=None, return_dtype=pl.Float64)
    return values, texts.replace_strict(list(results), spelled, default=None, return_dtype=pl.String)


def _read(text: str, remarks: bool) -> tuple[float, str | None] | None:
    text = text[: 4 * _LONGEST]
    for entity, sign in _ENTITIES.items():
        text = text.replace(entity, sign)
    if remarks:
        text = _SENTENCE_END.split(text, 1)[0]
    if len(text) > _LONGEST:
        return None
    match = _RESULT.match(text)
    if match is None or (remarks and not match["sign"]):
        return None
    number, remainder = match["number"], match["rest"]
    if not match["sign"] and not remainder.strip():
        return None
    if remainder.strip() == "+":  # "150+" means above 150; "1+" to "4+" are grades of a test strip
        return (_number(number), None) if len(number) > 1 and number.isdigit() else None
    if remainder[:1] in (".", ",") and remainder.strip() != ".":
        return None
    unit = remainder.strip().strip("*").strip().removesuffix(".").strip()
    if unit.strip("()").lower() in _FLAGS:
        return _number(number), None
    return (_number(number), unit) if is_spelling(unit) else None


def _number(text: str) -> float:
    return float(text.replace(",", "" if _THOUSANDS.fullmatch(text) else "."))
