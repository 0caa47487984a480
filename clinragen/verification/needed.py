"""Pieces of text without which a pattern cannot match: looking for them spares most searches of a sentence."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from importlib import import_module
from typing import Any

_PARSER = import_module("re._parser")  # of the standard library, from Python 3.11 on; it has no public name


#: In ASCII text.
_DIGITS = frozenset("0123456789")
#: Sets of pieces of text in lower case: a match holds a piece of each set.
_Needs = tuple[frozenset[str], ...]


def may_match(pattern: re.Pattern[str], lowered: str) -> bool:
    """Whether a pattern may match somewhere in a text; false only if it cannot.

    Args:
        pattern: case may count or not.
        lowered: the text in lower case, ASCII only: beyond, letters equal others if case does not count.

    >>> hours = re.compile("(?:in|over)? ?(?:the )?(?:first|initial) [0-9]+ ?hours?", re.I)
    >>> may_match(hours, "over the first 24 hours"), may_match(hours, "over 24 hours")
    (True, False)
    """
    return all(any(map(lowered.__contains__, pieces)) for pieces in _needed(pattern.pattern, pattern.flags))


@cache
def _needed(pattern: str, flags: int) -> _Needs:
    return _of(_PARSER.parse(pattern, flags))


def _of(parts: Iterable[tuple[Any, Any]]) -> _Needs:
    """What a sequence needs."""
    needs: list[frozenset[str]] = []
    letters = ""
    for kind, argument in parts:
        if str(kind) == "LITERAL" and 0 < argument < 128:
            letters += chr(argument).lower()
            continue
        needs += [frozenset({letters})] if letters.strip() else []
        letters = ""
        needs += _of_one(str(kind), argument)
    needs += [frozenset({letters})] if letters.strip() else []
    return tuple(sorted(needs, key=len))


def _of_one(kind: str, argument: Any) -> _Needs:
    if kind == "SUBPATTERN":
        return _of(argument[-1])
    if kind in ("MAX_REPEAT", "MIN_REPEAT") and argument[0] >= 1:
        return _of(argument[2])
    if kind == "IN" and len(argument) == 1 and str(argument[0][1]) == "CATEGORY_DIGIT":
        return (_DIGITS,)
    if kind == "BRANCH":  # of each branch, what rules out most
        branches = [_of(branch) for branch in argument[1]]
        if all(branches):
            return (frozenset().union(*(max(needs, key=_telling) for needs in branches)),)
    return ()


def _telling(pieces: frozenset[str]) -> tuple[int, int]:
    return min(map(len, pieces)), -len(pieces)
