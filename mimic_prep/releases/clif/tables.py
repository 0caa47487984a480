"""The tables of CLIF 2.0 and 2.1 that are read. Ids are text; times have an offset, or are in UTC."""

from __future__ import annotations

from clinragen.catalog import variables
from mimic_prep.tables import INSTANT, NUMBER, TEXT, TIME, WORD, Column, EventTable, Table

ITEMS = "clif"
_PATIENT = Column("patient_id", TEXT)
_SUPPORT = "clif_respiratory_support"
_ADMISSION = Column("hospitalization_id", TEXT)


def _text(raw: str) -> Column:
    return Column(raw, TEXT, required=False)


PATIENT = Table(
    "clif_patient",
    {
        "patient": _PATIENT,
        "birth": Column("birth_date", TIME, required=False),
        "death": Column("death_dttm", INSTANT, required=False),
        "sex": _text("sex_category"),
    },
)
HOSPITALIZATION = Table(
    "clif_hospitalization",
    {
        "patient": _PATIENT,
        "admission": _ADMISSION,
        "admittime": Column("admission_dttm", INSTANT),
        "dischtime": Column("discharge_dttm", INSTANT),
        "age": Column("age_at_admission", TEXT, required=False),
        "type": _text("admission_type_category"),
        "discharge": _text("discharge_category"),
    },
)
ADT = Table(
    "clif_adt",
    {
        "admission": _ADMISSION,
        "hospital": _text("hospital_id"),
        "start": Column("in_dttm", INSTANT),
        "end": Column("out_dttm", INSTANT),
        "location": Column("location_category", TEXT),
        "care_unit": _text("location_name"),
    },
)
DIAGNOSIS = Table(
    "clif_hospital_diagnosis",
    {
        "admission": _ADMISSION,
        "code": Column("diagnosis_code", TEXT),
        "version": Column("diagnosis_code_format", TEXT),
    },
    required=False,
)
VITALS = Table(
    "clif_vitals",
    {
        "admission": _ADMISSION,
        "time": Column("recorded_dttm", INSTANT),
        "category": Column("vital_category", WORD),
        "name": Column("vital_name", WORD, required=False),
        "value": Column("vital_value", NUMBER),
    },
    required=False,
)
LABS = Table(
    "clif_labs",
    {
        "admission": _ADMISSION,
        "time": Column("lab_collect_dttm", INSTANT),
        "known": Column("lab_result_dttm", INSTANT, required=False),
        "category": Column("lab_category", WORD),
        "value": Column("lab_value_numeric", NUMBER),
        "words": _text("lab_value"),
        "unit": Column("reference_unit", WORD, required=False),
        "sample": Column("lab_specimen_category", WORD, required=False),
    },
    required=False,
)
ASSESSMENTS = Table(
    "clif_patient_assessments",
    {
        "admission": _ADMISSION,
        "time": Column("recorded_dttm", INSTANT),
        "category": Column("assessment_category", WORD),
        "value": Column("numerical_value", NUMBER),
        "words": _text("text_value"),
    },
    required=False,
)
#: the columns of clif_respiratory_support that are variables of the catalogue
SUPPORT_ITEMS = (
    "fio2_set", "peep_set", "peep_obs", "tidal_volume_obs", "tidal_volume_set", "peak_inspiratory_pressure_obs",
    "plateau_pressure_obs", "mean_airway_pressure_obs", "minute_vent_obs",
)  # fmt: skip
INFUSIONS = Table(
    "clif_medication_admin_continuous",
    {
        "admission": _ADMISSION,
        "time": Column("admin_dttm", INSTANT),
        "drug": Column("med_category", TEXT),
        "dose": Column("med_dose", NUMBER),
        "rate_unit": Column("med_dose_unit", TEXT),
        "given": Column("mar_action_category", TEXT, required=False),
    },
    required=False,
    part="rates",
)
#: of clif_respiratory_support: 1 for an invasive ventilator, 0 for any other device
DEVICE = "device_category"


def _support() -> Table:
    """Settings of ventilators; beside the columns of the catalogue it has those of added variables."""
    more = (str(item) for one in variables().values() for item in one.items.get(ITEMS, {}).get(_SUPPORT, {}))
    items = dict.fromkeys((*SUPPORT_ITEMS, *more))
    columns = {"admission": _ADMISSION, "time": Column("recorded_dttm", INSTANT)}
    kinds = {item: TEXT if item == DEVICE else NUMBER for item in items}
    values = {item: Column(item, kind, required=False) for item, kind in kinds.items()}
    return Table(_SUPPORT, columns | values, required=False)


def events() -> tuple[EventTable, ...]:
    """The tables of measurements."""
    return (
        EventTable(VITALS, key="subject_id"),
        EventTable(LABS, key="subject_id"),
        EventTable(ASSESSMENTS, key="subject_id"),
        EventTable(_support(), key="subject_id", wide=True),
        EventTable(INFUSIONS, key="subject_id", beside=True, if_used=True),
    )


def _given(name: str) -> Table:
    columns = {
        "admission": _ADMISSION,
        "time": Column("admin_dttm", INSTANT),
        "category": Column("med_category", TEXT, required=False),
        "name": Column("med_name", TEXT, required=False),
        "action": Column("mar_action_category", TEXT, required=False),
    }
    return Table(name, columns, required=False)


DRUGS = (_given("clif_medication_admin_intermittent"), _given("clif_medication_admin_continuous"))
