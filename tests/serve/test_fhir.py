"""What is read of a FHIR R4 bundle: by LOINC code and UCUM unit, and everything else is counted with its reason."""

import copy
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from serve.bundles import STAY, attachment, bundle, coded, document, observation

from clinragen.catalog import loinc_variables, variables
from clinragen.cohort.window import Window
from clinragen.serve.fhir import read_bundle
from clinragen.serve.limits import Limits
from clinragen.serve.refusals import RefusalError


def read(content):
    return read_bundle(json.dumps(content).encode(), Window(48), Limits())


def values(*resources):
    return {
        row["variable"]: (row["hour"], round(row["value"], 3))
        for row in read(bundle(*resources)).series.rows(named=True)
    }


def left_out(*resources):
    return {entry["reason"]: entry["codes"] for entry in read(bundle(*resources)).left_out.as_json()}


def test_the_stay_is_the_innermost_encounter():
    intake = read(bundle())
    assert intake.encounters == {1: "e"}
    stay = intake.stays.row(0, named=True)
    assert (stay["intime"].isoformat(), stay["prediction_time"].isoformat()) == (
        "2020-05-01T08:00:00",
        "2020-05-03T08:00:00",
    )
    assert (round(stay["age"], 1), stay["sex"]) == (70.2, "M")


def test_codes_and_units_are_those_of_the_catalogue():
    measured = values(
        observation("8867-4", 118, "/min"),
        observation("8310-5", 102.2, "[degF]"),
        observation("2160-0", 150, "umol/L"),
        observation("6690-2", 18.5, "10*3/uL", "2020-05-01T10:00:00Z"),
        observation("2947-0", 131, "mmol/L"),  # whole blood
        observation("9269-2", 15, "{score}"),
        observation("2744-1", 7.31, "[pH]"),
    )
    assert measured == {
        "heart_rate": (1.0, 118.0),
        "temperature": (1.0, 39.0),
        "creatinine": (1.0, 1.697),
        "wbc": (2.0, 18.5),
        "sodium": (1.0, 131.0),
        "gcs_total": (1.0, 15.0),
        "ph": (1.0, 7.31),
    }


def test_components_are_read_and_derived_variables_follow():
    parts = [
        {"code": coded("8480-6"), "valueQuantity": {"value": 88, "code": "mm[Hg]"}},
        {"code": coded("8462-4"), "valueQuantity": {"value": 40, "unit": "mmHg"}},
    ]
    panel = observation("85354-9", 0, "", component=parts)
    del panel["valueQuantity"]
    measured = values(
        panel, observation("2703-7", 60, "mm[Hg]"), observation("3150-6", 50, "%", "2020-05-01T09:00:00Z")
    )
    assert (measured["systolic_bp"], measured["diastolic_bp"]) == ((1.0, 88.0), (1.0, 40.0))
    assert measured["pao2_fio2"] == (1.0, 120.0)


def test_what_is_not_read_is_counted_with_its_reason():
    assert left_out(
        observation("99999-9", 1, "mg"),
        observation("2160-0", 1, "mm[Hg]"),
        observation("8867-4", 118, "/min", "2020-05-03T08:00:00Z"),
        observation("8867-4", 118, "/min", "2020-05-01T07:00:00Z"),
        observation("8867-4", 118, "/min", "2020-05-01"),
        observation("2524-7", 0.5, "mmol/L", valueQuantity={"value": 0.5, "unit": "mmol/L", "comparator": "<"}),
        observation("2524-7", 0, "mmol/L", valueQuantity=None),
        observation("2524-7", 9000, "mmol/L"),
        observation("2524-7", 2, "mmol/L", issued="2020-05-03T09:00:00Z"),
        observation("2524-7", 2, "mmol/L", status="entered-in-error"),
        observation("2524-7", 2, "mmol/L", encounter={}, subject={"reference": "Patient/other"}),
        {"resourceType": "Condition", "code": {"text": "pneumonia"}},
        document("2020-05-03T08:00:00Z"),
        document("2020-05-01T09:00:00Z", attachment(kind="application/pdf")),
        document("2020-05-01T09:00:00Z", {"contentType": "text/plain", "url": "http://example.org/note"}),
        document("2020-05-01T09:00:00Z", {"contentType": "text/plain", "data": "???"}),
    ) == {
        "no variable has this LOINC code": {"99999-9": 1},
        "unit that is unknown for the variable": {"creatinine": 1},
        "at or after the prediction time": {},
        "before the stay": {},
        "observation without a time": {},
        "value with a comparator (<, >)": {"lactate": 1},
        "no numeric value": {"lactate": 1},
        "outside the plausible range of the variable": {"lactate": 1},
        "issued at or after the prediction time": {},
        "marked as an error or cancelled": {},
        "observation of no stay of the bundle": {},
        "type of resource that is not read": {"Condition": 1},
        "attachment that is not text/plain": {},
        "attachment without data (nothing is fetched)": {},
        "attachment that is no base64 of UTF-8 text": {},
    }


def test_documents_are_split_by_their_headings():
    intake = read(bundle(document()))
    assert {row["section"]: row["text"] for row in intake.notes.rows(named=True)} == {
        "chief_complaint": "Fever",
        "history_of_present_illness": "Cough and dyspnea for three days.",
        "past_medical_history": "COPD.",
    }
    assert intake.left_out.as_json() == []
    plain = read(bundle(document("2020-05-01T09:00:00Z", attachment("Seen at the bedside, febrile."))))
    assert plain.notes["section"].to_list() == ["note"]


def test_a_report_of_imaging_is_split_too():
    report = {
        "resourceType": "DiagnosticReport",
        "status": "final",
        "category": [{"coding": [{"code": "RAD"}]}],
        "subject": {"reference": "Patient/p"},
        "effectiveDateTime": "2020-05-01T09:00:00Z",
        "conclusion": "Right lower lobe pneumonia.",
        "presentedForm": [attachment("INDICATION: cough\n\nFINDINGS: Consolidation of the right base.\n")],
    }
    notes = read(bundle(report)).notes
    assert notes["section"].to_list() == ["radiology_indication", "radiology_findings", "radiology_impression"]
    issued_late = {**report, "issued": "2020-05-04T09:00:00Z"}
    assert read(bundle(issued_late)).notes.is_empty()


def test_stays_of_two_patients_do_not_mix():
    other = copy.deepcopy(STAY) | {"id": "f", "subject": {"reference": "urn:uuid:9"}, "partOf": {}}
    content = bundle(other, observation("8867-4", 118, "/min"))
    content["entry"].append({"fullUrl": "urn:uuid:9", "resource": {"resourceType": "Patient", "birthDate": "1980"}})
    foreign = observation(
        "8867-4", 60, "/min", encounter={"reference": "Encounter/f"}, subject={"reference": "urn:uuid:9"}
    )
    content["entry"].append({"resource": foreign})
    assert read(content).series.select("stay_id", "value").rows() == [(1, 118.0), (2, 60.0)]


@pytest.mark.parametrize(
    ("change", "path"),
    [
        (lambda b: b["entry"].pop(0), "entry[1].resource.subject"),
        (lambda b: b["entry"][0]["resource"].pop("birthDate"), "entry[0].resource.birthDate"),
        (lambda b: b["entry"][2]["resource"].pop("period"), "entry[2].resource.period.start"),
        (lambda b: b["entry"][0]["resource"].update(birthDate="2050"), "entry[2].resource"),
        (lambda b: b.update(entry=b["entry"][:1]), "entry"),
        (lambda b: b.update(resourceType="Patient"), "resourceType"),
        (
            lambda b: b["entry"][3]["resource"]["valueQuantity"].update(value="SECRET"),
            "entry[3].resource.valueQuantity.value",
        ),
    ],
)
def test_a_bundle_that_cannot_be_read_is_refused(change, path):
    content = copy.deepcopy(bundle(observation("8867-4", 118, "/min")))
    change(content)
    with pytest.raises(RefusalError) as caught:
        read(content)
    assert path in [field.path for field in caught.value.fields]
    assert "SECRET" not in json.dumps(caught.value.body())


def test_every_code_of_the_settings_belongs_to_one_variable():
    assert {variable.loinc for variable in variables().values()} <= loinc_variables().keys()
    assert set(loinc_variables().values()) <= variables().keys()


ODD = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.lists(st.integers(), max_size=2)
)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_damage_to_a_bundle_is_a_fault(data):
    """A random element of a bundle becomes something else: it is read, or refused with a field."""
    content = copy.deepcopy(bundle(observation("8867-4", 118, "/min"), document()))
    node = content
    while isinstance(node, dict | list) and node:
        key = data.draw(st.sampled_from(sorted(node) if isinstance(node, dict) else list(range(len(node)))))
        if not isinstance(node[key], dict | list) or not node[key] or data.draw(st.booleans()):
            node[key] = data.draw(ODD)
            break
        node = node[key]
    try:
        stays = len(read(content).stays)
    except RefusalError as refusal:
        stays = len(refusal.fields)
    assert stays >= 1
