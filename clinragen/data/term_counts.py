"""How often each term of the lexicon stands in a note, and in the note without some of its words.

A model's reasons ask for a note without each concept that it names. To count all terms anew each time takes time by the
length of the note times the number of concepts; here only the words around what is cut out are looked at.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_matrix

_RUN = re.compile(r"\w+")
_SHORTEST = 2  # letters of a word, as the lexicon splits text

#: Where passages stand in a text: ascending, without overlap, not even adjacent.
Spans = Sequence[tuple[int, int]]


class _Change(NamedTuple):
    """Words ``first`` to ``end`` of the note give way to others."""

    first: int
    end: int
    words: list[str]


class TermCounts:
    """Counts of the words and word pairs of one text.

    Args:
        text: the text.
        vocabulary: term -> its column; a pair is two words with a blank between.
    """

    def __init__(self, text: str, vocabulary: Mapping[str, int]) -> None:
        self._text, self._vocabulary = text.lower(), vocabulary
        self._widths = None  # of the letters in lower case, where some become two
        if len(self._text) != len(text):
            self._widths = np.cumsum([0, *(len(letter.lower()) for letter in text)])
        runs = [match.span() for match in _RUN.finditer(self._text)]
        self._run_starts, self._run_ends = [start for start, _ in runs], [end for _, end in runs]
        spans = [span for span in runs if span[1] - span[0] >= _SHORTEST]
        self._starts = [start for start, _ in spans]
        self._words = [self._text[start:end] for start, end in spans]
        self._whole = np.zeros(len(vocabulary), dtype=np.float32)
        for column in self._columns(self._words):
            self._whole[column] += 1

    def without(self, cuts: Sequence[Spans]) -> csr_matrix:
        """The counts of the text without some passages, for each set of passages, [cuts, terms]."""
        indices, data, ends = [], [], [0]
        for spans in cuts:
            counts = self._whole.copy()
            for change in self._changes(spans):
                before = self._words[max(0, change.first - 1) : change.first]
                after = self._words[change.end : change.end + 1]
                for column in self._around(before, self._words[change.first : change.end], after):
                    counts[column] -= 1
                for column in self._around(before, change.words, after):
                    counts[column] += 1
            columns = np.flatnonzero(counts)
            indices.append(columns)
            data.append(counts[columns])
            ends.append(ends[-1] + len(columns))
        shape = (len(cuts), len(self._vocabulary))
        return csr_matrix((np.concatenate([*data, []]), np.concatenate([*indices, []]), ends), shape, dtype=np.float32)

    def _columns(self, words: Sequence[str]) -> Iterator[int]:
        """Columns of the terms of consecutive words."""
        terms = [*words, *(f"{one} {other}" for one, other in pairwise(words))]
        return (self._vocabulary[term] for term in terms if term in self._vocabulary)

    def _around(self, before: list[str], words: list[str], after: list[str]) -> list[int]:
        """Columns of words and of the pairs that they belong to."""
        outside = [self._vocabulary[word] for word in (*before, *after) if word in self._vocabulary]
        columns = list(self._columns([*before, *words, *after]))
        for column in outside:
            columns.remove(column)
        return columns

    def _changes(self, spans: Spans) -> Iterator[_Change]:
        """What becomes of the words when passages are cut out: letters that a passage shared a word with move together.

        Changes that follow each other without a word between are one, since the words around them become a pair.
        """
        last: _Change | None = None
        for start, end, letters in self._cut_out(spans):
            first, after = bisect_left(self._starts, start), bisect_left(self._starts, end)
            words = [letters] if len(letters) >= _SHORTEST else []
            if last and last.end == first:
                last.words.extend(words)
                last = last._replace(end=after)
                continue
            if last:
                yield last
            last = _Change(first, after, words)
        if last:
            yield last

    def _cut_out(self, spans: Spans) -> Iterator[tuple[int, int, str]]:
        """Stretches of whole words that lose passages, and the letters that are left of each."""
        begin, stop, letters = -1, -1, ""
        for start, end in spans:
            start, end = self._lowered(start), self._lowered(end)
            wide_start, wide_end = self._run(start)[0], self._run(end)[1]
            if wide_start < stop:  # what is between this passage and the one before belongs to one word
                letters = letters[: len(letters) - (stop - start)] + self._text[end:wide_end]
            else:
                if begin >= 0:
                    yield begin, stop, letters
                begin, letters = wide_start, self._text[wide_start:start] + self._text[end:wide_end]
            stop = wide_end
        if begin >= 0:
            yield begin, stop, letters

    def _lowered(self, offset: int) -> int:
        return offset if self._widths is None else int(self._widths[offset])

    def _run(self, offset: int) -> tuple[int, int]:
        """The run of letters that stands at an offset or ends there; nothing where there is none."""
        index = bisect_right(self._run_starts, offset) - 1
        if index >= 0 and offset <= self._run_ends[index]:
            return self._run_starts[index], self._run_ends[index]
        return offset, offset
