"""Whether a clause argues for the diagnosis that it names or against it, by ``configs/verify/arguments.yaml``.

Or whether it only says that something adds to a model's estimate of it.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any, Literal, cast

from clinragen.config import CONFIG_ROOT, load_yaml

Way = Literal["for", "adds", "against"]
_PATH = CONFIG_ROOT / "verify" / "arguments.yaml"
_CLAUSE_ENDS = re.compile(r"[;.]\s")


def way_of(text: str, position: int) -> Way | None:
    """How the clause argues for what is named at a position of a text; None where it does not.

    What stands behind the colon of "against pneumonia: no fever" is a ground again, no conclusion.

    >>> way_of("Fever suggests pneumonia", 15), way_of("Against pneumonia: no fever", 8)
    ('for', 'against')
    >>> way_of("Against pneumonia: no fever", 22)
    """
    clause = _CLAUSE_ENDS.split(text[:position])[-1]
    last = max(_pattern().finditer(clause), key=lambda match: match.start(), default=None)
    if last is None:
        return None
    way = cast(Way, last.lastgroup)
    return None if way == "against" and ":" in clause[last.end() :] else way


def examples() -> list[tuple[str, str]]:
    """(sentence, what it argues for and against) of every entry."""
    return [example for entry in _entries() for example in entry["examples"].items()]


@cache
def _entries() -> list[dict[str, Any]]:
    return load_yaml(_PATH)["arguments"]


@cache
def _pattern() -> re.Pattern[str]:
    """The words as one pattern with a group for each way; longer words first, so that "not suggest" is no "suggest"."""
    ways: dict[Way, str] = {}
    for entry in reversed(_entries()):  # "against" first: its words contain some of the others
        words = sorted(map(str, entry["words"]), key=len, reverse=True)
        ways[entry["means"]] = "|".join(re.escape(word).replace(r"\*", r"\w+") for word in words)
    return re.compile("|".join(rf"\b(?P<{way}>{words})\b" for way, words in ways.items()), re.I)
