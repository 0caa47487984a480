"""Progress messages of commands, and fewer messages of libraries."""

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
    """Announce a phase that takes some seconds."""
    if _first():
        console.print(f"  {text} ...", highlight=False, style="dim")


def remark(console: Console, text: str) -> None:
    """Print a remark that does not stop the command, on one line."""
    if _first():
        console.print(f"  note: {text}", highlight=False, soft_wrap=True)


def _first() -> bool:
    """Whether this is the first process of a run, the only one that prints."""
    return all(os.environ.get(rank, "0") == "0" for rank in ("RANK", "LOCAL_RANK"))
