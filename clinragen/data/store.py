"""Cache of arrays, memory-mapped, under the hash of everything that they depend on.

Tokens of notes are patient text. A store is therefore in the folder of its owner's runs, readable by the owner only,
and exists no longer than the runs that use it: the last of them removes it, however it ends. The remains of a killed
run are removed by the next.
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
        """Build from lists."""
        ends = np.cumsum([len(entry) for entry in lists], dtype=np.int64)
        return cls(np.fromiter((token for entry in lists for token in entry), dtype=np.int32, count=-1), ends)

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, index: int) -> list[int]:  # type: ignore[override]
        return self.flat[self._start(index) : self.ends[index]].tolist()

    def length(self, index: int) -> int:
        """Length of one list, without reading it."""
        return int(self.ends[index] - self._start(index))

    def _start(self, index: int) -> int:
        if not 0 <= index < len(self.ends):
            raise IndexError(index)
        return int(self.ends[index - 1]) if index else 0


@contextmanager
def private_store(folder: Path) -> Iterator[Path]:
    """A store for the duration of the block, shared with other processes that use the same folder.

    Each process holds a shared lock on a file in it, which the system releases when the process dies. A process that
    can take the exclusive lock at the end is the last one.
    """
    with _entered(folder) as lock:
        try:
            yield folder
        finally:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pass  # others still use it
            else:  # rename it first, atomically: a process that enters meanwhile creates a new one
                leaving = folder.with_name(f"{folder.name}.{uuid.uuid4().hex}.tmp")
                folder.rename(leaving)
                shutil.rmtree(leaving, ignore_errors=True)


@contextmanager
def _entered(folder: Path) -> Iterator[BinaryIO]:
    """Create the folder and take the shared lock; retry if the last process removed both in between."""
    while True:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)
            lock = open(folder / LOCK, "ab", opener=_private)  # noqa: SIM115, closed below
        except FileNotFoundError:
            continue
        except FileExistsError:  # mkdir found something, and then no folder: either it was removed, or it is a file
            if folder.exists() and not folder.is_dir():
                raise
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
    """Open a file that is readable by its owner only."""
    return os.open(path, flags, 0o600)


def stored(folder: Path | None, origin: object, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The arrays of ``make``, mapped from ``folder`` if they are cached there.

    Args:
        folder: folder of the store; None computes the arrays in memory.
        origin: everything that affects the arrays, as a JSON value: hashes of files, settings.
        make: computes the arrays, by name.
    """
    if folder is None:
        return make()
    entry = folder / sha256_json(origin)[:24]
    if entry.is_dir():
        try:
            return _mapped(entry)
        except (ValueError, OSError, EOFError):  # damaged: compute again
            shutil.rmtree(entry)
    arrays = make()
    temporary = entry.with_name(f"{entry.name}.{uuid.uuid4().hex}.tmp")
    temporary.mkdir(mode=0o700, parents=True)
    for name, array in arrays.items():
        with open(temporary / f"{name}.npy", "wb", opener=_private) as file:
            np.save(file, array, allow_pickle=False)
    try:
        temporary.rename(entry)
    except OSError:  # another process of the run wrote the same arrays first
        if not entry.is_dir():
            raise
        shutil.rmtree(temporary)
    return _mapped(entry)


def _mapped(entry: Path) -> dict[str, np.ndarray]:
    return {path.stem: np.load(path, mmap_mode="r", allow_pickle=False) for path in sorted(entry.glob("*.npy"))}


def file_hashes(paths: Iterable[Path]) -> dict[str, str]:
    """SHA-256 of each file by its name."""
    return {path.name: sha256_file(path) for path in paths}
