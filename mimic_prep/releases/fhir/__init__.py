"""FHIR R4 exports of any site: NDJSON of a bulk export, or Bundles."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mimic_prep.release import Option, Release, in_folder

if TYPE_CHECKING:
    from collections.abc import Iterable

    from clinragen.cohort.manifest import CohortManifest
    from mimic_prep.prepare import PreparationRequest
    from mimic_prep.release_check import ReleaseCheck
    from mimic_prep.tables import Table


def _recognise(root: Path) -> bool:
    from mimic_prep.releases.fhir import files

    return any(files.is_export(path) for path in files.export_files(root)[:50])


def _tables() -> Iterable[Table]:
    from mimic_prep.mimic import MimicReader
    from mimic_prep.releases.fhir.tables import FHIR, PROBLEMS

    return [*MimicReader(FHIR).tables(), PROBLEMS]


def _prepare(request: PreparationRequest) -> CohortManifest:
    from mimic_prep.releases.fhir.fhir_dataset import prepare

    return prepare(request)


def _check(root: Path) -> ReleaseCheck:
    from mimic_prep.releases.fhir.fhir_dataset import check

    return check(root)


RELEASE = Release(
    name="FHIR",
    command="fhir",
    about="prepare a cohort from a FHIR R4 export",
    raw_help="the folder of the export: .ndjson, .jsonl or .json files, also packed with gzip, of any names",
    recognise=in_folder(_recognise),
    laid_out=_tables,
    note_kinds=("radiology", "history_and_physical", "nursing", "progress", "emergency", "consult", "note"),
    options=(
        Option("codes", "what the site's own codes mean, a YAML file beside configs/fhir/default.yaml"),
        Option("zone", "the site's time zone, such as America/New_York; by default the clock as written"),
        Option(
            "stays", "encounter, location or class of intensive care, or hospital; by default the first that gives any"
        ),
    ),
    prepare=_prepare,
    check=_check,
)
