"""The reasons for which a model abstains: their kinds, and the sentences that state them."""

from __future__ import annotations

import re

#: Kind -> sentence; a sentence says the numbers of its stay.
REASONS = {
    "no series": "no variable that the model reads was measured",
    "no note": "there is no note",
    "instructions": "the note speaks to its reader or to a machine (it holds instructions, marks of a chat, or code); "
    "that text was not read",
    "unknown words": "{count} of the {total} words of the note are known from training notes, less than in any of "
    "those ({limit:.0%})",
    "word order": "{count} of the {total} pairs of neighbouring words of the note are known from training notes, less "
    "than in any of those ({limit:.0%})",
    "few variables": "{count} variables were measured, and in training stays at least {limit:.0f}",
    "extreme values": "{share:.0%} of the values lie far outside what training stays had (at most {limit:.0%} there)",
    "constant values": "{count} of the {total} variables that were measured several times never change (at most "
    "{limit:.0%} in training stays)",
    "unlike training": "what was measured, how often and how high, is unlike training stays (distance {distance:.1f}, "
    "at most {limit:.1f} there)",
}
_FIELD = re.compile(r"\\\{.*?\\\}")
_STATED = {kind: re.compile(_FIELD.sub(r"\\S+?", re.escape(text))) for kind, text in REASONS.items()}


def reason(kind: str, **numbers: float) -> str:
    """The sentence of a kind.

    >>> reason("extreme values", share=0.3, limit=0.05)
    '30% of the values lie far outside what training stays had (at most 5% there)'
    """
    return REASONS[kind].format(**numbers)


def kind_of(sentence: str) -> str:
    """The kind of a reason; ``other`` for one that this version does not state.

    >>> kind_of("3 of the 10 words of the note are known from training notes, less than in any of those (60%)")
    'unknown words'
    >>> kind_of("the moon is full")
    'other'
    """
    return next((kind for kind, stated in _STATED.items() if stated.fullmatch(sentence)), "other")
