"""What hospitals' FHIR exports hold: each unusual input is read, repaired, quarantined or refused, and counted."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.mimic_prep.fhir_export import OF_FIRST, Outcome, Resource, at, base, concept, encoded, observation, write


@pytest.fixture
def outcome(tmp_path) -> Callable[..., Outcome]:
    def of(resources: list[Resource], **options: str) -> Outcome:
        return Outcome(write(tmp_path / "raw", resources), tmp_path / "work", **options)

    return of


USUAL = [1.1, 70.0, 71.0, 72.0, 73.0, 90.0]
ONE = observation(9, value=99)


def _pressure(**changes: object) -> Resource:
    parts = [
        {"code": concept("8480-6"), "valueQuantity": {"value": 120, "unit": "mmHg", "code": "mm[Hg]"}},
        {"code": concept("8462-4"), "valueQuantity": {"value": 80, "unit": "mmHg", "code": "mm[Hg]"}},
    ]
    return observation(9, "85354-9", valueQuantity=None, component=parts, **changes)


#: What is added to the export -> values that it gives.
READ: dict[str, tuple[Resource, list[float]]] = {
    "another spelling of the unit": (observation(9, unit="bpm", value=99), [99]),
    "capitals in the unit": (observation(9, unit="{Beats}/min", value=99), [99]),
    "unit in the text alone": (observation(9, valueQuantity={"value": 99, "unit": "beats/min"}), [99]),
    "white cells per microlitre": (observation(9, "6690-2", 7800, "/uL"), [7800]),
    "unit of a score left out": (observation(9, "9269-2", valueQuantity={"value": 14}), [14]),
    "oxygen saturation without unit": (observation(9, "59408-5", valueQuantity={"value": 97}), [97]),
    "two codes of one variable": (
        {
            **observation(9, "2708-6", 97, "%"),
            "code": {"coding": [*concept("2708-6")["coding"], *concept("59408-5")["coding"]]},
        },
        [97],
    ),
    "a local code before the LOINC code": (
        {**ONE, "code": {"coding": [*concept("PULSE", "urn:site")["coding"], *concept("8867-4")["coding"]]}},
        [99],
    ),
    "another spelling of LOINC's system": ({**ONE, "code": concept("8867-4", "urn:oid:2.16.840.1.113883.6.1")}, [99]),
    "blanks around the code": ({**ONE, "code": concept(" 8867-4 ")}, [99]),
    "components of a blood pressure": (_pressure(), [80, 120]),
    "a component without a value": (
        {**_pressure(), "component": [_pressure()["component"][0], {"code": concept("8462-4")}]},
        [120],
    ),
    "valueInteger": (observation(9, valueQuantity=None, valueInteger=99) | {"code": concept("9269-2")}, [99]),
    "time as a period": (
        observation(9, value=99, effectiveDateTime=None, effectivePeriod={"start": at(1), "end": at(2)}),
        [99],
    ),
    "time as an instant": (observation(9, value=99, effectiveDateTime=None, effectiveInstant=at(2)), [99]),
    "time as a timing": (
        observation(9, value=99, effectiveDateTime=None, effectiveTiming={"event": [at(1), at(2)]}),
        [99],
    ),
    "fractions of a second": (observation(9, value=99, effectiveDateTime="2030-01-05T10:00:00.123456-05:00"), [99]),
    "time without seconds": (observation(9, value=99, effectiveDateTime="2030-01-05T10:00-05:00"), [99]),
    "offset without a colon": (observation(9, value=99, effectiveDateTime="2030-01-05T10:00:00-0500"), [99]),
    "blank in place of T": (observation(9, value=99, effectiveDateTime="2030-01-05 10:00:00"), [99]),
    "absolute references": (
        {
            **ONE,
            "subject": {"reference": "https://ehr.example.org/fhir/Patient/p1"},
            "encounter": {"reference": "https://ehr.example.org/fhir/Encounter/icu1/_history/3"},
        },
        [99],
    ),
    "no encounter": ({**ONE, "encounter": None}, [99]),
    "encounter that the export does not hold": ({**ONE, "encounter": {"reference": "Encounter/other"}}, [99]),
    "no patient, but an encounter": ({key: value for key, value in ONE.items() if key != "subject"}, [99]),
    "status unknown": ({**ONE, "status": "unknown"}, [99]),
    "preliminary": ({**ONE, "status": "preliminary"}, [99]),
    "an extension": ({**ONE, "extension": [{"url": "urn:x", "valueString": "y"}]}, [99]),
    "letters outside ASCII": ({**ONE, "performer": [{"display": "Zoë Ångström"}]}, [99]),
}

#: What is added -> where it is counted, and why.
COUNTED: dict[str, tuple[Resource, str, str]] = {
    "entered in error": ({**ONE, "status": "entered-in-error"}, "skipped", "entered in error"),
    "cancelled": ({**ONE, "status": "cancelled"}, "skipped", "cancelled"),
    "registered": ({**ONE, "status": "registered"}, "skipped", "registered, without a result yet"),
    "no status": (
        {key: value for key, value in ONE.items() if key != "status"},
        "remarks",
        "no status: taken as final",
    ),
    "a status of one's own": ({**ONE, "status": "done"}, "remarks", "status that FHIR does not have: taken as final"),
    "modifierExtension": (
        {**ONE, "modifierExtension": [{"url": "urn:not"}]},
        "bad",
        "modifierExtension that may change the meaning",
    ),
    "no patient, no encounter": (
        {key: value for key, value in ONE.items() if key not in ("subject", "encounter")},
        "bad",
        "no patient",
    ),
    "patient unknown": (
        {**ONE, "subject": {"reference": "Patient/other"}, "encounter": None},
        "bad",
        "patient that the export does not hold",
    ),
    "of a group": ({**ONE, "subject": {"reference": "Group/1"}}, "skipped", "not of a patient"),
    "code that no variable has": ({**ONE, "code": concept("99999-9")}, "skipped", "code that no variable has"),
    "text for a code": ({**ONE, "code": {"text": "pulse"}}, "bad", "no code"),
    "no code": ({key: value for key, value in ONE.items() if key != "code"}, "bad", "no code"),
    "codes of two variables": (
        {**ONE, "code": {"coding": [*concept("8867-4")["coding"], *concept("2160-0")["coding"]]}},
        "bad",
        "codings of different variables",
    ),
    "no unit": (observation(9, "2160-0", valueQuantity={"value": 1.0}), "bad", "no unit"),
    "unit of another kind": (observation(9, "2160-0", 1.0, "mm[Hg]"), "bad", "unit that is unknown for the variable"),
    "no value": (observation(9, valueQuantity=None), "bad", "no value"),
    "value absent": (
        observation(9, valueQuantity=None, dataAbsentReason=concept("unknown")),
        "skipped",
        "value absent, as dataAbsentReason says",
    ),
    "value beside a dataAbsentReason": (
        {**ONE, "dataAbsentReason": concept("error")},
        "bad",
        "value beside a dataAbsentReason",
    ),
    "a range": (
        observation(9, valueQuantity=None, valueRange={"low": {"value": 1}}),
        "bad",
        "value of a kind that is not read",
    ),
    "a comparator": (
        observation(9, "2160-0", valueQuantity={"value": 0.2, "comparator": "<", "unit": "mg/dL"}),
        "remarks",
        "result beyond the range of an assay: its limit",
    ),
    "number as text": (
        observation(9, valueQuantity={"value": "99", "unit": "/min"}),
        "remarks",
        "number written as text",
    ),
    "number in valueString": (
        observation(9, "9269-2", valueQuantity=None, valueString="14"),
        "remarks",
        "number written as text",
    ),
    "no time": (observation(9, effectiveDateTime=None, issued=None), "bad", "no time"),
    "time of issue alone": (observation(9, effectiveDateTime=None), "remarks", "no time of measurement: that of issue"),
    "a date": (observation(9, effectiveDateTime="2030-01-05"), "bad", "time without an hour"),
    "a month": (observation(9, effectiveDateTime="2030-01"), "bad", "time without an hour"),
    "the 31st of February": (
        observation(9, effectiveDateTime="2030-02-31T10:00:00Z"),
        "bad",
        "time that cannot be read",
    ),
    "American date": (observation(9, effectiveDateTime="01/05/2030 10:00"), "bad", "time that cannot be read"),
    "time as a number": (observation(9, effectiveDateTime=1893834000), "bad", "time that cannot be read"),
    "before any stay": (
        observation(9, effectiveDateTime="2029-01-05T10:00:00-05:00", encounter=None),
        "skipped",
        "of no stay",
    ),
    "no id": ({key: value for key, value in ONE.items() if key != "id"}, "remarks", "resource without an id"),
    "no type": ({key: value for key, value in ONE.items() if key != "resourceType"}, "bad", "no resourceType"),
    "a type that is not read": ({"resourceType": "Claim", "id": "x"}, "skipped", "Claim: not read"),
    "a component that no variable has": (
        {**_pressure(), "component": [*_pressure()["component"], {"code": concept("99999-9"), "valueString": "x"}]},
        "remarks",
        "component whose code no variable has",
    ),
    "refuted diagnosis": (
        {**base()[4], "id": "x", "verificationStatus": concept("refuted", "urn:v")},
        "skipped",
        "refuted",
    ),
    "differential diagnosis": (
        {**base()[4], "id": "x", "verificationStatus": concept("differential", "urn:v")},
        "skipped",
        "not confirmed",
    ),
    "diagnosis in SNOMED": (
        {**base()[4], "id": "x", "code": concept("233604007", "http://snomed.info/sct")},
        "skipped",
        "diagnosis without an ICD code",
    ),
    "diagnosis in words": (
        {**base()[4], "id": "x", "code": {"text": "pneumonia"}},
        "skipped",
        "diagnosis without a code",
    ),
    "diagnosis of an unknown encounter": (
        {**base()[4], "id": "x", "encounter": {"reference": "Encounter/none"}},
        "skipped",
        "diagnosis of an encounter that the export does not hold",
    ),
    "planned encounter": ({**base()[2], "id": "x", "status": "planned"}, "skipped", "encounter that is planned"),
    "cancelled encounter": ({**base()[2], "id": "x", "status": "cancelled"}, "skipped", "cancelled"),
    "period in dates": (
        {**base()[2], "id": "x", "period": {"start": "2030-01-05", "end": "2030-01-06"}},
        "remarks",
        "period whose times are dates without an hour",
    ),
    "birth date that cannot be read": (
        {"resourceType": "Patient", "id": "x", "birthDate": "60-3-1"},
        "remarks",
        "patient without a birth date that can be read",
    ),
    "drug not given": (
        {"resourceType": "MedicationAdministration", "id": "x", "status": "not-done", **OF_FIRST},
        "skipped",
        "drug not given",
    ),
    "planned drug": (
        {"resourceType": "MedicationRequest", "id": "x", "intent": "plan", **OF_FIRST},
        "skipped",
        "plan, not an order",
    ),
    "drug without a name": (
        {
            "resourceType": "MedicationRequest",
            "id": "x",
            "intent": "order",
            "authoredOn": at(1),
            **OF_FIRST,
            "medicationReference": {"reference": "Medication/none"},
        },
        "skipped",
        "drug without a name",
    ),
    "note in PDF": (
        {
            "resourceType": "DocumentReference",
            "id": "x",
            "status": "current",
            "date": at(1),
            **OF_FIRST,
            "content": [{"attachment": {"contentType": "application/pdf", "data": encoded("x")}}],
        },
        "skipped",
        "attachment of a type that is not text",
    ),
    "note that is no base64": (
        {
            "resourceType": "DocumentReference",
            "id": "x",
            "status": "current",
            "date": at(1),
            **OF_FIRST,
            "content": [{"attachment": {"contentType": "text/plain", "data": "@@@"}}],
        },
        "bad",
        "attachment that is no base64",
    ),
    "note elsewhere": (
        {
            "resourceType": "DocumentReference",
            "id": "x",
            "status": "current",
            "date": at(1),
            **OF_FIRST,
            "content": [{"attachment": {"contentType": "text/plain", "url": "https://ehr.example.org/x"}}],
        },
        "skipped",
        "attachment without data (nothing is fetched)",
    ),
    "note without its Binary": (
        {
            "resourceType": "DocumentReference",
            "id": "x",
            "status": "current",
            "date": at(1),
            **OF_FIRST,
            "content": [{"attachment": {"contentType": "text/plain", "url": "Binary/none"}}],
        },
        "skipped",
        "note whose Binary is not in the export",
    ),
    "note in Latin-1": (
        {
            "resourceType": "DocumentReference",
            "id": "x",
            "status": "current",
            "date": at(1),
            **OF_FIRST,
            "content": [
                {
                    "attachment": {
                        "contentType": "text/plain",
                        "data": encoded("Chief Complaint: fi\xe8vre".encode("latin-1")),
                    }
                }
            ],
        },
        "remarks",
        "note that is not in the stated character set: read as Windows-1252",
    ),
    "superseded note": (
        {"resourceType": "DocumentReference", "id": "x", "status": "superseded", **OF_FIRST},
        "skipped",
        "superseded document",
    ),
    "note without a time": (
        {
            "resourceType": "DocumentReference",
            "id": "x",
            "status": "current",
            **OF_FIRST,
            "content": [{"attachment": {"contentType": "text/plain", "data": encoded("text")}}],
        },
        "bad",
        "no time",
    ),
}


@pytest.mark.parametrize("case", READ)
def test_what_can_be_read_is_read(case, outcome):
    resource, values = READ[case]
    assert outcome([*base(), resource]).values() == sorted([*USUAL, *values])


@pytest.mark.parametrize("case", COUNTED)
def test_what_is_left_out_or_repaired_is_counted(case, outcome):
    resource, where, why = COUNTED[case]
    made = outcome([*base(), resource])
    assert getattr(made, where)[why] == 1, (made.skipped, made.bad, made.remarks)
    if where == "remarks":
        assert not made.bad
    else:
        assert sum((made.skipped + made.bad).values()) == 1
        assert made.values() == USUAL
