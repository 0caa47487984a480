"""The one Lightning module: every stage is this module with other data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from sklearn.metrics import roc_auc_score
from torch import Tensor

from clinragen.data.batch import Batch
from clinragen.errors import UserError
from clinragen.model.clinragen import ClinRaGen, Output
from clinragen.model.config import ModelConfig
from clinragen.stages.plan import StageConfig


class StageModule(pl.LightningModule):
    """Trains a :class:`ClinRaGen` on ``nll(targets) + label_weight * bce(labels)``."""

    def __init__(self, model: ClinRaGen, stage: StageConfig, total_steps: int):
        super().__init__()
        self.model = model
        self.stage = stage
        self.rates: ModelConfig = model.config
        self.total_steps = total_steps
        self.validation: list[tuple[Tensor, Tensor, Tensor]] = []
        for part in stage.frozen:
            getattr(model, part).requires_grad_(False)

    def on_train_epoch_start(self) -> None:
        # Chance (dropout) depends on seed, epoch and process alone, so that a resumed run equals an uninterrupted one.
        origin = np.random.SeedSequence([self.stage.seed, self.current_epoch, self.global_rank])
        torch.manual_seed(int(origin.generate_state(1)[0]))
        for part in self.stage.frozen:  # no dropout in what rests
            getattr(self.model, part).eval()

    def training_step(self, batch: Batch, index: int) -> Tensor:
        output = self.model(batch, self.stage.inputs)
        nll, bce = self._losses(output, batch)
        loss = nll + self.stage.label_weight * bce
        if not torch.isfinite(loss):
            raise UserError(f"the loss is not finite at stays {batch.stay_ids.tolist()}: lower model.learning_rate")
        values = {"train/nll": nll, "train/bce": bce, "train/loss": loss}
        self.log_dict(values, batch_size=len(batch), on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: Batch, index: int) -> None:
        output = self.model(batch, self.stage.inputs)
        assert output.nll is not None
        self.validation.append((output.nll.float().cpu(), output.logits.float().cpu(), batch.labels.cpu()))

    def on_validation_epoch_end(self) -> None:
        nll, logits, labels = (torch.cat(parts) for parts in zip(*self.validation, strict=True))
        self.validation.clear()
        bce = F.binary_cross_entropy_with_logits(logits, labels)
        self.log_dict(
            {
                "validation/nll": nll.mean(),
                "validation/bce": bce,
                "validation/loss": nll.mean() + self.stage.label_weight * bce,
                "validation/macro_auroc": macro_auroc(labels.numpy(), logits.numpy()),
            },
            prog_bar=True,
        )

    def configure_optimizers(self) -> Any:
        """AdamW with linear warm-up and decay; weights of the language model at a rate of their own."""
        groups: dict[tuple[bool, bool], list[Tensor]] = {}
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                pretrained = name.startswith("language_model.")
                groups.setdefault((pretrained, parameter.ndim >= 2), []).append(parameter)
        optimizer = torch.optim.AdamW(
            [
                {
                    "params": parameters,
                    "lr": self.rates.learning_rate if pretrained else self.rates.learning_rate_new,
                    "weight_decay": self.stage.weight_decay if decayed else 0.0,
                }
                for (pretrained, decayed), parameters in groups.items()
            ]
        )
        warmup = max(1, round(self.stage.warmup * self.total_steps))

        def factor(step: int) -> float:
            if step < warmup:
                return (step + 1) / warmup
            return max(0.02, (self.total_steps - step) / max(1, self.total_steps - warmup))

        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    @staticmethod
    def _losses(output: Output, batch: Batch) -> tuple[Tensor, Tensor]:
        assert output.nll is not None
        return output.nll.mean(), F.binary_cross_entropy_with_logits(output.logits, batch.labels)


def macro_auroc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Mean AUROC over the phenotypes that have both classes; 0.5 when none has.

    Args:
        labels, scores: [n, phenotypes].
    """
    both = (labels.min(0) == 0) & (labels.max(0) == 1)
    if not both.any():
        return 0.5
    return float(np.mean([roc_auc_score(labels[:, i], scores[:, i]) for i in np.flatnonzero(both)]))
