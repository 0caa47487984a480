"""The OMOP Common Data Model 5.3 and 5.4 of any hospital. https://ohdsi.github.io/CommonDataModel"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mimic_prep.release import Option, Release, has_column

if TYPE_CHECKING:
    from clinragen.cohort.manifest import CohortManifest
    from mimic_prep.prepare import PreparationRequest
    from mimic_prep.reader import Reader


def _reader() -> Reader:
    from mimic_prep.releases.omop.reader import OmopReader

    return OmopReader()


def _prepare(request: PreparationRequest) -> CohortManifest:
    from mimic_prep.prepare import prepare_tables
    from mimic_prep.releases.omop.reader import OmopReader
    from mimic_prep.releases.omop.settings import load_settings

    return prepare_tables(request, OmopReader(load_settings(request.options["concepts"])))


RELEASE = Release(
    name="OMOP",
    command="omop",
    about="prepare a cohort from an OMOP CDM 5.3 or 5.4",
    raw_help="the folder with the tables, such as person.csv and measurement.csv",
    recognise=has_column("visit_occurrence", "visit_occurrence_id"),
    reader=_reader,
    note_kinds=("radiology", "nursing", "pathology", "emergency", "physician"),
    options=(Option("concepts", "what units, types and values mean: a name in configs/omop, or a YAML file"),),
    prepare=_prepare,
)
