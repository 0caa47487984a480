"""``POST /v1/similar``: training stays like the one of the request, without whose they are."""

from __future__ import annotations

import json
import shutil

import pytest
from serve.bundles import bundle, document, observation
from serve.stand_in import SECRET, one_stay, request_of
from starlette.testclient import TestClient

import clinragen
from clinragen.cohort.folder import Cohort
from clinragen.serve.access import Access
from clinragen.serve.app import Service, build_app
from clinragen.serve.limits import Limits
from clinragen.serve.similar import SimilarFinder
from clinragen.serve.start import IndexChoice


@pytest.fixture
def similar(waiting, finder):
    """``similar(request)`` is the answer of a service with the index."""
    services = []

    def ask(request, *, limits=Limits(), access=Access(None), finder=finder, **headers):  # noqa: B008
        service = Service(waiting, access, limits, finder=finder)
        services.append(service)
        client = TestClient(build_app(service), base_url="http://localhost", raise_server_exceptions=False)
        return client.post("/v1/similar", json=request, headers=headers)

    yield ask
    for service in services:
        service.close()


def test_the_cases_are_those_of_the_command_without_identifiers(similar, index, hospital):
    cohort = Cohort.load(hospital.cohort)
    stay = int(cohort.split("test")[0])
    reply = similar({**request_of(hospital.cohort, [stay]), "count": 4})
    assert reply.status_code == 200
    values = reply.json()
    expected = clinragen.similar(index, hospital.cohort, stay, count=4)
    assert [case["label_names"] for case in values["cases"]] == [list(case.label_names) for case in expected]
    assert [case["score"] for case in values["cases"]] == [round(case.score, 4) for case in expected]
    assert values["weights"] == expected.weights
    assert any(case["shared"] for case in values["cases"])
    for case, of_command in zip(values["cases"], expected, strict=True):
        assert [one["here"] for one in case["shared"]] == [one.here for one in of_command.shared]
    numbers = set(json.dumps(values["cases"]).replace(",", " ").replace("}", " ").split())
    rows = cohort.stays.select("stay_id", "subject_id", "hadm_id")
    assert not numbers & {str(one) for row in rows.iter_rows() for one in row}


def test_nothing_of_a_note_of_a_case_is_quoted(similar, hospital):
    cohort = Cohort.load(hospital.cohort)
    values = similar(request_of(hospital.cohort, [int(cohort.split("test")[1])])).json()
    shared = [one for case in values["cases"] for one in case["shared"]]
    assert {tuple(one["there"]) for one in shared if one["kind"] == "note"} == {("section",)}
    assert {tuple(one["there"]) for one in shared if one["kind"] == "series"} == {
        ("variable", "hour", "value", "statement")
    }


def test_a_stay_of_the_same_patient_is_no_case_where_the_request_names_the_patient(similar, hospital):
    cohort = Cohort.load(hospital.cohort)
    stay = int(cohort.split("train")[0])
    named = request_of(hospital.cohort, [stay])
    unnamed = json.loads(json.dumps(named))
    del unnamed["stays"][0]["subject_id"]
    with_own, without = (similar({**request, "count": 1}).json()["cases"][0] for request in (unnamed, named))
    assert with_own["similarities"]["words"] == 1.0
    assert without["similarities"]["words"] < 1.0


def test_a_bundle_has_cases_too(similar):
    sent = bundle(observation("8867-4", 118, "/min"), document())
    values = similar({"bundle": sent, "count": 2}).json()
    assert values["stay_id"] == 1
    assert len(values["cases"]) == 2
    wrong = similar({"bundle": sent, "number": 3})
    assert wrong.status_code == 422
    assert wrong.json()["fields"] == [{"path": "number", "message": "a number from 1 to 1 is expected"}]


def test_without_the_charts_of_the_index_what_is_shared_are_concepts_alone(similar, index, assessor):
    alone = SimilarFinder.load(index, None, None, assessor.trained)
    cases = similar(one_stay(), finder=alone).json()["cases"]
    assert cases
    assert all(not case["shared"] for case in cases)
    assert any(case["concepts"] for case in cases)


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"count": 0}, "count"),
        ({"count": 21}, "count"),
        ({"count": "three"}, "count"),
        ({"stays": []}, "stays"),
        ({"questions": ["why?"]}, "(the whole body)"),
        ({"stays": [one_stay()["stays"][0], {**one_stay()["stays"][0], "stay_id": 8}]}, "stays"),
    ],
    ids=["no cases", "many cases", "no number", "no stay", "another field", "two stays"],
)
def test_mistakes_are_told_without_repeating_them(similar, change, path):
    reply = similar({**one_stay(), **change})
    assert reply.status_code == 422
    assert path in [field["path"] for field in reply.json()["fields"]]
    assert SECRET not in reply.text


def test_limits_and_tokens_hold_here_as_elsewhere(similar, monkeypatch):
    assert similar(one_stay(), limits=Limits(body=100)).status_code == 413
    monkeypatch.setenv("CLINRAGEN_SERVE_TOKEN", "a-token-of-enough-letters")
    access = Access.decide("127.0.0.1", None)
    assert similar(one_stay(), access=access).status_code == 401
    assert similar(one_stay(), access=access, authorization="Bearer a-token-of-enough-letters").status_code == 200


def test_rows_from_the_prediction_time_on_change_nothing(similar):
    late = {"stay_id": 7, "hour": 60, "variable": "lactate", "value": 9.5}
    before = similar(one_stay()).json()
    after = similar({**one_stay(), "series": [*one_stay()["series"], late]}).json()
    assert after["cases"] == before["cases"]
    assert after["left_out"] != before["left_out"]


def test_nothing_of_a_request_is_held(similar, finder):
    similar(one_stay())
    held = dict(finder.opened._statements)
    similar({**one_stay(), "notes": [{"stay_id": 7, "text": "Chest pain and hypertension."}]})
    ids = set(finder.opened.index.stays.ids.tolist())
    assert set(finder.opened._statements) <= ids
    assert set(held) <= ids


def test_a_service_without_an_index_has_no_such_operation(client):
    reply = client().post("/v1/similar", json=one_stay())
    assert reply.status_code == 404
    assert "/v1/similar" not in client().get("/openapi.json").json()["paths"]
    assert "Find similar cases" not in client().get("/").text


def test_what_does_not_belong_together_is_told_at_the_start(index, hospital, assessor, command, capsys, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(hospital.cohort, other)
    manifest = json.loads((other / "manifest.json").read_text())
    (other / "manifest.json").write_text(json.dumps({**manifest, "note": "another"}))
    with pytest.raises(clinragen.UserError, match="is not the cohort that"):
        IndexChoice(index, other).open(assessor.trained)
    with pytest.raises(clinragen.UserError, match="an index made by `clinragen index build`"):
        IndexChoice(tmp_path).open(assessor.trained)
    assert command("clinragen", "serve", "--model", "unread", "--index-cohort", hospital.cohort) == 2
    assert "--index-cohort is given without --index: give both, or neither" in capsys.readouterr().err
