"""Examples and objective of several tasks, each with an objective of its own over the same weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from clinragen.data.batch import Batch
from clinragen.data.dataset import StayDataset
from clinragen.model.clinragen import ClinRaGen
from clinragen.stages.loop import Examples, Objective, Scored
from clinragen.stages.module import StageModule


class Example(NamedTuple):
    """One example: its row in the mixture, its task, and the example of the task."""

    row: int
    task: str
    item: Any


class Mixture(Dataset[Example]):
    """The examples of several tasks as one set: those of the first task, then those of the next.

    Args:
        parts: the examples of each task.
    """

    def __init__(self, parts: Mapping[str, Examples]) -> None:
        self.parts = dict(parts)
        self._names = list(parts)
        self._ends = np.cumsum([len(part) for part in parts.values()])

    def _example(self, index: int) -> tuple[str, int]:
        number = int(np.searchsorted(self._ends, index, side="right"))
        return self._names[number], int(index - (self._ends[number - 1] if number else 0))

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> Example:
        task, row = self._example(index)
        return Example(index, task, self.parts[task][row])

    def length(self, index: int) -> int:
        """Tokens of an example."""
        task, row = self._example(index)
        return self.parts[task].length(row)

    def begin(self, epoch: int) -> None:
        """Start an epoch of training."""
        for part in self.parts.values():
            part.begin(epoch)


class Mixed(NamedTuple):
    """A batch of B examples: their rows in the mixture [B], and the batch of each task that has some, in that order."""

    stay_ids: Tensor
    parts: list[tuple[str, Any]]


def collate(examples: Sequence[Example], collates: Mapping[str, Callable[[list[Any]], Any]]) -> Mixed:
    """Stack the examples of each task by its own function."""
    by_task: dict[str, list[Example]] = {}
    for example in examples:
        by_task.setdefault(example.task, []).append(example)
    rows = [example.row for some in by_task.values() for example in some]
    parts = [(task, collates[task]([example.item for example in some])) for task, some in by_task.items()]
    return Mixed(torch.tensor(rows), parts)


class CaptionSeries(Objective):
    """Negative log-likelihood of the series in words, given its prompts.

    Args:
        model: the student, instructed to write captions.
    """

    def __init__(self, model: ClinRaGen) -> None:
        super().__init__()
        self.model = model

    def score(self, batch: Batch) -> Scored:
        """Loss of each stay [B]."""
        nll = self.model(batch, ["series"]).nll
        assert nll is not None
        return Scored(nll, {}, {})

    def groups(self) -> list[dict[str, Any]]:
        """None: all weights are those of a task with labels."""
        return []


class SeveralTasks(Objective):
    """Minimises the loss of each task on its examples. In validation each task counts with its weight.

    Args:
        objectives: of each task; they share weights.
        weights: of each task.
    """

    def __init__(self, objectives: Mapping[str, Objective], weights: Mapping[str, float]) -> None:
        super().__init__()
        self.objectives = nn.ModuleDict(objectives)
        self.weights = dict(weights)
        labels = {name: len(one.model.labels) for name, one in objectives.items() if isinstance(one, StageModule)}
        ends = np.cumsum([*labels.values()]).tolist()
        #: the columns of each task with labels among those of all tasks
        self.columns = {name: slice(end - labels[name], end) for name, end in zip(labels, ends, strict=True)}

    def freeze(self) -> None:
        """Put the frozen parts in evaluation mode."""
        for objective in self._each().values():
            objective.freeze()

    def score(self, batch: Mixed) -> Scored:
        """Loss of each example [B]; its task by number [B], and logits and labels of all tasks [B, L], else NaN."""
        names = list(self.objectives)
        scored = {task: self._each()[task].score(part) for task, part in batch.parts}
        numbers = [torch.full_like(one.loss, names.index(task)) for task, one in scored.items()]
        evidence = {
            name: torch.cat([self._widened(one, task, name) for task, one in scored.items()])
            for name in ("logits", "labels")
        }
        loss = torch.cat([one.loss for one in scored.values()])
        return Scored(loss, {}, {"task": torch.cat(numbers), **evidence})

    def metrics(self, outputs: dict[str, Tensor]) -> dict[str, float]:
        """Loss and mean AUROC over the tasks, and the metrics of each task under ``TASK/``."""
        metrics: dict[str, float] = {}
        for number, (task, objective) in enumerate(self._each().items()):
            mine = outputs["task"] == number
            some = {"loss": outputs["loss"][mine]}
            if columns := self.columns.get(task):
                some |= {name: outputs[name][mine][:, columns] for name in ("logits", "labels")}
            metrics |= {f"{task}/{name}": value for name, value in objective.metrics(some).items()}
        total = sum(self.weights.values())
        loss = sum(weight * metrics[f"{task}/loss"] for task, weight in self.weights.items()) / total
        areas = [metrics[f"{task}/macro_auroc"] for task in self.columns]
        return {"loss": loss, **({"macro_auroc": float(np.mean(areas))} if areas else {}), **metrics}

    def groups(self) -> list[dict[str, Any]]:
        """Parameter groups of the optimiser: of shared weights, those of the first task that has them."""
        groups, grouped = [], set()
        for objective in self._each().values():
            for group in objective.groups():
                new = [parameter for parameter in group["params"] if id(parameter) not in grouped]
                grouped.update(map(id, new))
                if new:
                    groups.append({**group, "params": new})
        return groups

    def afterwards(self, data: Mixture) -> float:
        """Estimated seconds for fitting the linear probes of each task."""
        parts = ((task, part) for task, part in data.parts.items() if isinstance(part, StayDataset))
        return sum(self._each()[task].afterwards(part) for task, part in parts)

    def _each(self) -> dict[str, Any]:
        return dict(self.objectives.items())

    def _widened(self, scored: Scored, task: str, name: str) -> Tensor:
        """The evidence of a task, [B, labels of the task], among the columns of all tasks, [B, L]."""
        width = max((columns.stop for columns in self.columns.values()), default=0)
        wide = scored.loss.new_full((len(scored.loss), width), torch.nan)
        if columns := self.columns.get(task):
            wide[:, columns] = scored.evidence[name].to(wide)
        return wide
