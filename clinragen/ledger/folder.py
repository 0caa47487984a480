"""The files of a log: batches of entries, each with its checkpoint, and checkpoints as witnesses cosigned them.

``batches/<first>.batch`` holds the entries from an index on and the checkpoint after them, in one file that is written
whole or not at all and never changed: a killed writer leaves the log as it was. Each line begins with the hash of its
entry, which tells which line was altered. ``checkpoints/<size>.note`` holds a checkpoint with cosignatures.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import lock_descriptor

from clinragen.artifacts import PRIVATE_FOLDER, atomic_path
from clinragen.errors import UserError
from clinragen.ledger.merkle import leaf_hash
from clinragen.signing import Note

_NAME = re.compile(r"([0-9]{12})\.(batch|note)")
_TEMPORARY = re.compile(r"\.[0-9]{12}\.(batch|note)\.[0-9a-f]{32}\.tmp")
_LINE = re.compile(rb"([0-9a-f]{64}) (.+)", re.DOTALL)


class UnsoundError(UserError):
    """A log is not what its signers signed, or breaks a rule.

    Attributes:
        log: folder of the log.
        first: index of the first bad entry; that of the first missing one where entries are missing.
        last: equal to ``first`` where the entry is certain; else the first bad entry is one from ``first`` to ``last``.
        why: what is wrong with it.
    """

    def __init__(self, log: Path, first: int, why: str, last: int | None = None) -> None:
        self.log, self.first, self.last, self.why = log, first, first if last is None else max(first, last), why
        which = f"entry {first}" if self.last == first else f"one of the entries {first} to {self.last}"
        super().__init__(f"{log}: {which}: {why}")


@dataclass(frozen=True)
class Batch:
    """Entries that were appended at once.

    Attributes:
        first: index of the first entry.
        lines: of the entries.
        leaves: hashes of the entries, which are those that were written beside them.
        note: the checkpoint after them, with the signature of the log's key.
    """

    first: int
    lines: tuple[bytes, ...]
    leaves: tuple[bytes, ...]
    note: str

    @property
    def size(self) -> int:
        """Number of entries of the log with this batch."""
        return self.first + len(self.lines)


class LogFolder:
    """Reads and writes the files of a log.

    Args:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._batches, self._checkpoints = path / "batches", path / "checkpoints"

    def exists(self) -> bool:
        """Whether there is a log."""
        return self._batches.is_dir()

    def starts(self) -> list[int]:
        """Indexes of the first entries of all batches, in order.

        Raises:
            UserError: no log.
            UnsoundError: there is another file among them.
        """
        if not self.exists():
            raise UserError(f"{self.path} holds no log: expected a folder with 'batches'")
        return self._numbers(self._batches, "batch")

    def sizes(self) -> list[int]:
        """Sizes of all checkpoints that were cosigned, in order.

        Raises:
            UnsoundError: there is another file among them.
        """
        return self._numbers(self._checkpoints, "note") if self._checkpoints.is_dir() else []

    def _numbers(self, folder: Path, ending: str) -> list[int]:
        numbers = []
        with os.scandir(folder) as files:
            names = sorted(file.name for file in files)
        for name in names:
            match = _NAME.fullmatch(name)
            if match and match[2] == ending:
                numbers.append(int(match[1]))
            elif not _TEMPORARY.fullmatch(name):  # of a writer that was killed
                raise UnsoundError(
                    self.path, numbers[-1] if numbers else 0, f"{folder.name}/{name!a} is no file of a log"
                )
        return numbers

    def batch(self, first: int) -> Batch:
        """Read a batch.

        Raises:
            UnsoundError: a line is malformed, or is not what its hash says; the first such entry.
        """
        path = self._batch(first)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise UnsoundError(self.path, first, f"{path.name} cannot be read ({error.strerror})") from None
        head, mark, note = content.partition(b"\n\n")
        lines, leaves = [], []
        for index, line in enumerate(head.split(b"\n"), first):
            match = _LINE.fullmatch(line)
            if match is None:
                raise UnsoundError(self.path, index, "the line is no hash and entry: it was altered")
            leaf = leaf_hash(match[2])
            if leaf.hex().encode() != match[1]:
                raise UnsoundError(self.path, index, "it was altered: its hash is not the one beside it")
            leaves.append(leaf)
            lines.append(match[2])
        try:
            text = note.decode()
        except UnicodeDecodeError:
            text = ""
        if not mark or not text:
            raise UnsoundError(
                self.path, first, "the checkpoint after it is missing or no text", first + len(lines) - 1
            )
        return Batch(first, tuple(lines), tuple(leaves), text)

    def note(self, size: int) -> str:
        """Read a cosigned checkpoint; what is no text is empty."""
        try:
            return self._note(size).read_bytes().decode()
        except (OSError, UnicodeDecodeError):
            return ""

    def write_batch(self, first: int, lines: Sequence[bytes], note: Note) -> None:
        """Write a batch. Only within ``locked``.

        Raises:
            UserError: the batch is there already.
        """
        path = self._batch(first)
        if path.exists():
            raise UserError(f"{path} exists, and what is in a log is never replaced: verify the log")
        rows = b"".join(leaf_hash(line).hex().encode() + b" " + line + b"\n" for line in lines)
        with atomic_path(path) as temporary:
            temporary.write_bytes(rows + b"\n" + str(note).encode())

    def write_note(self, size: int, note: Note) -> None:
        """Write a cosigned checkpoint in place of an earlier one with fewer signatures. Only within ``locked``."""
        with atomic_path(self._note(size)) as temporary:
            temporary.write_bytes(str(note).encode())

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Be the one writer; others wait."""
        self._batches.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        self._checkpoints.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
        handle = os.open(self._batches, os.O_RDONLY)
        try:
            lock_descriptor(handle)
            yield
        finally:
            os.close(handle)

    def _batch(self, first: int) -> Path:
        return self._batches / f"{first:012}.batch"

    def _note(self, size: int) -> Path:
        return self._checkpoints / f"{size:012}.note"
