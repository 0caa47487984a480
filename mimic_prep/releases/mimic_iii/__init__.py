"""MIMIC-III 1.4, both CareVue and MetaVision."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mimic_prep.release import Published, Release, has_column

if TYPE_CHECKING:
    from mimic_prep.mimic import MimicReader


def _reader() -> MimicReader:
    from mimic_prep.mimic import MimicReader
    from mimic_prep.releases.mimic_iii.tables import MIMIC3

    return MimicReader(MIMIC3)


RELEASE = Release(
    name="MIMIC-III",
    command="mimic-iii",
    about="prepare a cohort from MIMIC-III 1.4",
    raw_help="the folder with the tables, such as CHARTEVENTS.csv.gz",
    recognise=has_column("ICUSTAYS", "icustay_id"),
    reader=_reader,
    # from the published validation scripts (MIT-LCP/mimic-code)
    versions=(
        Published(
            "1.4",
            "icustays",
            {
                "icustays": 61_532,
                "patients": 46_520,
                "admissions": 58_976,
                "diagnoses_icd": 651_047,
                "d_icd_diagnoses": 14_567,
                "prescriptions": 4_156_450,
                "chartevents": 330_712_483,
                "labevents": 27_854_055,
                "outputevents": 4_349_218,
                "noteevents": 2_083_180,
            },
        ),
    ),
    note_kinds=("radiology", "physician", "nursing", "ecg", "echo"),
)
