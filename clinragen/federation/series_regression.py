"""Federated logistic regressions of all labels on summaries of the measured series: a baseline that reads no text.

Each variable gives its mean, its newest value and whether it was measured before the prediction time; age and sex are
added. A value is standardised by sums over all sites and clipped; what was not measured is 0 beside its indicator.
Sites take steps of gradient descent over all of their stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from clinragen import label_sets
from clinragen.catalog import shipped_variables
from clinragen.cohort.folder import Cohort
from clinragen.config import build
from clinragen.errors import UserError
from clinragen.federation.update import Tensors, TensorSpec
from clinragen.federation.work import Phase, Statistic

_CLIP = 5.0  # standard deviations: one strange value is not to outweigh all others
_LEAST_SPREAD = 1e-3  # of a value in shares of its plausible range
_AGE = 100.0  # years that count as 1
_LEAST_SHARE = 0.005  # of stays with a label, where it is too rare for its count to leave any site


@dataclass
class SeriesSettings:
    """Settings of the work.

    Attributes:
        labels: keys of the labels, as cohorts have them; by default those of the 25 phenotypes.
        variables: keys of the variables; by default all shipped ones.
        rounds: of training.
        local_steps: of gradient descent in each round.
        learning_rate: of a step.
        ridge: penalty on the squared weights.
    """

    labels: list[str] = field(default_factory=lambda: list(label_sets.load(label_sets.DEFAULT)))
    variables: list[str] = field(default_factory=lambda: sorted(shipped_variables()))
    rounds: int = 20
    local_steps: int = 20
    learning_rate: float = 0.3
    ridge: float = 0.01


class SeriesRegression:
    """The work under the name ``series``.

    Args:
        settings: of :class:`SeriesSettings`, as the manifest has them.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = build(SeriesSettings, settings, "settings of work 'series'")
        self.variables = self.settings.variables
        plausible = shipped_variables()
        if alien := sorted(set(self.variables) - plausible.keys()):
            raise UserError(f"settings of work 'series': '{alien[0]}' is no variable of the catalogue")
        self.bounds = {name: plausible[name].plausible for name in self.variables}
        self.features = 3 * len(self.variables) + 2

    def phases(self) -> Sequence[Phase]:
        """One round of sums to standardise by, then training."""
        labels, values = len(self.settings.labels), 2 * len(self.variables) + 1
        sums = {
            "moments": TensorSpec([values, 2], "F64", 0.0, 1.0),
            "positives": TensorSpec([labels], "I64", 0.0, 1.0),
            "stays": TensorSpec([1], "I64", 0.0, 1.0),
        }
        trained = {"weights": TensorSpec([self.features, labels]), "bias": TensorSpec([labels])}
        return (
            Phase("standardise", "statistics", 1, sums),
            Phase("train", "training", self.settings.rounds, trained),
        )

    def start(self) -> Tensors:
        """Weights of zero, and nothing to standardise by."""
        labels, values = len(self.settings.labels), 2 * len(self.variables) + 1
        return {
            "bias": np.zeros(labels, np.float32),
            "mean": np.zeros(values),
            "spread": np.ones(values),
            "weights": np.zeros((self.features, labels), np.float32),
        }

    def statistics(self, cohort: Cohort, tensors: Tensors, phase: str) -> dict[str, Statistic]:
        """Sums over training patients of values and their squares, in shares of plausible ranges, and of labels.

        A patient with several stays counts with the average of them, so that nobody changes a sum by more than 1.
        """
        stays = self._stays(cohort)
        values, _ = self._values(cohort, stays)
        patients = self._patients(cohort, stays)
        measured_by_stay = np.isfinite(values)
        filled = np.where(measured_by_stay, values, 0.0)
        measured = patients @ measured_by_stay > 0
        averages = (patients @ filled) / np.maximum(patients @ measured_by_stay, 1)
        counts = np.repeat(measured.sum(0)[:, None], 2, axis=1)
        positives = (patients @ self._labels(cohort, stays) > 0).sum(0)
        bound = len(counts) ** 0.5
        number = np.array([len(patients)])
        return {
            "moments": Statistic(
                np.stack([averages.sum(0), np.square(averages).sum(0)], axis=1),
                counts.astype(np.int64),
                (bound * 2**0.5, bound * 2**0.5),
            ),
            "positives": Statistic(
                positives.astype(np.int64),
                positives.astype(np.int64),
                (len(positives) ** 0.5, len(positives) ** 0.5),
                of=np.full(len(positives), len(patients)),
            ),
            "stays": Statistic(number, number, (1.0, 1.0)),
        }

    def advance(self, tensors: Tensors, totals: dict[str, Statistic], phase: str) -> Tensors:
        """Mean and spread of each value, and biases of the labels' shares."""
        moments = totals["moments"]
        counts = np.maximum(moments.stays, 1).astype(np.float64)
        mean, squares = (moments.values / counts).T
        number = max(float(totals["stays"].values[0]), 1.0)
        share = np.clip(totals["positives"].values / number, _LEAST_SHARE, 1 - _LEAST_SHARE)
        return {
            **tensors,
            "bias": np.log(share / (1 - share)).astype(np.float32),
            "mean": mean,
            "spread": np.sqrt(np.maximum(squares - mean**2, _LEAST_SPREAD**2)),
        }

    def train(self, cohort: Cohort, tensors: Tensors, round_number: int) -> tuple[Tensors, int]:
        """Weights and biases after steps of gradient descent."""
        stays = self._stays(cohort)
        inputs, truth = self._inputs(cohort, tensors, stays), self._labels(cohort, stays)
        weights, bias = tensors["weights"].astype(np.float64), tensors["bias"].astype(np.float64)
        for _ in range(self.settings.local_steps):
            slopes = (_chance(inputs, weights, bias) - truth) / len(stays)
            weights -= self.settings.learning_rate * (inputs.T @ slopes + self.settings.ridge * weights)
            bias -= self.settings.learning_rate * slopes.sum(0)
        return {"bias": bias.astype(np.float32), "weights": weights.astype(np.float32)}, len(stays)

    def contributions(self, cohort: Cohort, tensors: Tensors, round_number: int) -> Tensors:
        """Of each training patient, as many times a single step as ``local_steps``: of the mean over the stays."""
        stays = self._stays(cohort)
        inputs, truth = self._inputs(cohort, tensors, stays), self._labels(cohort, stays)
        weights = tensors["weights"].astype(np.float64)
        slopes = truth - _chance(inputs, weights, tensors["bias"].astype(np.float64))
        patients = self._patients(cohort, stays)
        patients = patients / patients.sum(1, keepdims=True)
        rate = self.settings.learning_rate * self.settings.local_steps
        moves = np.stack([(row[:, None] * inputs).T @ slopes for row in patients]) - self.settings.ridge * weights
        return {"bias": rate * patients @ slopes, "weights": rate * moves}

    def probabilities(self, cohort: Cohort, tensors: Tensors, stay_ids: np.ndarray) -> np.ndarray:
        """Probability of each label, float64 [n, labels], of ascending stay ids."""
        inputs = self._inputs(cohort, tensors, stay_ids)
        return _chance(inputs, tensors["weights"].astype(np.float64), tensors["bias"].astype(np.float64))

    def _stays(self, cohort: Cohort) -> np.ndarray:
        if list(cohort.label_set) != self.settings.labels:
            raise UserError(
                f"{cohort.paths.root} has other labels than the federation trains ({len(cohort.label_set)}, "
                f"{len(self.settings.labels)}): prepare it with the labels of the federation"
            )
        return cohort.split("train")

    def _labels(self, cohort: Cohort, stays: np.ndarray) -> np.ndarray:
        return cohort.label_matrix(stays).astype(np.float64)

    def _patients(self, cohort: Cohort, stays: np.ndarray) -> np.ndarray:
        """Which stays are of which patient, float64 [patients, n]."""
        subjects = cohort.stays.filter(pl.col("stay_id").is_in(pl.Series(stays).implode()))["subject_id"].to_numpy()
        return (np.unique(subjects)[:, None] == subjects[None]).astype(np.float64)

    def _values(self, cohort: Cohort, stays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Means, newest values and age in shares of their ranges, NaN where unknown, [n, 2V + 1]; whether male, [n]."""
        rows = cohort.stays.filter(pl.col("stay_id").is_in(pl.Series(stays).implode()))
        end = (pl.col("prediction_time") - pl.col("intime")).dt.total_milliseconds() / 3_600_000
        summaries = (
            cohort.series.join(rows.select("stay_id", end=end), on="stay_id", how="inner")
            .filter((pl.col("hour") < pl.col("end")) & pl.col("variable").is_in(self.variables))
            .sort("stay_id", "variable", "hour")
            .group_by("stay_id", "variable", maintain_order=True)
            .agg(mean=pl.col("value").cast(pl.Float64).mean(), newest=pl.col("value").cast(pl.Float64).last())
        )
        values = np.full((len(stays), len(self.variables), 2), np.nan)
        stay = np.searchsorted(stays, summaries["stay_id"].to_numpy())
        position = {name: index for index, name in enumerate(self.variables)}
        column = np.array([position[name] for name in summaries["variable"]], dtype=np.int64)
        low, high = np.array([self.bounds[name] for name in self.variables]).reshape(-1, 2).T
        shares = (summaries.select("mean", "newest").to_numpy() - low[column, None]) / (high - low)[column, None]
        values[stay, column] = np.clip(shares, 0.0, 1.0)
        age = np.clip(rows["age"].to_numpy().astype(np.float64) / _AGE, 0.0, 1.0)
        male = (rows["sex"].fill_null("") == "M").to_numpy().astype(np.float64)
        return np.concatenate([values.reshape(len(stays), -1), age[:, None]], axis=1), male

    def _inputs(self, cohort: Cohort, tensors: Tensors, stays: np.ndarray) -> np.ndarray:
        """Standardised features, float64 [n, features]."""
        values, male = self._values(cohort, stays)
        standard = np.clip((values - tensors["mean"]) / tensors["spread"], -_CLIP, _CLIP)
        measured = np.isfinite(values[:, : 2 * len(self.variables) : 2]).astype(np.float64)
        return np.concatenate([np.nan_to_num(standard), measured, male[:, None]], axis=1)


def _chance(inputs: np.ndarray, weights: np.ndarray, bias: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(inputs @ weights + bias, -30, 30)))
