"""Checkpoint of an unfinished run: one safetensors file with trained weights, optimiser state and position.

The file is complete or absent, so a run killed at any moment resumes at the last step that was written.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from clinragen.errors import UserError
from clinragen.model.head import todays_weight
from clinragen.tensors import write_tensors

MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # AdamW's moments


@dataclass
class TrainState:
    """Position and history of a run.

    Attributes:
        epoch, step: finished epochs, and optimiser steps in the current one.
        sums: sums of the losses of its stays so far, and their number under ``stays``.
        history: the metrics of each finished epoch.
        best, best_epoch: the monitored metric of the best epoch so far.
        seconds: training time so far.
    """

    epoch: int = 0
    step: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)
    best: float | None = None
    best_epoch: int = -1
    seconds: float = 0.0

    def found(self, monitor: str) -> dict[str, float]:
        """The best epoch of a run that is over, and what it reached by the monitored metric."""
        assert self.best is not None, "no epoch was finished"
        return {"epoch": self.best_epoch, monitor: self.best}


def trained(model: nn.Module) -> dict[str, Tensor]:
    """The trainable parameters by name."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def _whole(tensor: Tensor) -> Tensor:
    """A copy of a tensor on the CPU, gathered if it is sharded over processes."""
    if isinstance(tensor, DTensor):
        tensor = tensor.full_tensor()
    return tensor.detach().cpu().clone().contiguous()


def _put(target: Tensor, value: Tensor) -> None:
    if isinstance(target, DTensor):
        value = distribute_tensor(value.to(target.device), target.device_mesh, target.placements)
    target.copy_(value)


def save(
    path: Path, state: TrainState, model: nn.Module, optimizer: torch.optim.Optimizer | None, *, write: bool = True
) -> None:
    """Write a checkpoint. All processes must call this; only one with ``write``."""
    tensors = {f"model.{name}": _whole(parameter) for name, parameter in trained(model).items()}
    if optimizer is not None:
        for name, parameter in trained(model).items():
            for moment in MOMENTS:
                if moment in (moments := optimizer.state.get(parameter, {})):
                    tensors[f"{moment}.{name}"] = _whole(moments[moment])
    if write:
        write_tensors(path, tensors, {"place": json.dumps(asdict(state))})


def load(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer | None) -> TrainState:
    """Restore what :func:`save` wrote.

    Raises:
        UserError: the file is damaged or of another model.
    """
    try:
        with safe_open(path, "pt") as file:
            state = TrainState(**json.loads(file.metadata()["place"]))
            tensors = {_todays_name(name): file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise UserError(
            f"{path} is damaged ({first}): the run cannot be resumed; start it again with --overwrite"
        ) from None
    parameters = trained(model)
    stored = {name.removeprefix("model.") for name in tensors if name.startswith("model.")}
    if stored != set(parameters):
        differing = sorted(stored ^ set(parameters))
        raise UserError(f"{path} is of another model ({len(differing)} weights differ, the first {differing[0]})")
    with torch.no_grad():
        for name, parameter in parameters.items():
            _put(parameter, tensors[f"model.{name}"])
            if optimizer is not None and f"step.{name}" in tensors:
                optimizer.state[parameter] = _moments(parameter, tensors, name)
    return state


def _todays_name(name: str) -> str:
    """The current name of a tensor that an earlier release may have renamed: ``exp_avg.model.head.out_bias``."""
    role, separator, weight = name.partition(".model.")
    return f"{role}{separator}{todays_weight(weight)}"


def _moments(parameter: Tensor, tensors: dict[str, Tensor], name: str) -> dict[str, Any]:
    state: dict[str, Any] = {"step": tensors[f"step.{name}"]}
    for moment in MOMENTS[1:]:
        state[moment] = torch.zeros_like(parameter)
        _put(state[moment], tensors[f"{moment}.{name}"])
    return state
