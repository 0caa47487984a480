"""One chunk of patients from seed to compressed tables and truth rows; the unit of work of a process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from mimic_prep.synthetic import raw_tables
from mimic_prep.synthetic.charting import chart, equipment, urine
from mimic_prep.synthetic.coding import diagnoses, prescriptions
from mimic_prep.synthetic.hospital import Hospital, load
from mimic_prep.synthetic.laboratory import draw
from mimic_prep.synthetic.note_writer import write_note
from mimic_prep.synthetic.patients import DAY, HOUR, Admission, Patient, draw_patients
from mimic_prep.synthetic.physiology import baselines, simulate
from mimic_prep.synthetic.truth import stay_rows

CHUNK = 250  # patients; fixed, so that the bytes do not depend on the number of processes

_UNITS = {
    "Medical Intensive Care Unit (MICU)": 0.3,
    "Medical/Surgical Intensive Care Unit (MICU/SICU)": 0.25,
    "Surgical Intensive Care Unit (SICU)": 0.15,
    "Cardiac Vascular Intensive Care Unit (CVICU)": 0.12,
    "Coronary Care Unit (CCU)": 0.1,
    "Trauma SICU (TSICU)": 0.08,
}
_EMERGENCY = {"EW EMER.": 0.6, "URGENT": 0.2, "DIRECT EMER.": 0.1, "OBSERVATION ADMIT": 0.1}
_PLANNED = {"URGENT": 0.5, "SURGICAL SAME DAY ADMISSION": 0.3, "ELECTIVE": 0.2}
_FROM_EMERGENCY = {"EMERGENCY ROOM": 0.8, "TRANSFER FROM HOSPITAL": 0.15, "WALK-IN/SELF REFERRAL": 0.05}
_FROM_ELSEWHERE = {"PHYSICIAN REFERRAL": 0.6, "TRANSFER FROM HOSPITAL": 0.25, "CLINIC REFERRAL": 0.15}
_TO = {"HOME": 0.35, "HOME HEALTH CARE": 0.3, "SKILLED NURSING FACILITY": 0.2, "REHAB": 0.15}
_INSURANCE = {"Other": 0.55, "Medicare": 0.37, "Medicaid": 0.08}
_RACE = {
    "WHITE": 0.66,
    "BLACK/AFRICAN AMERICAN": 0.12,
    "HISPANIC/LATINO - PUERTO RICAN": 0.05,
    "ASIAN": 0.04,
    "OTHER": 0.05,
    "UNKNOWN": 0.08,
}
_MARITAL = {"MARRIED": 0.45, "SINGLE": 0.3, "WIDOWED": 0.15, "DIVORCED": 0.1}


@dataclass(frozen=True)
class Chunk:
    """Compressed CSV per table, truth rows, the stays, and the number of rows written per table."""

    parts: dict[str, bytes]
    truth: list[dict[str, Any]]
    stay_ids: list[int]
    counts: dict[str, int]


class _Tables:
    """Rows of one chunk before they are compressed."""

    def __init__(self) -> None:
        self.rows: dict[str, list[tuple[Any, ...]]] = {name: [] for name in _SCHEMAS}
        self.events = raw_tables.Measurements(raw_tables.Rows(), raw_tables.Rows(), raw_tables.Rows())
        self.truth: list[dict[str, Any]] = []


_TIME = pl.Int64
_SCHEMAS: dict[str, dict[str, Any]] = {
    "hosp/patients": dict.fromkeys(raw_tables.COLUMNS["hosp/patients"]),
    "hosp/admissions": dict.fromkeys(raw_tables.COLUMNS["hosp/admissions"])
    | {"admittime": _TIME, "dischtime": _TIME, "deathtime": _TIME, "edregtime": _TIME, "edouttime": _TIME},
    "hosp/diagnoses_icd": dict.fromkeys(raw_tables.COLUMNS["hosp/diagnoses_icd"]),
    "hosp/prescriptions": {
        "subject_id": None, "hadm_id": None, "pharmacy_id": None, "starttime": _TIME, "stoptime": _TIME,
        "drug_type": None, "drug": None,
    },
    "icu/icustays": dict.fromkeys(raw_tables.COLUMNS["icu/icustays"]) | {"intime": _TIME, "outtime": _TIME},
    "note/discharge": dict.fromkeys(raw_tables.COLUMNS["note/discharge"]) | {"charttime": _TIME, "storetime": _TIME},
}  # fmt: skip


def make_chunk(seed: int, first: int, last: int) -> Chunk:
    """Patients ``first`` to ``last`` - 1, as compressed tables; the header stands in the chunk that starts at 0."""
    hospital = load()
    made = _Tables()
    for patient, rng in draw_patients(hospital, seed, range(first, last)):
        _patient(hospital, patient, made, rng)
    frames = {
        name: pl.DataFrame(made.rows[name], schema=schema, orient="row", infer_schema_length=None).with_columns(
            raw_tables.seconds(column) for column, kind in schema.items() if kind is _TIME
        )
        for name, schema in _SCHEMAS.items()
    }
    frames["icu/chartevents"] = raw_tables.chartevents(hospital, made.events.charts)
    frames["icu/outputevents"] = raw_tables.outputevents(made.events.outputs)
    frames["hosp/labevents"] = raw_tables.labevents(hospital, made.events.labs, first * 10_000 + 1)
    header = first == 0
    return Chunk(
        parts={name: raw_tables.compress(name, frame, header) for name, frame in frames.items()},
        truth=made.truth,
        stay_ids=frames["icu/icustays"]["stay_id"].to_list(),
        counts={name: frame.height for name, frame in frames.items()},
    )


def _patient(hospital: Hospital, patient: Patient, made: _Tables, rng: np.random.Generator) -> None:
    level = baselines(hospital, rng)
    counter = [0]
    last = patient.admissions[-1]
    insurance, race = raw_tables.random_choice(_INSURANCE, rng), raw_tables.random_choice(_RACE, rng)
    marital = raw_tables.random_choice(_MARITAL, rng)
    died = (
        last.dischtime
        if last.died
        else last.dischtime + int(rng.uniform(20, 700) * DAY)
        if rng.random() < 0.2
        else None
    )
    date = None if died is None else str(np.datetime64(died, "s").astype("datetime64[D]"))
    made.rows["hosp/patients"].append(
        (patient.subject_id, patient.sex, patient.anchor_age, patient.anchor_year, patient.anchor_year_group, date)
    )
    for order, admission in enumerate(patient.admissions):
        _admission(hospital, patient, admission, order, (insurance, race, marital), level, counter, made, rng)


def _admission(
    hospital: Hospital, patient: Patient, admission: Admission, order: int, person: tuple[str, str, str],
    level: np.ndarray, counter: list[int], made: _Tables, rng: np.random.Generator,
) -> None:  # fmt: skip
    subject, hadm = patient.subject_id, admission.hadm_id
    insurance, race, marital = person
    arrival = admission.admittime - int(rng.uniform(2, 8) * HOUR)
    end = admission.dischtime
    made.rows["hosp/admissions"].append(
        (
            subject, hadm, admission.admittime, end, end if admission.died else None,
            raw_tables.random_choice(_EMERGENCY if admission.emergency else _PLANNED, rng), None,
            raw_tables.random_choice(_FROM_EMERGENCY if admission.emergency else _FROM_ELSEWHERE, rng),
            "DIED" if admission.died else raw_tables.random_choice(_TO, rng), insurance, "ENGLISH", marital, race,
            arrival if admission.emergency else None,
            admission.admittime + int(rng.uniform(0, 2) * HOUR) if admission.emergency else None, int(admission.died),
        )
    )  # fmt: skip
    for place, code in enumerate(diagnoses(admission, rng), 1):
        made.rows["hosp/diagnoses_icd"].append((subject, hadm, place, code, admission.icd_version))
    for number, (drug, start, stop) in enumerate(prescriptions(hospital, admission, rng)):
        pharmacy = 10_000_000 + (hadm * 100 + number) % 89_999_999
        made.rows["hosp/prescriptions"].append(
            (subject, hadm, pharmacy, start // HOUR * HOUR, stop // HOUR * HOUR, "MAIN", drug)
        )
    body, devices = None, set()
    for stay in admission.stays:
        length = (stay.outtime - stay.intime) / HOUR
        here = simulate(hospital, level, admission.episodes, stay.onsets, length, stay.ventilated, rng)
        carried = equipment(hospital, admission, stay, rng)
        chart(hospital, subject, admission, stay, here, carried, made.events.charts, rng)
        urine(hospital, subject, admission, stay, here, made.events.outputs, rng)
        draw(
            hospital,
            patient,
            admission,
            stay,
            stay.intime,
            length,
            here,
            made.events.labs,
            made.events.charts,
            counter,
            rng,
        )
        body, devices = body or here, devices | carried
        unit = raw_tables.random_choice(_UNITS, rng)
        made.rows["icu/icustays"].append(
            (subject, hadm, stay.stay_id, unit, unit, stay.intime, stay.outtime, (stay.outtime - stay.intime) / DAY)
        )
    if not admission.stays:  # a ward admission: some blood samples, nothing charted
        length = min((end - admission.admittime) / HOUR, 72.0)
        onsets = [-24.0] * len(admission.episodes)
        body = simulate(hospital, level, admission.episodes, onsets, length, False, rng)
        start = admission.admittime
        draw(
            hospital, patient, admission, None, start, length, body, made.events.labs, made.events.charts, counter, rng
        )
    note = write_note(hospital, patient, admission, body, devices, rng)
    if admission.has_note:
        day = end // DAY * DAY
        made.rows["note/discharge"].append(
            (
                f"{subject}-DS-{order + 1}",
                subject,
                hadm,
                "DS",
                order + 1,
                day,
                day + int(rng.uniform(8, 40) * HOUR),
                note.text,
            )
        )
    made.truth += stay_rows(hospital, patient, admission, note.evidence if admission.has_note else {})
