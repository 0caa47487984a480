"""FHIR R4 bundles of one invented patient."""

import base64

NOTE = (
    "Chief Complaint:\nFever\n\nHistory of Present Illness:\nCough and dyspnea for three days.\n\n"
    "Past Medical History:\nCOPD.\n"
)


def coded(code):
    return {"coding": [{"system": "http://loinc.org", "code": code}]}


def observation(code, value, unit, time="2020-05-01T09:30:00Z", **other):
    quantity = {"value": value, "unit": unit, "system": "http://unitsofmeasure.org", "code": unit}
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": coded(code),
        "subject": {"reference": "Patient/p"},
        "encounter": {"reference": "Encounter/e"},
        "effectiveDateTime": time,
        "valueQuantity": quantity,
        **other,
    }


def attachment(text=NOTE, kind="text/plain; charset=utf-8"):
    return {"contentType": kind, "data": base64.b64encode(text.encode()).decode()}


def document(time="2020-05-01T09:00:00Z", *attachments):
    return {
        "resourceType": "DocumentReference",
        "status": "current",
        "date": time,
        "subject": {"reference": "Patient/p"},
        "content": [{"attachment": one} for one in attachments or [attachment()]],
    }


PATIENT = {"resourceType": "Patient", "id": "p", "gender": "male", "birthDate": "1950-03-02"}
ADMISSION = {
    "resourceType": "Encounter",
    "id": "adm",
    "subject": {"reference": "Patient/p"},
    "period": {"start": "2020-05-01T07:00:00Z"},
}
STAY = {
    "resourceType": "Encounter",
    "id": "e",
    "subject": {"reference": "Patient/p"},
    "partOf": {"reference": "Encounter/adm"},
    "period": {"start": "2020-05-01T10:00:00+02:00", "end": "2020-05-06T08:00:00Z"},
}


def bundle(*resources):
    entries = [{"resource": one} for one in (PATIENT, ADMISSION, STAY, *resources)]
    return {"resourceType": "Bundle", "type": "collection", "entry": entries}
