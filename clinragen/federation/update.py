"""What a site sends: tensors that its federation lists, and how a model and its change are taken apart and together.

A change is the difference of two float32 models in float64, where it is exact unless a weight shrinks by nine orders of
magnitude in one round; so the model of a single site is what the site trained, to the bit (a negative zero is zero).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from clinragen.errors import UserError

type Tensors = Mapping[str, np.ndarray]
#: dtypes as safetensors names them
Dtype = Literal["F32", "F64", "I64", "U64"]
DTYPES: dict[Dtype, np.dtype] = {
    "F32": np.dtype(np.float32),
    "F64": np.dtype(np.float64),
    "I64": np.dtype(np.int64),
    "U64": np.dtype(np.uint64),
}


@dataclass(frozen=True)
class TensorSpec:
    """What the manifest of a federation fixes of a tensor.

    Attributes:
        shape: its shape.
        dtype: its type, as safetensors names it; a trained tensor is ``F32``, and its change is sent as ``F64``.
        least: of a statistic: the least that a stay can add to a cell; None: not bounded.
        most: the most that it can.
    """

    shape: list[int]
    dtype: Dtype = "F32"
    least: float | None = None
    most: float | None = None

    def differs(self, array: np.ndarray) -> Literal["shape", "dtype"] | None:
        """In what a tensor is not of this kind; None if it is."""
        if array.dtype != DTYPES[self.dtype]:
            return "dtype"
        return None if list(array.shape) == list(self.shape) else "shape"

    def zeros(self) -> np.ndarray:
        """A tensor of this kind that is zero."""
        return np.zeros(self.shape, DTYPES[self.dtype])


@dataclass(frozen=True)
class Update:
    """What one site adds to one round, after it was screened.

    Attributes:
        site: public key of the site, as text.
        tensors: by name, all float64: the change of each trained tensor.
        count: stays that it was trained on.
        age_hours: age of the newest data, in hours; None where the site does not say it.
    """

    site: str
    tensors: Tensors
    count: int
    age_hours: float | None = None


def change(before: Tensors, after: Tensors) -> dict[str, np.ndarray]:
    """The change that training made: float64, of the tensors of ``after``.

    Raises:
        UserError: a tensor is new, or of another shape or type than before.
    """
    changes = {}
    for name in sorted(after):
        old, new = before.get(name), after[name]
        if old is None or old.shape != new.shape or new.dtype != np.float32 or old.dtype != np.float32:
            raise UserError(
                f"training gave tensor '{name}' ({new.dtype}, {new.shape}), expected a float32 tensor of the round's "
                f"shape: {'there is none of this name' if old is None else f'{old.dtype}, {old.shape}'}"
            )
        changes[name] = new.astype(np.float64) - old.astype(np.float64)
    return changes


def apply(before: Tensors, changes: Tensors) -> dict[str, np.ndarray]:
    """The tensors of a model after a change of some of them: float32 where they were changed."""
    changed = {name: (before[name].astype(np.float64) + changes[name]).astype(np.float32) for name in sorted(changes)}
    return {name: changed.get(name, array) for name, array in sorted(before.items())}


def norm(tensors: Tensors) -> float:
    """Euclidean length of all tensors together; infinite where a square is."""
    with np.errstate(over="ignore"):
        return float(np.sqrt(sum(float(np.square(tensors[name], dtype=np.float64).sum()) for name in sorted(tensors))))
