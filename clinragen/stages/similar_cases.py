"""Fit the vote of similar training stays: axes and vectors on training stays, how many vote and how much on validation.

A validation stay never shares a patient with the stays that vote on it, so what is chosen there holds for new patients.
The test stays are not read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import torch
from rich.console import Console
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import svds
from torch import Tensor

from clinragen.choices import Modality
from clinragen.data.dataset import StayDataset
from clinragen.inference.predict import score
from clinragen.model.clinragen import ClinRaGen
from clinragen.model.linear_probes import PROBES
from clinragen.model.similar_cases import NULL, SimilarCases, unit_vectors
from clinragen.quiet import phase
from clinragen.stages.ensemble import Labelled, features, fused, losses_of

#: Axes of a modality, at most; each is divided by the root of its deviation, so that the first do not decide alone.
AXES = 128
#: How many stays vote, and how softly: the last weighs them nearly alike. Chosen on the first split of the eICU demo.
NEAREST = (10, 30, 100, 300, 1000)
SOFTNESS = (0.05, 0.15, 10.0)
#: By how many standard errors the validation loss must fall for a modality to vote: less is chance. So many votes with
#: shuffled labels must all do worse, too.
SURE, SHUFFLES = 2.0, 19
_FLAT = 1e-4  # deviation of an axis, beside the largest, below which it is rounding
_CHUNK = 256  # stays that are compared at once


def fit_similar_cases(
    model: ClinRaGen,
    data: Mapping[str, StayDataset],
    inputs: Sequence[Modality],
    size: int,
    console: Console | None = None,
) -> dict[str, float]:
    """Give the model the votes of similar training stays, of the modalities where they help; or none at all.

    Args:
        model: the trained student with its linear probes, set in place.
        data: ``train`` and ``validation``.
        inputs: modalities that are compared, of ``note`` and ``series``.
        size: stays per batch.
        console: where progress is shown.

    Returns:
        What was chosen, for the manifest: gains, 0 for a modality that does not vote, and how many stays vote.
    """
    model.head.similar_cases = None
    train, validation = data["train"], data["validation"]
    console = console or Console(quiet=True)
    phase(console, f"finding axes along which {len(train):,} training stays differ")
    read = {name: _Space.fit(_Read.of(model, train, name)) for name in inputs}
    spaces: dict[str, _Space] = {name: space for name, space in read.items() if space is not None}
    cases = _cases(spaces, train)
    logits, labels = score(model, validation, inputs, size)
    without = logits.astype(float)
    choice = _Choice(without, labels, validation)
    votes: dict[str, _Vote] = {}
    for name, space in spaces.items():
        phase(console, f"asking similar training stays about {len(validation):,} validation stays, by {name}")
        ballot = _Ballot(name, space.vectors(_Read.of(model, validation, name)), validation)
        vote = choice.best([ballot.votes(cases, *way) for way in _ways(len(train))])
        if vote is not None and choice.by_chance(vote, (ballot.votes(other, *vote.way) for other in _shuffled(cases))):
            vote = None
        if vote is not None:
            votes[name] = vote
    gains = fused(np.stack([without, *(vote.logits for vote in votes.values())]), labels, validation.eligible)[0]
    chosen = {name: gain for name, gain in zip(votes, gains[1:].tolist(), strict=True) if gain > 0}
    if chosen:
        model.head.similar_cases = cases = _cases({name: spaces[name] for name in chosen}, train)
        cases.gains[0] = gains[0]
        for name, gain in chosen.items():
            position = PROBES.index(name)
            cases.gains[1 + position] = gain
            cases.nearest[position], cases.softness[position] = votes[name].way
    described: dict[str, float] = {f"similar_{name}_gain": round(chosen.get(name, 0.0), 4) for name in spaces}
    return described | {f"similar_{name}_nearest": votes[name].way[0] for name in chosen}


type _Way = tuple[int, float]  # how many stays vote, and how softly


class _Read(NamedTuple):
    """Features of n stays by one modality, [n, features], and which stays have anything to compare, bool [n]."""

    features: csr_matrix | np.ndarray
    some: np.ndarray

    @classmethod
    def of(cls, model: ClinRaGen, stays: StayDataset, name: str) -> _Read:
        matrix = features(model, stays, name)
        some = np.asarray(matrix.getnnz(axis=1) > 0) if isinstance(matrix, csr_matrix) else stays.observed.any((1, 2))
        return cls(matrix, some)


@dataclass(frozen=True)
class _Space:
    """Training stays in the space of one modality.

    Attributes:
        axes: of the features, float32 [features, axes].
        centre: mean of the training stays along them, float32 [axes].
        stays: their unit vectors, [n, axes]; 0 where there is nothing to compare.
    """

    axes: np.ndarray
    centre: np.ndarray
    stays: Tensor

    @classmethod
    def fit(cls, read: _Read) -> _Space | None:
        """From training stays; None where there is too little to compare."""
        wide: Any = read.features.astype(np.float64)
        rank = min(AXES, min(wide.shape) - 1)
        if rank < 1 or not read.some.any():
            return None
        _, _, rows = svds(wide, k=rank, v0=np.ones(min(wide.shape)))
        axes = np.asarray(rows)[::-1].T
        products = wide @ axes
        deviations = products.std(axis=0)
        spread = deviations > _FLAT * deviations.max()
        scale = deviations[spread] ** -0.5
        axes = (axes[:, spread] * scale).astype(np.float32)
        centre = (products[:, spread].mean(axis=0) * scale).astype(np.float32)
        return cls(axes, centre, _vectors(read, axes, centre))

    def vectors(self, read: _Read) -> Tensor:
        """Unit vectors of any stays, [n, axes]."""
        return _vectors(read, self.axes, self.centre)


def _vectors(read: _Read, axes: np.ndarray, centre: np.ndarray) -> Tensor:
    products = np.asarray(read.features @ axes, dtype=np.float32)
    return unit_vectors(torch.from_numpy(products), torch.from_numpy(centre), torch.from_numpy(read.some))


def _cases(spaces: Mapping[str, _Space], train: StayDataset) -> SimilarCases:
    """Similar cases of these modalities, which as yet have no vote."""
    sizes = {name: (space.axes.shape[0], space.axes.shape[1]) for name, space in spaces.items()}
    cases = SimilarCases(len(train), train.labels.shape[1], sizes)
    for name, space in spaces.items():
        getattr(cases, f"{name}_axes").copy_(torch.from_numpy(space.axes))
        getattr(cases, f"{name}_centre").copy_(torch.from_numpy(space.centre))
        getattr(cases, f"{name}_stays").copy_(space.stays)
    cases.labels.copy_(torch.from_numpy(np.where(train.eligible, train.labels, NULL).astype(np.int8)))
    patients = sorted(set(train.patients.tolist()))
    key = hashlib.sha256(repr(patients).encode()).digest()[: len(cases.key)]  # of nothing else: runs repeat to the byte
    cases.key.copy_(torch.tensor(list(key), dtype=torch.uint8))
    cases.patients.copy_(cases.hashed(train.patients.tolist()))
    return cases


@dataclass(frozen=True)
class _Vote:
    """A vote on the validation stays: in which way, and what the voters say, [n, L]."""

    way: _Way
    logits: np.ndarray


def _ways(stays: int) -> list[_Way]:
    """The ways to vote to choose from, with so many training stays."""
    return [way for way in product(NEAREST, SOFTNESS) if way[0] <= max(stays, NEAREST[0])]


def _shuffled(cases: SimilarCases) -> Iterator[SimilarCases]:
    """The same stays with each other's labels, again and again."""
    chance = torch.Generator().manual_seed(0)
    for _ in range(SHUFFLES):
        other = copy(cases)
        other._buffers = dict(cases._buffers)
        other.labels = cases.labels[torch.randperm(len(cases.labels), generator=chance)]
        yield other


@dataclass(frozen=True)
class _Ballot:
    """Stays that training stays vote on by one modality, with their unit vectors, [n, axes]."""

    name: str
    vectors: Tensor
    stays: StayDataset

    def votes(self, cases: SimilarCases, nearest: int, softness: float) -> _Vote:
        """What training stays say, if so many vote so softly."""
        hashes = cases.hashed(self.stays.patients.tolist())
        parts = []
        for start in range(0, len(self.vectors), _CHUNK):
            rows = slice(start, start + _CHUNK)
            similar = cases.similarities(self.name, self.vectors[rows], hashes[rows])
            parts.append(cases.votes(similar, nearest, softness).numpy())
        return _Vote((nearest, softness), np.concatenate(parts).astype(float))


@dataclass(frozen=True)
class _Choice:
    """Chooses among votes by the loss of validation stays.

    Attributes:
        without: logits of the model without votes, [n, L].
        labels: float [n, L].
        stays: whose they are.
    """

    without: np.ndarray
    labels: np.ndarray
    stays: Labelled

    def best(self, votes: Sequence[_Vote]) -> _Vote | None:
        """The vote beside which the loss is least; None where it falls by no more than chance."""
        before, best = self._losses([self.without]), None
        least = 0.0
        for vote in votes:
            change = self._losses([self.without, vote.logits]) - before
            error = change.std() / max(len(change) - 1, 1) ** 0.5
            if change.mean() + SURE * error < 0 and change.mean() < least:
                best, least = vote, float(change.mean())
        return best

    def by_chance(self, vote: _Vote, others: Iterable[_Vote]) -> bool:
        """Whether votes of stays with each other's labels do as well.

        Stays come in clusters, so that a vote that knows nothing may still go with the labels of a few clusters, by
        more than the standard error over stays.
        """
        least = self._losses([self.without, vote.logits]).sum()
        return any(self._losses([self.without, other.logits]).sum() <= least for other in others)

    def _losses(self, parts: Sequence[np.ndarray]) -> np.ndarray:
        """Loss of each stay with gains and offsets at their best, [n]."""
        gains, offsets = fused(np.stack(parts), self.labels, self.stays.eligible)
        return losses_of(np.tensordot(gains, np.stack(parts), axes=1) + offsets, self.stays).sum(axis=1)
