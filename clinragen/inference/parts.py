"""Predictions in parts: each is on the disk when it is done, so that a stopped command goes on where it stopped, and
several processes can share the work.

The parts lie in a hidden folder beside the predictions until all are there. What a part holds depends on the model, the
stays and the settings alone: neither on interruptions nor on who predicted the others.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import lock_descriptor

from clinragen.artifacts import PRIVATE_FOLDER, json_lines, read_json, write_json, write_text
from clinragen.errors import UserError
from clinragen.inference.prediction import Shard

#: Stays of a part: batches of similar length are drawn within it, and its rows are held in memory.
STAYS = 512


@dataclass(frozen=True)
class Parts:
    """The parts of predictions that are being written.

    Attributes:
        folder: where they lie.
        stays: ids of all stays, ascending.
        size: stays of a part.
    """

    folder: Path
    stays: np.ndarray
    size: int

    @classmethod
    def begin(cls, out: Path, stays: np.ndarray, size: int, identity: str, *, overwrite: bool) -> Parts:
        """Start, or go on.

        Args:
            out: folder of the predictions.
            stays: ids of all stays, ascending.
            size: stays of a part.
            identity: hash of everything that the parts depend on.
            overwrite: drop unfinished predictions of something else.

        Raises:
            UserError: unfinished predictions of something else lie there.
        """
        folder = out.absolute().with_name(f".{out.name}.parts")
        described = folder / "identity.json"
        if described.exists() and read_json(described, "the identity of predictions")["identity"] != identity:
            if not overwrite:
                raise UserError(
                    f"{folder} holds unfinished predictions of another model, cohort or other settings: finish them "
                    "with the same command as before, or pass --overwrite to drop them"
                )
            shutil.rmtree(folder)
        folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        write_json(described, {"identity": identity})
        return cls(folder, stays, size)

    def __len__(self) -> int:
        return -(-len(self.stays) // self.size)

    def of_shard(self, shard: Shard) -> list[int]:
        """Numbers of the parts of a shard that are not done."""
        return [number for number in range(shard.number - 1, len(self), shard.of) if not self.done(number)]

    def ids(self, number: int) -> np.ndarray:
        """Ids of the stays of a part."""
        return self.stays[number * self.size : (number + 1) * self.size]

    def done(self, number: int) -> bool:
        """Whether a part is on the disk."""
        return self._rows(number).exists()

    @property
    def complete(self) -> bool:
        """Whether all parts are on the disk."""
        return all(map(self.done, range(len(self))))

    def write(
        self, number: int, rows: Iterable[Mapping[str, Any]], explanations: Iterable[Mapping[str, Any]] | None
    ) -> None:
        """Store a part: it is done once its rows are there."""
        if explanations is not None:
            write_text(self._explanations(number), json_lines(explanations))
        write_text(self._rows(number), json_lines(rows))

    def rows(self) -> Iterator[str]:
        """The lines of all parts, a text for each part."""
        for number in range(len(self)):
            yield self._rows(number).read_text(encoding="utf-8")

    def explanations(self) -> Iterator[str]:
        """The explanations of all parts, a text for each part."""
        for number in range(len(self)):
            yield self._explanations(number).read_text(encoding="utf-8")

    @contextmanager
    def assembling(self) -> Iterator[bool]:
        """True for one process at a time, and until the parts are removed, which happens at the end."""
        try:
            handle = os.open(self.folder, os.O_RDONLY)
        except FileNotFoundError:  # another process has put them together
            yield False
            return
        try:
            with suppress(OSError):  # a file system without locks: as if alone
                lock_descriptor(handle, blocking=True)
            mine = self.folder.exists()
            yield mine
            if mine:
                shutil.rmtree(self.folder)
        finally:
            os.close(handle)

    def _rows(self, number: int) -> Path:
        return self.folder / f"{number:06}.jsonl"

    def _explanations(self, number: int) -> Path:
        return self.folder / f"{number:06}.attributions.jsonl"
