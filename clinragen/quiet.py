"""What a command says while it works, and silence for the libraries' own chatter, which would bury it."""

from __future__ import annotations

import logging
import os
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def quiet_libraries() -> None:
    """Only errors from transformers and Lightning; no tips, no advice on worker counts."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    for name in ("pytorch_lightning", "lightning.pytorch", "lightning.fabric", "lightning_fabric", "lightning"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"pytorch_lightning|lightning|torch|transformers")
    warnings.filterwarnings("ignore", message=r".*(num_workers|isinstance\(treespec|log_every_n_steps).*")


def phase(console: Console, text: str) -> None:
    """Say what begins now, where the next seconds would pass in silence."""
    if _first():
        console.print(f"  {text} ...", highlight=False, style="dim")


def remark(console: Console, text: str) -> None:
    """Say what goes on all the same but should be known, on one line."""
    if _first():
        console.print(f"  note: {text}", highlight=False, soft_wrap=True)


def _first() -> bool:
    """Whether this is the first of the processes of a run, which speaks for all."""
    return all(os.environ.get(rank, "0") == "0" for rank in ("RANK", "LOCAL_RANK"))
