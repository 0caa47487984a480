"""What each piece of a stay's evidence contributes to the logits, all at once: the fall of each without it.

The language model and the series encoder read the stay once. What the head then reads is altered for each piece: the
tokens of a variable, or of the words that name a concept, are hidden from its attention, and the binned summaries, the
measurements, the mentions and the terms are those of the stay without the piece. For the knowledge prior, the linear
probes and the series (its channels are read independently) that is what occlusion gives; of a note, the words that are
left were read in the presence of those that are hidden.

What similar cases say is a piece of its own: a logit is that of the rest of the model plus their part, to which the
falls of the other pieces are blind. So no piece counts for what it did to the search.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from clinragen.chart.findings import Finding
from clinragen.chart.note_evidence import NoteEvidence
from clinragen.chart.support import SUPPORTS, tie
from clinragen.data.batch import Batch
from clinragen.data.evidence_pieces import SIMILAR_CASES, EvidencePiece, StayEvidence
from clinragen.knowledge.graph import ConceptGraph
from clinragen.model.clinragen import ClinRaGen, Output
from clinragen.model.head import NoteStates, SeriesStates

#: Least share of what speaks for a diagnosis from which evidence is cited for it: with a tie in the graph, and without.
TIED, UNTIED = 0.01, 0.02
#: Share of the note's own record of a diagnosis that the model does not go by.
RECORDED = 1e-4


@dataclass(frozen=True)
class Contributions:
    """What the pieces of one stay's evidence contribute to its logits.

    Attributes:
        falls: piece -> by how much the logit of each label falls without it, [L].
        labels: keys, in the order of the falls.
    """

    falls: Mapping[EvidencePiece, np.ndarray]
    labels: Sequence[str]

    def share(self, piece: EvidencePiece, label: str) -> float:
        """The part of all that speaks for a label which a piece is, 0..1; 0 for what speaks against it, or is not
        read."""
        fall = float(self.falls[piece][self.labels.index(label)]) if piece in self.falls else 0.0
        return fall / self._mass[label] if fall > 0 else 0.0

    def against(self, piece: EvidencePiece, label: str) -> float:
        """How much a piece speaks against a label, beside all that speaks for it; 0 for what does not."""
        fall = float(self.falls[piece][self.labels.index(label)]) if piece in self.falls else 0.0
        return -fall / max(self._mass[label], 1e-9) if fall < 0 else 0.0

    @cached_property
    def _mass(self) -> dict[str, float]:
        """What all pieces that speak for each label are worth."""
        columns = range(len(self.labels))
        sums = [sum(max(0.0, float(fall[column])) for fall in self.falls.values()) for column in columns]
        return dict(zip(self.labels, sums, strict=True))


@torch.inference_mode()
def contributions(
    model: ClinRaGen, batch: Batch, output: Output, evidence: Sequence[StayEvidence]
) -> list[Contributions]:
    """What every piece of evidence contributes, for the stays of a batch.

    Args:
        model: the student, in evaluation mode.
        batch: of B stays, on the device of the model.
        output: what the model made of the batch when asked to explain.
        evidence: of each stay.
    """
    starts = model.language_model.note_start(output.note.mask, batch.note_mask.sum(1)).tolist() if output.note else []
    of_stays = []
    for row, stay in enumerate(evidence):
        note = _notes(output.note, row, stay, starts[row]) if output.note else None
        series = _series(model, output.series, row, stay) if output.series else None
        falls: dict[EvidencePiece, np.ndarray] = {}
        if stay.pieces:
            logits = model.head(note, series).cpu().numpy()
            falls = dict(zip(stay.pieces, logits[:1] - logits[1:], strict=True))
        if output.votes is not None:
            falls[SIMILAR_CASES] = output.votes[row].cpu().numpy()
        of_stays.append(Contributions(falls, list(model.labels)))
    return of_stays


def _notes(read: NoteStates, row: int, stay: StayEvidence, start: int) -> NoteStates:
    """The note as it is, and then without each piece; pieces of the series leave it as it is."""
    concepts = [piece.name for piece in stay.pieces if piece.kind == "concept"]
    first = 1 + len(stay.pieces) - len(concepts)
    count, where = 1 + len(stay.pieces), read.mask.device
    mask = read.mask[row].repeat(count, 1)
    mentions = read.mentions[row].repeat(count, 1, 1)
    ids, weights = [read.term_ids[row]] * first, [read.term_weights[row]] * first
    if concepts:
        hidden = torch.from_numpy(stay.tokens_of(concepts)).to(where)
        mask[first:, start : start + hidden.shape[1]] &= ~hidden
        rows, columns = stay.columns_of(concepts)
        mentions[torch.from_numpy(first + rows).to(where), :, torch.from_numpy(columns).to(where)] = False
        terms = stay.terms_without(concepts)
        for first_term, end in pairwise(terms.indptr.tolist()):
            ids.append(torch.from_numpy(terms.indices[first_term:end].astype(np.int64)).to(where))
            weights.append(torch.from_numpy(terms.data[first_term:end]).to(where))
    return NoteStates(read.states[row : row + 1], mask, mentions, _padded(ids), _padded(weights))


def _series(model: ClinRaGen, read: SeriesStates, row: int, stay: StayEvidence) -> SeriesStates:
    """The series as it is, and then without each piece; pieces of the note leave it as it is."""
    variables = model.statistics.variables
    columns = [variables.index(piece.name) for piece in stay.pieces if piece.kind == "variable"]
    count, where = 1 + len(stay.pieces), read.mask.device
    mask = read.mask[row].unflatten(0, (len(variables), -1)).repeat(count, 1, 1)
    bins, values = read.bins[row].repeat(count, 1, 1), read.values[row].repeat(count, 1, 1)
    observed = read.observed[row].repeat(count, 1, 1)
    rows, removed = (
        torch.arange(1, 1 + len(columns), device=where),
        torch.tensor(columns, device=where, dtype=torch.long),
    )
    mask[rows, removed] = False
    bins[rows, removed] = model.series_encoder.encode.missing.to(bins)
    values[rows, removed] = 0
    observed[rows, removed] = False
    return SeriesStates(read.states[row : row + 1], mask.flatten(1), bins, values, observed)


def _padded(rows: list[Tensor]) -> Tensor:
    return pad_sequence(rows, batch_first=True)


def piece_of(item: Finding | NoteEvidence) -> EvidencePiece:
    """The piece of evidence that a finding of the series, or a phrase of the note, is a part of."""
    if isinstance(item, Finding):
        return EvidencePiece("variable", item.variable)
    return EvidencePiece("concept", item.concept)


@dataclass(frozen=True)
class ModelGrounds:
    """By what the model itself goes by: an item is worth its share of all that speaks for the diagnosis.

    What the graph does not tie to the diagnosis is cited only where the model rests on it to a good part.
    """

    graph: ConceptGraph
    contributions: Contributions

    def share(self, item: Finding | NoteEvidence, key: str) -> float:
        """Its share, or 0 where it is too little."""
        share = self.contributions.share(piece_of(item), key)
        return share if share >= (TIED if self.tied(item, key) else UNTIED) else 0.0

    def tied(self, item: Finding | NoteEvidence, key: str) -> bool:
        """Whether the graph ties it to the diagnosis."""
        return tie(item, key, self.graph) >= SUPPORTS

    def least_share(self, item: Finding | NoteEvidence, key: str) -> float:
        """Its share however small, where the graph ties it to the diagnosis. The note's own record of the diagnosis may
        be cited even where the model does not go by it: to say that the note does not show it would be false.
        """
        strength = tie(item, key, self.graph)
        recorded = isinstance(item, NoteEvidence) and strength == 1.0
        share = self.contributions.share(piece_of(item), key)
        return share if strength >= SUPPORTS and share > 0 else RECORDED if recorded else 0.0

    def against(self, item: Finding | NoteEvidence, key: str) -> float:
        """What the logit gains without it, beside all that speaks for the diagnosis."""
        return self.contributions.against(piece_of(item), key)
