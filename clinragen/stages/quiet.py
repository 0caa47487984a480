"""Silences the libraries' own chatter, which would bury ours."""

from __future__ import annotations

import logging
import os
import warnings


def quiet_libraries() -> None:
    """Only errors from transformers and Lightning; no tips, no advice on worker counts."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    for name in ("pytorch_lightning", "lightning.pytorch", "lightning.fabric", "lightning_fabric", "lightning"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"pytorch_lightning|lightning|torch|transformers")
    warnings.filterwarnings("ignore", message=r".*(num_workers|isinstance\(treespec|log_every_n_steps).*")
