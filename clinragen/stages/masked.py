"""Masked-patch modelling of the series encoder: mask patches, and reconstruct them from the rest of the variable.

Masks are drawn from seed, epoch and stay, so they do not depend on batching, and the masks of validation never change.
Only measured values are targets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset

from clinragen.cohort.folder import Cohort
from clinragen.data.series import SeriesStatistics, grid
from clinragen.model.config import ModelConfig
from clinragen.model.series_encoder import SeriesEncoder
from clinragen.stages.config import StageConfig
from clinragen.stages.loop import Objective, Scored


class Hidden(NamedTuple):
    """Stays [B], standardised values and observed mask [B, V, T], and which measurements are masked [B, V, T]."""

    stay_ids: Tensor
    values: Tensor
    observed: Tensor
    hidden: Tensor


class MaskedStays(Dataset[Hidden]):
    """The series of some stays, each with patches to mask."""

    def __init__(self, cohort: Cohort, split: str, statistics: SeriesStatistics, patch_hours: int, stage: StageConfig):
        self.stay_ids = cohort.split(split)
        values = grid(cohort, self.stay_ids, statistics.variables, statistics.window)
        self.values, self.observed = statistics.standardise(values)
        self.patch_hours = patch_hours
        self.stage = stage
        self.epoch = 0

    def begin(self, epoch: int) -> None:
        """Start an epoch of training."""
        self.epoch = epoch + 1

    def length(self, index: int) -> int:
        """The same for all stays."""
        return self.values.shape[-1]

    def __len__(self) -> int:
        return len(self.stay_ids)

    def __getitem__(self, index: int) -> Hidden:
        observed = self.observed[index]
        variables, hours = observed.shape
        random = np.random.default_rng([self.stage.seed, self.epoch, int(self.stay_ids[index])])
        mask = random.random((variables, -(-hours // self.patch_hours))) < self.stage.masked
        mask = np.repeat(mask, self.patch_hours, axis=1)[:, :hours]
        return Hidden(self.stay_ids[index], self.values[index], observed & ~mask, observed & mask)


def collate(stays: Sequence[Hidden]) -> Hidden:
    """Stack stays."""
    return Hidden(*(torch.from_numpy(np.stack(columns)) for columns in zip(*stays, strict=True)))


class MaskedPatches(Objective):
    """Huber loss of the masked values of each stay, predicted from the patch's token and the summary token."""

    def __init__(self, config: ModelConfig, statistics: SeriesStatistics, stage: StageConfig):
        super().__init__()
        self.config = config
        self.stage = stage
        self.encoder = SeriesEncoder(config.series, statistics)
        self.decoder = nn.Linear(2 * config.series.d_model, config.series.patch_hours)

    def score(self, batch: Hidden) -> Scored:
        """Loss of each stay [B] over its masked values, with squared error, variance and count [B] for the metrics."""
        values = torch.where(batch.observed, batch.values, 0)
        tokens = self.encoder(values, batch.observed).tokens
        patches, summary = (
            tokens[:, :, : self.encoder.patches],
            tokens[:, :, self.encoder.patches :].mean(2, keepdim=True),
        )
        filled = self.decoder(torch.cat([patches, summary.expand_as(patches)], dim=-1)).flatten(-2)
        filled = filled[..., : batch.values.shape[-1]].float()
        count = batch.hidden.flatten(1).sum(1).clamp_min(1)

        def mean(errors: Tensor) -> Tensor:
            return (errors * batch.hidden).flatten(1).sum(1) / count

        error = mean((filled - batch.values) ** 2)
        loss = mean(F.huber_loss(filled, batch.values, reduction="none"))
        return Scored(loss, {"squared_error": error}, {"variance": mean(batch.values**2), "count": count})

    def metrics(self, outputs: dict[str, Tensor]) -> dict[str, float]:
        """Mean loss, and the explained share of the variance of masked values."""
        count = outputs["count"]
        left = (outputs["squared_error"] * count).sum() / (outputs["variance"] * count).sum().clamp_min(1e-9)
        return {"loss": float(outputs["loss"].mean()), "explained": float(1 - left)}

    def groups(self) -> list[dict[str, Any]]:
        """Parameter groups of the optimiser: weight decay for matrices, none for vectors and scalars."""
        parameters = [p for p in self.parameters() if p.requires_grad]
        rate = self.config.learning_rate_new
        return [
            {"params": [p for p in parameters if p.ndim >= 2], "lr": rate, "weight_decay": self.stage.weight_decay},
            {"params": [p for p in parameters if p.ndim < 2], "lr": rate, "weight_decay": 0.0},
        ]
