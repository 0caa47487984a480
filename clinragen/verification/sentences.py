"""Split text into sentences: each short, with single blanks, and with its position in the text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

#: A full stop ends a sentence before a capital, a digit or a sign, but not after an abbreviation; so do a semicolon and
#: the end of a line, since notes list findings so.
_SENTENCE = re.compile(
    r"(?<=[.!?])(?<!\bi\.e\.)(?<!\be\.g\.)(?<!\bvs\.)(?<!\bapprox\.)(?<!\bmax\.)(?<!\bmin\.)\s(?=[A-Z0-9(>~-])|;|\n"
)
_BLANKS = re.compile(r"\s{2,}|[^\S \n]")
#: Longest sentence, in characters; a longer one is cut at a blank. Reading thus takes time in proportion to the
#: length of a text, whatever a sentence costs.
_LONGEST = 2000


def squeezed(text: str) -> tuple[str, Sequence[int]]:
    """Text in which each run of blanks or line breaks is a single one, and the original position of each character.

    Patterns then meet at most one blank, so none can backtrack over long runs of blanks.
    """
    if _BLANKS.search(text) is None:
        return text, range(len(text) + 1)
    parts, places, last = [], [], 0
    for match in _BLANKS.finditer(text):
        parts += [text[last : match.start()], "\n" if "\n" in match[0] else " "]
        places += [*range(last, match.start()), match.start()]
        last = match.end()
    return "".join([*parts, text[last:]]), [*places, *range(last, len(text) + 1)]


def sentences(text: str) -> list[tuple[int, int]]:
    """Spans of sentences.

    >>> text = "Cr 1.2. HR 90; approx. 5 more."
    >>> [text[a:b].strip() for a, b in sentences(text)]
    ['Cr 1.2.', 'HR 90', 'approx. 5 more.']
    """
    spans, start = [], 0
    for match in _SENTENCE.finditer(text):
        spans += _cut(text, start, match.start())
        start = match.end()
    return [(a, b) for a, b in [*spans, *_cut(text, start, len(text))] if b > a]


def _cut(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    while end - start > _LONGEST:
        blank = text.rfind(" ", start + 1, start + _LONGEST)
        stop = blank if blank > 0 else start + _LONGEST
        yield start, stop
        start = stop
    yield start, end
