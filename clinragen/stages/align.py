"""The objective of stage `align`: note and series of a stay are found from each other, before any label is learned."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor

from clinragen.data.batch import Batch
from clinragen.data.dataset import StayDataset
from clinragen.errors import UserError
from clinragen.model.alignment import (
    Alignment,
    Shape,
    contrast,
    overlap,
    prototype_contrast,
    ranks,
    token_contrast,
)
from clinragen.model.clinragen import ClinRaGen
from clinragen.stages.config import StageConfig
from clinragen.stages.ensemble import features
from clinragen.stages.loop import Objective, Scored

DISTINCT = 0.5  # least share of training notes that differ: of the same notes none can be found


class AlignModule(Objective):
    """Contrastive losses of whole stays, of tokens and of prototypes, weighted.

    Args:
        student: whose language model and series encoder read; its head is not trained.
        alignment: into one space.
        stage: with ``align`` set.
        data: the stays, whose patients are told apart.
    """

    ids: Tensor
    whose: Tensor

    def __init__(self, student: ClinRaGen, alignment: Alignment, stage: StageConfig, data: dict[str, StayDataset]):
        super().__init__()
        assert stage.align is not None, "the stage aligns"
        self.student, self.alignment, self.stage, self.align = student, alignment, stage, stage.align
        student.head.requires_grad_(False)
        if not alignment.shape.network:
            student.requires_grad_(False)
        ids = np.concatenate([stays.stay_ids for stays in data.values()])
        whose = np.unique(np.concatenate([stays.patients for stays in data.values()]), return_inverse=True)[1]
        order = np.argsort(ids)
        self.register_buffer("ids", torch.from_numpy(ids[order].astype(np.int64)), persistent=False)
        self.register_buffer("whose", torch.from_numpy(whose[order]), persistent=False)

    def score(self, batch: Batch) -> Scored:
        """Losses of each stay among those of its batch."""
        align, patients = self.align, self.whose[torch.searchsorted(self.ids, batch.stay_ids)]
        read = self.alignment.states(self.student, batch, write=align.caption > 0)
        note, series = self.alignment.note(read[0]), self.alignment.series(read[1])
        soft = overlap(batch.mentions, patients, align.soft_negatives) if align.soft_negatives else None
        similar = self.alignment.factor * (note.vector @ series.vector.T)
        parts = {"instance": contrast(similar, patients, soft)}
        if align.token:
            both = [token_contrast(*sides, align.token_temperature) for sides in ((note, series), (series, note))]
            parts["token"] = (both[0] + both[1]) / 2
        if align.prototype:
            parts["prototype"] = prototype_contrast(
                note.vector, series.vector, self.alignment.prototypes, align.prototype_temperature
            )
        if read[2] is not None:
            parts["caption"] = read[2]
        loss = sum((getattr(align, name) * part for name, part in parts.items()), torch.zeros_like(parts["instance"]))
        return Scored(loss, parts, {"note": note.vector, "series": series.vector, "patients": patients})

    def metrics(self, outputs: dict[str, Tensor]) -> dict[str, float]:
        """The loss of whole stays among all at once, and how often a stay is among the ten nearest, both ways."""
        patients = outputs["patients"].long()
        notes, series = outputs["note"], outputs["series"]
        similar = self.alignment.factor.detach().cpu() * (notes @ series.T)
        forth, back = ranks(notes, series, patients)
        parts = {name: float(outputs[name].mean()) for name in ("token", "prototype", "caption") if name in outputs}
        return parts | {
            "loss": float(contrast(similar, patients).mean()),
            "recall_at_10": float(((forth < 10).float().mean() + (back < 10).float().mean()) / 2),
        }

    def groups(self) -> list[dict[str, Any]]:
        """Matrices of the alignment alone are decayed as the stage says: the rest starts from weights worth keeping."""
        rates = self.student.config
        linear = {id(p) for p in (self.alignment.terms, self.alignment.mentions.weight, self.alignment.bins.weight)}
        trained = [(name, p) for name, p in self.named_parameters() if p.requires_grad]
        shared = [p for name, p in trained if name.startswith("student.language_model.")]
        decayed = [p for _, p in trained if id(p) in linear]
        others = [p for name, p in trained if id(p) not in linear and not name.startswith("student.language_model.")]
        groups = (
            (shared, rates.learning_rate, 0.0),
            (decayed, self.align.rate, self.stage.weight_decay),
            (others, rates.learning_rate_new, 0.0),
        )
        return [{"params": p, "lr": rate, "weight_decay": decay} for p, rate, decay in groups if p]


def aligner(student: ClinRaGen, stage: StageConfig, data: dict[str, StayDataset]) -> AlignModule:
    """The objective for a student, whose features are weighed as they vary among the training stays.

    Raises:
        UserError: the notes are too alike to tell stays apart.
    """
    assert stage.align is not None, "the stage aligns"
    train = data["train"]
    notes = {tuple(train.notes[row]) for row in range(len(train))}
    if len(notes) < DISTINCT * len(train):
        raise UserError(
            f"{train.cohort.paths.notes}: {len(train):,} training stays have only {len(notes):,} different notes: a "
            f"stay cannot be found by a note that others have too, so stage 'align' learns nothing"
        )
    align = stage.align
    alignment = Alignment(
        Shape.of(student, align.dim, align.prototypes if align.prototype else 0, align.network),
        align.dropout, align.temperature,
    )  # fmt: skip
    words, bins = csr_matrix(features(student, train, "note")), np.asarray(features(student, train, "series"))
    mean = np.asarray(words.mean(0)).ravel()
    spread = np.sqrt(np.maximum(np.asarray(words.multiply(words).mean(0)).ravel() - mean**2, 0))
    count = [alignment.shape.terms]
    alignment.standardise(*(
        [torch.from_numpy(part.astype(np.float32)) for part in (*np.split(of_words, count), of_bins)]
        for of_words, of_bins in ((mean, bins.mean(0)), (spread, bins.std(0)))
    ))  # fmt: skip
    return AlignModule(student, alignment, stage, data)
