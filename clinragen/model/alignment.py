"""Note and series of a stay as unit vectors of one space, and the losses that bring the two of one stay together.

Each modality is read alone, so that no vector knows the other modality. Its vector is the sum of a linear function of
what the linear probes read (terms and mentions of the note, bins of the series) and of the pooled states of the
network: with a thousand stays the first is nearly all that can be learned, with many the second catches up.

The losses are those of CLIP (Radford et al. 2021; symmetric InfoNCE) for whole stays, and of MGCA (Wang et al. 2022,
NeurIPS) for tokens and prototypes; beside them, as in CoCa (Yu et al. 2022, TMLR), the language model may write the
rationale of a series from the states by which it is found. Vectors of one patient's stays are never each other's
negatives.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple, Self

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from clinragen.artifacts import read_json, write_json
from clinragen.data.batch import Batch
from clinragen.data.series import summarise
from clinragen.errors import UserError
from clinragen.model.clinragen import ClinRaGen
from clinragen.model.head import NoteStates, SeriesStates
from clinragen.model.linear_probes import MENTION_SCALE
from clinragen.tensors import write_tensors

FILE = "alignment.safetensors"
LARGEST_SCALE = math.log(100)  # of similarities, as in CLIP
SINKHORN_STEPS, SINKHORN_EPSILON = 3, 0.05


class Side(NamedTuple):
    """One modality of B stays: unit vectors [B, D], and token vectors [B, S, D] with their mask [B, S]."""

    vector: Tensor
    tokens: Tensor
    mask: Tensor


@dataclass(frozen=True)
class Shape:
    """What an alignment was built for.

    Attributes:
        dim: of the common space.
        prototypes: number of directions to which stays are assigned.
        network: whether states of the network are read beside terms, mentions and bins.
        terms, concepts, bins: how many the note and the series have.
        states: width of the states.
    """

    dim: int
    prototypes: int
    network: bool
    terms: int
    concepts: int
    bins: int
    states: int

    @classmethod
    def of(cls, student: ClinRaGen, dim: int, prototypes: int, network: bool) -> Shape:
        """The shape that fits a student."""
        encoder = student.series_encoder
        return cls(
            dim, prototypes, network, len(student.lexicon.terms), len(student.concepts.ids),
            encoder.variables * encoder.encode.features, student.language_model.hidden_size,
        )  # fmt: skip


class Alignment(nn.Module):
    """Vectors of note and series of a student in one space.

    Args:
        shape: what it reads and writes.
        dropout: share of terms, mentions and bins that are left out in training.
        temperature: of similarities, where learning starts from.
    """

    term_scale: Tensor
    term_mean: Tensor
    mention_scale: Tensor
    mention_mean: Tensor
    bin_scale: Tensor
    bin_mean: Tensor

    def __init__(self, shape: Shape, dropout: float = 0.0, temperature: float = 0.07):
        super().__init__()
        self.shape = shape
        self.dropout = nn.Dropout(dropout)
        self.terms = nn.Parameter(torch.randn(shape.terms, shape.dim) * max(1, shape.terms) ** -0.5)
        self.mentions = nn.Linear(2 * shape.concepts, shape.dim)
        self.bins = nn.Linear(shape.bins, shape.dim)
        for name, width in (("term", shape.terms), ("mention", 2 * shape.concepts), ("bin", shape.bins)):
            self.register_buffer(f"{name}_scale", torch.ones(width))
            self.register_buffer(f"{name}_mean", torch.zeros(width))
        self.note_states = nn.Linear(shape.states, shape.dim)
        self.series_states = nn.Linear(shape.states, shape.dim)
        self.pool = nn.ParameterDict({name: nn.Parameter(torch.zeros(shape.dim)) for name in ("note", "series")})
        self.prototypes = nn.Parameter(torch.randn(shape.prototypes, shape.dim) * shape.dim**-0.5)
        self.scale = nn.Parameter(torch.tensor(-math.log(temperature)))

    @torch.no_grad()
    def standardise(self, means: Sequence[Tensor], deviations: Sequence[Tensor]) -> None:
        """Centre every feature and weigh it by the inverse of its deviation among the training stays.

        Without it all vectors point the same way, since most features are much the same everywhere.

        Args:
            means: of the terms, of the mentions, and of the bins.
            deviations: likewise.
        """
        for name, mean, deviation in zip(("term", "mention", "bin"), means, deviations, strict=True):
            getattr(self, f"{name}_mean").copy_(mean)
            getattr(self, f"{name}_scale").copy_(1 / (deviation + deviation.mean().clamp_min(1e-6)))

    def note(self, read: NoteStates) -> Side:
        """The note of B stays."""
        weights = self.dropout(read.term_weights.float()) * self.term_scale[read.term_ids]
        if read.term_ids.shape[1]:
            total = F.embedding_bag(read.term_ids, self.terms, per_sample_weights=weights, mode="sum")
        else:  # no note of the batch has a term, which embedding_bag refuses
            total = self.terms.new_zeros((len(read.term_ids), self.shape.dim))
        total = total - (self.term_mean * self.term_scale) @ self.terms
        mentions = (MENTION_SCALE * read.mentions.flatten(1).float() - self.mention_mean) * self.mention_scale
        return self._side("note", total + self.mentions(self.dropout(mentions)), read.states, read.mask)

    def series(self, read: SeriesStates) -> Side:
        """The series of B stays."""
        bins = (read.bins.flatten(1).float() - self.bin_mean) * self.bin_scale
        return self._side("series", self.bins(self.dropout(bins)), read.states, read.mask)

    def _side(self, name: str, linear: Tensor, states: Tensor, mask: Tensor) -> Side:
        tokens = (self.note_states if name == "note" else self.series_states)(states.float())
        if self.shape.network:
            scores = tokens @ self.pool[name]
            weights = scores.masked_fill(~mask, torch.finfo(scores.dtype).min).softmax(1)  # finite without any token
            linear = linear + (weights[:, None] @ tokens)[:, 0]
        return Side(F.normalize(linear, dim=1), F.normalize(tokens, dim=2), mask)

    def read(self, student: ClinRaGen, batch: Batch) -> tuple[Side, Side]:
        """Note and series of a batch, each read without the other."""
        note, series, _ = self.states(student, batch)
        return self.note(note), self.series(series)

    def states(
        self, student: ClinRaGen, batch: Batch, *, write: bool = False
    ) -> tuple[NoteStates, SeriesStates, Tensor | None]:
        """What is read of the notes and of the series of a batch, each without the other.

        Args:
            student: reads them.
            batch: B stays.
            write: also score the targets of the batch, written from the series alone.

        Returns:
            The last is the loss of the targets, [B]; None where they are not scored.
        """
        written = None
        if self.shape.network:
            note = student(batch, ["note"], targets=False, explain=True).note
            output = student(batch, ["series"], targets=write, explain=True)
            series, written = output.series, output.nll
        else:
            nothing = batch.values.new_zeros((len(batch), 1, self.shape.states))
            mask = torch.ones_like(nothing[..., 0], dtype=torch.bool)
            bins = student.series_encoder.encode(summarise(batch.values, batch.observed))
            note = NoteStates(nothing, mask, batch.mentions, batch.term_ids, batch.term_weights)
            series = SeriesStates(nothing, mask, bins, batch.values, batch.observed)
        assert note is not None, "the note was read"
        assert series is not None, "the series was read"
        return note, series, written

    @property
    def factor(self) -> Tensor:
        """What similarities are multiplied by: the inverse of the temperature."""
        return self.scale.clamp(max=LARGEST_SCALE).exp()

    def save(self, folder: Path) -> None:
        """Write the weights, and what they were built for, beside those of the student."""
        write_tensors(folder / FILE, self.state_dict())
        write_json((folder / FILE).with_suffix(".json"), asdict(self.shape))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Open what :meth:`save` has written.

        Raises:
            UserError: there is none, or it is damaged.
        """
        path = folder / FILE
        if not path.is_file():
            raise UserError(f"{path} not found: expected a run of `clinragen train align`")
        try:
            aligned = cls(Shape(**read_json(path.with_suffix(".json"), "the description of an alignment")))
            aligned.load_state_dict(load_file(path))
        except (SafetensorError, OSError, TypeError, RuntimeError) as error:
            raise UserError(f"{path} is damaged ({str(error).splitlines()[0]}): train it anew") from None
        return aligned.eval()


def contrast(similar: Tensor, patients: Tensor, soft: Tensor | None = None) -> Tensor:
    """Symmetric InfoNCE of B stays, [B].

    Args:
        similar: scaled similarities of notes (rows) and series, [B, B].
        patients: whose each stay is, [B]; other stays of the same patient are left out.
        soft: what each stay should be similar to, [B, B] with rows of sum 1; only to itself by default.
    """
    others = (patients[:, None] == patients) & ~torch.eye(len(patients), dtype=torch.bool, device=patients.device)
    similar = similar.masked_fill(others, -torch.inf)
    if soft is None:
        both = similar.diagonal().repeat(2, 1)
    else:
        both = torch.stack([(soft * _finite(similar)).sum(1), (soft * _finite(similar.T)).sum(1)])
    return (similar.logsumexp(1) + similar.logsumexp(0) - both.sum(0)) / 2


def _finite(similar: Tensor) -> Tensor:
    return similar.masked_fill(similar.isinf(), 0)


def overlap(mentions: Tensor, patients: Tensor, share: float) -> Tensor:
    """Soft targets: ``share`` of each row goes to other patients' stays, by how many affirmed concepts they share.

    Args:
        mentions: bool [B, 2, C], affirmed and denied.
        patients: whose each stay is, [B].
        share: from 0 to 1.

    Returns:
        [B, B], rows of sum 1; a stay that shares no concept has all of its row.
    """
    affirmed = mentions[:, 0].float()
    common = affirmed @ affirmed.T
    either = affirmed.sum(1)[:, None] + affirmed.sum(1) - common
    alike = (common / either.clamp_min(1)).masked_fill(patients[:, None] == patients, 0)
    total = alike.sum(1, keepdim=True)
    given = share * alike / total.clamp_min(1e-9) * (total > 0)
    return given + torch.diag(1 - given.sum(1))


def token_contrast(one: Side, other: Side, temperature: float) -> Tensor:
    """How far the tokens of one modality find themselves in what they attend to of the other, [B].

    A token's counterpart is the sum of the other's tokens by attention; the counterparts of the same stay's other
    tokens are its negatives (MGCA's token-wise alignment, with equal weights for tokens).
    """
    reach = (one.tokens @ other.tokens.transpose(1, 2) / temperature).masked_fill(~other.mask[:, None], -torch.inf)
    seen = F.normalize(reach.softmax(2) @ other.tokens, dim=2)
    alike = (one.tokens @ seen.transpose(1, 2) / temperature).masked_fill(~one.mask[:, None], -torch.inf)
    losses = (alike.logsumexp(2) - alike.diagonal(dim1=1, dim2=2)).masked_fill(~one.mask, 0)
    return losses.sum(1) / one.mask.sum(1).clamp_min(1)


def prototype_contrast(note: Tensor, series: Tensor, prototypes: Tensor, temperature: float) -> Tensor:
    """Whether each modality is assigned to the prototypes of the other (swapped prediction), [B].

    Args:
        note: unit vectors [B, D].
        series: unit vectors [B, D].
        prototypes: [K, D].
        temperature: of the predicted assignment.
    """
    directions = F.normalize(prototypes, dim=1)
    scores = [side @ directions.T for side in (note, series)]
    losses = [
        -(assignment(target) * (predicted / temperature).log_softmax(1)).sum(1)
        for target, predicted in (scores, scores[::-1])
    ]
    return (losses[0] + losses[1]) / 2


@torch.no_grad()
def assignment(scores: Tensor) -> Tensor:
    """Soft assignment of B vectors to K prototypes so that all prototypes are used alike (Sinkhorn; Caron et al. 2020).

    Args:
        scores: [B, K].

    Returns:
        [B, K], rows of sum 1.
    """
    shares = ((scores.float() - scores.max()) / SINKHORN_EPSILON).exp()
    for _ in range(SINKHORN_STEPS):
        shares = shares / shares.sum(0, keepdim=True).clamp_min(1e-12) / shares.shape[1]
        shares = shares / shares.sum(1, keepdim=True).clamp_min(1e-12) / shares.shape[0]
    return shares / shares.sum(1, keepdim=True).clamp_min(1e-12)


def ranks(notes: Tensor, series: Tensor, patients: Tensor) -> tuple[Tensor, Tensor]:
    """How many other patients' stays are nearer than a stay's own, from note to series and back, [n] each.

    Args:
        notes: unit vectors [n, D].
        series: those of the same stays, [n, D].
        patients: whose each is, [n].
    """
    similar = notes @ series.T
    pair = similar.diagonal()
    strangers = patients[:, None] != patients
    return ((similar > pair[:, None]) & strangers).sum(1), ((similar > pair) & strangers).sum(0)
