"""What is read of a request in the cohort's schema, and what is refused or left out."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinragen.cohort.window import Window
from clinragen.serve.limits import Limits
from clinragen.serve.refusals import RefusalError
from clinragen.serve.rows import read_stays

SECRET = "Zebulon Q Haversham"


def request(stay=None, series=(), notes=()):
    stays = [{"stay_id": 7, "intime": "2020-05-01T08:00:00", "age": 70, **(stay or {})}]
    return {"stays": stays, "series": [{"stay_id": 7, **row} for row in series], "notes": list(notes)}


def read(content, window=Window(48), limits=Limits()):  # noqa: B008
    return read_stays(json.dumps(content).encode(), window, limits)


def refused(content, **how):
    with pytest.raises(RefusalError) as caught:
        read(content, **how)
    assert SECRET not in json.dumps(caught.value.body())
    return {field.path: field.message for field in caught.value.fields}


def test_units_are_converted_and_what_no_body_has_is_counted():
    series = [
        {"hour": 1, "variable": "temperature", "value": 102.2, "unit": "degF"},
        {"hour": 2, "variable": "creatinine", "value": 150, "unit": "umol/L"},
        {"hour": 3, "variable": "heart_rate", "value": 9000},
    ]
    intake = read(request(series=series))
    assert intake.series.select("hour", "variable").rows() == [(1.0, "temperature"), (2.0, "creatinine")]
    assert intake.series["value"].to_list() == pytest.approx([39.0, 1.697], abs=1e-3)
    assert intake.left_out.as_json() == [
        {"reason": "outside the plausible range of the variable", "rows": 1, "codes": {"heart_rate": 1}}
    ]


def test_values_of_one_hour_become_the_last_or_the_sum():
    series = [
        {"hour": 1.9, "variable": "heart_rate", "value": 90},
        {"hour": 1.1, "variable": "heart_rate", "value": 80},
        {"hour": 1.2, "variable": "urine_output", "value": 100},
        {"hour": 1.3, "variable": "urine_output", "value": 50},
    ]
    rows = {row["variable"]: row for row in read(request(series=series)).series.rows(named=True)}
    assert (rows["heart_rate"]["hour"], rows["heart_rate"]["value"]) == (1.0, 90.0)
    assert rows["urine_output"]["value"] == 150.0


@pytest.mark.parametrize(
    ("window", "stay", "end"),
    [
        (Window(48), {}, "2020-05-03T08:00"),
        (Window(48), {"outtime": "2020-05-01T20:00:00"}, "2020-05-01T20:00"),
        (Window(48), {"prediction_time": "2020-05-01T14:00:00"}, "2020-05-01T14:00"),
        (Window(48, "last"), {"outtime": "2020-05-08T08:00:00"}, "2020-05-08T08:00"),
    ],
)
def test_the_time_of_prediction(window, stay, end):
    intake = read(request(stay), window=window)
    assert intake.stays["prediction_time"][0].isoformat(timespec="minutes") == end


@settings(max_examples=30)
@given(st.integers(0, 60), st.integers(1, 47), st.sampled_from([88.0, 131.0]))
def test_nothing_from_the_prediction_time_on_is_read(hour, end, value):
    """Whatever is charted or written later changes no row."""
    stay = {"prediction_time": f"2020-05-{1 + (8 + end) // 24:02}T{(8 + end) % 24:02}:00:00"}
    early = [{"hour": 0.5, "variable": "heart_rate", "value": 80}]
    late = [{"hour": float(hour), "variable": "heart_rate", "value": value}]
    note = {"stay_id": 7, "time": f"2020-05-{1 + (8 + hour) // 24:02}T{(8 + hour) % 24:02}:00:00", "text": "sepsis"}
    intake, before = read(request(stay, early + late, [note])), read(request(stay, early))
    if hour >= end:
        assert intake.series.equals(before.series)
        assert intake.notes.is_empty()
        assert intake.left_out.rows == {"at or after the prediction time": 2}
    else:
        assert len(intake.notes) == 1
        assert not intake.left_out.rows


def test_hours_before_the_last_ones_are_counted():
    series = [{"hour": hour, "variable": "heart_rate", "value": 80} for hour in (1, 100)]
    intake = read(request({"outtime": "2020-05-08T08:00:00"}, series), window=Window(72, "last"))
    assert intake.series["hour"].to_list() == [100.0]
    assert intake.left_out.rows == {"before the hours that the model reads": 1}


def test_times_with_a_zone_are_read_in_utc():
    zoned = request(
        {"intime": "2020-05-01T10:00:00+02:00"}, notes=[{"stay_id": 7, "time": "2020-05-03T07:59:00Z", "text": "x"}]
    )
    intake = read(zoned)
    assert intake.stays["intime"][0].hour == 8
    assert len(intake.notes) == 1
    assert "stays" in refused(request(notes=[{"stay_id": 7, "time": "2020-05-03T07:59:00Z", "text": "x"}]))


@pytest.mark.parametrize(
    ("content", "path"),
    [
        (request({"age": -1}), "stays[0].age"),
        (request({"age": "70"}), "stays[0].age"),
        (request({"sex": SECRET}), "stays[0].sex"),
        (request({SECRET: 1}), "stays[0]"),
        (request({"intime": SECRET}), "stays[0].intime"),
        (request({"intime": "0001-01-01T00:00:00"}), "stays[0].intime"),
        (request({"outtime": "2020-05-01T07:00:00"}), "stays[0].outtime"),
        (request({"prediction_time": "2020-05-09T07:00:00"}), "stays[0].prediction_time"),
        (request({"stay_id": 2**63}), "stays[0].stay_id"),
        (request(series=[{"hour": -1, "variable": "heart_rate", "value": 80}]), "series[0].hour"),
        (request(series=[{"hour": 1, "variable": SECRET, "value": 80}]), "series[0].variable"),
        (request(series=[{"hour": 1, "variable": "heart_rate", "value": 80, "unit": SECRET}]), "series[0].unit"),
        (request(series=[{"hour": 1, "variable": "heart_rate", "value": True}]), "series[0].value"),
        (request(notes=[{"stay_id": 8, "text": SECRET}]), "notes[0].stay_id"),
        (request(notes=[{"stay_id": 7, "text": None}]), "notes[0].text"),
        ({"stays": []}, "stays"),
        ({"stays": request()["stays"] * 2}, "stays[1].stay_id"),
        ([SECRET], "(the whole body)"),
    ],
)
def test_a_wrong_field_is_named_and_not_repeated(content, path):
    assert path in refused(content)


@pytest.mark.parametrize("body", [b"", b"{", b'{"stays": [{"age": NaN}]}', b"\xff\xfe", b"[" * 100_000, b'"\\ud800"'])
def test_what_is_no_json_is_refused(body):
    with pytest.raises(RefusalError) as caught:
        read_stays(body, Window(48), Limits())
    assert caught.value.status in (400, 422)


def test_not_finite_numbers_are_refused():
    body = json.dumps(request({"age": float("inf")})).replace("Infinity", "1e999")
    with pytest.raises(RefusalError) as caught:
        read_stays(body.encode(), Window(48), Limits())
    assert caught.value.fields[0].path == "stays[0].age"


@pytest.mark.parametrize(
    ("limits", "path"),
    [(Limits(letters=10), "notes"), (Limits(measurements=1), "series"), (Limits(stays=1), "stays")],
)
def test_limits_are_named(limits, path):
    two = request()["stays"] + request({"stay_id": 8})["stays"] if path == "stays" else request()["stays"]
    content = request(
        series=[{"hour": hour, "variable": "heart_rate", "value": 80} for hour in (1, 2)],
        notes=[{"stay_id": 7, "text": SECRET}],
    )
    assert list(refused(content | {"stays": two}, limits=limits)) == [path]


def test_the_request_of_the_documentation_is_read():
    page = (Path(__file__).parents[2] / "docs" / "service.md").read_text(encoding="utf-8")
    body = page.partition("```json\n")[2].partition("```")[0]
    intake = read_stays(body.encode(), Window(48), Limits())
    assert intake.series["value"].to_list() == [39.0]
    assert intake.notes["section"].to_list() == ["history_of_present_illness"]
