"""The training objective of the student; all stages use it with different data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from clinragen.data.batch import Batch
from clinragen.data.dataset import StayDataset
from clinragen.model.clinragen import ClinRaGen
from clinragen.stages.config import ClassWeights, StageConfig
from clinragen.stages.ensemble import WEIGHED, expected_seconds
from clinragen.stages.loop import Objective, Scored


class StageModule(Objective):
    """Trains a :class:`ClinRaGen` on ``nll(targets) + label_weight * bce(labels) + token_weight * kl(soft targets)``.

    Args:
        whole: no label of any stay is null.
        positive: weight of a present phenotype relative to an absent one in the label loss, [phenotypes]; None for 1.
    """

    positive: Tensor | None

    def __init__(self, model: ClinRaGen, stage: StageConfig, positive: Tensor | None = None, *, whole: bool = True):
        super().__init__()
        self.whole = whole
        self.model = model
        self.stage = stage
        self.register_buffer("positive", positive, persistent=False)
        for part in stage.frozen:
            getattr(model, part).requires_grad_(False)

    @classmethod
    def of(cls, model: ClinRaGen, stage: StageConfig, data: Mapping[str, StayDataset]) -> Self:
        """The objective of a student on the stays of ``train`` and ``validation``."""
        weights = positive_weights(data["train"].labels, stage.class_weights, data["train"].eligible)
        return cls(model, stage, weights, whole=all(stays.eligible.all() for stays in data.values()))

    def freeze(self) -> None:
        """Put the frozen parts in evaluation mode: they have no dropout."""
        for part in self.stage.frozen:
            getattr(self.model, part).eval()

    def score(self, batch: Batch) -> Scored:
        """Loss of each stay [B] with its parts, and logits and labels [B, L], NaN where a stay is not eligible."""
        output = self.model(batch, self.stage.inputs)
        assert output.nll is not None
        bce = F.binary_cross_entropy_with_logits(
            output.logits, batch.labels, pos_weight=self.positive, reduction="none"
        )
        bce = bce.mean(1) if self.whole else (bce * batch.eligible).sum(1) / batch.eligible.sum(1).clamp_min(1)
        loss = output.nll + self.stage.label_weight * bce
        parts = {"nll": output.nll, "bce": bce}
        if self.stage.token_weight:
            parts["kl"] = torch.zeros_like(bce) if output.kl is None else output.kl
            loss = loss + self.stage.token_weight * parts["kl"]
        return Scored(loss, parts, {"logits": output.logits, "labels": batch.labels.where(batch.eligible, torch.nan)})

    def metrics(self, outputs: dict[str, Tensor]) -> dict[str, float]:
        """Mean loss and parts, and the AUROC of each label and their mean."""
        labels, logits = outputs["labels"].numpy(), outputs["logits"].numpy()
        scores = {name: float(outputs[name].mean()) for name in ("loss", "nll", "bce", "kl") if name in outputs}
        scores["macro_auroc"] = macro_auroc(labels, logits)
        areas = aurocs(labels, logits)
        return scores | {
            f"auroc/{key}": area for key, area in zip(self.model.labels, areas, strict=True) if np.isfinite(area)
        }

    def afterwards(self, data: StayDataset) -> float:
        """Estimated seconds for fitting the linear probes."""
        if not self.stage.linear_probes:
            return 0.0
        seconds = expected_seconds(self.model, data, self.stage.inputs)
        return seconds if self.stage.freshness == "none" else WEIGHED * seconds

    def groups(self) -> list[dict[str, Any]]:
        """Weights of the language model with their own learning rate; no weight decay on vectors."""
        rates = self.model.config
        groups: dict[tuple[bool, bool], list[Tensor]] = {}
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                pretrained = name.startswith("language_model.")
                groups.setdefault((pretrained, parameter.ndim >= 2), []).append(parameter)
        return [
            {
                "params": parameters,
                "lr": rates.learning_rate if pretrained else rates.learning_rate_new,
                "weight_decay": self.stage.weight_decay if decayed else 0.0,
            }
            for (pretrained, decayed), parameters in groups.items()
        ]


def positive_weights(labels: np.ndarray, kind: ClassWeights, eligible: np.ndarray | None = None) -> Tensor | None:
    """Weights of present phenotypes, higher for rare ones: ``balanced`` is absent / present, ``sqrt`` its root.

    Args:
        labels: bool [n, phenotypes], of the training stays.
        kind: ``none``, ``sqrt`` or ``balanced``.
        eligible: bool [n, phenotypes], the stays that count for each phenotype; all by default.

    Returns:
        float32 [phenotypes], at most 20 and at least 1; None for ``none``.
    """
    if kind == "none":
        return None
    eligible = np.ones_like(labels, dtype=bool) if eligible is None else eligible
    present = (labels & eligible).sum(0).clip(1)
    ratio = torch.from_numpy((eligible.sum(0) - present) / present).float()
    return (ratio.sqrt() if kind == "sqrt" else ratio).clamp(1, 20)


def aurocs(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """AUROC of each phenotype, NaN where one class is absent.

    Args:
        labels: [n, phenotypes], 0 or 1; NaN where a stay is not eligible.
        scores: [n, phenotypes], higher where a phenotype is more likely.
    """
    from sklearn.metrics import roc_auc_score  # imported at the end of the first epoch, since it takes two seconds

    def area(gold: np.ndarray, ranked: np.ndarray) -> float:
        defined = ~np.isnan(gold)
        return roc_auc_score(gold[defined], ranked[defined]) if {0.0, 1.0} <= set(gold[defined].tolist()) else np.nan

    labels = labels.astype(float)
    return np.array([area(labels[:, i], scores[:, i]) for i in range(labels.shape[1])])


def macro_auroc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Mean AUROC over the phenotypes that have both classes; 0.5 if none has."""
    outputs = aurocs(labels, scores)
    return float(np.nanmean(outputs)) if np.isfinite(outputs).any() else 0.5
