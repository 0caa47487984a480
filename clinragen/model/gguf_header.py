"""Read the header of a GGUF file within limits, so that a damaged or malicious header costs neither time nor memory.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (little endian, versions 2 and 3).
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, BinaryIO

from clinragen.errors import UserError

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_MOST_ENTRIES = 100_000
_MOST_DIMENSIONS = 8


class _Reader:
    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._size = size

    def take(self, length: int) -> bytes:
        if length > self._size - self._file.tell():
            raise ValueError("it ends within its header")
        return self._file.read(length)

    def skip(self, length: int) -> None:
        if length > self._size - self._file.tell():
            raise ValueError("it ends within its header")
        self._file.seek(length, 1)

    def number(self, code: str) -> Any:
        return struct.unpack(f"<{code}", self.take(struct.calcsize(f"<{code}")))[0]

    def text(self) -> str:
        return self.take(self.number("Q")).decode("utf-8")

    def value(self, kind: int) -> Any:
        """A scalar or a string; of an array its length, skipping the items."""
        if kind in _SCALARS:
            return self.number(_SCALARS[kind])
        if kind == _STRING:
            return self.text()
        if kind != _ARRAY:
            raise ValueError(f"value type {kind} is unknown")
        item, count = self.number("I"), self.number("Q")
        if item in _SCALARS:
            self.skip(count * struct.calcsize(_SCALARS[item]))
        elif item == _STRING:
            for _ in range(count):  # each takes at least eight bytes, so the end of the file ends the loop
                self.skip(self.number("Q"))
        else:
            raise ValueError(f"an array of value type {item} is not expected")
        return count


def read_header(path: Path) -> dict[str, Any]:
    """The metadata of a GGUF file by key; for arrays their length.

    Raises:
        UserError: not a GGUF file, or one whose header is damaged.
    """
    try:
        with open(path, "rb") as file:
            return _read(_Reader(file, path.stat().st_size))
    except FileNotFoundError:
        raise UserError(f"{path} not found") from None
    except (ValueError, struct.error, OSError) as error:  # a UnicodeDecodeError is a ValueError
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UserError(f"{path} is not a GGUF file that can be read ({reason}): download or convert it anew") from None


def _read(reader: _Reader) -> dict[str, Any]:
    if reader.take(4) != b"GGUF":
        raise ValueError("it does not begin with GGUF")
    version, tensors, entries = reader.number("I"), reader.number("Q"), reader.number("Q")
    if version not in (2, 3):
        raise ValueError(f"version {version} is unknown")
    if max(tensors, entries) > _MOST_ENTRIES:
        raise ValueError(f"{max(tensors, entries)} entries are too many")
    fields = {}
    for _ in range(entries):
        key = reader.text()
        fields[key] = reader.value(reader.number("I"))
    for _ in range(tensors):
        reader.text()
        if (dimensions := reader.number("I")) > _MOST_DIMENSIONS:
            raise ValueError(f"a tensor of {dimensions} dimensions is not expected")
        reader.skip(8 * dimensions + 4 + 8)  # extents, type, offset
    return fields
