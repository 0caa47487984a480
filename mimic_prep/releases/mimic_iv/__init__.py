"""MIMIC-IV 2.2 to 3.1, with the notes of MIMIC-IV-Note 2.2."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mimic_prep.release import Published, Release, has_column

if TYPE_CHECKING:
    from mimic_prep.mimic import MimicReader


def _reader() -> MimicReader:
    from mimic_prep.mimic import MimicReader
    from mimic_prep.releases.mimic_iv.tables import MIMIC4

    return MimicReader(MIMIC4)


RELEASE = Release(
    name="MIMIC-IV",
    command="mimic-iv",
    about="prepare a cohort from MIMIC-IV 2.2 to 3.1",
    raw_help="the folder with hosp/ and icu/, and note/ of MIMIC-IV-Note where you have it",
    recognise=has_column("icu/icustays", "stay_id"),
    reader=_reader,
    # from the published validation scripts (MIT-LCP/mimic-code)
    versions=(
        Published(
            "3.1",
            "icustays",
            {
                "icustays": 94_458,
                "patients": 364_627,
                "admissions": 546_028,
                "diagnoses_icd": 6_364_488,
                "d_icd_diagnoses": 112_107,
                "prescriptions": 20_292_611,
                "chartevents": 432_997_491,
                "labevents": 158_374_764,
                "outputevents": 5_359_395,
                "discharge": 331_793,
                "radiology": 2_321_355,
            },
        ),
        Published(
            "2.2",
            "icustays",
            {
                "icustays": 73_181,
                "patients": 299_712,
                "admissions": 431_231,
                "diagnoses_icd": 4_756_326,
                "d_icd_diagnoses": 109_775,
                "prescriptions": 15_416_708,
                "chartevents": 313_645_063,
                "labevents": 118_171_367,
                "discharge": 331_793,
                "radiology": 2_321_355,
            },
        ),
        Published(
            "demo 2.2",
            "icustays",
            {
                "icustays": 140,
                "patients": 100,
                "admissions": 275,
                "diagnoses_icd": 4_506,
                "d_icd_diagnoses": 109_775,
                "prescriptions": 18_087,
                "chartevents": 668_862,
                "labevents": 107_727,
            },
        ),
    ),
    note_kinds=("radiology",),
)
