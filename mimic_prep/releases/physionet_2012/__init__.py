"""The PhysioNet/CinC Challenge 2012: unlabelled stays with series only, to pretrain the series encoder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mimic_prep.release import Release, in_folder

if TYPE_CHECKING:
    from clinragen.cohort.manifest import CohortManifest
    from mimic_prep.prepare import PreparationRequest
    from mimic_prep.release_check import ReleaseCheck

_SETS = ("set-a", "set-b", "set-c")


def _recognise(root: Path) -> bool:
    return any((root / name).is_dir() or (root / f"{name}.parquet").is_file() for name in _SETS)


def _prepare(request: PreparationRequest) -> CohortManifest:
    from mimic_prep.protocol import load
    from mimic_prep.releases.physionet_2012.challenge import prepare

    return prepare(request.folder("the Challenge 2012"), request.out, load("admission"), overwrite=request.overwrite)


def _check(root: Path) -> ReleaseCheck:
    from mimic_prep.releases.physionet_2012.challenge import check

    return check(root)


RELEASE = Release(
    name="physionet-2012",
    command="physionet-2012",
    about="prepare unlabelled stays of the PhysioNet Challenge 2012, to pretrain the series encoder",
    raw_help="the folder with set-a, set-b, set-c",
    recognise=in_folder(_recognise),
    prepare=_prepare,
    check=_check,
    protocol=False,
)
