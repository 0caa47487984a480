"""The evidence of a stay in pieces, and the stay without some of them, or with nothing else.

A piece is a variable with all its measurements, or a concept with all the words that name it in the note. The model is
made for gaps, so a piece that is taken away is what it sees every day: values become unmeasured, and words are cut out
of the note with the links they made. Nothing is put in their place.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from itertools import batched
from typing import Literal, NamedTuple

import numpy as np
from scipy.sparse import csr_matrix

from clinragen.chart.note_mentions import note_mentions
from clinragen.cohort.sections import note_text, written, written_places
from clinragen.data.dataset import Stay, StayDataset


class EvidencePiece(NamedTuple):
    """A piece of the evidence of a stay: a ``variable`` of its series, a ``concept`` of its note; or ``cases``, what
    similar training stays say, which is no evidence of the stay itself."""

    kind: Literal["variable", "concept", "cases"]
    name: str


#: All that similar training stays say.
SIMILAR_CASES = EvidencePiece("cases", "cases:similar_cases")


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
        starts, parts, length = [], [], 0
        for name, text in self.sections:
            title = written(name, "").removesuffix("\n")
            starts.append(length + len(title))
            parts += [title, text, "\n"]
            length += len(title) + len(text) + 1
        cuts = [
            [
                (offset + start, offset + end)
                for section, offset in enumerate(starts)
                for start, end in self._places([concept], section)
            ]
            for concept in concepts
        ]
        return self.dataset.lexicon.encode_without("".join(parts), cuts)

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
        note = self.dataset.reader(self.sections)
        covered = np.zeros((len(concepts), len(self.stay.note_ids)), dtype=bool)
        if not note.ids or note.places is None:
            return covered
        for section, (name, text) in enumerate(self.sections):
            tokens = np.flatnonzero(note.sections == section)
            if not len(tokens):
                continue
            starts, ends = note.places[tokens].T
            where = written_places(name, text)
            for row, concept in enumerate(concepts):
                spans = np.array(self.spans[concept].get(section, ()), dtype=np.int64).reshape(-1, 2)
                begins, afters = where[spans[:, 0]], np.maximum.accumulate(where[spans[:, 1] - 1] + 1)
                before = np.searchsorted(begins, ends)  # spans that begin before a token ends
                covered[row, tokens] = (before > 0) & (np.r_[0, afters][before] > starts)
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
            cuts = [0, *(offset for span in self._places(concepts, index) for offset in span), len(text)]
            sections.append((name, "".join(text[start:end] for start, end in batched(cuts, 2))))
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
