"""The objective of the stage ``refine``: the student's own best rationales, and the best against the worst.

Rejection-sampling fine-tuning (Touvron et al. 2023) learns the best sample where it is sound. Direct preference
optimisation (Rafailov et al. 2023) raises the probability of the best beside that of the worst, relative to the parent.
Both together are the loss of Pang et al. (2024).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from clinragen.data.batch import IGNORED
from clinragen.data.dataset import StayDataset
from clinragen.model.clinragen import ClinRaGen
from clinragen.stages.config import RefineConfig, StageConfig
from clinragen.stages.loop import Scored
from clinragen.stages.module import StageModule
from clinragen.stages.preferences import Pairs


class RefineModule(StageModule):
    """Trains the language model of a student on pairs, and keeps its label head's probabilities.

    ``rft`` is the mean negative log-likelihood of the better target's tokens where it is sound, ``dpo`` the preference
    loss. What shapes the head's inputs is frozen where that can be; where it cannot, in a causal model, ``drift`` (the
    divergence from the parent's label probabilities) counts with ``label_weight``. There is no dropout, nor was there
    any when the parent's probabilities were computed.
    """

    def __init__(self, model: ClinRaGen, stage: StageConfig, refine: RefineConfig):
        super().__init__(model, stage)
        self.refine = refine
        model.language_model.freeze_reading()

    def freeze(self) -> None:
        """No part has dropout."""
        self.model.eval()

    def score(self, batch: Pairs) -> Scored:  # type: ignore[override]
        """Loss of each pair [B] with its parts; ``preferred`` says whether the better target became likelier."""
        log_probs, nll, logits = self.read(batch)
        losses = {"rft": nll[:, 0] * batch.sound, "dpo": dpo(log_probs, batch.log_probs, self.refine.beta)}
        methods = ("rft", "dpo") if self.refine.method == "both" else (self.refine.method,)
        drift = divergence(logits, batch.logits)
        loss = sum((losses[method] for method in methods), self.stage.label_weight * drift)
        preferred = (margin(log_probs, batch.log_probs) > 0).float()
        return Scored(loss, {**losses, "drift": drift, "preferred": preferred}, {})

    def read(self, batch: Pairs) -> tuple[Tensor, Tensor, Tensor]:
        """Log-probability and mean negative log-likelihood of both targets, [B, 2] each; label logits [B, L]."""
        output = self.model(batch.stays, self.stage.inputs)
        assert output.nll is not None
        tokens = (batch.stays.target_ids != IGNORED).sum(1)
        size = len(batch.sound)
        nll = torch.stack([output.nll[:size], output.nll[size:]], dim=1)
        counts = torch.stack([tokens[:size], tokens[size:]], dim=1)
        return -nll * counts, nll, output.logits[:size]

    def metrics(self, outputs: dict[str, Tensor]) -> dict[str, float]:
        """Means of the loss and its parts."""
        return {name: float(values.mean()) for name, values in outputs.items()}

    def afterwards(self, data: StayDataset) -> float:
        """Nothing is fitted after training."""
        return 0.0

    def groups(self) -> list[dict[str, Any]]:
        """Parameter groups at a part of the parent's learning rate."""
        return [{**group, "lr": group["lr"] * self.refine.rate} for group in super().groups()]


def margin(log_probs: Tensor, reference: Tensor) -> Tensor:
    """By how much more the better target gained on its reference than the worse, [B].

    Args:
        log_probs: of better and worse targets, [B, 2].
        reference: the same of the frozen parent, [B, 2].
    """
    gained = log_probs - reference
    return gained[:, 0] - gained[:, 1]


def dpo(log_probs: Tensor, reference: Tensor, beta: float) -> Tensor:
    """The preference loss of each pair, [B]: ``-log sigmoid(beta * margin)``; see :func:`margin`."""
    return -F.logsigmoid(beta * margin(log_probs, reference))


def divergence(logits: Tensor, reference: Tensor) -> Tensor:
    """KL from the parent's label probabilities to the student's, mean over labels, [B]; 0 where nothing has changed.

    Args:
        logits: of the student, [B, L].
        reference: of the parent, [B, L].
    """
    parent = reference.sigmoid()
    cross = F.binary_cross_entropy_with_logits(logits, parent, reduction="none")
    entropy = F.binary_cross_entropy_with_logits(reference, parent, reduction="none")
    return (cross - entropy).mean(1)
