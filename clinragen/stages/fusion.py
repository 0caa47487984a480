"""Fits the linear paths of a trained stage: weights on training stays, penalties and gains on validation stays."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.sparse import csr_matrix, hstack
from scipy.special import expit

from clinragen.data.dataset import StayDataset
from clinragen.data.series import summarise
from clinragen.inference.predict import score
from clinragen.model.clinragen import ClinRaGen
from clinragen.model.linear_paths import MENTION_SCALE

#: Ridge penalties to choose from, strongest first.
PENALTIES = {"note": (3.0, 1.0, 0.3, 0.1), "series": (1000.0, 300.0, 100.0, 30.0)}
ITERATIONS = 100


def fit_linear_paths(model: ClinRaGen, data: dict[str, StayDataset], inputs: list[str], size: int) -> dict[str, float]:
    """Fit the paths of the modalities in ``inputs``; the others fall silent.

    Args:
        data: ``train`` and ``validation``.
        size: stays scored at once.

    Returns:
        The chosen penalties and gains, for the manifest; empty for a model without linear paths.
    """
    paths = model.head.linear
    if paths is None:
        return {}
    paths.reset()
    network, labels = score(model, data["validation"], inputs, size)
    parts: list[np.ndarray] = [network.astype(float)]
    chosen: dict[str, float] = {}
    for name, weight in (("note", paths.note), ("series", paths.series)):
        if name not in inputs or not len(weight):
            weight.zero_()
            parts.append(np.zeros_like(parts[0]))
            continue
        read = {split: features(model, data[split], name) for split in data}
        fitted, chosen[f"{name}_penalty"] = _choose(read, data["train"].labels, labels, PENALTIES[name])
        weight.copy_(torch.from_numpy(fitted))
        parts.append(np.asarray(read["validation"] @ fitted))
    gains = fuse(np.stack(parts), labels)
    paths.gains.copy_(torch.from_numpy(gains))
    return chosen | dict(zip(("network_gain", "note_gain", "series_gain"), gains.round(4).tolist(), strict=True))


def features(model: ClinRaGen, data: StayDataset, path: str) -> csr_matrix | np.ndarray:
    """What a linear path reads of each stay, [n, features]."""
    if path == "note":
        mentions = data.mentions.reshape(len(data), -1)
        return csr_matrix(hstack([data.terms, MENTION_SCALE * csr_matrix(mentions, dtype=np.float32)]))
    with torch.inference_mode():
        summaries = summarise(torch.from_numpy(data.values), torch.from_numpy(data.observed))
        return model.series_encoder.encode.cpu()(summaries).flatten(1).numpy()


def _choose(
    read: dict[str, csr_matrix | np.ndarray], train: np.ndarray, validation: np.ndarray, penalties: tuple[float, ...]
) -> tuple[np.ndarray, float]:
    """Weights [features, L] under the penalty with the least validation loss, and that penalty."""
    best: tuple[float, np.ndarray, float] | None = None
    start: np.ndarray | None = None
    for penalty in penalties:
        start = fit_logistic(read["train"], train.astype(float), penalty, start)
        loss = _loss(read["validation"] @ start[:-1] + start[-1], validation)
        if best is not None and loss > best[0]:
            break  # the loss has one valley
        best = (loss, start[:-1], penalty)
    assert best is not None
    return best[1].astype(np.float32), best[2]


def fit_logistic(
    read: csr_matrix | np.ndarray, labels: np.ndarray, penalty: float, start: np.ndarray | None = None
) -> np.ndarray:
    """Ridge logistic regressions of all labels at once: [features + 1, L], the last row the intercepts.

    Args:
        read: [n, features].
        labels: [n, L], 0 or 1.
        penalty: half of it times the squared weights is added to the summed loss.
        start: where to begin; the common shares when not given.
    """
    width = read.shape[1] if isinstance(read, np.ndarray) else read.get_shape()[1]
    shape = (width + 1, labels.shape[1])
    if start is None:
        share = labels.mean(0).clip(0.5 / len(labels), 1 - 0.5 / len(labels))
        start = np.zeros(shape)
        start[-1] = np.log(share / (1 - share))

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights, intercepts = flat.reshape(shape)[:-1], flat.reshape(shape)[-1]
        scores = read @ weights + intercepts
        slope = expit(scores) - labels
        loss = (np.logaddexp(0, scores) - labels * scores).sum() + penalty / 2 * (weights**2).sum()
        return loss, np.vstack([read.T @ slope + penalty * weights, slope.sum(0)]).ravel()

    found = minimize(objective, start.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": ITERATIONS})
    return found.x.reshape(shape)


def fuse(parts: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Gains of the paths, none negative, [P], beside an offset for each label, which the calibration fits anew.

    Args:
        parts: logits of each path on the validation split, [P, n, L].
    """
    paths, _, width = parts.shape

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        scores = np.tensordot(flat[:paths], parts, axes=1) + flat[paths:]
        slope = (expit(scores) - labels) / labels.size
        ridge = 1e-4 * flat[paths:] / width  # keeps the offset of a label without positives finite
        return _loss(scores, labels) + float(ridge @ flat[paths:]) / 2, np.concatenate(
            [(parts * slope).sum((1, 2)), slope.sum(0) + ridge]
        )

    start = np.concatenate([np.full(paths, 1 / paths), np.full(width, -2.0)])
    bounds = [(0, None)] * paths + [(None, None)] * width
    return minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds).x[:paths]


def _loss(scores: np.ndarray, labels: np.ndarray) -> float:
    return float(np.mean(np.logaddexp(0, scores) - labels * scores))
