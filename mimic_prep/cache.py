"""Cache of finished preparation steps, beside the cohort, under the hash of all their inputs.

A step is a folder that is complete or absent, so a killed preparation resumes with the missing steps, and a changed
input or setting repeats only the steps that depend on it. A folder's name consists of the step and the hash of its key;
every key includes the versions of the steps it depends on and the concept catalogue.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
from filelock import lock_descriptor

from clinragen.artifacts import atomic_folder, sha256_json
from clinragen.errors import UserError
from mimic_prep.accounting import Ledger
from mimic_prep.steps import catalogue_key, versions_into

_LOCK = "lock"


def frame_hash(frame: pl.DataFrame) -> str:
    """Hash of a table's cells, independent of its memory layout."""
    return hashlib.sha256(frame.write_csv().encode()).hexdigest()


class StepCache:
    """The finished steps of one cohort, in the folder ``.<cohort>.work`` beside it."""

    def __init__(self, folder: Path, tell: Callable[[str], None]) -> None:
        self._folder = folder
        self._tell = tell
        self._used: set[str] = {_LOCK}

    def build(self, name: str, key: object, ledger: Ledger, make: Callable[[Path, Ledger], None]) -> Path:
        """The step's folder, filled by ``make`` unless it exists; its row counts are added to ``ledger``."""
        made_of = [versions_into(name), catalogue_key(), key]
        step = self._folder / f"{name}-{sha256_json(made_of)[:24]}"
        if step.exists():
            self._tell(f"{name}: nothing it depends on has changed, taken as it is")
        else:
            with atomic_folder(step) as folder:
                account = Ledger()
                make(folder, account)
                account.save(folder)
        self._used.add(step.name)
        ledger.merge(Ledger.load(step))
        return step

    def sweep(self) -> None:
        """Remove steps that the finished preparation did not use."""
        for path in self._folder.iterdir():
            if path.name not in self._used:
                shutil.rmtree(path)


@contextmanager
def held_beside(out: Path, name: str) -> Iterator[Path]:
    """The hidden folder ``.<cohort>.<name>`` beside the cohort ``out``, for one process at a time.

    It is accessible to its owner only, since it contains patient data, and stays until it is removed.

    Raises:
        UserError: another process is preparing the same cohort.
    """
    folder = out.with_name(f".{out.name}.{name}")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    with open(folder / _LOCK, "w") as lock:
        if not lock_descriptor(lock.fileno(), blocking=False):
            raise UserError(f"{out} is being prepared by another process: wait for it, or choose another")
        yield folder


@contextmanager
def cache_of(out: Path, tell: Callable[[str], None]) -> Iterator[StepCache]:
    """The finished steps of the cohort ``out``, for one process at a time; removes partial steps of a killed one.

    Raises:
        UserError: another process is preparing the same cohort.
    """
    with held_beside(out, "work") as folder:
        retired = sorted(out.parent.glob(f".{out.name}.*.old"))
        if retired and not out.exists():
            retired.pop().replace(out)  # killed between moving the old cohort away and renaming the new one
        for half in (*folder.glob(".*.tmp"), *out.parent.glob(f".{out.name}.*.tmp"), *retired):
            shutil.rmtree(half)
        try:
            yield StepCache(folder, tell)
        finally:
            if all(path.name == _LOCK for path in folder.iterdir()):
                shutil.rmtree(folder)
