"""How long a rationale may be: what a reader takes in, more where more diagnoses are to be argued for."""

from __future__ import annotations

from clinragen.chart import note_statements, series_statements
from clinragen.choices import RationaleKind

_WORDS: dict[RationaleKind, int] = {"note": note_statements.MOST_WORDS, "series": series_statements.MOST_WORDS}
#: For each diagnosis beyond the first. On the eICU demo, what is cited holds .58 of the evidence without them, .67 with
#: ten and .70 with fifteen.
_FURTHER_WORDS = 15


def most_words(kind: RationaleKind, diagnoses: int) -> int:
    """Most words of a student's rationale beside which so many diagnoses are listed.

    >>> most_words("series", 1), most_words("series", 4)
    (50, 95)
    """
    return _WORDS[kind] + _FURTHER_WORDS * max(0, diagnoses - 1)
