"""From what charts show to scores: parts, standardised over training stays, weighted, and carried over by regression.

    z(x)   = (x - mean) / deviation, of each label, over training stays that have the modality; 0 for a stay without
    note   = z(sum of weight * z(part) over concepts, words, sentences)       series likewise over findings, aligned
    note   = z(note + z(ridge(words and concepts -> z(weights.note * note + weights.series * series))))
    series = z(series + z(ridge(series -> note before this)))
    score  = z(weights.note * note + weights.series * series)

The regressions learn from training stays what else goes with a label's signs (self-training; of the series from the
note, co-training: Blum and Mitchell 1998). No label of a stay takes part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix, hstack
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS
from sklearn.linear_model import Ridge
from sklearn.preprocessing import normalize

from clinragen.data.lexicon import Lexicon
from clinragen.model.linear_probes import MENTION_SCALE
from clinragen.zero_shot.ensembles import LabelEnsemble
from clinragen.zero_shot.readings import ChartReadings
from clinragen.zero_shot.settings import ZeroShotSettings

NOTE_PARTS, SERIES_PARTS = ("concepts", "words", "sentences"), ("findings", "aligned")
TERMS = 5000  # of the lexicon, at most
#: A concept of strength 1 alone makes a label nine tenths sure; of several each adds to what the others leave open.
_SURE = 0.9


def surprise(strength: float) -> float:
    """What a concept adds to a label's score: -ln(1 - 0.9 strength), a term of a noisy or (Pearl 1988)."""
    return -float(np.log1p(-_SURE * strength))


@dataclass(frozen=True)
class ChartFeatures:
    """Charts of n stays as matrices.

    Attributes:
        nodes: the concepts that any chart shows.
        affirmed: whether the note affirms each, [n, concepts].
        abnormal: how much each finding of the series weighs, [n, concepts].
        words: unit rows of the lexicon's terms, [n, terms].
        series: standardised summaries of the series, [n, features].
    """

    nodes: list[str]
    affirmed: csr_matrix
    abnormal: csr_matrix
    words: csr_matrix
    series: np.ndarray

    @classmethod
    def of(cls, readings: ChartReadings, lexicon: Lexicon, series: np.ndarray) -> ChartFeatures:
        """The matrices of readings."""
        shown = {one.concept for note in readings.affirmed for one in note}
        nodes = sorted(shown | {one.concept for part in readings.findings for one in part})
        column = {node: position for position, node in enumerate(nodes)}
        affirmed = [dict.fromkeys((column[one.concept] for one in note), 1.0) for note in readings.affirmed]
        abnormal = [{column[one.concept]: one.weight for one in part} for part in readings.findings]
        width = len(nodes)
        return cls(nodes, _sparse(affirmed, width), _sparse(abnormal, width), lexicon.encode(readings.texts), series)


def _sparse(rows: Sequence[Mapping[int, float]], columns: int) -> csr_matrix:
    ends = np.cumsum([0, *map(len, rows)])
    indices = [column for row in rows for column in row]
    return csr_matrix(([value for row in rows for value in row.values()], indices, ends), (len(rows), columns))


def chart_parts(features: ChartFeatures, lexicon: Lexicon, ensembles: Sequence[LabelEnsemble]) -> dict[str, np.ndarray]:
    """The parts that need no model, [n, labels] each."""
    strengths = np.array(
        [[one.ties[node].strength if node in one.ties else 0.0 for node in features.nodes] for one in ensembles]
    ).reshape(len(ensembles), len(features.nodes))
    labels = label_words(lexicon, ensembles)
    return {
        "concepts": np.asarray(features.affirmed @ np.vectorize(surprise, otypes=[float])(strengths).T),
        "words": np.asarray((features.words @ labels.T).toarray(), dtype=float),
        "findings": np.asarray(features.abnormal @ strengths.T),
    }


def label_words(lexicon: Lexicon, ensembles: Sequence[LabelEnsemble]) -> csr_matrix:
    """The words of each label as weights of the lexicon's terms, without "of", "with" and their like, [L, terms]."""
    if not lexicon.terms:
        return lexicon.encode([one.text for one in ensembles])
    meaningful = np.array([ENGLISH_STOP_WORDS.isdisjoint(term.split()) for term in lexicon.terms], dtype=np.float32)
    return csr_matrix(normalize(csr_matrix(lexicon.encode([one.text for one in ensembles]).multiply(meaningful))))


@dataclass(frozen=True)
class ZeroShotScores:
    """Scores of n stays for L labels, [n, L] each; NaN where the stay lacks the modality.

    Attributes:
        score: of note and series.
        note, series: of each alone.
        scales: by part, how much of the score one unit of the part makes, [L]; 0 where no training stays differ.
    """

    score: np.ndarray
    note: np.ndarray
    series: np.ndarray
    scales: dict[str, np.ndarray]


@dataclass(frozen=True)
class _Standard:
    """Standardises values over training stays."""

    train: np.ndarray

    def __call__(self, values: np.ndarray, some: np.ndarray) -> np.ndarray:
        mean, deviation = self.moments(values, some)
        steady = deviation < 1e-9
        return np.where(some[:, None] & ~steady, (values - mean) / np.where(steady, 1, deviation), 0.0)

    def moments(self, values: np.ndarray, some: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows = values[self.train & some]
        if not len(rows):
            return np.zeros(values.shape[1]), np.zeros(values.shape[1])
        return rows.mean(0), rows.std(0)


def combine(
    parts: Mapping[str, np.ndarray],
    readings: ChartReadings,
    features: ChartFeatures,
    train: np.ndarray,
    settings: ZeroShotSettings,
) -> ZeroShotScores:
    """Scores of all stays.

    Args:
        parts: by name, [n, labels] each.
        readings: which stays have a note and a series.
        features: what the regressions read.
        train: which are training stays, bool [n].
        settings: weights and penalties.
    """
    weights, standard = asdict(settings.weights), _Standard(train)
    modalities = {"note": (NOTE_PARTS, readings.noted), "series": (SERIES_PARTS, readings.measured)}
    direct: dict[str, np.ndarray] = {}
    scales: dict[str, np.ndarray] = {}
    for modality, (names, some) in modalities.items():
        present = [name for name in names if name in parts]
        total = sum(weights[name] * standard(parts[name], some) for name in present)
        spread = standard.moments(np.asarray(total), some)[1]
        direct[modality] = standard(np.asarray(total), some)
        for name in present:
            scale = standard.moments(parts[name], some)[1] * spread
            factor = weights[modality] * weights[name]
            scales[name] = np.divide(factor, scale, out=np.zeros_like(scale), where=scale > 1e-9)
    everything = np.ones(len(train), dtype=bool)

    def both(note: np.ndarray, series: np.ndarray) -> np.ndarray:
        return standard(weights["note"] * note + weights["series"] * series, everything)

    note, series = direct["note"], direct["series"]
    read = csr_matrix(hstack([features.words, MENTION_SCALE * features.affirmed]))
    if settings.transfer.note:
        carried = _carried(read, both(note, series), train & readings.noted, settings.transfer.note)
        note = standard(note + standard(carried, readings.noted), readings.noted)
    if settings.transfer.series:
        carried = _carried(
            features.series, direct["note"], train & readings.noted & readings.measured, settings.transfer.series
        )
        series = standard(series + standard(carried, readings.measured), readings.measured)
    return ZeroShotScores(
        both(note, series),
        np.where(readings.noted[:, None], note, np.nan),
        np.where(readings.measured[:, None], series, np.nan),
        scales,
    )


def _carried(read: Any, target: np.ndarray, train: np.ndarray, penalty: float) -> np.ndarray:
    """What a ridge regression over training stays expects of each stay; 0 where there is nothing to learn from.

    Args:
        read: features, sparse or not, [n, features].
        target: [n, labels].
        train: from which to learn, bool [n].
        penalty: of the squared weights.
    """
    if not train.any() or not np.shape(read)[1]:
        return np.zeros_like(target)
    model = Ridge(alpha=penalty).fit(read[np.flatnonzero(train)], target[train])
    return np.asarray(model.predict(read)).reshape(target.shape)
