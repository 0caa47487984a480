"""The Common Longitudinal ICU data Format (CLIF) 2.0 and 2.1 of any hospital. https://clif-icu.com"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mimic_prep.release import Option, Release, has_column

if TYPE_CHECKING:
    from clinragen.cohort.manifest import CohortManifest
    from mimic_prep.prepare import PreparationRequest
    from mimic_prep.reader import Reader


def _reader() -> Reader:
    from mimic_prep.releases.clif.reader import ClifReader

    return ClifReader()


def _prepare(request: PreparationRequest) -> CohortManifest:
    from mimic_prep.prepare import prepare_tables
    from mimic_prep.releases.clif.reader import ClifReader
    from mimic_prep.releases.clif.settings import hours_of, load_settings

    settings = load_settings(request.options["categories"])
    return prepare_tables(request, ClifReader(settings, hours_of(request.options["clock"])))


RELEASE = Release(
    name="CLIF",
    command="clif",
    about="prepare a cohort from an export in CLIF 2.0 or 2.1",
    raw_help="the folder with the tables, such as clif_adt.parquet and clif_vitals.parquet",
    recognise=has_column("clif_adt", "location_category"),
    reader=_reader,
    options=(
        Option("categories", "what locations and other categories mean: a name in configs/clif, or a YAML file"),
        Option("clock", "hours that the hospital's clock is ahead of UTC, such as -5: its times are shown so", "0"),
    ),
    prepare=_prepare,
)
