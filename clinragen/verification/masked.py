"""A sentence in which text that has been read is masked: the 24 of "24 hours" is no value, and nothing is read twice.

Every pattern passes over the sentence once, so that reading takes time in proportion to its length.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from clinragen.verification.needed import may_match

#: Characters that stand for others, one for one: a raised decimal point, ordinal signs for degrees, kinds of hyphen.
_ALIKE = str.maketrans("·∙º˚／％‐‑‒﹣－’≦≧", ".." + "°°/%-----'≤≥")
#: The character that masks text that has been read. No pattern's blank or word matches it.
BLANK = "\0"


class Cue(NamedTuple):
    """A phrase with a meaning: ``text[start:end]``."""

    kind: str
    start: int
    end: int
    value: Any


#: (kind of cue, value); ("", None) for text that is read but is no cue.
Reading = tuple[str, Any]
#: The meaning of a match; None if it is not a match after all.
Meaning = Callable[[re.Match[str]], Reading | None]


class Masked:
    """A text, and the cues read from it so far."""

    def __init__(self, text: str) -> None:
        self.text = text.replace(BLANK, " ").translate(_ALIKE)
        self.cues: list[Cue] = []
        self._lowered = self.text.lower() if self.text.isascii() else None

    def read(self, pattern: re.Pattern[str], meaning: Meaning, group: str | int = 0) -> None:
        """Turn the matches of a pattern, or of one group of it, into cues and mask them."""

        if self._lowered is not None and not may_match(pattern, self._lowered):
            return

        def one(match: re.Match[str]) -> str:
            reading = None if match[group] is None else meaning(match)
            if reading is None:
                return match[0]
            start, end = match.span(group)
            start += len(match[group]) - len(match[group].lstrip())
            if reading[0]:
                self.cues.append(Cue(reading[0], start, end, reading[1]))
            begin = match.start()
            return match[0][: start - begin] + BLANK * (end - start) + match[0][end - begin :]

        self.text = pattern.sub(one, self.text)
