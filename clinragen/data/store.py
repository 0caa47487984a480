"""Arrays that are made once and memory-mapped from then on, kept under the hash of everything they were made from.

Tokens of notes are patient text. So a store lies beside the runs of its owner, nobody else can read it, and it lasts no
longer than the runs that read it: the last of them removes it, however it ends. What a killed one left is removed by
the next.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from clinragen.artifacts import sha256_file, sha256_json

LOCK = ".lock"


class Ragged(Sequence[list[int]]):
    """Lists of token ids of different lengths as one flat array.

    >>> Ragged.of([[5, 6], [], [7]])[0]
    [5, 6]
    """

    def __init__(self, flat: np.ndarray, ends: np.ndarray):
        self.flat = flat
        self.ends = ends

    @classmethod
    def of(cls, lists: Sequence[Sequence[int]]) -> Ragged:
        """From plain lists."""
        ends = np.cumsum([len(entry) for entry in lists], dtype=np.int64)
        return cls(np.fromiter((token for entry in lists for token in entry), dtype=np.int32, count=-1), ends)

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, index: int) -> list[int]:  # type: ignore[override]
        return self.flat[self._start(index) : self.ends[index]].tolist()

    def length(self, index: int) -> int:
        """Tokens of one list, without reading it."""
        return int(self.ends[index] - self._start(index))

    def _start(self, index: int) -> int:
        if not 0 <= index < len(self.ends):
            raise IndexError(index)
        return int(self.ends[index - 1]) if index else 0


@contextmanager
def private_store(folder: Path) -> Iterator[Path]:
    """A store for as long as the block lasts, shared with other processes that are in such a block of the same folder.

    Each holds a shared lock on a file in it, which the system gives up when a process dies. Who can lock it alone in
    the end was the last.
    """
    with _entered(folder) as lock:
        try:
            yield folder
        finally:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pass  # others still read it
            else:  # out of the way first, at one stroke: who enters meanwhile makes it anew
                leaving = folder.with_name(f"{folder.name}.{uuid.uuid4().hex}.tmp")
                folder.rename(leaving)
                shutil.rmtree(leaving, ignore_errors=True)


@contextmanager
def _entered(folder: Path) -> Iterator[BinaryIO]:
    """The folder made and its lock shared: anew where the last one to leave removed both in between."""
    while True:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            folder.chmod(0o700)
            lock = open(folder / LOCK, "ab", opener=_private)  # noqa: SIM115, closed below
        except FileNotFoundError:
            continue
        with lock:
            fcntl.flock(lock, fcntl.LOCK_SH)
            if _is(lock, folder / LOCK):
                yield lock
                return


def _is(file: BinaryIO, path: Path) -> bool:
    """Whether an open file is still the one at a path."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _private(path: str, flags: int) -> int:
    """Open a file that only its owner can read."""
    return os.open(path, flags, 0o600)


def stored(folder: Path | None, origin: object, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """What ``make`` gives, mapped from ``folder`` when it was made before.

    Args:
        folder: where stores are kept; None makes it anew in memory.
        origin: everything that shapes the arrays, as a JSON value: hashes of files, settings.
        make: computes the arrays, by name.
    """
    if folder is None:
        return make()
    entry = folder / sha256_json(origin)[:24]
    if entry.is_dir():
        try:
            return _mapped(entry)
        except (ValueError, OSError, EOFError):  # damaged: made anew
            shutil.rmtree(entry)
    arrays = make()
    temporary = entry.with_name(f"{entry.name}.{uuid.uuid4().hex}.tmp")
    temporary.mkdir(mode=0o700, parents=True)
    for name, array in arrays.items():
        with open(temporary / f"{name}.npy", "wb", opener=_private) as file:
            np.save(file, array, allow_pickle=False)
    try:
        temporary.rename(entry)
    except OSError:  # another process of the run was faster, with the same arrays
        if not entry.is_dir():
            raise
        shutil.rmtree(temporary)
    return _mapped(entry)


def _mapped(entry: Path) -> dict[str, np.ndarray]:
    return {path.stem: np.load(path, mmap_mode="r", allow_pickle=False) for path in sorted(entry.glob("*.npy"))}


def file_hashes(paths: Iterable[Path]) -> dict[str, str]:
    """SHA-256 of each file by its name."""
    return {path.name: sha256_file(path) for path in paths}
