"""Whatever stands in a FHIR resource, a preparation reads on: everything is used, out of scope or quarantined."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mimic_prep.cli import main
from mimic_prep.releases.fhir import convert, fhir_dataset
from tests.mimic_prep.fhir_export import OF_FIRST, Outcome, Resource, at, base, concept, observation, write

ODD = st.sampled_from(
    [None, True, 0, -1, 10**400, 1.5, "", " ", "x", "2030-02-30", [], [None], ["x"], [[]], {}, {"coding": "x"},
     {"value": []}, {"reference": 3}, "\ud800", "9" * 400]
)  # fmt: skip
OTHERS: list[Resource] = [
    {"resourceType": "MedicationRequest", "id": "m", "status": "active", "authoredOn": at(1), **OF_FIRST,
     "medicationCodeableConcept": {"text": "aspirin"}},
    {"resourceType": "DiagnosticReport", "id": "d", "status": "final", "issued": at(1), **OF_FIRST,
     "conclusion": "x", "category": [concept("RAD")]},
    {"resourceType": "Composition", "id": "k", "status": "final", "date": at(1), **OF_FIRST,
     "section": [{"title": "x"}]},
]  # fmt: skip


@st.composite
def _changed(draw: st.DrawFn) -> list[Resource]:
    """An export in which one element of some resources holds something odd."""
    resources = copy.deepcopy([*base(), observation(9), *OTHERS])
    for one in draw(st.lists(st.sampled_from(resources), min_size=1, max_size=4, unique_by=id)):
        inside = one
        while True:
            key = draw(st.sampled_from(sorted(inside)))
            if isinstance(inside[key], dict) and inside[key] and draw(st.booleans()):
                inside = inside[key]
                continue
            inside[key] = draw(ODD)
            break
    return resources


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(_changed())
def test_odd_elements_never_end_a_preparation(resources):
    with TemporaryDirectory() as folder:
        raw = Path(folder) / "raw"
        raw.mkdir()
        (raw / "a.ndjson").write_text("".join(json.dumps(one) + "\n" for one in [*resources, *OF_ANOTHER]))
        Outcome(raw, Path(folder) / "work", zone="America/New_York")  # which checks that every row is accounted for


OF_ANOTHER: list[Resource] = [  # so that there is a stay, whatever was changed
    {"resourceType": "Patient", "id": "p9", "birthDate": "1950-01-01"},
    {"resourceType": "Encounter", "id": "e9", "status": "finished", "class": {"code": "IMP", "display": "ICU"},
     "subject": {"reference": "Patient/p9"}, "period": {"start": at(0), "end": at(9)}},
]  # fmt: skip


def test_an_interrupted_preparation_resumes_with_the_files_not_yet_read(tmp_path, monkeypatch):
    raw = write(tmp_path / "raw", base())

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    arguments = ["fhir", "--raw", str(raw), "--out", str(tmp_path / "cohort")]
    with monkeypatch.context() as patched:
        patched.setattr(fhir_dataset, "lay_out", interrupt)
        assert main(arguments) == 130
    assert not (tmp_path / "cohort").exists()
    write(raw, [observation(30, value=99)], "more.ndjson")
    read: list[str] = []
    whole = convert._FileReader.read
    monkeypatch.setattr(
        convert._FileReader, "read", lambda self, path, *rest: (read.append(path.name), whole(self, path, *rest))[1]
    )
    assert main(arguments) == 0
    assert read == ["more.ndjson"]
    assert not (tmp_path / ".cohort.fhir").exists()


@pytest.mark.parametrize("option", [("--zone", "Nowhere/Town"), ("--stays", "bed"), ("--codes", "missing.yaml")])
def test_an_option_that_cannot_be_used_ends_with_one_line(option, tmp_path, capsys):
    raw = write(tmp_path / "raw", base())
    assert main(["fhir", "--raw", str(raw), "--out", str(tmp_path / "cohort"), *option]) == 2
    error = capsys.readouterr().err
    assert option[1].split(".")[0] in error
    assert "Traceback" not in error
