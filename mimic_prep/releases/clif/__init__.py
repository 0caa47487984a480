"""The Common Longitudinal ICU data Format (CLIF) 2.0 and 2.1 of any hospital. https://clif-icu.com"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mimic_prep.release import Option, Release, has_table

if TYPE_CHECKING:
    from clinragen.cohort.manifest import CohortManifest
    from mimic_prep.prepare import PreparationRequest
    from mimic_prep.reader import Reader

NO_CLOCK = "UTC"  # what the option says if it is left out


def _reader() -> Reader:
    from mimic_prep.releases.clif.reader import ClifReader

    return ClifReader()


def _prepare(request: PreparationRequest) -> CohortManifest:
    from mimic_prep.prepare import prepare_tables
    from mimic_prep.releases.clif.reader import ClifReader
    from mimic_prep.releases.clif.settings import hours_of, load_settings

    settings, clock = load_settings(request.options["categories"]), request.options["clock"]
    reader = ClifReader(settings, 0.0 if clock == NO_CLOCK else hours_of(clock))
    if clock == NO_CLOCK:
        reader.warnings.append(
            "no --clock: days and hours are those of UTC; say how many hours the hospital's clock is ahead of it, such "
            "as --clock=-5"
        )
    return prepare_tables(request, reader)


RELEASE = Release(
    name="CLIF",
    command="clif",
    about="prepare a cohort from an export in CLIF 2.0 or 2.1",
    raw_help="the folder with the tables, such as clif_adt.parquet and clif_vitals.parquet",
    recognise=has_table("clif_adt", "clif_hospitalization", "clif_patient", "clif_vitals"),
    reader=_reader,
    options=(
        Option("categories", "what locations and other categories mean: a name in configs/clif, or a YAML file"),
        Option(
            "clock", "hours that the hospital's clock is ahead of UTC, such as -5: its times are shown so", NO_CLOCK
        ),
    ),
    prepare=_prepare,
)
