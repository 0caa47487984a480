"""Tables that a FHIR export is laid out in by ``convert`` and ``layout``. https://hl7.org/fhir/R4/"""

from __future__ import annotations

import polars as pl

from mimic_prep.accounting import RowFilter
from mimic_prep.doses import average_rates, charted_rates
from mimic_prep.releases.fhir.vocabulary import TABLES
from mimic_prep.releases.meds.tables import PATIENTS
from mimic_prep.releases.mimic_iv.tables import ADMISSIONS, DIAGNOSES, ICUSTAYS, PRESCRIPTIONS
from mimic_prep.tables import (
    INTEGER,
    NUMBER,
    TEXT,
    TIME,
    WORD,
    Column,
    Derivation,
    EventTable,
    MimicLayout,
    NoteTable,
    Table,
)

_SUBJECT = Column("subject_id", INTEGER)
#: kinds of notes with their own time, besides discharge summaries
NOTE_KINDS = ("radiology", "history_and_physical", "nursing", "progress", "emergency", "consult", "note")


def _events(name: str) -> EventTable:
    columns = {
        "stay_id": Column("stay_id", INTEGER),
        "item": Column("itemid", INTEGER),
        "time": Column("charttime", TIME),
        "known": Column("storetime", TIME, required=False),
        "value": Column("valuenum", NUMBER),
        "words": Column("value", TEXT, required=False),
        "comment": Column("comments", TEXT, required=False),
        "unit": Column("valueuom", WORD, required=False),
    }
    if name == TABLES[-1]:  # whose values may have several codes of one variable
        columns["rank"] = Column("rank", INTEGER, required=False)
    if name == "labevents":  # whose rows name the specimen of a blood gas
        columns["specimen"] = Column("specimen_id", INTEGER, required=False)
    return EventTable(
        Table(f"fhir/{name}", columns, required=False), key="stay_id", items="loinc" if name == TABLES[-1] else ""
    )


NOTES = Table(
    "fhir/notes",
    {
        "note_id": Column("note_id", TEXT),
        "subject_id": _SUBJECT,
        "hadm_id": Column("hadm_id", INTEGER),
        "category": Column("kind", TEXT, required=False),
        "time": Column("charttime", TIME),
        "available": Column("storetime", TIME, required=False),
        "text": Column("text", TEXT),
    },
    required=False,
)
PROBLEMS = Table(
    "fhir/problems",
    {"subject_id": _SUBJECT, "time": Column("time", TIME, required=False), "title": Column("title", TEXT)},
    required=False,
)
_ADMINISTERED = {
    "stay_id": Column("stay_id", INTEGER),
    "item": Column("itemid", INTEGER),
    "time": Column("starttime", TIME),
    "rate": Column("rate", NUMBER),
    "rate_unit": Column("rateuom", WORD),
    "elsewhere": Column("elsewhere", INTEGER),
}


_RATE_RULE = charted_rates("loinc", "rates")


def _lasting(row_filter: RowFilter) -> None:
    _by_vein(row_filter)
    row_filter.skip(pl.col("end").is_null(), "no end, and not said to go on: how long it lasted is unknown")
    average_rates(row_filter)


def _charted(row_filter: RowFilter) -> None:
    _by_vein(row_filter)
    _RATE_RULE.rule(row_filter)


def _by_vein(row_filter: RowFilter) -> None:
    row_filter.skip(pl.col("elsewhere") == 1, "not given by vein")


INFUSIONS = Table(
    "fhir/infusions",
    {
        **_ADMINISTERED,
        "end": Column("endtime", TIME),
        "amount": Column("amount", NUMBER),
        "amount_unit": Column("amountuom", WORD),
        "rank": Column("rank", INTEGER),
    },
    required=False,
    derived=Derivation(_lasting, "1"),
)
RATES = Table("fhir/rates", _ADMINISTERED, required=False, derived=Derivation(_charted, "1"))
EVENTS = (
    *(_events(name) for name in TABLES),
    EventTable(INFUSIONS, key="stay_id", items="loinc", beside=True, interval=True, if_used=True),
    EventTable(RATES, key="stay_id", items="loinc", beside=True, if_used=True),
)
FHIR = MimicLayout(
    name="FHIR",
    items="mimic4",
    stays=ICUSTAYS,
    patients=PATIENTS,
    admissions=ADMISSIONS,
    diagnoses=DIAGNOSES,
    events=EVENTS,
    notes=tuple(NoteTable(NOTES, kind=kind, categories=(kind,)) for kind in ("discharge", *NOTE_KINDS)),
    prescriptions=PRESCRIPTIONS,
    clock="absolute",
)
