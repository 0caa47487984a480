"""Fit the linear probes of a trained stage: weights on training stays, penalties and gains on validation stays.

When all that is chosen on validation stays is chosen, the weights are fitted again on both together.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from scipy.optimize import minimize
from scipy.sparse import csr_matrix, hstack, vstack
from scipy.special import expit

from clinragen.choices import Modality
from clinragen.cohort import freshness
from clinragen.data.dataset import StayDataset
from clinragen.data.series import summarise
from clinragen.inference.predict import score
from clinragen.model.clinragen import ClinRaGen
from clinragen.model.linear_probes import MENTION_SCALE, PROBES
from clinragen.quiet import phase
from clinragen.stages.logistic import ElasticNet, Features, every_core, fit_elastic_net

#: Strengths of the penalty to choose from, strongest first.
PENALTIES = {"note": (3.0, 1.0, 0.3, 0.1), "series": (1000.0, 300.0, 100.0, 30.0)}
#: What is penalised: terms one by one, and variables as a whole (ridge, lasso). On the five splits of the eICU demo it
#: ranks stays a little better than the ridge alone, and what a diagnosis rests on is told with fewer things.
NETS = {"note": (0.3, 0.67), "series": (0.3, 0.02)}
#: Strengths of the weights by age to choose from (``freshness.weights``); 0, in which all stays weigh alike, is in it.
STRENGTHS = (0.0, 1.0, 2.0, 4.0)
#: By how many standard errors the validation loss must fall for the stays to be weighed: less is chance.
_SURE = 2.0
#: Products per fit of a probe, over all penalties, counted on data of ``benchmarks/linear_probes.py``; for the plan.
PRODUCTS = {"note": 310, "series": 830}
WEIGHED = 1.75  # times as many where stays are weighed: three strengths beside four penalties
SAMPLE = 1000  # stays for the time estimate
#: Callback with the current fit (probe and penalty) and its number of converged labels.
FitReport = Callable[[str, int], object]


class Labelled(Protocol):
    """Stays with labels."""

    @property
    def labels(self) -> np.ndarray:
        """Which each stay has, bool [n, L]."""
        ...

    @property
    def eligible(self) -> np.ndarray:
        """Which count for it, bool [n, L]."""
        ...


@dataclass(frozen=True)
class ProbeFits:
    """What was fitted to training and validation stays.

    Attributes:
        weights: of each probe in use, [features + 1, L], the last row the intercepts.
        penalties: the chosen one of each probe in use.
        strengths: the chosen weights by age of each probe in use, [L], where stays are weighed.
        gains: of the network, the note's probe and the series', [3].
    """

    weights: dict[str, np.ndarray]
    penalties: dict[str, float]
    strengths: dict[str, np.ndarray]
    gains: np.ndarray

    def described(self) -> dict[str, float]:
        """Penalties, strengths and gains, for the manifest."""
        gains = dict(zip(("network", *PROBES), self.gains.round(4).tolist(), strict=True))
        return (
            {f"{name}_penalty": penalty for name, penalty in self.penalties.items()}
            | {f"{name}_freshness": round(float(chosen.mean()), 4) for name, chosen in self.strengths.items()}
            | {f"{name}_gain": gain for name, gain in gains.items()}
        )


def fit_linear_probes(
    model: ClinRaGen,
    data: dict[str, StayDataset],
    inputs: Sequence[Modality],
    size: int,
    console: Console | None = None,
    *,
    weigh: bool = False,
) -> ProbeFits | None:
    """Fit the probes of the modalities in ``inputs``; the others get gain 0.

    Args:
        model: the trained student, whose probes are set in place.
        data: ``train`` and ``validation``.
        inputs: modalities of the stage, of ``note`` and ``series``.
        size: stays per batch.
        console: where progress is shown.
        weigh: training stays may weigh by the age of their period, as far as this predicts the newest validation
            stays better.

    Returns:
        What was fitted and chosen; None for a model without linear probes.
    """
    probes = model.head.linear_probes
    if probes is None:
        return None
    probes.reset()
    network, labels = score(model, data["validation"], inputs, size)
    parts: list[np.ndarray] = [network.astype(float)]
    fits = ProbeFits({}, {}, {}, np.zeros(1 + len(PROBES)))
    for name, weight in (("note", probes.note), ("series", probes.series)):
        if name not in inputs or not len(weight):
            weight.zero_()
            parts.append(np.zeros_like(parts[0]))
            continue
        matrices = {split: features(model, data[split], name) for split in data}
        with every_core(), _progress(console, labels.shape[1]) as report:
            fit = _Fit(name, net_of(model, name), matrices, data, report)
            fits.weights[name], fits.penalties[name] = fit.choose()
            if weigh and _differ(ages := _ages(data)):
                fits.weights[name], fits.strengths[name] = fit.weigh(fits.weights[name], fits.penalties[name], ages)
        weight.copy_(torch.from_numpy(fits.weights[name][:-1]))
        parts.append(np.asarray(matrices["validation"] @ fits.weights[name][:-1]))
    fits.gains[:] = fuse(np.stack(parts), labels, data["validation"].eligible)
    probes.gains.copy_(torch.from_numpy(fits.gains))
    return fits


def refit_linear_probes(
    model: ClinRaGen, data: dict[str, StayDataset], fits: ProbeFits, console: Console | None = None
) -> np.ndarray:
    """Fit the probes again on training and validation stays together, under the penalties and gains that were chosen.

    To be called last: from then on the probes know the validation stays, so nothing can be chosen or calibrated there.

    Args:
        model: the student whose probes ``fits`` are, set in place.
        data: ``train`` and ``validation``.
        fits: of :func:`fit_linear_probes`.
        console: where progress is shown.

    Returns:
        What to add to each label's logit, [L], so that a calibration of the former weights holds for the new ones: it
        keeps the mean logit of the stays that count. Intercepts would not: the calibration has corrected the former
        ones already, and those of a label with few positives in training are far off.
    """
    probes = model.head.linear_probes
    assert probes is not None, "there are fits of probes"
    both = [data["train"], data["validation"]]
    labels, eligible = (np.concatenate([getattr(stays, name) for stays in both]) for name in ("labels", "eligible"))
    ages = np.zeros(len(labels))
    if fits.strengths:
        ages = np.concatenate(list(_ages({split: data[split] for split in ("train", "validation")}).values()))
    shift = np.zeros(labels.shape[1])
    for name, former in fits.weights.items():
        rows = [features(model, stays, name) for stays in both]
        matrix = csr_matrix(vstack(rows)) if name == "note" else np.concatenate([np.asarray(part) for part in rows])
        with every_core(), _progress(console, labels.shape[1]) as report:
            described = f"{name}, on validation stays too"
            counts = eligible if name not in fits.strengths else eligible * _by_age(ages, fits.strengths[name])
            weights = fit_elastic_net(
                Features(matrix), labels, fits.penalties[name], net_of(model, name),
                lambda count, fit=described, report=report: report(fit, count), counts,
            )  # fmt: skip
        getattr(probes, name).copy_(torch.from_numpy(weights[:-1]))
        lost = np.asarray(matrix @ (former[:-1] - weights[:-1]))
        shift += (
            fits.gains[1 + PROBES.index(name)] * (lost * eligible).sum(axis=0) / np.maximum(eligible.sum(axis=0), 1)
        )
    return shift


def expected_seconds(model: ClinRaGen, data: StayDataset, inputs: Sequence[Modality]) -> float:
    """Estimated time of the fits on these training stays, from one product with the features of a few of them."""
    probes = model.head.linear_probes
    total, few = 0.0, slice(min(len(data), SAMPLE))
    for name, weight in (("note", probes.note), ("series", probes.series)) if probes is not None else ():
        if name in inputs and len(weight):
            with every_core():
                sample = Features(features(model, data, name, few))
                slopes = torch.ones(few.stop, weight.shape[1])
                began = time.perf_counter()
                sample.scores(sample.gradient(slopes))
                total += PRODUCTS[name] * (time.perf_counter() - began) * len(data) / few.stop
    return total


def net_of(model: ClinRaGen, probe: str) -> ElasticNet:
    """What the fit of a probe penalises. All features of a variable, whatever they summarise, are one group."""
    variables = len(model.statistics.variables)
    bins = model.head.linear_probes.series.shape[0] if model.head.linear_probes is not None else 0
    return ElasticNet(*NETS[probe], group=max(1, bins // variables) if probe == "series" else 1)


def features(model: ClinRaGen, data: StayDataset, probe: str, rows: slice = slice(None)) -> csr_matrix | np.ndarray:
    """Features of a linear probe for some stays, [n, features]."""
    if probe == "note":
        mentions = data.mentions[rows]
        mentions = csr_matrix(mentions.reshape(len(mentions), -1), dtype=np.float32)
        return csr_matrix(hstack([data.terms[rows], MENTION_SCALE * mentions]))
    with torch.inference_mode():
        summaries = summarise(torch.from_numpy(data.values[rows]), torch.from_numpy(data.observed[rows]))
        return model.series_encoder.encode.cpu()(summaries).flatten(1).numpy()


@contextmanager
def _progress(console: Console | None, labels: int) -> Iterator[FitReport]:
    """A progress bar of fitted labels on a terminal; otherwise a line for each fit."""
    last = ""

    def line(fit: str, count: int) -> None:
        nonlocal last
        if console and fit != last:
            phase(console, f"fitting linear probes: {fit}, {labels} labels")
        last = fit

    if console is None or not console.is_terminal:
        yield line
        return
    columns = (TextColumn("  fitting linear probes: {task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as bar:
        task = bar.add_task("", total=labels)
        yield lambda fit, count: bar.update(task, description=fit, completed=count)


def choose(
    probe: str,
    net: ElasticNet,
    matrices: Mapping[str, csr_matrix | np.ndarray],
    data: Mapping[str, Labelled],
    report: FitReport = lambda fit, count: None,
) -> tuple[np.ndarray, float]:
    """Weights [features + 1, L] under the penalty with the least validation loss, and that penalty.

    Args:
        probe: note or series, whose penalties are tried.
        net: what is penalised.
        matrices: features of the stays, of ``train`` and ``validation``.
        data: their labels.
        report: called with each fit and its number of converged labels.
    """
    return _Fit(probe, net, matrices, data, report).choose()


@dataclass(frozen=True)
class _Fit:
    """The fits of one probe, of which the least validation loss chooses.

    Attributes:
        probe: its name.
        net: what is penalised.
        matrices: features of ``train`` and ``validation``.
        data: stays of the same.
        report: where progress is shown.
    """

    probe: str
    net: ElasticNet
    matrices: Mapping[str, csr_matrix | np.ndarray]
    data: Mapping[str, Labelled]
    report: FitReport

    @cached_property
    def _training(self) -> Features:
        return Features(self.matrices["train"])

    def _weights(self, penalty: float, fit: str, counts: np.ndarray) -> np.ndarray:
        self.report(fit, 0)
        labels, report = self.data["train"].labels, self.report
        return fit_elastic_net(self._training, labels, penalty, self.net, lambda count: report(fit, count), counts)

    def _scores(self, weights: np.ndarray) -> np.ndarray:
        return self.matrices["validation"] @ weights[:-1] + weights[-1]

    def choose(self) -> tuple[np.ndarray, float]:
        """Weights [features + 1, L] under the penalty with the least validation loss, and that penalty."""
        best: tuple[float, np.ndarray, float] | None = None
        train, validation = self.data["train"], self.data["validation"]
        gold = validation.labels.astype(np.float32)
        for penalty in PENALTIES[self.probe]:
            weights = self._weights(penalty, f"{self.probe}, penalty {penalty:g}", train.eligible)
            loss = _loss(self._scores(weights), gold, validation.eligible)
            if best is not None and loss > best[0]:
                break  # the loss is unimodal in the penalty
            best = (loss, weights, penalty)
        assert best is not None
        return best[1], best[2]

    def weigh(
        self, weights: np.ndarray, penalty: float, ages: Mapping[str, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """For each label the strength of the weights by age that predicts the newest validation stays best.

        These are the nearest to the stays that will be predicted. They are few, and a label that does not drift loses
        by fewer stays to learn from: a label's stays are weighed only if its loss falls by more than chance.

        Args:
            weights: of stays that all weigh alike, strength 0; [features + 1, L].
            penalty: of these.
            ages: in years, of the stays of each split; NaN where not known.

        Returns:
            The weights, and the strengths [L].
        """
        train, validation = self.data["train"], self.data["validation"]
        newest = ages["validation"] == np.nanmin(ages["validation"])
        usual = losses_of(self._scores(weights), validation)[newest]
        weights, least, strengths = weights.copy(), np.zeros(usual.shape[1]), np.zeros(usual.shape[1])
        for strength in STRENGTHS[1:]:
            counts = train.eligible * freshness.weights(ages["train"], strength)[:, None]
            tried = self._weights(penalty, f"{self.probe}, weights by age to the power {strength:g}", counts)
            change = losses_of(self._scores(tried), validation)[newest] - usual
            error = change.std(axis=0) / max(len(change) - 1, 1) ** 0.5
            better = (change.mean(axis=0) + _SURE * error < 0) & (change.mean(axis=0) < least)
            weights[:, better], strengths[better] = tried[:, better], strength
            least[better] = change.mean(axis=0)[better]
        return weights, strengths


def _ages(data: Mapping[str, StayDataset]) -> dict[str, np.ndarray]:
    """Years by which the stays of each split are older than the newest of all, [n]; NaN where not known."""
    years = {split: stays.years for split, stays in data.items()}
    together = np.concatenate(list(years.values()))
    newest = together.max(where=np.isfinite(together), initial=-np.inf)
    return {split: newest - of_split for split, of_split in years.items()}


def _differ(ages: Mapping[str, np.ndarray]) -> bool:
    """Whether training stays are of different ages, and the ages of some validation stays are known."""
    distinct = {split: np.unique(of[np.isfinite(of)]).size for split, of in ages.items()}
    return distinct["train"] > 1 and distinct["validation"] > 0


def _by_age(ages: np.ndarray, strengths: np.ndarray) -> np.ndarray:
    """Weights of stays of these ages for each label, [n, L]."""
    return np.stack([freshness.weights(ages, strength) for strength in strengths], axis=1)


def losses_of(scores: np.ndarray, stays: Labelled) -> np.ndarray:
    """Loss of each stay for each label, [n, L]; 0 where it is not eligible."""
    return (np.logaddexp(0, scores) - stays.labels * scores) * stays.eligible


def fuse(parts: np.ndarray, labels: np.ndarray, eligible: np.ndarray | None = None) -> np.ndarray:
    """Non-negative gains of the network and the probes, [P]; the arguments are those of :func:`fused`.

    An offset for each label is fitted together with them and discarded: the calibration fits its own.
    """
    return fused(parts, labels, eligible)[0]


def fused(parts: np.ndarray, labels: np.ndarray, eligible: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Non-negative gains of the network and the probes, [P], and an offset for each label, [L].

    Args:
        parts: logits of the network and each probe on the validation split, [P, n, L].
        labels: [n, L], 0 or 1.
        eligible: bool [n, L], the stays that count for each label; all where not given.
    """
    count, _, width = parts.shape
    counts = None if eligible is None or eligible.all() else eligible

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        scores = np.tensordot(flat[:count], parts, axes=1) + flat[count:]
        slope = (expit(scores) - labels) / (labels.size if counts is None else counts.sum())
        slope = slope if counts is None else slope * counts
        ridge = 1e-4 * flat[count:] / width  # keeps the offset finite for a label without positives
        return _loss(scores, labels, counts) + float(ridge @ flat[count:]) / 2, np.concatenate(
            [(parts * slope).sum((1, 2)), slope.sum(0) + ridge]
        )

    start = np.concatenate([np.full(count, 1 / count), np.full(width, -2.0)])
    bounds = [(0, None)] * count + [(None, None)] * width
    fitted = minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    return fitted[:count], fitted[count:]


def _loss(scores: np.ndarray, labels: np.ndarray, eligible: np.ndarray | None = None) -> float:
    losses = np.logaddexp(0, scores) - labels * scores
    return float(np.mean(losses if eligible is None or eligible.all() else losses[eligible]))
