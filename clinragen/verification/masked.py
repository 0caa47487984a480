"""A sentence in which what has been read is blanked out: the 24 of "24 hours" is no value, and nothing is read twice.

Every pattern passes over the sentence once, so that reading takes time in proportion to its length.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

#: Characters that stand for others, one for one: a raised decimal point, ordinal signs for degrees, kinds of hyphen.
_ALIKE = str.maketrans("·∙º˚／％‐‑‒﹣－’≦≧", ".." + "°°/%-----'≤≥")
#: What stands in the place of text that has been read. No pattern's blank or word matches it.
BLANK = "\0"


class Cue(NamedTuple):
    """A phrase that means something: ``text[start:end]``."""

    kind: str
    start: int
    end: int
    value: Any


#: (kind of cue, value); ("", None) for "read, and no cue".
Reading = tuple[str, Any]
#: What a match means; None for "not this".
Meaning = Callable[[re.Match[str]], Reading | None]


class Masked:
    """Text, and the cues read from it so far."""

    def __init__(self, text: str) -> None:
        self.text = text.replace(BLANK, " ").translate(_ALIKE)
        self.cues: list[Cue] = []

    def read(self, pattern: re.Pattern[str], meaning: Meaning, group: str | int = 0) -> None:
        """Make cues of the matches of a pattern and blank them out, or of one group of it."""

        def one(match: re.Match[str]) -> str:
            found = None if match[group] is None else meaning(match)
            if found is None:
                return match[0]
            start, end = match.span(group)
            start += len(match[group]) - len(match[group].lstrip())
            if found[0]:
                self.cues.append(Cue(found[0], start, end, found[1]))
            begin = match.start()
            return match[0][: start - begin] + BLANK * (end - start) + match[0][end - begin :]

        self.text = pattern.sub(one, self.text)
