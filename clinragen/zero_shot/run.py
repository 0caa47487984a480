"""Scores of described labels for the stays of a split: read, score, say what could not be read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

from clinragen.cohort.folder import Cohort
from clinragen.data.lexicon import Lexicon
from clinragen.errors import UserError
from clinragen.knowledge.graph import ConceptGraph
from clinragen.knowledge.linker import Linker
from clinragen.similarity.vectors import MIN_SHARE, SeriesSummaries
from clinragen.zero_shot.ensembles import LabelEnsemble
from clinragen.zero_shot.evidence import EVIDENCE, EvidenceFinder
from clinragen.zero_shot.readings import ChartReadings
from clinragen.zero_shot.scoring import TERMS, ChartFeatures, ZeroShotScores, chart_parts, combine
from clinragen.zero_shot.settings import ZeroShotSettings

SCORES = pa.schema(
    [
        ("stay_id", pa.int64()),
        ("label", pa.string()),
        ("score", pa.float64()),
        ("note", pa.float64()),  # null where the stay has no note that can be read
        ("series", pa.float64()),  # null where it has no measurement
        ("evidence", pa.list_(EVIDENCE)),
    ]
)
_DIGITS = 6

#: Further parts of the stays with these ids, as their charts were read: by name, [n, labels] each.
FurtherParts = Callable[[ChartReadings], Mapping[str, np.ndarray]]


def no_further_parts(readings: ChartReadings) -> dict[str, np.ndarray]:
    """For scores without a model."""
    return {}


@dataclass(frozen=True)
class ScoredSplit:
    """The scored stays of a split.

    Attributes:
        ids: theirs, ascending.
        rows: where they are among the readings.
        readings: of them and the training stays.
        ensembles: the labels.
        scores: of all that was read.
        finder: of evidence.
        most: pieces of evidence for each stay and label.
    """

    ids: np.ndarray
    rows: np.ndarray
    readings: ChartReadings
    ensembles: Sequence[LabelEnsemble]
    scores: ZeroShotScores
    finder: EvidenceFinder
    most: int

    @cached_property
    def columns(self) -> dict[str, np.ndarray]:
        """Score, and that of note and series, of the split, [n, labels] each, as they are written."""
        scores = self.scores
        return {
            name: np.round(values[self.rows], _DIGITS) + 0.0
            for name, values in (("score", scores.score), ("note", scores.note), ("series", scores.series))
        }

    def table(self) -> pa.Table:
        """One row for each stay and label, in the columns of ``SCORES``."""
        keys = [one.label.key for one in self.ensembles]
        count = len(self.ids), len(keys)
        values = {
            name: pa.array(column.ravel(), from_pandas=True, type=pa.float64()) for name, column in self.columns.items()
        }
        evidence = [
            [piece.as_json() for piece in pieces]
            for row in self.rows.tolist()
            for pieces in self.finder.rows(row, self.most)
        ]
        return pa.table(
            {
                "stay_id": np.repeat(self.ids, count[1]),
                "label": keys * count[0],
                **values,
                "evidence": pa.array(evidence, SCORES.field("evidence").type),
            },
            schema=SCORES,
        )

    def unreadable(self) -> list[str]:
        """What of stays and labels could not be read, one line each."""
        noted, measured = self.readings.noted[self.rows], self.readings.measured[self.rows]
        silent = [one.label.key for one in self.ensembles if not one.ties]
        unmeasured = [
            one.label.key for one in self.ensembles if not any(node.startswith("finding:") for node in one.ties)
        ]
        empty = sum(not self.readings.affirmed[row] for row in self.rows.tolist()) - int((~noted).sum())
        lines = [
            (int((~noted).sum()), "stays have no note that can be read: scored by their series"),
            (int((~measured).sum()), "stays have no measurement: scored by their note"),
            (int((~noted & ~measured).sum()), "stays have neither: their score 0 says nothing"),
            (empty, "stays have a note that affirms no concept of the graph"),
        ]
        texts = [f"{count} of {len(self.ids)} {what}" for count, what in lines if count]
        if silent:
            texts.append(f"no concept of the graph speaks for {', '.join(silent)}: scored by words alone")
        if unmeasured:
            texts.append(
                f"no finding of the series speaks for {', '.join(unmeasured)}: of a series only what went with their "
                "notes is known"
            )
        return texts


def read_split(
    cohort: Cohort, split: str, graph: ConceptGraph, linker: Linker, done: Callable[[int], None] = lambda count: None
) -> ChartReadings:
    """The charts of a split and of the training stays. No label of any stay is read.

    Args:
        cohort: of the stays.
        split: whose stays are to be scored.
        graph: concepts.
        linker: finds them.
        done: told how many more notes have been read.

    Raises:
        UserError: no training stay has a note, and none a series.
    """
    train = cohort.split("train")
    every = np.union1d(train, cohort.split(split))
    readings = ChartReadings.read(cohort, every, graph, linker, done)
    if not (np.isin(every, train) & (readings.noted | readings.measured)).any():
        raise UserError(
            f"{cohort.paths.root}: no training stay has a note or a measurement that can be read, so no score can be "
            "compared with another: prepare the cohort with notes or a series"
        )
    return readings


def score_split(
    cohort: Cohort,
    readings: ChartReadings,
    ensembles: Sequence[LabelEnsemble],
    graph: ConceptGraph,
    settings: ZeroShotSettings,
    *,
    split: str = "test",
    further: FurtherParts = no_further_parts,
) -> ScoredSplit:
    """Score the stays of a split. What is standardised, and what the regressions learn, is of the training stays.

    Args:
        cohort: of the stays.
        readings: by :func:`read_split`.
        ensembles: the labels.
        graph: words their concepts.
        settings: weights and penalties.
        split: whose stays are scored.
        further: parts that need a model.
    """
    train, ids, every = cohort.split("train"), cohort.split(split), readings.ids
    is_train = np.isin(every, train)
    lexicon = Lexicon.fit([text for text, trains in zip(readings.texts, is_train, strict=True) if trains], TERMS)
    features = ChartFeatures.of(readings, lexicon, _series_features(cohort, train, every, readings))
    parts = {**chart_parts(features, lexicon, ensembles), **further(readings)}
    scores = combine(parts, readings, features, is_train, settings)
    finder = EvidenceFinder(graph, lexicon, readings, features, list(ensembles), scores.scales)
    rows = np.searchsorted(every, ids)
    return ScoredSplit(ids, rows, readings, ensembles, scores, finder, settings.evidence)


def _series_features(cohort: Cohort, train: np.ndarray, every: np.ndarray, readings: ChartReadings) -> np.ndarray:
    """What a regression reads of each series, [n, features]; nothing where hardly any training stay has one."""
    if readings.measured[np.isin(every, train)].mean() < MIN_SHARE:
        return np.zeros((len(every), 0), dtype=np.float32)
    summaries = SeriesSummaries.fit(cohort, train)
    return summaries.features(summaries.grid(cohort, every))
