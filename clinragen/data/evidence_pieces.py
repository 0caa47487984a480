"""The evidence of a stay in pieces, and the stay without some of them, or with nothing else.

A piece is a variable with all its measurements, or a concept with all the words that name it in the note. The model is
made for gaps, so a piece that is taken away is what it sees every day: values become unmeasured, and words are cut out
of the note with the links they made. Nothing is put in their place.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np
from scipy.sparse import csr_matrix

from clinragen.chart.note_mentions import note_mentions
from clinragen.cohort.sections import fit, note_text, written
from clinragen.data.dataset import Stay, StayDataset


class EvidencePiece(NamedTuple):
    """A piece of the evidence of a stay: a ``variable`` of its series, or a ``concept`` of its note."""

    kind: Literal["variable", "concept"]
    name: str


class StayEvidence:
    """One stay, to be read without some of its evidence, or with nothing else.

    Args:
        dataset: of the stay.
        index: of the stay in the dataset.
        inputs: the modalities that the model reads.

    Attributes:
        stay: as it is.
        pieces: measured variables in the order of the model's, then concepts named in the note by id.
    """

    def __init__(self, dataset: StayDataset, index: int, inputs: Collection[str]):
        self.dataset = dataset
        self.stay = dataset[index]
        self.sections = dataset.sections.get(int(self.stay.stay_id), []) if "note" in inputs else []
        self.variables = dataset.statistics.variables
        self.spans: dict[str, dict[int, list[tuple[int, int]]]] = defaultdict(lambda: defaultdict(list))
        for section, _, _, mention in note_mentions(self.sections, dataset.link.linker):
            if mention.concept in dataset.link.column or mention.concept in dataset.link.linker.circumstances:
                self.spans[mention.concept][section].append((mention.start, mention.end))
        measured = self.stay.observed.any(axis=1) if "series" in inputs else np.zeros(len(self.variables), bool)
        self.pieces = [EvidencePiece("variable", self.variables[column]) for column in np.flatnonzero(measured)]
        self.pieces += [EvidencePiece("concept", name) for name in sorted(self.spans)]

    def without(self, pieces: Collection[EvidencePiece]) -> Stay:
        """The stay when some pieces are taken away."""
        stay = without_cells(self.stay, self._cells(pieces) & self.stay.observed)
        concepts = _concepts(pieces)
        return self._with_note(stay, self._cut(concepts), concepts) if concepts else stay

    def only(self, pieces: Collection[EvidencePiece]) -> Stay:
        """The stay when nothing but some pieces is left; of the note, the words that name the concepts."""
        stay = without_cells(self.stay, ~self._cells(pieces) & self.stay.observed)
        concepts = _concepts(pieces)
        return self._with_note(stay, self._left(concepts), set(self.dataset.link.column) - concepts)

    def terms_without(self, concepts: Sequence[str]) -> csr_matrix:
        """Terms of the note without the words that name one concept, for each of the concepts, [concepts, terms]."""
        return self.dataset.lexicon.encode([note_text(self._cut([concept])) for concept in concepts])

    def columns_of(self, concepts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Positions of those of the concepts that are among the model's mentions, and their columns there, int64 each.

        A circumstance of the admission has no column: of it a model reads the words only.
        """
        column = self.dataset.link.column
        pairs = [(row, column[concept]) for row, concept in enumerate(concepts) if concept in column]
        rows, columns = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
        return rows, columns

    def tokens_of(self, concepts: Sequence[str]) -> np.ndarray:
        """The tokens of the note as the model reads it that name each concept, bool [concepts, N]."""
        tokenizer, length = self.dataset.tokenizer, len(self.stay.note_ids)
        covered = np.zeros((len(concepts), length), dtype=bool)
        if not self.sections or not tokenizer.is_fast:
            return covered
        texts = [written(name, text) for name, text in self.sections]
        offsets = tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        first = 0
        for section, count in enumerate(fit([len(each) for each in offsets], self.dataset.max_note_tokens)):
            places = np.array(offsets[section][:count]).reshape(-1, 2)
            for row, concept in enumerate(concepts):
                for start, end in self.spans[concept].get(section, ()):
                    begin, after = _as_written(*self.sections[section], start, end)
                    covered[row, first : first + count] |= (places[:, 0] < after) & (places[:, 1] > begin)
            first += count
        return covered

    def _cells(self, pieces: Collection[EvidencePiece]) -> np.ndarray:
        cells = np.zeros_like(self.stay.observed)
        for piece in pieces:
            if piece.kind == "variable":
                cells[self.variables.index(piece.name)] = True
        return cells

    def _places(self, concepts: Collection[str], section: int) -> list[tuple[int, int]]:
        """Where concepts are named in a section: ascending spans that do not overlap."""
        merged: list[tuple[int, int]] = []
        for start, end in sorted(span for concept in concepts for span in self.spans[concept].get(section, ())):
            if merged and start <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((start, end))
        return merged

    def _cut(self, concepts: Collection[str]) -> list[tuple[str, str]]:
        sections = []
        for index, (name, text) in enumerate(self.sections):
            for start, end in reversed(self._places(concepts, index)):
                text = text[:start] + text[end:]
            sections.append((name, text))
        return sections

    def _left(self, concepts: Collection[str]) -> list[tuple[str, str]]:
        """The sections in which concepts are named, of each the words that name them."""
        sections = []
        for index, (name, text) in enumerate(self.sections):
            if spans := self._places(concepts, index):
                sections.append((name, "; ".join(text[start:end] for start, end in spans)))
        return sections

    def _with_note(self, stay: Stay, sections: list[tuple[str, str]], unlinked: Collection[str]) -> Stay:
        mentions = stay.mentions.copy()
        mentions[:, self.columns_of(sorted(unlinked))[1]] = False
        terms = self.dataset.lexicon.encode([note_text(sections)])
        return replace(
            stay,
            note_ids=self.dataset.encode_note(sections),
            mentions=mentions,
            term_ids=terms.indices.astype(np.int64),
            term_weights=terms.data,
        )


def without_cells(stay: Stay, cells: np.ndarray) -> Stay:
    """The stay with the given (variable, hour) cells unmeasured, and without its caption, which would still tell them.

    Probabilities do not depend on captions, and altered stays are read for nothing else.

    Args:
        stay: its values and observed mask are [V, T].
        cells: bool [V, T].
    """
    values = np.where(cells, 0, stay.values).astype(np.float32)
    return replace(stay, values=values, observed=stay.observed & ~cells, caption_ids=[])


def _concepts(pieces: Iterable[EvidencePiece]) -> set[str]:
    return {piece.name for piece in pieces if piece.kind == "concept"}


def _as_written(name: str, text: str, start: int, end: int) -> tuple[int, int]:
    """Where ``text[start:end]`` of a section stands in it as it is read, its blanks made one.

    >>> section = "plan", "Fever\\n\\n since  today"
    >>> start, end = _as_written(*section, section[1].index("today"), len(section[1]))
    >>> written(*section)[start:end]
    'today'
    """
    before = " ".join(text[:start].split())
    gap = bool(before) and text[start - 1].isspace()
    begin = len(written(name, "")) - 1 + len(before) + gap
    return begin, begin + len(" ".join(text[start:end].split()))
