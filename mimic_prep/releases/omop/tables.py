"""The tables of the OMOP CDM 5.3 and 5.4 that are read, with the columns of both versions."""

from __future__ import annotations

from mimic_prep.tables import INTEGER, NUMBER, TEXT, TIME, WORD, Column, Table

ITEMS = "omop"
_PERSON = Column("person_id", INTEGER)
_VISIT = Column("visit_occurrence_id", INTEGER, required=False)


def _number(raw: str) -> Column:
    return Column(raw, INTEGER, required=False)


def _text(raw: str) -> Column:
    return Column(raw, TEXT, required=False)


def _span(name: str) -> dict[str, Column]:
    return {
        "start_date": Column(f"{name}_start_date", TIME, required=False),
        "start_time": Column(f"{name}_start_datetime", TIME, required=False),
        "end_date": Column(f"{name}_end_date", TIME, required=False),
        "end_time": Column(f"{name}_end_datetime", TIME, required=False),
    }


PERSON = Table(
    "person",
    {
        "subject_id": _PERSON,
        "gender": _number("gender_concept_id"),
        "sex_word": _text("gender_source_value"),
        "year": Column("year_of_birth", INTEGER),
        "month": _number("month_of_birth"),
        "day": _number("day_of_birth"),
        "birth": Column("birth_datetime", TIME, required=False),
    },
)
VISITS = Table(
    "visit_occurrence",
    {
        "subject_id": _PERSON,
        "hadm_id": Column("visit_occurrence_id", INTEGER),
        "concept": _number("visit_concept_id"),
        **_span("visit"),
        "from_word": _text("admitting_source_value"),  # 5.3
        "from_word_54": _text("admitted_from_source_value"),
        "to": _number("discharge_to_concept_id"),  # 5.3
        "to_54": _number("discharged_to_concept_id"),
        "to_word": _text("discharge_to_source_value"),  # 5.3
        "to_word_54": _text("discharged_to_source_value"),
        "care_site": _number("care_site_id"),
    },
)
VISIT_DETAILS = Table(
    "visit_detail",
    {
        "subject_id": _PERSON,
        "stay_id": Column("visit_detail_id", INTEGER),
        "hadm_id": _VISIT,
        "concept": _number("visit_detail_concept_id"),
        **_span("visit_detail"),
        "care_site": _number("care_site_id"),
    },
    required=False,
)
CARE_SITES = Table(
    "care_site",
    {
        "care_site": Column("care_site_id", INTEGER),
        "care_unit": _text("care_site_name"),
        "unit_source": _text("care_site_source_value"),
        "place": _number("place_of_service_concept_id"),
    },
    required=False,
)
DEATHS = Table(
    "death",
    {
        "subject_id": _PERSON,
        "death_date": Column("death_date", TIME, required=False),
        "death_time": Column("death_datetime", TIME, required=False),
    },
    required=False,
)


def concepts(name: str) -> Table:
    """A table of concepts: of the vocabularies, or ``2b_concept`` of a site."""
    columns = {
        "concept": Column("concept_id", INTEGER),
        "name": Column("concept_name", TEXT),
        "domain": Column("domain_id", WORD),
        "vocabulary": Column("vocabulary_id", WORD),
        "class": Column("concept_class_id", WORD),
        "code": Column("concept_code", TEXT),
    }
    return Table(name, columns, required=False, tabs=True)


def relations(name: str) -> Table:
    """A table of relations between concepts."""
    columns = {
        "source": Column("concept_id_1", INTEGER),
        "target": Column("concept_id_2", INTEGER),
        "relation": Column("relationship_id", WORD),
    }
    return Table(name, columns, required=False, tabs=True)


CONCEPTS = (concepts("concept"), concepts("2b_concept"))
RELATIONS = (relations("concept_relationship"), relations("2b_concept_relationship"))


def values(name: str, *, clock: bool = False, text: str) -> Table:
    """The measured values of ``measurement`` or ``observation``."""
    columns = {
        "subject_id": _PERSON,
        "concept": Column(f"{name}_concept_id", INTEGER),
        "source_concept": _number(f"{name}_source_concept_id"),
        "source": Column(f"{name}_source_value", WORD, required=False),
        "date": Column(f"{name}_date", TIME, required=False),
        "moment": Column(f"{name}_datetime", TIME, required=False),
        **({"clock": Column(f"{name}_time", TEXT, required=False)} if clock else {}),
        "value": Column("value_as_number", NUMBER, required=name == "measurement"),
        "words": Column(text, TEXT, required=False),
        "unit_concept": _number("unit_concept_id"),
        "unit_source": Column("unit_source_value", WORD, required=False),
    }
    return Table(name, columns, required=False)


MEASUREMENTS = values("measurement", clock=True, text="value_source_value")
OBSERVATIONS = values("observation", text="value_as_string")


def diagnoses(name: str, start: str, part: str = "") -> Table:
    """The coded diagnoses of ``condition_occurrence`` or ``observation``."""
    short = name.split("_")[0]
    columns = {
        "subject_id": _PERSON,
        "hadm_id": _VISIT,
        "type": _number(f"{short}_type_concept_id"),
        "source_concept": _number(f"{short}_source_concept_id"),
        "source": Column(f"{short}_source_value", TEXT, required=name == "condition_occurrence"),
        "date": Column(start, TIME, required=False),
    }
    return Table(name, columns, required=False, part=part)


CONDITIONS = diagnoses("condition_occurrence", "condition_start_date")
CODED_OBSERVATIONS = diagnoses("observation", "observation_date", part="diagnoses")
DRUGS = Table(
    "drug_exposure",
    {
        "subject_id": _PERSON,
        "hadm_id": _VISIT,
        "concept": Column("drug_concept_id", INTEGER),
        "source": Column("drug_source_value", TEXT, required=False),
        "source_concept": _number("drug_source_concept_id"),
        "date": Column("drug_exposure_start_date", TIME, required=False),
        "moment": Column("drug_exposure_start_datetime", TIME, required=False),
    },
    required=False,
)


def _lasting(name: str, columns: dict[str, Column]) -> Table:
    """A table of what lasts: drugs, procedures or devices."""
    short = name.split("_")[0]
    common = {
        "subject_id": _PERSON,
        "concept": Column(f"{short}_concept_id", INTEGER),
        "source_concept": _number(f"{short}_source_concept_id"),
        "source": _text(f"{short}_source_value"),
        "quantity": Column("quantity", NUMBER, required=False),
    }
    return Table(name, {**common, **columns}, required=False)


def _between(start: str, end: str) -> dict[str, Column]:
    return {"moment": Column(start, TIME, required=False), "end_moment": Column(end, TIME, required=False)}


ADMINISTRATIONS = _lasting(
    "drug_exposure",
    {
        **_between("drug_exposure_start_datetime", "drug_exposure_end_datetime"),
        "type": _number("drug_type_concept_id"),
        "dose_unit": Column("dose_unit_source_value", WORD, required=False),
        "route": _number("route_concept_id"),
        "route_source": _text("route_source_value"),
        "sig": _text("sig"),
    },
)
#: ``procedure_end_datetime`` is of 5.4
PROCEDURES = _lasting("procedure_occurrence", _between("procedure_datetime", "procedure_end_datetime"))
DEVICES = _lasting("device_exposure", _between("device_exposure_start_datetime", "device_exposure_end_datetime"))
ANCESTORS = Table(
    "concept_ancestor",
    {"ancestor": Column("ancestor_concept_id", INTEGER), "descendant": Column("descendant_concept_id", INTEGER)},
    required=False,
    tabs=True,
)
NOTE = Table(
    "note",
    {
        "note_id": Column("note_id", TEXT),
        "subject_id": _PERSON,
        "hadm_id": _VISIT,
        "date": Column("note_date", TIME, required=False),
        "time": Column("note_datetime", TIME, required=False),
        "type": _number("note_type_concept_id"),
        "class": _number("note_class_concept_id"),
        "title": _text("note_title"),
        "source": _text("note_source_value"),
        "text": Column("note_text", TEXT),
    },
    required=False,
    multiline=True,
)
