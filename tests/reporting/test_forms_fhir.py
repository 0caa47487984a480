"""``clinragen report --form fhir``."""

import json
from pathlib import Path
from typing import Any

import pytest
from fhir.resources.R4B.bundle import Bundle

from clinragen.catalog import variables
from clinragen.label_sets import load
from clinragen.reporting.forms.fhir_codes import label_codings, settings, system
from clinragen.reporting.forms.stays import _codes
from tests.reporting.exported import REASONS, enriched, report

Resource = dict[str, Any]


@pytest.fixture(scope="module")
def bundles(cohort, predictions, tmp_path_factory) -> Path:
    full = enriched(predictions, cohort, tmp_path_factory.mktemp("full") / "predictions")
    return report("fhir", full, cohort, tmp_path_factory.mktemp("forms") / "fhir")


def resources(bundle: Resource, kind: str) -> list[Resource]:
    return [one["resource"] for one in bundle["entry"] if one["resource"]["resourceType"] == kind]


def labels(bundle: Resource) -> list[Resource]:
    return [one for one in resources(bundle, "Observation") if "device" in one]


@pytest.fixture(scope="module")
def read(bundles) -> list[Resource]:
    return [json.loads(line) for line in (bundles / "bundles.ndjson").read_text().splitlines()]


pytestmark = pytest.mark.slow  # what its fixtures make takes seconds


def test_every_bundle_is_valid_and_stands_in_both_files(bundles, read):
    files = sorted((bundles / "stays").iterdir())
    assert [json.loads(path.read_text()) for path in files] == read
    for bundle in read:
        Bundle.model_validate(bundle)


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [value["reference"]] if "reference" in value else [r for one in value.values() for r in references(one)]
    return [r for one in value for r in references(one)] if isinstance(value, list) else []


def test_every_reference_resolves_within_the_bundle(read):
    for bundle in read:
        urls = [one["fullUrl"] for one in bundle["entry"]]
        assert len(set(urls)) == len(urls)
        assert urls == [f"urn:uuid:{one['resource']['id']}" for one in bundle["entry"]]
        assert set(references(bundle)) <= set(urls)
        cited = set(references(resources(bundle, "DiagnosticReport") + labels(bundle)))
        evidence = {f"urn:uuid:{one['id']}" for one in resources(bundle, "Observation") if one["code"]["text"] != "Age"}
        assert evidence <= cited  # nothing that no diagnosis rests on


def test_every_resource_is_marked_as_research_use(read):
    for bundle in read:
        for one in [bundle, *(entry["resource"] for entry in bundle["entry"])]:
            assert one["meta"]["security"][0]["code"] == "HRESCH"
            assert "not for clinical use" in one["meta"]["tag"][0]["display"]


def test_a_called_label_has_its_probability_threshold_and_evidence(read):
    evidence = 0
    for bundle in read[1:]:
        [head] = resources(bundle, "DiagnosticReport")
        assert head["status"] == "preliminary"
        assert [one["reference"] for one in head["result"]] == [f"urn:uuid:{one['id']}" for one in labels(bundle)]
        by_url = {one["fullUrl"]: one["resource"] for one in bundle["entry"]}
        called = {
            one["code"]["coding"][0]["code"] for one in labels(bundle) if one["interpretation"][0]["text"] == "called"
        }
        assert {one["coding"][-1]["code"] for one in head.get("conclusionCode", ())} == called
        for one in labels(bundle):
            assert 0 <= one["valueQuantity"]["value"] <= 1
            assert [part["code"]["text"] for part in one["component"]] == [
                "threshold",
                "possible from",
                "interval low",
                "interval high",
            ]
            for link in one.get("derivedFrom", ()):
                source = by_url[link["reference"]]
                evidence += 1
                if "valueQuantity" in source:
                    assert source["code"]["coding"][0]["system"] == "http://loinc.org"
                    [encounter] = resources(bundle, "Encounter")
                    assert source["effectiveDateTime"] >= encounter["period"]["start"]
    assert evidence


def test_where_the_model_abstains_no_value_stands_and_the_reason_does(read):
    bundle = read[0]
    [head] = resources(bundle, "DiagnosticReport")
    assert head["status"] == "partial"
    assert "conclusionCode" not in head
    for one in labels(bundle):
        assert one["status"] == "registered"
        assert not {"valueQuantity", "interpretation"} & one.keys()
        assert one["dataAbsentReason"]["coding"][0]["code"] == "unknown"
        assert all(reason in one["note"][0]["text"] for reason in REASONS)
    assert all(reason in head["conclusion"] for reason in REASONS)


def test_nobody_is_invented(read, cohort):
    for bundle in read:
        for kind, keys in (
            ("Patient", {"identifier", "gender"}),
            ("Encounter", {"identifier", "status", "class", "subject", "period"}),
        ):
            [one] = resources(bundle, kind)
            assert one.keys() - {"resourceType", "id", "meta"} <= keys
        assert "birthDate" not in json.dumps(bundle)


def test_hostile_text_is_neither_control_nor_markdown(read):
    text = json.dumps(read[1], ensure_ascii=False)
    assert "\\u0007" not in text
    assert "\u202e" not in text
    notes = [note["text"] for one in labels(read[1]) for note in one.get("note", ())]
    assert not any("](" in note.replace("\\[", "") and "\\[" not in note for note in notes)
    assert not any("<img" in note.replace("\\<img", "") for note in notes)


def test_ids_are_the_same_again_and_others_for_other_predictions(bundles, cohort, predictions, tmp_path):
    again = enriched(predictions, cohort, tmp_path / "predictions")
    folder = report("fhir", again, cohort, tmp_path / "fhir")
    assert (folder / "bundles.ndjson").read_bytes() == (bundles / "bundles.ndjson").read_bytes()
    other = report("fhir", predictions, cohort, tmp_path / "other")
    one, two = (json.loads((root / "bundles.ndjson").read_text().splitlines()[0]) for root in (bundles, other))
    assert one["id"] != two["id"]
    assert resources(one, "Patient") == resources(two, "Patient")


def test_every_unit_of_the_catalogue_has_a_ucum_code():
    assert {variable.unit for variable in variables().values()} == settings()["units"].keys()


def test_a_label_is_coded_only_where_one_code_is_all_of_it():
    shock = load("phenotypes")["shock"]
    assert [one["code"] for one in label_codings(_codes(shock))] == ["249"]
    chapter = next(iter(load("icd_chapters").values()))
    assert label_codings(_codes(chapter)) == []
    codes = {"ccs": [], "icd9": ["4280", "4281"], "icd10": ["I5021"]}
    assert [one["code"] for one in label_codings(codes)] == ["I50.21"]


def test_the_documented_systems_are_those_in_use(read):
    page = (Path(__file__).parents[2] / "docs" / "reports.md").read_text()
    assert all(f"`{system(name)}`" in page for name in settings()["own"])
