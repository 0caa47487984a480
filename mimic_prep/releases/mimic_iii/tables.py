"""Tables of MIMIC-III 1.4, both CareVue and MetaVision. https://mimic.mit.edu/docs/iii/tables/"""

from __future__ import annotations

from mimic_prep.doses import charted_doses
from mimic_prep.tables import INTEGER, NUMBER, TEXT, TIME, WORD, Column, EventTable, MimicLayout, NoteTable, Table

_SUBJECT = Column("subject_id", INTEGER)
_HADM = Column("hadm_id", INTEGER)
_STAY = Column("icustay_id", INTEGER)
_VERSION = Column("icd_version", TEXT, required=False)  # not there: all codes are ICD-9, see MIMIC3
_STORED = Column("storetime", TIME, required=False)
_VALUE = {
    "item": Column("itemid", INTEGER),
    "time": Column("charttime", TIME),
    "unit": Column("valueuom", WORD, required=False),
}

ICUSTAYS = Table(
    "ICUSTAYS",
    {
        "subject_id": _SUBJECT,
        "hadm_id": _HADM,
        "stay_id": _STAY,
        "care_unit": Column("first_careunit", TEXT, required=False),
        "intime": Column("intime", TIME),
        "outtime": Column("outtime", TIME),
    },
)
PATIENTS = Table(
    "PATIENTS", {"subject_id": _SUBJECT, "sex": Column("gender", TEXT), "birth": Column("dob", TIME)}
)  # fmt: skip
ADMISSIONS = Table(
    "ADMISSIONS",
    {
        "subject_id": _SUBJECT,
        "hadm_id": _HADM,
        "admittime": Column("admittime", TIME),
        "dischtime": Column("dischtime", TIME),
        "admission_type": Column("admission_type", TEXT, required=False),
        "admission_location": Column("admission_location", TEXT, required=False),
        "expire_flag": Column("hospital_expire_flag", TEXT, required=False),
        "deathtime": Column("deathtime", TEXT, required=False),
    },
)
DIAGNOSES = Table(
    "DIAGNOSES_ICD",
    {
        "subject_id": _SUBJECT,
        "hadm_id": _HADM,
        "position": Column("seq_num", INTEGER, required=False),
        "code": Column("icd9_code", TEXT),
        "version": _VERSION,
    },
    required=False,  # patients may not be coded yet
)
DIAGNOSIS_NAMES = Table(
    "D_ICD_DIAGNOSES",
    {"code": Column("icd9_code", TEXT), "version": _VERSION, "title": Column("long_title", TEXT)},
    required=False,
)
PRESCRIPTIONS = Table(
    "PRESCRIPTIONS",
    {
        "subject_id": _SUBJECT,
        "hadm_id": _HADM,
        "time": Column("startdate", TIME),
        "stop": Column("enddate", TIME, required=False),
        "route": Column("route", TEXT, required=False),
        "drug_type": Column("drug_type", TEXT, required=False),
        "drug": Column("drug", TEXT),
    },
    required=False,
)
CHARTEVENTS = Table(
    "CHARTEVENTS",
    {
        "stay_id": _STAY,
        **_VALUE,
        "known": _STORED,
        "value": Column("valuenum", NUMBER),
        "words": Column("value", TEXT, required=False),
        "error": Column("error", NUMBER, required=False),
        "warning": Column("warning", NUMBER, required=False),
    },
)
OUTPUTEVENTS = Table(
    "OUTPUTEVENTS",
    {
        "stay_id": _STAY,
        **_VALUE,
        "known": _STORED,
        "value": Column("value", NUMBER),
        "error": Column("iserror", NUMBER, required=False),
    },
    required=False,
)
LABEVENTS = Table(  # no time of entry: results count from the time they were drawn
    "LABEVENTS",
    {
        "subject_id": _SUBJECT,
        **_VALUE,
        "value": Column("valuenum", NUMBER),
        "words": Column("value", TEXT, required=False),
    },
)
_LASTING = {
    "stay_id": _STAY,
    "item": Column("itemid", INTEGER),
    "time": Column("starttime", TIME),
    "end": Column("endtime", TIME),
    "known": _STORED,
    "status": Column("statusdescription", TEXT, required=False),
}
_DOSE = {
    "rate": Column("rate", NUMBER),
    "rate_unit": Column("rateuom", WORD),
    "amount": Column("amount", NUMBER),
    "amount_unit": Column("amountuom", WORD),
}
INPUTEVENTS_MV = Table(
    "INPUTEVENTS_MV", _LASTING | _DOSE | {"weight": Column("patientweight", NUMBER, required=False)}, required=False
)
PROCEDUREEVENTS_MV = Table("PROCEDUREEVENTS_MV", _LASTING, required=False)
GIVEN = Table(
    "INPUTEVENTS_MV",
    {
        "stay_id": _STAY,
        "item": Column("itemid", INTEGER),
        "time": Column("starttime", TIME),
        "stop": Column("endtime", TIME),
        "entered": _STORED,
        "status": Column("statusdescription", TEXT, required=False),
    },
    required=False,
)
ITEM_NAMES = Table("D_ITEMS", {"item": Column("itemid", INTEGER), "label": Column("label", TEXT)}, required=False)
INPUTEVENTS_CV = Table(  # charted at points in time, without the weight
    "INPUTEVENTS_CV",
    {
        "stay_id": _STAY,
        "item": Column("itemid", INTEGER),
        "time": Column("charttime", TIME),
        "known": _STORED,
        **_DOSE,
        "stopped": Column("stopped", TEXT, required=False),
    },
    required=False,
    derived=charted_doses("mimic3", "inputevents_cv"),
)
NOTEEVENTS = Table(
    "NOTEEVENTS",
    {
        "note_id": Column("row_id", TEXT),
        "subject_id": _SUBJECT,
        "hadm_id": _HADM,
        "category": Column("category", TEXT),
        "description": Column("description", TEXT, required=False),
        "date": Column("chartdate", TIME, required=False),
        "time": Column("charttime", TIME),
        "available": Column("storetime", TIME, required=False),
        "error": Column("iserror", NUMBER, required=False),
        "text": Column("text", TEXT),
    },
    required=False,
    multiline=True,
)

MIMIC3 = MimicLayout(
    name="MIMIC-III",
    items="mimic3",
    stays=ICUSTAYS,
    patients=PATIENTS,
    admissions=ADMISSIONS,
    diagnoses=DIAGNOSES,
    events=(
        EventTable(CHARTEVENTS, key="stay_id"),
        EventTable(LABEVENTS, key="subject_id"),
        EventTable(OUTPUTEVENTS, key="stay_id"),
        EventTable(INPUTEVENTS_MV, key="stay_id", beside=True, interval=True, if_used=True),
        EventTable(INPUTEVENTS_CV, key="stay_id", beside=True, if_used=True),
        EventTable(PROCEDUREEVENTS_MV, key="stay_id", beside=True, interval=True, if_used=True),
    ),
    notes=(
        NoteTable(NOTEEVENTS, kind="discharge", categories=("Discharge summary",)),
        NoteTable(NOTEEVENTS, kind="radiology", categories=("Radiology",)),
        NoteTable(NOTEEVENTS, kind="physician", categories=("Physician",)),
        NoteTable(NOTEEVENTS, kind="nursing", categories=("Nursing", "Nursing/other")),
        NoteTable(NOTEEVENTS, kind="ecg", categories=("ECG",)),
        NoteTable(NOTEEVENTS, kind="echo", categories=("Echo",)),
    ),
    prescriptions=PRESCRIPTIONS,
    infusions=GIVEN,
    item_names=ITEM_NAMES,
    diagnosis_names=DIAGNOSIS_NAMES,
    icd_version=9,
    dated_prescriptions=True,
)
