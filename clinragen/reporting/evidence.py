"""Phrases of a rationale that occur word for word in the note, to show their origin.

This shows the position of the words, not that they are understood correctly: the reader must check for negation.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

#: (text, whether it is shared), in order; the texts joined are the input.
Segments = list[tuple[str, bool]]

#: Most occurrences of a word pair that are compared.
_PLACES = 50
_WORD = re.compile(r"\w+(?:[.'/-]\w+)*")
#: Stop words; a shared phrase needs two others.
_COMMON = frozenset(
    _WORD.findall(
        """a an and any are as at based be been by can could did do does for from had has have he her his if in into is
        it its ms mr mrs may more most no not of on or our out patient patients she so such than that the their them
        then there these they this to was were which who will with without would year years old day days"""
    )
)


def mark_shared(rationale: str, sections: Sequence[str]) -> tuple[Segments, list[Segments]]:
    """Split a rationale and the note's sections at the phrases they share.

    A phrase is the longest run of words found in one section, with at least two words that are not common ones.

    >>> ours, theirs = mark_shared("She reports chest pain today.", ["Chest  pain since noon."])
    >>> ours
    [('She reports ', False), ('chest pain', True), (' today.', False)]
    >>> theirs
    [[('Chest  pain', True), (' since noon.', False)]]
    """
    ours = _words(rationale)
    theirs = [_words(text) for text in sections]
    where: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for section, words in enumerate(theirs):
        for position in range(len(words) - 1):
            where.setdefault((words[position][0], words[position + 1][0]), []).append((section, position))
    our_spans: list[tuple[int, int]] = []
    their_spans: list[list[tuple[int, int]]] = [[] for _ in sections]
    start = 0
    while start < len(ours) - 1:
        best, section, position = 0, 0, 0
        for s, p in where.get((ours[start][0], ours[start + 1][0]), ())[:_PLACES]:
            length = _run(ours, start, theirs[s], p)
            if length > best:
                best, section, position = length, s, p
        if sum(word not in _COMMON for word, _, _ in ours[start : start + best]) < 2:
            start += 1
            continue
        our_spans.append((ours[start][1], ours[start + best - 1][2]))
        their_spans[section].append((theirs[section][position][1], theirs[section][position + best - 1][2]))
        start += best
    return _cut(rationale, our_spans), [_cut(t, spans) for t, spans in zip(sections, their_spans, strict=True)]


def _words(text: str) -> list[tuple[str, int, int]]:
    return [(match[0].lower(), match.start(), match.end()) for match in _WORD.finditer(text)]


def _run(ours: list[tuple[str, int, int]], start: int, theirs: list[tuple[str, int, int]], position: int) -> int:
    length = 0
    while (
        start + length < len(ours)
        and position + length < len(theirs)
        and ours[start + length][0] == theirs[position + length][0]
    ):
        length += 1
    return length


def _cut(text: str, spans: list[tuple[int, int]]) -> Segments:
    segments: Segments = []
    end = 0
    for start, stop in sorted(set(spans)):
        if start < end:  # the same words occur in two overlapping runs
            start = end
        if start >= stop:
            continue
        segments += [(text[end:start], False), (text[start:stop], True)]
        end = stop
    segments.append((text[end:], False))
    return [(part, shared) for part, shared in segments if part]
