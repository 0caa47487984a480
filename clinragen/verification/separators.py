"""Separators of a sentence: words and punctuation that join names or divide statements."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from clinragen.verification.cues import words
from clinragen.verification.masked import BLANK, Cue

#: A comma within a number, a hyphen within a word and the slash of a pair separate nothing.
_PUNCTUATION = r",(?=\s|$)|[():]|\s[-–—]\s|/(?=\s)|&"
#: Words that may stand between two names that share a statement: "both the ALT and the AST".
_BESIDE = r"\bboth\b|\bthe\b|\beither\b"


def find(text: str, phrases: list[Cue]) -> Iterator[Cue]:
    """Separators in a sentence, none of them within a phrase ("or more")."""
    free = list(text)
    for cue in phrases:
        free[cue.start : cue.end] = BLANK * (cue.end - cue.start)
    for match in _pattern().finditer("".join(free)):
        yield Cue("sep", match.start(), match.end(), match[0].strip().lower())


def joins(cue: Cue) -> bool:
    """Whether the names on both sides share a statement: "ALT and AST were high"."""
    return cue.value in _role("join")


def cuts(cue: Cue) -> bool:
    """Whether a new statement about the same name may follow: "creatinine rose, then fell"."""
    return cue.value in _role("cut")


def tells_later(cue: Cue) -> bool:
    """Whether what follows happened later: "then"."""
    return cue.value in _role("later")


def only_joins(between: str) -> bool:
    """Whether nothing but joining words stands in this text."""
    return _joined().fullmatch(between) is not None


@cache
def _pattern() -> re.Pattern[str]:
    written = [word for entry in words("separators") for word in entry.words if word[0].isalpha()]
    longest_first = "|".join(re.escape(word) for word in sorted(written, key=len, reverse=True))
    return re.compile(rf"{_PUNCTUATION}|\b(?:{longest_first})(?!\w)")


@cache
def _role(role: str) -> frozenset[str]:
    return frozenset(word for entry in words("separators") if role in entry.means.split() for word in entry.words)


@cache
def _joined() -> re.Pattern[str]:
    joining = (rf"\b{re.escape(word)}\b" if word[0].isalpha() else re.escape(word) for word in sorted(_role("join")))
    return re.compile(rf"(?:\s|{'|'.join(joining)}|{_BESIDE})*")
