"""What a preparation has finished so far, kept beside the cohort under the hash of all it was made from.

A stage is a folder that is whole or absent, so a preparation that was killed goes on with what is missing, and a
changed input or setting costs only the stages that depend on it. Its name tells nothing but what it is and the hash of
its key; the code and the concept catalogue are part of every key.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl

import clinragen
from clinragen.artifacts import atomic_folder, sha256_json
from clinragen.config import CONFIG_ROOT
from clinragen.errors import UserError
from mimic_prep.accounting import Ledger

_LOCK = "lock"


@cache
def code_hash() -> str:
    """Hash of the code and of the concept catalogue that a cohort depends on."""
    package, common = Path(__file__).parent, Path(clinragen.__file__).parent
    files = [*package.glob("*.py"), *package.glob("sources/*.py")]
    files += [
        common / "catalog.py",
        common / "label_sets.py",
        common / "icd.py",
        common / "schema.py",
        *(CONFIG_ROOT / "concepts").iterdir(),
    ]
    digest = hashlib.sha256()
    for path in sorted(files, key=lambda path: path.name):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def frame_hash(frame: pl.DataFrame) -> str:
    """Hash of a table's cells, whatever its layout in memory."""
    return hashlib.sha256(frame.write_csv().encode()).hexdigest()


class Stages:
    """The stages of one cohort, in the folder ``.<cohort>.work`` beside it."""

    def __init__(self, folder: Path, tell: Callable[[str], None]) -> None:
        self._folder = folder
        self._tell = tell
        self._used: set[str] = {_LOCK}

    def build(self, name: str, key: Any, ledger: Ledger, make: Callable[[Path, Ledger], None]) -> Path:
        """The stage's folder, filled by ``make`` unless it is there; its account of rows is added to ``ledger``."""
        place = self._folder / f"{name}-{sha256_json([code_hash(), key])[:24]}"
        if place.exists():
            self._tell(f"{name}: nothing it depends on has changed, taken as it is")
        else:
            with atomic_folder(place) as folder:
                account = Ledger()
                make(folder, account)
                account.save(folder)
        self._used.add(place.name)
        ledger.merge(Ledger.load(place))
        return place

    def sweep(self) -> None:
        """Remove stages that the finished preparation did not use."""
        for path in self._folder.iterdir():
            if path.name not in self._used:
                shutil.rmtree(path)


@contextmanager
def stages_of(out: Path, tell: Callable[[str], None]) -> Iterator[Stages]:
    """The stages of the cohort ``out``, for one process at a time; what a killed one left half done is removed.

    Raises:
        UserError: another process is preparing the same cohort.
    """
    folder = out.with_name(f".{out.name}.work")
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / _LOCK, "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{out} is being prepared by another process: wait for it, or choose another") from None
        retired = sorted(out.parent.glob(f".{out.name}.*.old"))
        if retired and not out.exists():
            retired.pop().replace(out)  # killed between taking the old cohort away and putting the new one there
        for half in (*folder.glob(".*.tmp"), *out.parent.glob(f".{out.name}.*.tmp"), *retired):
            shutil.rmtree(half)
        try:
            yield Stages(folder, tell)
        finally:
            if all(path.name == _LOCK for path in folder.iterdir()):
                shutil.rmtree(folder)
