"""eICU Collaborative Research Database 2.0 and its demo: no dates, no free text, times in minutes from admission."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mimic_prep.release import Published, Release, has_column

if TYPE_CHECKING:
    from mimic_prep.releases.eicu.reader import EicuReader


def _reader() -> EicuReader:
    from mimic_prep.releases.eicu.reader import EicuReader

    return EicuReader()


RELEASE = Release(
    name="eICU",
    command="eicu",
    about="prepare a cohort from eICU 2.0 or its demo",
    raw_help="the folder with the tables, such as patient.csv.gz and lab.csv.gz",
    recognise=has_column("patient", "patientunitstayid"),
    reader=_reader,
    # from the published validation scripts (MIT-LCP/eicu-code)
    versions=(
        Published(
            "2.0",
            "patient",
            {
                "patient": 200_859,
                "diagnosis": 2_710_672,
                "lab": 39_132_531,
                "vitalperiodic": 146_671_642,
                "vitalaperiodic": 25_075_074,
                "nursecharting": 151_604_232,
                "medication": 7_301_853,
                "treatment": 3_688_745,
            },
        ),
    ),
    note_kinds=("medication", "treatment"),  # entries with their own times
    # APACHE diagnosis of the first day: coded separately from the stay's diagnoses, and read only on request
    sections={"admission_diagnosis": True},
)
