"""Datasets of the Medical Event Data Standard with any vocabulary, and cohorts that clinragen exported."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mimic_prep.release import Option, Release, in_folder

if TYPE_CHECKING:
    from clinragen.cohort.manifest import CohortManifest
    from mimic_prep.prepare import PreparationRequest
    from mimic_prep.release_check import ReleaseCheck
    from mimic_prep.tables import Table


def _recognise(root: Path) -> bool:
    return any((root / "data").glob("**/*.parquet"))


def _tables() -> list[Table]:
    from mimic_prep.mimic import MimicReader
    from mimic_prep.releases.meds.tables import MEDS

    return MimicReader(MEDS).tables()


def _prepare(request: PreparationRequest) -> CohortManifest:
    from mimic_prep.releases.meds.meds_dataset import prepare

    return prepare(request)


def _check(root: Path) -> ReleaseCheck:
    from mimic_prep.releases.meds.meds_dataset import check

    return check(root)


RELEASE = Release(
    name="MEDS",
    command="meds",
    about="prepare a cohort from a MEDS dataset",
    raw_help="the folder of the dataset, with data/ and metadata/",
    recognise=in_folder(_recognise),
    laid_out=_tables,
    options=(Option("codes", "what the codes mean: a name in configs/meds, or a YAML file"),),
    prepare=_prepare,
    check=_check,
)
