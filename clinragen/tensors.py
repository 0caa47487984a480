"""Atomic writes of weights as safetensors, with the same error for a full disk as for other files."""

from __future__ import annotations

import os
import re
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from clinragen.artifacts import atomic_path


def write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write tensors by name atomically.

    Raises:
        OSError: no space or no permission (safetensors raises its own error type).
    """
    with atomic_path(path) as temporary:
        try:
            save_file({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, temporary, metadata)
        except SafetensorError as error:
            if number := re.search(r"os error (\d+)", str(error)):
                raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from None
            raise
