"""eICU Collaborative Research Database 2.0, and its demo with an hourly grid in place of the largest tables.

Times are minutes from ICU admission. https://eicu-crd.mit.edu/eicutables/patient/
"""

from __future__ import annotations

from dataclasses import dataclass

from clinragen.catalog import variables
from mimic_prep.orders import OrderTable
from mimic_prep.releases.eicu.intake import paths, read_intake
from mimic_prep.tables import INTEGER, NUMBER, TEXT, WORD, Column, Derivation, EventTable, Table

RELEASE = "eICU"
ITEMS = "eicu"
_STAY = Column("patientunitstayid", INTEGER)

PATIENT = Table(
    "patient",
    {
        "stay_id": _STAY,
        "hadm_id": Column("patienthealthsystemstayid", INTEGER),
        "patient": Column("uniquepid", TEXT),
        "hospital": Column("hospitalid", INTEGER, required=False),
        "sex": Column("gender", TEXT),
        "age": Column("age", TEXT),
        "admit_source": Column("unitadmitsource", TEXT, required=False),
        "care_unit": Column("unittype", TEXT, required=False),
        "stay_type": Column("unitstaytype", TEXT, required=False),
        "year": Column("hospitaldischargeyear", INTEGER),
        "admit_clock": Column("hospitaladmittime24", TEXT),
        "admit_offset": Column("hospitaladmitoffset", INTEGER),
        "leave_offset": Column("unitdischargeoffset", INTEGER),
        "hospital_leave_offset": Column("hospitaldischargeoffset", INTEGER),
        "hospital_status": Column("hospitaldischargestatus", TEXT, required=False),
    },
)
DIAGNOSIS = Table(
    "diagnosis",
    {
        "stay_id": _STAY,
        "codes": Column("icd9code", TEXT),
        "string": Column("diagnosisstring", TEXT, required=False),
    },
    required=False,  # patients may not be coded yet
)


def _wide(name: str, offset: str, stay: str = "patientunitstayid") -> Table:
    """A table whose columns are items, as listed in the catalogue."""
    items = [str(item) for variable in variables().values() for item in variable.items.get(ITEMS, {}).get(name, {})]
    return Table(
        name,
        {
            "stay_id": Column(stay, INTEGER),
            "time": Column(offset, INTEGER),
            **{item: Column(item, NUMBER, required=False) for item in items},
        },
        required=False,
    )


LAB = Table(
    "lab",
    {
        "stay_id": _STAY,
        "time": Column("labresultoffset", INTEGER),
        "known": Column("labresultrevisedoffset", INTEGER, required=False),
        "item": Column("labname", TEXT),
        "value": Column("labresult", NUMBER),
        "words": Column("labresulttext", TEXT, required=False),
        "unit": Column("labmeasurenamesystem", WORD, required=False),
    },
    required=False,
)
NURSE_CHARTING = Table(
    "nurseCharting",
    {
        "stay_id": _STAY,
        "time": Column("nursingchartoffset", INTEGER),
        "known": Column("nursingchartentryoffset", INTEGER, required=False),
        "item": Column("nursingchartcelltypevalname", TEXT),
        "label": Column("nursingchartcelltypevallabel", TEXT, required=False),
        "value": Column("nursingchartvalue", TEXT),
    },
    required=False,
)
RESPIRATORY_CHARTING = Table(
    "respiratoryCharting",
    {
        "stay_id": _STAY,
        "time": Column("respchartoffset", INTEGER),
        "known": Column("respchartentryoffset", INTEGER, required=False),
        "item": Column("respchartvaluelabel", TEXT),
        "value": Column("respchartvalue", TEXT),
    },
    required=False,
)
INTAKE_OUTPUT = Table(
    "intakeOutput",
    {
        "stay_id": _STAY,
        "time": Column("intakeoutputoffset", INTEGER),
        "known": Column("intakeoutputentryoffset", INTEGER, required=False),
        "item": Column("celllabel", TEXT),
        "value": Column("cellvaluenumeric", NUMBER),
    },
    required=False,
)
FLUIDS = Table(
    "intakeOutput",
    {
        "stay_id": _STAY,
        "time": Column("intakeoutputoffset", INTEGER),
        "known": Column("intakeoutputentryoffset", INTEGER, required=False),
        "path": Column("cellpath", WORD),
        "value": Column("cellvaluenumeric", NUMBER),
    },
    required=False,
    part="fluids",
    derived=Derivation(read_intake, "1"),
)
INFUSIONS = Table(
    "infusionDrug",
    {
        "stay_id": _STAY,
        "time": Column("infusionoffset", INTEGER),
        "drug": Column("drugname", TEXT),
        "written": Column("drugrate", TEXT),
        "weight": Column("patientweight", NUMBER, required=False),
    },
    required=False,
)
WEIGHTS = Table(
    "patient",
    {"stay_id": _STAY, "admission_weight": Column("admissionweight", NUMBER, required=False)},
    part="weights for rates",
)
BODY = Table(
    "patient",
    {
        "stay_id": _STAY,
        "time": Column("no such column", INTEGER, required=False),
        "admissionheight": Column("admissionheight", NUMBER, required=False),
        "admissionweight": Column("admissionweight", NUMBER, required=False),
    },
    required=False,
    part="height and weight",
)


def events() -> tuple[EventTable, ...]:
    """The tables of measurements; the columns of wide ones are those of the variables in use."""
    hourly = _wide("hourly_dyn", "time", stay="stay_id")
    return (
        EventTable(LAB, key="stay_id"),
        EventTable(_wide("vitalperiodic", "observationoffset"), key="stay_id", wide=True),
        EventTable(_wide("vitalaperiodic", "observationoffset"), key="stay_id", wide=True),
        EventTable(NURSE_CHARTING, key="stay_id", generic="Value"),
        EventTable(RESPIRATORY_CHARTING, key="stay_id", beside=True),
        EventTable(INTAKE_OUTPUT, key="stay_id", beside=True),
        EventTable(BODY, key="stay_id", wide=True, minute=0, beside=True),
        EventTable(INFUSIONS, key="stay_id", beside=True, if_used=True),
        *([EventTable(FLUIDS, key="stay_id", beside=True)] if paths() else []),
        EventTable(hourly, key="stay_id", wide=True, unless=("lab", "vitalperiodic")),
    )


def _drugs(name: str, time: str, **others: Column) -> Table:
    """A table of drugs; ``others`` are its further columns."""
    return Table(
        name,
        {
            "stay_id": _STAY,
            "time": Column(time, INTEGER, required=False),
            "drug": Column("drugname", TEXT),
            "group": Column("drughiclseqno", TEXT, required=False),
            **others,
        },
        required=False,
    )


def _minutes(raw: str) -> Column:
    return Column(raw, INTEGER, required=False)


ORDERS = (
    OrderTable(
        _drugs(
            "medication",
            "drugstartoffset",
            entered=_minutes("drugorderoffset"),
            stop=_minutes("drugstopoffset"),
            cancelled=Column("drugordercancelled", TEXT, required=False),
            route=Column("routeadmin", TEXT, required=False),
        ),
        key="stay_id",
        minutes=True,
    ),
    OrderTable(
        _drugs("admissionDrug", "drugoffset", entered=_minutes("drugenteredoffset")),
        kind="home",
        key="stay_id",
        minutes=True,
    ),
    OrderTable(_drugs("infusionDrug", "infusionoffset"), kind="infusion", key="stay_id", minutes=True),
)


@dataclass(frozen=True)
class TextTable:
    """A table of coded entries that become text; ``column`` holds the entry, ``flag`` where present must not be Yes."""

    table: Table
    section: str
    kind: str


def _text(
    name: str, offset: str, column: str, section: str, kind: str = "digest", flag: str | None = None
) -> TextTable:
    columns = {"stay_id": _STAY, "time": Column(offset, INTEGER), "entry": Column(column, TEXT)}
    if flag:
        columns["cancelled"] = Column(flag, TEXT, required=False)
    return TextTable(Table(name, columns, required=False), section, kind)


#: The offset of an entry is its entry time, if the table distinguishes it from the time that it is about.
TEXTS = (
    _text("admissionDx", "admitdxenteredoffset", "admitdxpath", "admission_diagnosis"),
    _text("pastHistory", "pasthistoryenteredoffset", "pasthistorypath", "past_medical_history"),
    _text("admissionDrug", "drugenteredoffset", "drugname", "medications_on_admission"),
    _text("allergy", "allergyenteredoffset", "allergyname", "allergies"),
    _text("physicalExam", "physicalexamoffset", "physicalexampath", "admission_exam"),
    _text("note", "noteenteredoffset", "notepath", "social_history"),
    _text("medication", "drugorderoffset", "drugname", "medications", kind="medication", flag="drugordercancelled"),
    _text("treatment", "treatmentoffset", "treatmentstring", "treatments", kind="treatment"),
)
