"""The service answers what the commands write, with the small trained model."""

import json
import tempfile
from pathlib import Path

import pytest
from serve.bundles import bundle, document, observation
from serve.stand_in import SECRET, one_stay, request_of
from starlette.testclient import TestClient

import clinragen
from clinragen.cli import dispatch
from clinragen.serve.access import Access
from clinragen.serve.answer import Answer
from clinragen.serve.app import Service, build_app
from clinragen.serve.scratch import PREFIX


@pytest.fixture(scope="module")
def service(assessor):
    opened = Service(assessor, Access(None))
    yield TestClient(build_app(opened), base_url="http://localhost", raise_server_exceptions=False)
    opened.close()


@pytest.fixture(scope="module")
def predicted(runs):
    """What `clinragen predict` wrote, by stay."""
    lines = (runs.predictions / "predictions.jsonl").read_text().splitlines()
    return {row["stay_id"]: row for row in map(json.loads, lines)}


def test_the_answer_is_what_predict_and_verify_give(service, hospital, runs, predicted):
    stays = sorted(predicted)[:4]
    answer = service.post("/v1/stays", json=request_of(hospital.cohort, stays))
    assert answer.status_code == 200
    content = Answer.model_validate(answer.json())
    rows = answer.json()["stays"]
    assert [row["stay_id"] for row in rows] == stays
    for row in rows:
        expected = predicted[row["stay_id"]]
        probabilities = expected.pop("probabilities")
        assert row["probabilities"] == pytest.approx(probabilities, abs=2e-6)  # batches of another length
        for label, ends in (expected["interval"] or {}).items():
            assert row["interval"][label] == pytest.approx(ends, abs=1e-4)
        exact = ("diagnoses", "possible", "note_rationale", "series_rationale", "parsed", "abstains")
        assert {key: row[key] for key in exact} == {key: expected[key] for key in exact}
    checked = clinragen.verify(runs.predictions, hospital.cohort).claims
    claims = [{"stay_id": row["stay_id"], **claim} for row in rows for claim in row["claims"]]
    assert claims == [claim for claim in checked if claim["stay_id"] in stays]
    manifest = json.loads((runs.predictions / "manifest.json").read_text())
    assert content.thresholds == manifest["thresholds"]
    assert content.model.sha256 == manifest["model_hash"]
    assert content.left_out == []


def test_the_page_is_that_of_the_report(service, hospital, predicted, tmp_path):
    stay = sorted(predicted)[0]
    answer = service.post("/v1/stays?pages=true", json=request_of(hospital.cohort, [stay])).json()["stays"][0]
    page = answer["page"]
    assert f"Stay {stay}" in page
    assert "Content-Security-Policy" in page
    shown = service.post("/page", data={"request": json.dumps(request_of(hospital.cohort, [stay])), "kind": "stays"})
    assert shown.status_code == 200
    assert f"Stay {stay}" in shown.text


def test_later_rows_of_a_request_change_nothing(service, hospital, predicted):
    request = request_of(hospital.cohort, sorted(predicted)[:1])
    before = service.post("/v1/stays", json=request).json()["stays"]
    late = {**request["series"][0], "hour": 60.0, "variable": "lactate", "value": 12.0}
    note = {**request["notes"][0], "time": request["stays"][0]["prediction_time"], "text": "septic shock"}
    request["series"].append(late)
    request["notes"].append(note)
    after = service.post("/v1/stays", json=request).json()
    assert after["stays"] == before
    assert after["left_out"] == [{"reason": "at or after the prediction time", "rows": 2, "codes": {}}]


def test_a_stay_without_note_and_series_is_answered(service):
    bare = {"stays": one_stay()["stays"]}
    assert service.post("/v1/stays?pages=true", json=bare).status_code == 200


def test_nothing_stays_on_the_disk_or_in_the_log(service, assessor, monkeypatch, tmp_path, log):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    seen = []
    predict = clinragen.api.prediction.predict

    def fail(trained, cohort, out, **options):
        seen.append(cohort.paths.root)
        assert cohort.paths.root.parent.stat().st_mode & 0o077 == 0
        raise ValueError(SECRET)

    monkeypatch.setattr("clinragen.api.prediction.predict", fail)
    assert service.post("/v1/stays", json=one_stay()).status_code == 500
    monkeypatch.setattr("clinragen.api.prediction.predict", predict)
    assert service.post("/v1/stays?pages=true", json=one_stay()).status_code == 200
    assert seen[0].parent.name.startswith(PREFIX)
    assert list(tmp_path.iterdir()) == []
    assert SECRET not in log.text


def test_it_warms_up(assessor):
    assessor.warm_up()


def test_a_command_can_read_the_cohort_of_a_request(assessor, hospital, predicted, runs, tmp_path):
    """What the service predicts from is a cohort folder like any other."""
    from clinragen.serve.limits import Limits
    from clinragen.serve.rows import read_stays
    from clinragen.serve.scratch import request_cohort

    stays = sorted(predicted)[:2]
    body = json.dumps(request_of(hospital.cohort, stays)).encode()
    intake = read_stays(body, assessor.trained.run.window, Limits())
    with request_cohort(intake, assessor.trained.run) as root:
        out = tmp_path / "predictions"
        dispatch([str(a) for a in ("predict", "--model", runs.multimodal, "--cohort", root / "cohort", "--out", out)])
    rows = [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]
    assert [row["stay_id"] for row in rows] == stays
    assert not Path(root).exists()


def test_fhir_is_answered(service):
    content = bundle(observation("8867-4", 118, "/min"), document())
    answer = service.post("/v1/fhir", json=content, headers={"content-type": "application/fhir+json"})
    assert answer.status_code == 200
    assert answer.json()["stays"][0]["encounter"] == "e"
