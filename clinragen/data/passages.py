"""Which tokens of a note a model reads when not all of them fit.

A note that is cut at its end loses drugs and histories that stand late, and a model that is taught rationales about
them learns to write what it has not read. Passages that name a concept for the first time are therefore read first,
then those that name one again, then the rest; each in reading order, and all are read in reading order.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from clinragen.chart.note_mentions import note_mentions
from clinragen.choices import NotePassages
from clinragen.cohort.sections import written, written_places
from clinragen.data.mentions import MentionEncoder

#: Where a passage ends: lists and sentences alike, so that one drug of a list can be read without the others.
_ENDS = re.compile(r"[.;,](?=\s)")
#: Tokens of a passage at most; the rest is another one.
LONGEST = 48


class Naming(NamedTuple):
    """Characters of a section, as it is read, that name a concept."""

    concept: str
    start: int
    end: int


@dataclass(frozen=True)
class ReadNote:
    """What a model reads of a note.

    Attributes:
        ids: its tokens.
        sections: the position of each token's section, [tokens].
        places: where each token stands in its section as it is read, start and end, [tokens, 2]; None if the tokenizer
            does not tell.
        tokens: how many the whole note has.
    """

    ids: list[int]
    sections: np.ndarray
    places: np.ndarray | None
    tokens: int


@dataclass(frozen=True)
class NoteReader:
    """Reads notes as tokens, as many as fit.

    Attributes:
        tokenizer: of the language model.
        link: knows what is named.
        budget: tokens that fit.
        passages: what is read of a note that does not fit.
    """

    tokenizer: Any
    link: MentionEncoder
    budget: int
    passages: NotePassages = "named"

    def __call__(self, sections: Sequence[tuple[str, str]]) -> ReadNote:
        """Read a note.

        Args:
            sections: (section, text) pairs in reading order.
        """
        if not sections:
            return ReadNote([], np.zeros(0, dtype=np.int64), np.zeros((0, 2), dtype=np.int64), 0)
        fast = self.tokenizer.is_fast
        texts = [written(name, text) for name, text in sections]
        encoded = self.tokenizer(texts, add_special_tokens=False, return_offsets_mapping=fast)
        tokens = [np.array(ids, dtype=np.int64) for ids in encoded["input_ids"]]
        counts = [len(ids) for ids in tokens]
        places = [np.array(each, dtype=np.int64).reshape(-1, 2) for each in encoded["offset_mapping"]] if fast else None
        if sum(counts) <= self.budget or places is None or self.passages == "first":
            read = first_tokens(counts, self.budget)
        else:
            titles = [len(written(name, "")) - len(" \n") for name, _ in sections]
            read = read_tokens(texts, places, titles, self._namings(sections), self.budget)
        return ReadNote(
            np.concatenate([ids[chosen] for ids, chosen in zip(tokens, read, strict=True)]).tolist(),
            np.repeat(np.arange(len(read)), [len(chosen) for chosen in read]),
            np.concatenate([each[chosen] for each, chosen in zip(places, read, strict=True)]) if places else None,
            sum(counts),
        )

    def _namings(self, sections: Sequence[tuple[str, str]]) -> list[list[Naming]]:
        """Where each section, as it is read, names a concept of the model or a circumstance of the admission."""
        namings: list[list[Naming]] = [[] for _ in sections]
        where = [written_places(name, text) for name, text in sections]
        for position, _, _, mention in note_mentions(sections, self.link.linker):
            if mention.concept in self.link.column or mention.concept in self.link.linker.circumstances:
                start, end = where[position][[mention.start, mention.end - 1]].tolist()
                namings[position].append(Naming(mention.concept, start, end + 1))
        return namings


class Passage(NamedTuple):
    """Adjacent tokens of a section.

    Attributes:
        section: its position.
        first: of its tokens.
        end: after its last.
        rank: 0 if it names a concept for the first time, 1 if it names one, 2 otherwise.
    """

    section: int
    first: int
    end: int
    rank: int


def first_tokens(counts: Sequence[int], budget: int) -> list[np.ndarray]:
    """The first tokens of a note: earlier sections first, each whole before the next gets any.

    >>> [len(tokens) for tokens in first_tokens([10, 50, 30], budget=70)]
    [10, 50, 10]
    """
    read = []
    for count in counts:
        read.append(np.arange(min(count, budget)))
        budget -= len(read[-1])
    return read


def read_tokens(
    texts: Sequence[str],
    offsets: Sequence[np.ndarray],
    titles: Sequence[int],
    namings: Sequence[Sequence[Naming]],
    budget: int,
) -> list[np.ndarray]:
    """The tokens of each section that are read, ascending positions, at most ``budget`` of them together.

    Args:
        texts: of each section as it is read.
        offsets: of each section's tokens in its text: start and end, [tokens, 2].
        titles: how many characters of each text are its title, which is read with the first passage of a section.
        namings: what each section names.
        budget: tokens that fit.
    """
    headings = [int(np.searchsorted(each[:, 0], end)) for each, end in zip(offsets, titles, strict=True)]
    named: set[str] = set()
    passages = [
        passage
        for section, (text, places) in enumerate(zip(texts, offsets, strict=True))
        for passage in _passages(section, text, places, headings[section], namings[section], named)
    ]
    frames = [_frame(*each) for each in zip(texts, offsets, headings, strict=True)]
    chosen: list[list[np.ndarray]] = [[] for _ in texts]
    for passage in sorted(passages, key=lambda each: each.rank):  # stable: in reading order within a rank
        pieces = [np.arange(passage.first, passage.end)]
        if not chosen[passage.section]:
            pieces.insert(0, frames[passage.section])
        tokens = np.concatenate(pieces)[:budget]
        if len(tokens) <= len(pieces[0]) < sum(map(len, pieces)):
            continue  # nothing but a title would fit
        chosen[passage.section].append(tokens)
        budget -= len(tokens)
        if not budget:
            break
    return [np.unique(np.concatenate(each)) if each else np.zeros(0, dtype=np.int64) for each in chosen]


def _frame(text: str, places: np.ndarray, heading: int) -> np.ndarray:
    """The tokens of a section's title, and of the line break behind it, if that is a token of its own."""
    closing = len(places) - 1
    broken = closing >= heading and text[places[closing, 0] : places[closing, 1]].isspace()
    return np.r_[np.arange(heading), [closing] if broken else []].astype(np.int64)


def _passages(
    section: int, text: str, places: np.ndarray, heading: int, namings: Sequence[Naming], named: set[str]
) -> list[Passage]:
    """The passages of a section behind its title; ``named`` gains the concepts that it names."""
    ends = [match.end() for match in _ENDS.finditer(text)]
    bounds = {heading, len(places), *np.searchsorted(places[:, 0], ends).tolist()}
    cuts = sorted(bound for bound in bounds if bound >= heading)
    passages = []
    ordered = sorted(namings, key=lambda naming: naming.start)
    following = 0
    for begin, end in pairwise(cuts):
        for first in range(begin, end, LONGEST):
            last = min(first + LONGEST, end)
            after = places[last - 1, 1]
            concepts = set()
            while following < len(ordered) and ordered[following].start < after:
                concepts.add(ordered[following].concept)
                following += 1
            rank = 0 if concepts - named else 1 if concepts else 2
            named |= concepts
            passages.append(Passage(section, first, last, rank))
    return passages
