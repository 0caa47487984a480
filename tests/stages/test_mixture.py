"""Which tasks are learned with which weights, and the batches and metrics of several."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from clinragen import tasks
from clinragen.choices import WITHOUT_LABELS
from clinragen.errors import UserError
from clinragen.stages.config import resolve, shaping
from clinragen.stages.loop import Objective, Scored
from clinragen.stages.mixed import Mixture, SeveralTasks, collate
from clinragen.stages.mixture import as_settings, instruction


def test_a_mixture_is_written_as_text_or_as_a_mapping():
    expected = ["stage.mixture.diagnosis=1", "stage.mixture.ask=0.5"]
    assert as_settings("diagnosis,ask=0.5") == as_settings({"diagnosis": 1, "ask": 0.5}) == expected
    for text in ("", "diagnosis,,ask", "=1", "ask="):
        with pytest.raises(UserError, match="expected names with weights"):
            as_settings(text)


def test_weights_are_settings_of_the_stage_and_part_of_its_identity():
    one, other = (resolve("generalist", "tiny", "evidence", as_settings(f"diagnosis,captions={w}")) for w in (1, 2))
    assert one.stage.mixture == {"diagnosis": 1, "captions": 1}
    assert shaping(one) != shaping(other)
    assert "mixture" not in shaping(resolve("notes", "tiny", "evidence", []))["stage"]
    with pytest.raises(UserError, match=r"no stage\.refine"):
        resolve("generalist", "tiny", "evidence", ["stage.parent=notes"])


def test_every_task_has_words_of_its_own():
    words = [instruction(name) for name in (*tasks.names(), *WITHOUT_LABELS)]
    assert len({*words}) == len(words)
    assert all(words)


class Numbers:
    """Examples that are numbers."""

    def __init__(self, *numbers: int) -> None:
        self.numbers, self.epochs = numbers, []

    def begin(self, epoch: int) -> None:
        self.epochs.append(epoch)

    def length(self, index: int) -> int:
        return 10 * self.numbers[index]

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> int:
        return self.numbers[index]


def test_a_batch_of_several_tasks_is_stacked_task_by_task():
    parts = {"first": Numbers(3, 5), "second": Numbers(7, 8, 9)}
    mixture = Mixture(parts)
    assert [mixture.length(row) for row in range(len(mixture))] == [30, 50, 70, 80, 90]
    mixture.begin(4)
    assert [part.epochs for part in parts.values()] == [[4], [4]]
    batch = collate([mixture[row] for row in (4, 0, 2, 1)], {"first": tuple, "second": sum})
    assert batch.stay_ids.tolist() == [4, 2, 0, 1]
    assert batch.parts == [("second", 16), ("first", (3, 5))]


class Times(Objective):
    """The loss of a number is a weight times it."""

    def __init__(self, weight: nn.Parameter, rate: float) -> None:
        super().__init__()
        self.weight, self.rate = weight, rate

    def score(self, batch) -> Scored:
        return Scored(self.weight * torch.tensor([float(number) for number in batch]), {}, {})

    def groups(self):
        return [{"params": [self.weight], "lr": self.rate}]


def test_losses_are_those_of_each_task_and_validation_weighs_the_tasks():
    one, two = nn.Parameter(torch.tensor(1.0)), nn.Parameter(torch.tensor(10.0))
    objective = SeveralTasks({"a": Times(one, 0.1), "b": Times(two, 0.2)}, {"a": 3, "b": 1})
    mixture = Mixture({"a": Numbers(1, 2), "b": Numbers(5, 7)})
    scored = objective.score(collate([mixture[row] for row in (3, 0, 1, 2)], {"a": tuple, "b": tuple}))
    assert scored.loss.tolist() == [70, 50, 1, 2]
    metrics = objective.metrics({"loss": scored.loss.detach(), **scored.evidence})
    assert (metrics["a/loss"], metrics["b/loss"]) == (1.5, 60)
    assert metrics["loss"] == pytest.approx((3 * 1.5 + 60) / 4)
    assert "macro_auroc" not in metrics
    objective.score(collate([mixture[1], mixture[0]], {"a": tuple})).loss.sum().backward()
    assert (one.grad, two.grad) == (3, None)  # a step of one task leaves the others' own weights alone


def test_shared_weights_are_in_one_group():
    shared = nn.Parameter(torch.tensor(1.0))
    objective = SeveralTasks({"a": Times(shared, 0.1), "b": Times(shared, 0.2)}, {"a": 1, "b": 1})
    assert objective.groups() == [{"params": [shared], "lr": 0.1}]
    assert np.isclose(sum(weight.numel() for weight in objective.parameters()), 1)
