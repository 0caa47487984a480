"""MIMIC-IV 2.2 to 3.1 with MIMIC-IV-Note 2.2. https://mimic.mit.edu/docs/iv/modules/"""

from __future__ import annotations

from mimic_prep.tables import INTEGER, NUMBER, TEXT, TIME, WORD, Column, EventTable, MimicLayout, NoteTable, Table

_SUBJECT = Column("subject_id", INTEGER)
_HADM = Column("hadm_id", INTEGER)
_STORED = Column("storetime", TIME, required=False)

ICUSTAYS = Table(
    "icu/icustays",
    {
        "subject_id": _SUBJECT,
        "hadm_id": _HADM,
        "stay_id": Column("stay_id", INTEGER),
        "care_unit": Column("first_careunit", TEXT, required=False),
        "intime": Column("intime", TIME),
        "outtime": Column("outtime", TIME),
    },
)
PATIENTS = Table(
    "hosp/patients",
    {
        "subject_id": _SUBJECT,
        "sex": Column("gender", TEXT),
        "anchor_age": Column("anchor_age", NUMBER),
        "anchor_year": Column("anchor_year", INTEGER),
        "period": Column("anchor_year_group", TEXT, required=False),
    },
)
ADMISSIONS = Table(
    "hosp/admissions",
    {
        "subject_id": _SUBJECT,
        "hadm_id": _HADM,
        "admittime": Column("admittime", TIME),
        "dischtime": Column("dischtime", TIME),
        "admission_type": Column("admission_type", TEXT, required=False),
        "admission_location": Column("admission_location", TEXT, required=False),
        "expire_flag": Column("hospital_expire_flag", TEXT, required=False),
        "deathtime": Column("deathtime", TEXT, required=False),
        # not of MIMIC-IV, which is of one hospital: of a hospital group's own tables in its layout
        "hospital": Column("hospital_id", TEXT, required=False),
        "network": Column("network_id", TEXT, required=False),
    },
)
DIAGNOSES = Table(
    "hosp/diagnoses_icd",
    {
        "subject_id": _SUBJECT,
        "hadm_id": _HADM,
        "position": Column("seq_num", INTEGER, required=False),
        "code": Column("icd_code", TEXT),
        "version": Column("icd_version", TEXT),  # 9 and 10, in some exports ICD9 or 9.0
    },
    required=False,  # patients may not be coded yet
)
DIAGNOSIS_NAMES = Table(
    "hosp/d_icd_diagnoses",
    {
        "code": Column("icd_code", TEXT),
        "version": Column("icd_version", TEXT),
        "title": Column("long_title", TEXT),
    },
    required=False,
)
PRESCRIPTIONS = Table(
    "hosp/prescriptions",
    {
        "subject_id": _SUBJECT,
        "hadm_id": _HADM,
        "time": Column("starttime", TIME),
        "stop": Column("stoptime", TIME, required=False),
        "order": Column("pharmacy_id", TEXT, required=False),
        "route": Column("route", TEXT, required=False),
        "drug_type": Column("drug_type", TEXT, required=False),
        "drug": Column("drug", TEXT),
    },
    required=False,
)
PHARMACY = Table(
    "hosp/pharmacy",
    {
        "hadm_id": _HADM,
        "order": Column("pharmacy_id", TEXT),
        "entered": Column("entertime", TIME, required=False),
    },
    required=False,
)
CHARTEVENTS = Table(
    "icu/chartevents",
    {
        "stay_id": Column("stay_id", INTEGER),
        "item": Column("itemid", INTEGER),
        "time": Column("charttime", TIME),
        "known": _STORED,
        "value": Column("valuenum", NUMBER),
        "words": Column("value", TEXT, required=False),
        "unit": Column("valueuom", TEXT, required=False),
        "warning": Column("warning", NUMBER, required=False),
    },
)
OUTPUTEVENTS = Table(
    "icu/outputevents",
    {
        "stay_id": Column("stay_id", INTEGER),
        "item": Column("itemid", INTEGER),
        "time": Column("charttime", TIME),
        "known": _STORED,
        "value": Column("value", NUMBER),
        "unit": Column("valueuom", WORD, required=False),
    },
    required=False,
)
LABEVENTS = Table(
    "hosp/labevents",
    {
        "subject_id": _SUBJECT,
        "item": Column("itemid", INTEGER),
        "time": Column("charttime", TIME),
        "known": _STORED,
        "value": Column("valuenum", NUMBER),
        "words": Column("value", TEXT, required=False),
        "comment": Column("comments", TEXT, required=False),
        "specimen": Column("specimen_id", INTEGER, required=False),
        "unit": Column("valueuom", WORD, required=False),
    },
)
INPUTEVENTS = Table(
    "icu/inputevents",
    {
        "stay_id": Column("stay_id", INTEGER),
        "item": Column("itemid", INTEGER),
        "time": Column("starttime", TIME),
        "end": Column("endtime", TIME),
        "known": _STORED,
        "rate": Column("rate", NUMBER),
        "rate_unit": Column("rateuom", WORD),
        "amount": Column("amount", NUMBER),
        "amount_unit": Column("amountuom", WORD),
        "weight": Column("patientweight", NUMBER, required=False),
        "status": Column("statusdescription", TEXT, required=False),
    },
    required=False,
)
GIVEN = Table(
    "icu/inputevents",
    {
        "stay_id": Column("stay_id", INTEGER),
        "item": Column("itemid", INTEGER),
        "time": Column("starttime", TIME),
        "stop": Column("endtime", TIME),
        "entered": _STORED,
        "status": Column("statusdescription", TEXT, required=False),
    },
    required=False,
)
ITEM_NAMES = Table("icu/d_items", {"item": Column("itemid", INTEGER), "label": Column("label", TEXT)}, required=False)
PROCEDUREEVENTS = Table(
    "icu/procedureevents",
    {
        "stay_id": Column("stay_id", INTEGER),
        "item": Column("itemid", INTEGER),
        "time": Column("starttime", TIME),
        "end": Column("endtime", TIME),
        "known": _STORED,
        "status": Column("statusdescription", TEXT, required=False),
    },
    required=False,
)
_NOTE_COLUMNS = {
    "note_id": Column("note_id", TEXT),
    "subject_id": _SUBJECT,
    "hadm_id": _HADM,
    "category": Column("note_type", TEXT, required=False),
    "time": Column("charttime", TIME),
    "available": Column("storetime", TIME, required=False),
    "text": Column("text", TEXT),
}
DISCHARGE = Table("note/discharge", _NOTE_COLUMNS, required=False, multiline=True)
RADIOLOGY = Table("note/radiology", _NOTE_COLUMNS, required=False, multiline=True)

MIMIC4 = MimicLayout(
    name="MIMIC-IV",
    items="mimic4",
    stays=ICUSTAYS,
    patients=PATIENTS,
    admissions=ADMISSIONS,
    diagnoses=DIAGNOSES,
    events=(
        EventTable(CHARTEVENTS, key="stay_id"),
        EventTable(LABEVENTS, key="subject_id"),
        EventTable(OUTPUTEVENTS, key="stay_id"),
        EventTable(INPUTEVENTS, key="stay_id", beside=True, interval=True, if_used=True),
        EventTable(PROCEDUREEVENTS, key="stay_id", beside=True, interval=True, if_used=True),
    ),
    notes=(
        NoteTable(DISCHARGE, kind="discharge", categories=("DS", "AD"), addenda=("AD",)),
        NoteTable(RADIOLOGY, kind="radiology", addenda=("AR",)),
    ),
    prescriptions=PRESCRIPTIONS,
    order_entries=PHARMACY,
    infusions=GIVEN,
    item_names=ITEM_NAMES,
    diagnosis_names=DIAGNOSIS_NAMES,
    clock="year_group",
)
