"""PyHealth's models as rows of ``prescription.py``: new starts of drug classes, by its stock models and trainer.

They read what the regressions read: classes ordered so far and classes taken at home, the words of the note, and
statistics of the series. Its recommenders of drugs (GAMENet, MICRON, MoleRec, SafeDrug) are no rows: they predict all
drugs of a visit from diagnoses and procedures coded after its end, which nobody has at the prediction time.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

if TYPE_CHECKING:
    from prescription import Split

CODES = ("ordered", "at_home", "words")
LABEL = "started"
#: a word that fewer training stays have, as a class that fewer have had, is not read
FEW = 3
WORD = re.compile(r"\w\w+")


def pyhealth(name: str, statistics: Callable[[Split], np.ndarray]) -> Callable[[Split], np.ndarray]:
    """A model of PyHealth by its own trainer; of its epochs the one with the least validation loss counts.

    Args:
        name: of the class in ``pyhealth.models``.
        statistics: those of the series of each stay, scaled, [n, features].
    """

    def run(split: Split) -> np.ndarray:
        from pyhealth import models
        from pyhealth.datasets import get_dataloader
        from pyhealth.trainer import Trainer

        torch.manual_seed(0)
        data = _datasets(split, statistics(split))
        loaders = {part: get_dataloader(data[part], batch_size=32, shuffle=part == "train") for part in data}
        model: Any = getattr(models, name)(dataset=data["train"])
        model.get_loss_function = lambda: _loss
        model.mode = None  # the trainer then asks for the loss alone: other metrics would count what is not eligible
        trainer: Any = Trainer(model=model, device="cpu", enable_logging=False)
        trainer.train(
            loaders["train"],
            loaders["validation"],
            epochs=60,
            patience=5,
            optimizer_params={"lr": 1e-3},
            weight_decay=1e-4,
            monitor="loss",
            monitor_criterion="min",
        )
        scores = np.zeros((split.stays.height, len(split.keys)))
        scores[split.rows("test")] = trainer.inference(loaders["test"])[1]
        return scores

    return run


def _loss(logits: torch.Tensor, started: torch.Tensor) -> torch.Tensor:
    """Cross-entropy over eligible classes: those ordered before are NaN, and no negatives."""
    eligible = ~started.isnan()
    return binary_cross_entropy_with_logits(logits[eligible], started[eligible])


def _datasets(split: Split, statistics: np.ndarray) -> dict[str, Any]:
    """A dataset for each split of the cohort, by processors fitted on its training stays."""
    from pyhealth.datasets import create_sample_dataset
    from pyhealth.processors import MultiLabelProcessor, SequenceProcessor, TensorProcessor

    class Started(MultiLabelProcessor):  # type: ignore[misc]
        """Labels that may be missing, which PyHealth's own cannot be."""

        def process(self, value: Any) -> torch.Tensor:
            return torch.tensor(value)

    samples = _samples(split, statistics)
    inputs: dict[str, Any] = {**{feature: SequenceProcessor() for feature in CODES}, "series": TensorProcessor()}
    train = [sample for sample, use in zip(samples, split.rows("train"), strict=True) if use]
    for feature, processor in inputs.items():
        processor.fit(train, feature)
    labels = Started()
    labels.fit([{LABEL: list(range(len(split.keys)))}], LABEL)
    return {
        part: create_sample_dataset(
            [sample for sample, use in zip(samples, split.rows(part), strict=True) if use],
            {**dict.fromkeys(CODES, "sequence"), "series": "tensor"},
            {LABEL: "multilabel"},
            input_processors=dict(inputs),
            output_processors={LABEL: labels},
        )
        for part in ("train", "validation", "test")
    }


def _samples(split: Split, statistics: np.ndarray) -> list[dict[str, Any]]:
    keys = np.array(split.keys)
    codes = {
        "ordered": [keys[row].tolist() for row in split.history.ordered],
        "at_home": [keys[row].tolist() for row in split.history.at_home],
        "words": [list(dict.fromkeys(WORD.findall(text.lower()))) for text in split.texts],
    }
    for feature, rows in codes.items():
        counts = Counter(code for row, use in zip(rows, split.rows("train"), strict=True) if use for code in row)
        codes[feature] = [["any", *(code for code in row if counts[code] >= FEW)] for row in rows]  # none is empty
    started = np.where(split.labels.eligible, split.labels.present, np.nan).astype(np.float32)
    return [
        {
            "patient_id": str(subject),
            "visit_id": str(stay),
            **{feature: rows[number] for feature, rows in codes.items()},
            "series": statistics[number].tolist(),
            LABEL: started[number].tolist(),
        }
        for number, (subject, stay) in enumerate(split.stays.select("subject_id", "stay_id").iter_rows())
    ]
