"""Which of a stay's sampled rationales are learned: the best and the worst of each kind, by their reward."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from clinragen.chart import note_statements, series_statements
from clinragen.chart.limits import most_words
from clinragen.choices import RationaleKind
from clinragen.data.batch import Batch
from clinragen.data.dataset import Stay, StayDataset, collate
from clinragen.data.targets import TargetFormat
from clinragen.inference.chart_claims import ChartClaims
from clinragen.knowledge.graph import ConceptGraph
from clinragen.stages.samples import Sample
from clinragen.verification.claims import Verdict
from clinragen.verification.edits import without_claims
from clinragen.verification.reward import Reward, reward

OPENINGS: dict[RationaleKind, str] = {"note": note_statements.OPENING, "series": series_statements.OPENING}


class Judge:
    """Rewards rationales of the stays of a dataset.

    Args:
        dataset: the stays.
        graph: by which claims are read.
        others: charts of other patients that a claim is held against; all there are, if fewer.
    """

    def __init__(self, dataset: StayDataset, graph: ConceptGraph, others: int) -> None:
        self._claims = ChartClaims(dataset, graph)
        cohort, ids = dataset.cohort, dataset.stay_ids.tolist()
        self._others = _others(ids, dict(cohort.stays.select("stay_id", "subject_id").iter_rows()), others)

    def reward(self, text: str, kind: RationaleKind, stay: int, listed: Sequence[str]) -> Reward:
        """The reward of one rationale of a stay, beside which these diagnoses are listed."""
        claims, *elsewhere = (self._claims.of(text, kind, each, listed) for each in (stay, *self._others[stay]))
        return reward(text, claims, elsewhere, listed, most_words(kind, len(listed)))

    def mended(self, text: str, kind: RationaleKind, stay: int, listed: Sequence[str]) -> Iterator[tuple[str, Reward]]:
        """The rationale without what is unsupported, if something sound is left."""
        doubtful = [claim for claim in self._claims.of(text, kind, stay, listed) if claim.verdict != Verdict.SUPPORTED]
        for shorter in without_claims(text, doubtful, OPENINGS[kind]):
            if (rewarded := self.reward(shorter, kind, stay, listed)).sound:
                yield shorter, rewarded


def _others(ids: Sequence[int], patient: dict[int, int], most: int) -> dict[int, list[int]]:
    """For each stay some of other patients: the next ones in a fixed random order."""
    order = np.random.default_rng(0).permutation(np.array(ids)).tolist()
    chosen = {}
    for position, stay in enumerate(order):
        following = order[position + 1 :] + order[:position]
        chosen[stay] = [other for other in following if patient[other] != patient[stay]][:most]
    return chosen


@dataclass(frozen=True)
class Preference:
    """What is learned of one stay.

    Attributes:
        row: of the stay in its dataset.
        best, worst: rationale by kind; the same where no difference is large enough. Where no sample is sound, the best
            may be one without its unsupported statements.
        diagnoses: listed beside both.
        sound: the best are true, to the point and of this stay.
        gap: by how much the best are better, over all kinds.
    """

    row: int
    best: dict[str, str]
    worst: dict[str, str]
    diagnoses: list[str]
    sound: bool
    gap: float


class Judged(NamedTuple):
    """Preferences of stays, and the mean reward of a report: of all samples, and of the best rationales."""

    preferences: list[Preference]
    mean: float
    best: float


def prefer(
    drawn: Sequence[Sequence[Sample]],
    judge: Judge,
    kinds: Sequence[RationaleKind],
    least_gap: float,
    least_reward: float = 0.0,
    *,
    mend: bool = True,
) -> Judged:
    """The preferences of stays of which something can be learned.

    The kinds are judged apart, so that a good rationale of the note is not lost beside a bad one of the series.

    Args:
        drawn: samples of each stay.
        judge: rewards them.
        kinds: of rationales that the student writes.
        least_gap: least difference in reward of a best and a worst rationale.
        least_reward: what the best must earn more than. If it earned nothing, the student would learn to say nothing:
            that is better than what is false.
        mend: where no sample is sound, learn one without its unsupported statements, if it is sound then.
    """
    preferences: list[Preference] = []
    means, tops = [], []
    for row, samples in enumerate(drawn):
        ranked = {kind: _ranked(samples, judge, kind, mend=mend) for kind in kinds}
        means.append(sum(each.mean for each in ranked.values()))
        tops.append(sum(each.best.total for each in ranked.values()))
        wide = {
            kind: each.gap
            for kind, each in ranked.items()
            if each.gap >= max(least_gap, 1e-9) and each.best.total > least_reward
        }
        best = {kind: each.best_text for kind, each in ranked.items()}
        worst = {kind: each.worst_text if kind in wide else each.best_text for kind, each in ranked.items()}
        sound = all(each.best.sound for each in ranked.values())
        if sound or wide:
            preferences.append(Preference(row, best, worst, samples[0].diagnoses, sound, sum(wide.values())))
    return Judged(preferences, float(np.mean(means)), float(np.mean(tops)))


class _Ranked(NamedTuple):
    """The best and the worst of a stay's rationales of one kind, and the mean reward of the samples."""

    best_text: str
    best: Reward
    worst_text: str
    worst: Reward
    mean: float

    @property
    def gap(self) -> float:
        """Difference in reward of the best and the worst."""
        return self.best.total - self.worst.total


def _ranked(samples: Sequence[Sample], judge: Judge, kind: RationaleKind, *, mend: bool) -> _Ranked:
    stay, listed = samples[0].stay_id, samples[0].diagnoses
    texts = list(dict.fromkeys(getattr(sample, kind) for sample in samples))
    rewarded = {text: judge.reward(text, kind, stay, listed) for text in texts}
    mean = float(np.mean([rewarded[getattr(sample, kind)].total for sample in samples]))
    worst = min(texts, key=lambda text: rewarded[text].total)
    candidates = dict(rewarded)
    if mend and not any(each.sound for each in rewarded.values()):
        candidates |= {shorter: each for text in texts for shorter, each in judge.mended(text, kind, stay, listed)}
    best = max(candidates, key=lambda text: (candidates[text].sound, candidates[text].total))
    return _Ranked(best, candidates[best], worst, rewarded[worst], mean)


class Pair(NamedTuple):
    """A stay with the better target and with the worse, whether the better is sound, and what the parent made of them:
    log-probabilities of both targets [2], logits of the labels [L]."""

    better: Stay
    worse: Stay
    sound: bool
    log_probs: Tensor
    logits: Tensor


class Pairs(NamedTuple):
    """Pairs [B]: their stays with better targets, then with worse ones, [2 B]; sound [B]; of the parent, the
    log-probabilities [B, 2] and the logits [B, L]."""

    stays: Batch
    sound: Tensor
    log_probs: Tensor
    logits: Tensor

    @property
    def stay_ids(self) -> Tensor:
        """Ids of the stays, [B]."""
        return self.stays.stay_ids[: len(self.sound)]


class PreferenceDataset(Dataset[Pair]):
    """Preferences as pairs of targets of the stays of a dataset.

    Args:
        stays: the stays.
        preferences: among them.
        target: how a target is spelled.
        labels: keys of the labels, in the order of the target's names.
    """

    def __init__(
        self, stays: StayDataset, preferences: Sequence[Preference], target: TargetFormat, labels: Sequence[str]
    ) -> None:
        self.stays, self.preferences = stays, preferences

        def ids(texts: dict[str, str], listed: Sequence[str]) -> list[int]:
            present = [key in listed for key in labels]
            budget = stays.max_target_tokens
            return target.encode(texts.get("note", ""), texts.get("series", ""), present, budget).ids

        self.targets = [(ids(one.best, one.diagnoses), ids(one.worst, one.diagnoses)) for one in preferences]
        self.log_probs = torch.zeros(len(preferences), 2)
        self.logits = torch.zeros(len(preferences), len(labels))

    def __len__(self) -> int:
        return len(self.preferences)

    def __getitem__(self, index: int) -> Pair:
        preference = self.preferences[index]
        stay = vars(self.stays[preference.row])
        better, worse = (Stay(**{**stay, "target_ids": ids}) for ids in self.targets[index])
        return Pair(better, worse, preference.sound, self.log_probs[index], self.logits[index])

    def length(self, index: int) -> int:
        """Tokens of a pair, by which batches are bucketed: of both targets, each behind its input."""
        return 2 * self.stays.length(self.preferences[index].row) + sum(map(len, self.targets[index]))

    def begin(self, epoch: int) -> None:
        """Start an epoch; all are alike."""


def collate_pairs(pairs: Sequence[Pair], pad_token_id: int) -> Pairs:
    """Pad pairs to the longest of the batch."""
    stays: list[Any] = [*(pair.better for pair in pairs), *(pair.worse for pair in pairs)]
    return Pairs(
        collate(stays, pad_token_id),
        torch.tensor([pair.sound for pair in pairs], dtype=torch.float32),
        torch.stack([pair.log_probs for pair in pairs]),
        torch.stack([pair.logits for pair in pairs]),
    )
