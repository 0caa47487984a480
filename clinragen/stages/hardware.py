"""Lightning Fabric from the trainer settings: which processors, how many processes, in which precision."""

from __future__ import annotations

from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.model_parallel import ModelParallelStrategy
from torch import nn

from clinragen.errors import UserError
from clinragen.stages.plan import TrainerConfig

BF16_WIDTH = 256  # below this hidden size the conversions cost more than the faster products bring


def precision(wanted: str, width: int) -> Any:
    """Fabric's precision: ``auto`` is bf16 autocast where the hardware computes in it, else 32 bit.

    Args:
        width: hidden size of the largest part of the model.
    """
    if wanted != "auto":
        return wanted
    if torch.cuda.is_available():
        able = torch.cuda.is_bf16_supported()
    else:
        able = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    return "bf16-mixed" if able and width >= BF16_WIDTH else "32-true"


def make_fabric(config: TrainerConfig, numbers: Any) -> Fabric:
    """Processes launched and ready.

    Raises:
        UserError: the machine has no such hardware.
    """
    strategy: Any = config.strategy
    if strategy == "fsdp":
        strategy = ModelParallelStrategy(shard, data_parallel_size=config.devices, tensor_parallel_size=1)
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


def shard(model: nn.Module, mesh: Any) -> nn.Module:
    """FSDP2: each block of the language model is a unit of its own, gathered when needed, and the rest another."""
    from torch.distributed.fsdp import fully_shard

    mesh = mesh["data_parallel"]
    for module in model.modules():
        if isinstance(module, nn.ModuleList):
            for block in module:
                if any(parameter.numel() > 1_000_000 for parameter in block.parameters()):
                    fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    return model
