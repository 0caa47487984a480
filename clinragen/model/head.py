"""The multi-label head: one attention query per phenotype over the note and over the series."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from clinragen.model.config import HeadConfig
from clinragen.model.knowledge_prior import KnowledgePrior
from clinragen.model.linear_probes import LinearProbes, NoteTerms
from clinragen.model.similar_cases import SimilarCases

#: weights that earlier releases wrote under another name
_FORMER_WEIGHTS = {"head.graph_path.": "head.knowledge_prior.", "head.linear.": "head.linear_probes."}
WIDE_SCALE = 3.0  # large enough that one mention can move a logit within a few hundred steps of AdamW


def todays_weight(name: str) -> str:
    """The current name of a weight, given a name that an earlier release may have used.

    >>> todays_weight("head.linear.gains")
    'head.linear_probes.gains'
    """
    for former, today in _FORMER_WEIGHTS.items():
        if name.startswith(former):
            return today + name.removeprefix(former)
    return name


@dataclass(frozen=True)
class NoteStates:
    """What the head reads of B notes. States of one note may serve B masks.

    Attributes:
        states: hidden states of the language model, [B or 1, S, d_lm].
        mask: bool [B, S].
        mentions: bool [B, 2, C], concepts that the note affirms and denies.
        term_ids, term_weights: int64 and float32 [B, K], terms by the lexicon; weight 0 pads.
    """

    states: Tensor
    mask: Tensor
    mentions: Tensor
    term_ids: Tensor
    term_weights: Tensor

    @property
    def terms(self) -> NoteTerms:
        """The terms and mentions alone."""
        return NoteTerms(self.term_ids, self.term_weights, self.mentions)


@dataclass(frozen=True)
class SeriesStates:
    """What the head reads of B series. Tokens of one series may serve B masks.

    Attributes:
        states: knowledge-augmented tokens, [B or 1, N, d_lm].
        mask: bool [B, N].
        bins: binned summaries, [B, V, F].
        values, observed: standardised values and where they were measured, [B, V, T].
    """

    states: Tensor
    mask: Tensor
    bins: Tensor
    values: Tensor
    observed: Tensor


class LabelHead(nn.Module):
    """Logits of L phenotypes from note states, knowledge-augmented series tokens and binned summaries.

    Each phenotype attends to the two modalities separately (Mullenbach et al. 2018); the concepts that the note affirms
    and denies are added to its context. A small network combines the two contexts and their product, so that a finding
    can count only together with a symptom. The wide layer (Cheng et al. 2016) adds a linear function of the binned
    summaries and of the mentioned concepts.
    """

    def __init__(
        self,
        config: HeadConfig,
        labels: int,
        d_lm: int,
        bins: int,
        concepts: int,
        knowledge_prior: KnowledgePrior | None = None,
        terms: int = 0,
    ):
        super().__init__()
        self.knowledge_prior = knowledge_prior
        self.linear_probes = LinearProbes(terms, concepts, bins, labels) if config.linear_probes else None
        self.similar_cases: SimilarCases | None = None  # added after training, if a stage asks for it
        dim = config.dim
        self.project = nn.ModuleDict({"note": nn.Linear(d_lm, dim), "series": nn.Linear(d_lm, dim)})
        self.query = nn.ParameterDict(
            {name: nn.Parameter(torch.randn(labels, dim) * dim**-0.5) for name in self.project}
        )
        self.absent = nn.ParameterDict({name: nn.Parameter(torch.zeros(labels, dim)) for name in self.project})
        self.label = nn.Parameter(torch.randn(labels, dim) * dim**-0.5)
        self.join = nn.Sequential(nn.Linear(4 * dim, 2 * dim), nn.GELU(), nn.Dropout(config.dropout))
        self.out_weight = nn.Parameter(torch.randn(labels, 2 * dim) * (2 * dim) ** -0.5)
        self.out_bias = nn.Parameter(torch.zeros(labels))
        self.dropout = nn.Dropout(config.dropout)
        self.wide_series = nn.Linear(bins, labels, bias=False) if config.wide else None
        self.wide_note = nn.Linear(2 * concepts, labels, bias=False) if config.wide else None
        self.mentions = nn.Linear(2 * concepts, dim, bias=False)
        for module in (self.wide_series, self.wide_note):
            if module is not None:
                nn.init.zeros_(module.weight)

    def forward(self, note: NoteStates | None, series: SeriesStates | None) -> Tensor:
        """Logits [B, L] of the network, the knowledge prior and the linear probes together, without similar cases."""
        logits = self._network(note, series)
        mentions = note.mentions if note else None
        if self.knowledge_prior is not None:
            values, observed = (series.values, series.observed) if series else (None, None)
            logits = logits + self.knowledge_prior(mentions, values, observed)
        if self.linear_probes is not None:
            logits = self.linear_probes(logits, note.terms if note else None, series.bins if series else None)
        return logits if self.similar_cases is None else self.similar_cases.gains[0] * logits

    def reset(self) -> None:
        """Leave the network alone with the knowledge prior: what is fitted after training is fitted anew."""
        self.similar_cases = None
        if self.linear_probes is not None:
            self.linear_probes.reset()

    def describe_similar_cases(self, described: Any) -> None:
        """Make room for similar cases of some sizes, to be loaded; for none if nothing is described.

        Raises:
            KeyError, TypeError, ValueError, RuntimeError: not what a model writes.
        """
        self.similar_cases = None if described is None else SimilarCases.of(described, len(self.out_bias))

    def votes(self, note: NoteStates | None, series: SeriesStates | None, patients: Tensor) -> Tensor | None:
        """What similar cases add to the logits, [B, L]; None of a model without any.

        Args:
            note: of the stays, or None when no note is read.
            series: likewise.
            patients: whose they are, int64 [B].
        """
        if self.similar_cases is None:
            return None
        return self.similar_cases(patients, note.terms if note else None, series.bins if series else None)

    def _network(self, note: NoteStates | None, series: SeriesStates | None) -> Tensor:
        modality = note or series
        assert modality is not None, "the head needs a note or a series"
        size = len(modality.mask)
        text = self._attend("note", note, size)
        if note is not None:
            text = text + self.dropout(self.mentions(note.mentions.flatten(1).to(text.dtype)))[:, None]
        signal = self._attend("series", series, size)
        joined = self.join(torch.cat([text, signal, text * signal, self.label.expand_as(text)], dim=-1))
        logits = (joined * self.out_weight).sum(-1) + self.out_bias
        if self.wide_series is not None and series is not None:
            logits = logits + self.wide_series(series.bins.flatten(1))
        if self.wide_note is not None and note is not None:
            logits = logits + WIDE_SCALE * self.wide_note(note.mentions.flatten(1).to(logits.dtype))
        return logits.float()

    def _attend(self, name: str, modality: NoteStates | SeriesStates | None, size: int) -> Tensor:
        absent = self.absent[name].expand(size, -1, -1)
        if modality is None:
            return absent
        projected = self.dropout(self.project[name](modality.states))
        context = self._weights(name, projected, modality.mask).to(projected.dtype) @ projected
        return torch.where(modality.mask.any(1)[:, None, None], context, absent.to(projected.dtype))

    def _weights(self, name: str, projected: Tensor, mask: Tensor) -> Tensor:
        scores = torch.einsum("ld,bnd->bln", self.query[name].to(projected.dtype), torch.tanh(projected)).float()
        return scores.masked_fill(~mask[:, None], torch.finfo(scores.dtype).min).softmax(-1)

    def attention(self, name: str, states: Tensor, mask: Tensor) -> Tensor:
        """Attention weights of each phenotype's query over the tokens of a modality, [B, L, N].

        Args:
            name: ``note`` or ``series``.
            states: hidden states of the tokens, [B, N, d_lm].
            mask: bool [B, N], true where there is a token.
        """
        return self._weights(name, self.project[name](states), mask)
