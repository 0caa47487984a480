"""One chunk of patients from seed to compressed tables and truth rows; the unit of work of a process."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import polars as pl

from mimic_prep.synthetic import raw_tables
from mimic_prep.synthetic.charting import chart, equipment, urine
from mimic_prep.synthetic.coding import PossibleOrder, diagnoses, possible_orders, prescriptions, substituted
from mimic_prep.synthetic.hospital import Hospital, load
from mimic_prep.synthetic.laboratory import Sampling, draw
from mimic_prep.synthetic.note_writer import GeneratedNote, write_note
from mimic_prep.synthetic.patients import DAY, HOUR, Admission, Patient, SimulatedStay, draw_patients
from mimic_prep.synthetic.physiology import Trajectory, baselines, simulate
from mimic_prep.synthetic.sites import COLUMNS as SITE_COLUMNS
from mimic_prep.synthetic.sites import Group, in_style
from mimic_prep.synthetic.truth import (
    TruthRows,
    contraindication_rows,
    order_rows,
    recoded_rows,
    stay_rows,
    uncoded_rows,
)

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
    """Compressed CSV per table, rows of the truth tables, and the number of rows written per table."""

    parts: dict[str, bytes]
    truth: TruthRows
    counts: dict[str, int]


class _ChunkTables:
    """Rows of one chunk before they are compressed."""

    def __init__(self) -> None:
        self.rows: dict[str, list[tuple[object, ...]]] = {name: [] for name in _SCHEMAS}
        self.events = raw_tables.EventRows(raw_tables.Rows(), raw_tables.Rows(), raw_tables.Rows())
        self.truth = TruthRows()


_TIME = pl.Int64


def _schema(columns: Iterable[str], *times: str) -> dict[str, type[pl.DataType] | None]:
    """The types of a table's columns: those of ``times`` hold seconds, of others the rows decide."""
    return {column: _TIME if column in times else None for column in columns}


_SCHEMAS: dict[str, dict[str, type[pl.DataType] | None]] = {
    "hosp/patients": _schema(raw_tables.COLUMNS["hosp/patients"]),
    "hosp/admissions": _schema(
        raw_tables.COLUMNS["hosp/admissions"], "admittime", "dischtime", "deathtime", "edregtime", "edouttime"
    ),
    "hosp/diagnoses_icd": _schema(raw_tables.COLUMNS["hosp/diagnoses_icd"]),
    "hosp/prescriptions": _schema(
        ("subject_id", "hadm_id", "pharmacy_id", "starttime", "stoptime", "drug_type", "drug"), "starttime", "stoptime"
    ),
    "icu/icustays": _schema(raw_tables.COLUMNS["icu/icustays"], "intime", "outtime"),
    "note/discharge": _schema(raw_tables.COLUMNS["note/discharge"], "charttime", "storetime"),
}


def make_chunk(of: Group, first: int, last: int) -> Chunk:
    """Patients ``first`` to ``last`` - 1 of a hospital group, as compressed tables; the first chunk has the header."""
    hospital = load()
    tables = _ChunkTables()
    for patient, rng in draw_patients(hospital, of, range(first, last)):
        _patient(hospital, of, patient, tables, rng)
    schemas = dict(_SCHEMAS)
    if of.sites > 1:
        schemas["hosp/admissions"] = schemas["hosp/admissions"] | _schema(SITE_COLUMNS)
    frames = {
        name: pl.DataFrame(tables.rows[name], schema=schema, orient="row", infer_schema_length=None).with_columns(
            raw_tables.seconds(column) for column, kind in schema.items() if kind is _TIME
        )
        for name, schema in schemas.items()
    }
    frames["icu/chartevents"] = raw_tables.chartevents(hospital, tables.events.charts)
    frames["icu/outputevents"] = raw_tables.outputevents(tables.events.outputs)
    frames["hosp/labevents"] = raw_tables.labevents(hospital, tables.events.labs, first * 10_000 + 1)
    header = first == 0
    return Chunk(
        parts={name: raw_tables.compress(name, frame, header) for name, frame in frames.items()},
        truth=tables.truth,
        counts={name: frame.height for name, frame in frames.items()},
    )


@dataclass
class _PatientRows:
    """Writes the rows of one patient. Random draws follow the order of the calls, which therefore determines the bytes.

    ``level`` are the patient's own baselines, ``specimens`` counts the blood samples.
    """

    hospital: Hospital
    of: Group
    patient: Patient
    tables: _ChunkTables
    rng: np.random.Generator
    level: np.ndarray
    specimens: list[int]

    def choice(self, weights: dict[str, float]) -> str:
        """A weighted random choice."""
        return raw_tables.random_choice(weights, self.rng)

    def admission(self, admission: Admission, order: int, insurance: str, race: str, marital: str) -> None:
        """All rows of an admission, the ``order``-th of the patient from 0."""
        self._admission_row(admission, insurance, race, marital)
        present = {episode.condition.key for episode in admission.episodes}
        written = self.of.recoded(admission.hadm_id, present, self.patient.anchor_year_group)
        drift = self.of.site_drift_of(self.patient.index)
        uncoded = drift.left_uncoded(self.of.seed, admission.hadm_id, present)
        self._codes(admission, written, uncoded, drift.icd_version or admission.icd_version)
        possible = possible_orders(self.hospital, admission, self.rng)
        body, devices = None, set()
        for stay in admission.stays:
            here, carried = self._stay(admission, stay)
            body, devices = body or here, devices | carried
        if not admission.stays:
            body = self._ward(admission)
        note = self._note(admission, order, body, devices)
        self.tables.truth.recoded += recoded_rows(admission, written)
        self.tables.truth.uncoded += uncoded_rows(admission, uncoded)
        self._orders(admission, [substituted(self.hospital, admission, of, note.allergy) for of in possible], note)

    def _admission_row(self, admission: Admission, insurance: str, race: str, marital: str) -> None:
        arrival = admission.admittime - int(self.rng.uniform(2, 8) * HOUR)
        end = admission.dischtime
        self.tables.rows["hosp/admissions"].append(
            (
                self.patient.subject_id, admission.hadm_id, admission.admittime, end, end if admission.died else None,
                self.choice(_EMERGENCY if admission.emergency else _PLANNED), None,
                self.choice(_FROM_EMERGENCY if admission.emergency else _FROM_ELSEWHERE),
                "DIED" if admission.died else self.choice(_TO), insurance, "ENGLISH", marital, race,
                arrival if admission.emergency else None,
                admission.admittime + int(self.rng.uniform(0, 2) * HOUR) if admission.emergency else None,
                int(admission.died), *self.of.names(self.patient.index),
            )
        )  # fmt: skip

    def _codes(self, admission: Admission, written: dict[str, str], uncoded: set[str], version: int) -> None:
        others = {key: self.hospital.conditions[other] for key, other in written.items()}
        for position, code in enumerate(diagnoses(admission, self.rng, others, uncoded, version), 1):
            self.tables.rows["hosp/diagnoses_icd"].append(
                (self.patient.subject_id, admission.hadm_id, position, code, version)
            )

    def _orders(self, admission: Admission, orders: list[PossibleOrder], note: GeneratedNote) -> None:
        for number, (drug, start, stop) in enumerate(prescriptions(orders, admission)):
            pharmacy = 10_000_000 + (admission.hadm_id * 100 + number) % 89_999_999
            hours = start // HOUR * HOUR, stop // HOUR * HOUR
            row = (self.patient.subject_id, admission.hadm_id, pharmacy, *hours, "MAIN", drug)
            self.tables.rows["hosp/prescriptions"].append(row)
        evidence = note.evidence if admission.has_note else {}
        self.tables.truth.orders += order_rows(admission, orders, evidence)
        self.tables.truth.contraindications += contraindication_rows(self.hospital, admission, note.allergy)

    def _stay(self, admission: Admission, stay: SimulatedStay) -> tuple[Trajectory, set[str]]:
        """One stay in intensive care: physiology and equipment."""
        subject, events = self.patient.subject_id, self.tables.events
        length = (stay.outtime - stay.intime) / HOUR
        body = simulate(self.hospital, self.level, admission.episodes, stay.onsets, length, stay.ventilated, self.rng)
        carried = equipment(self.hospital, admission, stay, self.rng)
        chart(self.hospital, subject, admission, stay, body, carried, events.charts, self.rng)
        urine(self.hospital, subject, admission, stay, body, events.outputs, self.rng)
        self._blood(admission, stay, stay.intime, length, body)
        unit = self.choice(_UNITS)
        days = (stay.outtime - stay.intime) / DAY
        self.tables.rows["icu/icustays"].append(
            (subject, admission.hadm_id, stay.stay_id, unit, unit, stay.intime, stay.outtime, days)
        )
        self.tables.truth.stays.append((stay.stay_id, self.patient.index, self.patient.anchor_year_group))
        return body, carried

    def _ward(self, admission: Admission) -> Trajectory:
        """An admission without intensive care: some blood samples, no charting."""
        length = min((admission.dischtime - admission.admittime) / HOUR, 72.0)
        onsets = [-24.0] * len(admission.episodes)
        body = simulate(self.hospital, self.level, admission.episodes, onsets, length, False, self.rng)
        self._blood(admission, None, admission.admittime, length, body)
        return body

    def _blood(
        self, admission: Admission, stay: SimulatedStay | None, start: int, length: float, body: Trajectory
    ) -> None:
        events = self.tables.events
        sampling = Sampling(
            self.hospital, self.patient, admission, stay, start, length, body, events.labs, events.charts,
            self.specimens,
        )  # fmt: skip
        draw(sampling, self.rng)

    def _note(self, admission: Admission, order: int, body: Trajectory | None, devices: set[str]) -> GeneratedNote:
        patient = self.patient
        note = write_note(self.hospital, patient, admission, body, devices, self.rng)
        if admission.has_note:
            day = admission.dischtime // DAY * DAY
            filed = day + int(self.rng.uniform(8, 40) * HOUR)
            name = f"{patient.subject_id}-DS-{order + 1}"
            text = in_style(note.text, self.of.habits(patient.index, patient.anchor_year_group).notes)
            self.tables.rows["note/discharge"].append(
                (name, patient.subject_id, admission.hadm_id, "DS", order + 1, day, filed, text)
            )
        evidence = note.evidence if admission.has_note else {}
        self.tables.truth.conditions += stay_rows(self.hospital, patient, admission, evidence)
        return note


def _patient(hospital: Hospital, of: Group, patient: Patient, tables: _ChunkTables, rng: np.random.Generator) -> None:
    writer = _PatientRows(hospital, of, patient, tables, rng, level=baselines(hospital, rng), specimens=[0])
    charting = of.charting(hospital, patient.index, patient.anchor_year_group)
    for rows in (tables.events.charts, tables.events.labs):
        rows.charting = charting
    drift = of.site_drift_of(patient.index)
    tables.events.labs.late = drift.seconds_late("laboratory")
    tables.events.charts.late = tables.events.outputs.late = drift.seconds_late("bedside")
    insurance, race, marital = writer.choice(_INSURANCE), writer.choice(_RACE), writer.choice(_MARITAL)
    tables.rows["hosp/patients"].append(
        (
            patient.subject_id, patient.sex, patient.anchor_age, patient.anchor_year, patient.anchor_year_group,
            _date_of_death(patient, rng),
        )
    )  # fmt: skip
    for order, admission in enumerate(patient.admissions):
        writer.admission(admission, order, insurance, race, marital)


def _date_of_death(patient: Patient, rng: np.random.Generator) -> str | None:
    """A fifth of the patients who leave their last admission alive die within two years."""
    last = patient.admissions[-1]
    died = last.dischtime if last.died else None
    if not last.died and rng.random() < 0.2:
        died = last.dischtime + int(rng.uniform(20, 700) * DAY)
    return None if died is None else str(np.datetime64(died, "s").astype("datetime64[D]"))
