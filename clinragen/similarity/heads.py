"""How likely each label is for a chart: linear models of note and series, fitted on training stays.

As the linear probes beside a network (``stages.ensemble``), but on the vectors of an index and without a network: their
penalties, gains and calibration are chosen on validation stays, and no stay is fitted twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from clinragen.inference.calibrate import LabelCounts, fit_calibration
from clinragen.similarity.vectors import Source
from clinragen.stages.ensemble import NETS, choose, fuse
from clinragen.stages.logistic import ElasticNet, every_core

SOURCES = ("note", "series")


@dataclass(frozen=True)
class LabelledStays:
    """Labels of stays, and which of them count, bool [n, L] each."""

    labels: np.ndarray
    eligible: np.ndarray


@dataclass(frozen=True)
class LabelHeads:
    """A linear model of each source, added and calibrated.

    Attributes:
        keys: of the labels.
        weights: of each source, float32 [features, L].
        usual: mean logit of the validation stays by each source, [sources, L]: what a chart without it gets.
        gains: of the sources.
        slope, offsets: of the calibration, a number and [L].
    """

    keys: list[str]
    weights: dict[str, np.ndarray]
    usual: np.ndarray
    gains: np.ndarray
    slope: float
    offsets: np.ndarray

    @classmethod
    def fit(
        cls, keys: list[str], sources: Mapping[str, Mapping[str, Source]], stays: Mapping[str, LabelledStays]
    ) -> LabelHeads:
        """Fit on training stays; penalties, gains and calibration on validation stays.

        Args:
            keys: of the labels.
            sources: by split and name, in the order of the stays.
            stays: by split.

        Raises:
            UserError: no validation stay has any label.
        """
        weights, parts, usual = {}, [], []
        for name in SOURCES:
            matrices = {split: sources[split][name].features for split in ("train", "validation")}
            with every_core():
                fitted, _ = choose(name, ElasticNet(*NETS[name]), matrices, stays)
            weights[name] = fitted[:-1]
            some = sources["validation"][name].some
            scored = np.asarray(matrices["validation"] @ fitted[:-1], dtype=float)
            usual.append(scored[some].mean(0) if some.any() else np.zeros(len(keys)))
            parts.append(np.where(some[:, None], scored, usual[-1]))
        validation, train = stays["validation"], stays["train"]
        gains = fuse(np.stack(parts), validation.labels, validation.eligible)
        calibration = fit_calibration(
            np.tensordot(gains, np.stack(parts), axes=1),
            validation.labels.astype(float),
            keys,
            eligible=validation.eligible,
            training=LabelCounts.of(train.labels, train.eligible),
        )
        return cls(keys, weights, np.stack(usual), gains, calibration.slope, np.asarray(calibration.offsets))

    def probabilities(self, sources: Mapping[str, Source]) -> np.ndarray:
        """How likely each label is for n charts, [n, L]; what a chart lacks is as usual."""
        logits = np.zeros((len(sources[SOURCES[0]].some), len(self.keys)))
        for position, name in enumerate(SOURCES):
            features, some = sources[name]
            scored = np.asarray(features @ self.weights[name], dtype=float)
            logits += self.gains[position] * np.where(some[:, None], scored, self.usual[position])
        return 1 / (1 + np.exp(-(self.slope * logits + self.offsets)))

    def to_json(self) -> dict[str, Any]:
        """What is no array."""
        return {"keys": self.keys, "slope": self.slope}

    def tensors(self) -> dict[str, np.ndarray]:
        """The arrays."""
        of_sources = {f"heads.{source}": weights for source, weights in self.weights.items()}
        return {**of_sources, "heads.usual": self.usual, "heads.gains": self.gains, "heads.offsets": self.offsets}

    @classmethod
    def load(cls, values: dict[str, Any], tensors: dict[str, np.ndarray]) -> LabelHeads:
        """From ``to_json`` and ``tensors``."""
        weights = {source: tensors[f"heads.{source}"] for source in SOURCES}
        usual, gains, offsets = (tensors[f"heads.{name}"] for name in ("usual", "gains", "offsets"))
        return cls(values["keys"], weights, usual, gains, values["slope"], offsets)
