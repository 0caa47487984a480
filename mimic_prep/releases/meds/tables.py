"""MEDS datasets, after ``mimic_prep.releases.meds.convert`` has laid their events out in tables. https://medical-event-data-standard.github.io"""

from __future__ import annotations

from mimic_prep.releases.mimic_iv.tables import ADMISSIONS, DIAGNOSES, ICUSTAYS, PRESCRIPTIONS
from mimic_prep.tables import INTEGER, NUMBER, TEXT, TIME, WORD, Column, EventTable, MimicLayout, Table

_SUBJECT = Column("subject_id", INTEGER)

PATIENTS = Table(
    "hosp/patients", {"subject_id": _SUBJECT, "sex": Column("gender", TEXT), "birth": Column("dob", TIME)}
)  # fmt: skip


def _events(name: str) -> EventTable:
    columns = {
        "subject_id": _SUBJECT,
        "item": Column("itemid", INTEGER),
        "time": Column("charttime", TIME),
        "known": Column("storetime", TIME, required=False),
        "value": Column("valuenum", NUMBER),
        "words": Column("value", TEXT, required=False),
        "unit": Column("valueuom", WORD, required=False),
    }
    return EventTable(Table(name, columns, required=False), key="subject_id")


EVENTS = tuple(_events(name) for name in ("icu/chartevents", "hosp/labevents", "icu/outputevents"))
MEDS = MimicLayout(
    name="MEDS",
    items="mimic4",
    stays=ICUSTAYS,
    patients=PATIENTS,
    admissions=ADMISSIONS,
    diagnoses=DIAGNOSES,
    events=EVENTS,
    prescriptions=PRESCRIPTIONS,
)
