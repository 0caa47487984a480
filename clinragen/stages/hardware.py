"""Set up Lightning Fabric from the trainer settings: accelerator, number of processes, precision."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.model_parallel import ModelParallelStrategy
from torch import nn
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor
from transformers.modeling_layers import GradientCheckpointingLayer

from clinragen.errors import UserError
from clinragen.stages.config import FabricPrecision, Precision, TrainerConfig

BF16_WIDTH = 256  # below this hidden size the conversions cost more than the faster products save


def precision(name: Precision, width: int) -> FabricPrecision:
    """Fabric's precision: ``auto`` is bf16 autocast if the hardware supports it, else 32 bit.

    Args:
        name: ``auto``, or one of Fabric's own.
        width: hidden size of the largest part of the model.
    """
    if name != "auto":
        return name
    if torch.cuda.is_available():
        able = torch.cuda.is_bf16_supported()
    else:
        able = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    return "bf16-mixed" if able and width >= BF16_WIDTH else "32-true"


def make_fabric(config: TrainerConfig, numbers: FabricPrecision) -> Fabric:
    """Launch Fabric and its processes.

    Raises:
        UserError: the machine has no such hardware.
    """
    strategy: Any = config.strategy
    if strategy == "fsdp":
        processes = config.devices * config.num_nodes
        strategy = ModelParallelStrategy(shard, data_parallel_size=processes, tensor_parallel_size=1)
    try:
        fabric = Fabric(
            accelerator=config.accelerator,
            devices=config.devices,
            num_nodes=config.num_nodes,
            strategy=strategy,
            precision=numbers,
        )
    except (ValueError, RuntimeError) as error:
        first = str(error).splitlines()[0]
        raise UserError(f"trainer: this machine cannot run these settings ({first}): see configs/trainer") from None
    fabric.launch()
    return fabric


@contextmanager
def in_company(fabric: Fabric) -> Iterator[None]:
    """Report in one line that another process of the run has ended, instead of fifty lines about a broken connection.

    Raises:
        UserError: it has.
    """
    try:
        yield
    except RuntimeError as error:
        if fabric.world_size == 1 or "by peer" not in str(error):
            raise
        raise UserError(
            "another process of this run has ended (see its error; without one, the system probably killed it for lack "
            "of memory): run the same command again to resume from the last checkpoint"
        ) from None


def is_sharded(fabric: Fabric) -> bool:
    """Whether the weights are sharded, so that a forward pass needs all processes."""
    return isinstance(fabric.strategy, ModelParallelStrategy)


def shard(objective: nn.Module, mesh: Any) -> nn.Module:
    """Shard with FSDP2: each block of a language model is a unit, gathered when needed, and the rest is another.

    Between passes only shards are held, also of the rest, so that saving and optimising always see shards.
    """
    mesh = mesh["data_parallel"]
    for block in [module for module in objective.modules() if isinstance(module, GradientCheckpointingLayer)]:
        fully_shard(block, mesh=mesh)
    fully_shard(objective, mesh=mesh, reshard_after_forward=True)
    return objective


def gather(objective: nn.Module) -> None:
    """Undo :func:`shard`: whole weights in plain modules, for one process to continue alone. All must call this."""
    whole: dict[nn.Parameter, nn.Parameter] = {}  # tied weights stay tied
    for module in objective.modules():
        for name, share in list(module.named_parameters(recurse=False)):
            if isinstance(share, DTensor) and share not in whole:
                whole[share] = nn.Parameter(share.full_tensor().detach(), requires_grad=share.requires_grad)
            setattr(module, name, whole.get(share, share))
        if isinstance(module, FSDPModule):
            module._forward_pre_hooks.clear()
            module._forward_hooks.clear()
            module.__class__ = type(module).__mro__[2]  # FSDP inserted itself and a mixin before the module's own class
