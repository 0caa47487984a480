"""MEDS datasets, after ``mimic_prep.releases.meds.convert`` has laid their events out in tables. https://medical-event-data-standard.github.io"""

from __future__ import annotations

from dataclasses import replace

from clinragen.catalog import shipped_variables, variables
from mimic_prep.items import used
from mimic_prep.releases.mimic_iv.tables import (
    ADMISSIONS,
    DIAGNOSES,
    ICUSTAYS,
    INPUTEVENTS,
    PRESCRIPTIONS,
    PROCEDUREEVENTS,
)
from mimic_prep.tables import INTEGER, NUMBER, TEXT, TIME, WORD, Column, EventTable, MimicLayout, Table

ITEMS = "mimic4"
_SUBJECT = Column("subject_id", INTEGER)

PATIENTS = Table(
    "hosp/patients", {"subject_id": _SUBJECT, "sex": Column("gender", TEXT), "birth": Column("dob", TIME)}
)  # fmt: skip


def _events(name: str, items: str = "") -> EventTable:
    columns = {
        "subject_id": _SUBJECT,
        "item": Column("itemid", INTEGER),
        "time": Column("charttime", TIME),
        "known": Column("storetime", TIME, required=False),
        "value": Column("valuenum", NUMBER),
        "words": Column("value", TEXT, required=False),
        "unit": Column("valueuom", WORD, required=False),
    }
    return EventTable(Table(name, columns, required=False), key="subject_id", items=items)


EVENTS = tuple(_events(name) for name in ("icu/chartevents", "hosp/labevents", "icu/outputevents"))
#: Added variables without item ids of MIMIC-IV, by their LOINC codes.
OBSERVATIONS = _events("meds/observations", items="loinc")


def _lasting(table: Table) -> EventTable:
    """A table of treatments of MIMIC-IV; its rows name the patient, and no time of entry."""
    others = {name: column for name, column in table.columns.items() if name not in ("stay_id", "known")}
    ours = replace(table, columns={"subject_id": _SUBJECT, **others})
    return EventTable(ours, key="subject_id", beside=True, interval=True, if_used=True)


INFUSIONS, PROCEDURES = _lasting(INPUTEVENTS), _lasting(PROCEDUREEVENTS)


def measured() -> tuple[EventTable, ...]:
    """The tables of measurements, for the variables in use."""
    return (*EVENTS, OBSERVATIONS) if by_code() else EVENTS


def lasting() -> tuple[EventTable, ...]:
    """The tables of treatments that a variable in use is read from."""
    return used((INFUSIONS, PROCEDURES), ITEMS)


def events() -> tuple[EventTable, ...]:
    """All tables that become series, for the variables in use."""
    return (*measured(), *lasting())


def by_code() -> dict[str, int]:
    """Added variable -> its item in ``OBSERVATIONS``, for those without item ids of MIMIC-IV."""
    added = (variable for key, variable in variables().items() if key not in shipped_variables())
    return {one.key: int(next(iter(one.items["loinc"]["observations"]))) for one in added if not one.items.get(ITEMS)}


MEDS = MimicLayout(
    name="MEDS",
    items=ITEMS,
    stays=ICUSTAYS,
    patients=PATIENTS,
    admissions=ADMISSIONS,
    diagnoses=DIAGNOSES,
    events=EVENTS,
    prescriptions=PRESCRIPTIONS,
)
