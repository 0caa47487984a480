"""Answers of a chart, held against what can be read off it by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from whole_graph import GRAPH, LINKER

from clinragen.catalog import variables
from clinragen.errors import UserError
from clinragen.questions.answer import NEAREST, Answer, answer
from clinragen.questions.query import Query, Window
from clinragen.questions.stay_chart import StayChart

NOTE = (
    ("history_of_present_illness", "Fever since noon. Denies chest pain. Return if you have melena."),
    ("past_medical_history", "COPD"),
    ("family_history", "Father with diabetes."),
)
CELLS = {
    "heart_rate": [(0.0, 88.0), (3.0, 120.0), (5.0, 71.0), (9.0, 120.0), (20.0, 95.0), (48.0, 180.0)],
    "creatinine": [(2.0, 1.0), (14.0, 1.3), (26.0, 2.16)],
    "inr": [(4.0, 1.2000000477)],
    "lactate": [(30.0, 4.0)],
}


def stay(cells=CELLS, end: float = 48.0, note=NOTE, labels: tuple[str, ...] = ()) -> StayChart:
    return StayChart.read(7, end, cells, note, LINKER, GRAPH, labels)


def to(text: str, chart: StayChart | None = None) -> Answer:
    return answer(Query.parse(text), chart or stay())


@pytest.mark.parametrize(
    ("query", "value", "hours"),
    [
        ("value first heart_rate", 88, [0]),
        ("value last heart_rate", 95, [20]),  # the one of hour 48 is at the prediction time
        ("value last heart_rate 0-20", 120, [9]),  # a window ends before its end
        ("value first heart_rate 3-", 120, [3]),
        ("value at 4 heart_rate", 120, [3]),  # of two as near, the earlier
        ("value at 22 heart_rate", 95, [20]),
        ("highest heart_rate", 120, [3, 9]),
        ("highest heart_rate 4-", 120, [9]),
        ("lowest heart_rate", 71, [5]),
        ("lowest heart_rate last:28", 95, [20]),
        ("mean heart_rate 0-4", 104, [0, 3]),
        ("count heart_rate", 5, [0, 3, 5, 9, 20]),
        ("count troponin_t", 0, []),
        ("trend creatinine", "rising", [2, 26]),
        ("trend creatinine 0-24", "rising", [2, 14]),
        ("trend heart_rate", "stable", [0, 20]),
        ("trend heart_rate 3-6", "falling", [3, 5]),
        ("time first heart_rate 4-", 5, [5]),
        ("time last creatinine", 26, [26]),
        ("time highest heart_rate", 3, [3, 9]),
        ("time lowest heart_rate", 5, [5]),
        ("time first_above heart_rate", 3, [3]),
        ("time first_below heart_rate", "never", [0, 3, 5, 9, 20]),
        ("time first_above inr", "never", [4]),  # a float32 1.2 is 1.2
        ("range above heart_rate", "yes", [3, 9]),
        ("range below heart_rate", "no", [0, 3, 5, 9, 20]),
        ("range above inr", "no", [4]),
        ("compare heart_rate 0-4 4-10", "higher", [0, 3, 5, 9]),
        ("compare creatinine 0-12 12-24", "lower", [2, 14]),
        ("compare heart_rate 3-4 9-10", "equal", [3, 9]),
    ],
)
def test_the_series_answers(query, value, hours):
    reply = to(query)
    assert (reply.status, reply.value) == ("answered", value)
    assert [one["hour"] for one in reply.evidence] == hours


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("value last troponin_t", "troponin T in hours 0 to 48: searched no measurements"),
        ("highest lactate 0-24", "searched no measurements; it has 1 measurement at other hours"),
        ("value at 8 creatinine", f"within {NEAREST:g} hours of hour 8"),
        ("trend lactate", "a trend of lactate in hours 0 to 48: searched 1 measurement."),
        ("mean heart_rate 48-72", "it ends at hour 48, the prediction time"),
        ("count heart_rate 50-", "it ends at hour 48"),
        ("compare lactate 0-24 24-48", "in hours 0 to 24"),
        ("compare lactate 24-48 0-24", "in hours 0 to 24"),
        ("time first_above weight", "searched no"),
        ("note symptom:dyspnea", "3 sections of the note"),
        ("why shock", "among the diagnoses of this stay"),
    ],
)
def test_what_the_chart_does_not_show_is_said_to_be_missing_with_what_was_searched(query, words):
    reply = to(query)
    assert (reply.status, reply.value, reply.evidence) == ("not_in_chart", None, ())
    assert reply.text.startswith("The chart does not show ")
    assert words in reply.text
    assert reply.searched


def test_a_range_without_a_bound_on_the_side_tells_nothing():
    chart = stay({"weight": [(1.0, 70.0)]})
    for query in ("range above weight", "time first_below weight"):
        assert to(query, chart).status == "not_in_chart"
        assert "no upper bound" in to("range above weight", chart).text


def test_numbers_and_hours_are_worded_as_the_chart_shows_them():
    assert to("highest creatinine").text == "The highest creatinine in hours 0 to 48 is 2.2 mg/dL, at hour 26."
    assert to("highest creatinine").value == 2.2
    assert to("highest heart_rate 0-72").text == (
        "The highest heart rate in hours 0 to 48 (the prediction time) is 120 bpm, at hour 3 and once later."
    )
    assert to("time first_above heart_rate").text == (
        "The heart rate was first above 100 bpm in hours 0 to 48 at hour 3, with 120 bpm."
    )
    assert to("range above creatinine 0-24").text == (
        "Yes: 1 of 2 measurements of creatinine in hours 0 to 24 lie above 1.2 mg/dL; "
        "the highest is 1.3 mg/dL, at hour 14."
    )
    assert to("time last creatinine").text == (
        "The creatinine was last measured in hours 0 to 48 at hour 26, with 2.2 mg/dL."
    )


@pytest.mark.parametrize(
    ("concept", "value", "words"),
    [
        ("finding:temperature:high", "affirmed", "affirms fever: “fever” in history of present illness"),
        ("symptom:chest_pain", "denied", "denies chest pain"),
        ("symptom:melena", "open", "neither affirms nor denies"),
        ("phenotype:copd", "affirmed", "as history"),
        ("phenotype:diabetes_without_complication", "open", "family history"),
    ],
)
def test_the_note_affirms_denies_or_leaves_open(concept, value, words):
    reply = to(f"note {concept}")
    assert (reply.status, reply.value) == ("answered", value)
    assert words in reply.text
    (one,) = reply.evidence
    text = dict(NOTE)[str(one["section"])]
    assert text[one["start"] : one["end"]].split()[0].isalpha()


def test_a_kind_of_a_disease_affirms_it_and_its_denial_denies_only_the_kind():
    kind = next(
        link.node for link in GRAPH.into("phenotype:pneumonia", ("is_a",)) if LINKER.link(GRAPH.name(link.node))
    )
    named = GRAPH.name(kind)
    here = stay(note=(("history_of_present_illness", f"She has {named}."),))
    assert to("note phenotype:pneumonia", here).value == "affirmed"
    ruled_out = stay(note=(("history_of_present_illness", f"There is no {named}."),))
    assert to("note phenotype:pneumonia", ruled_out).status == "not_in_chart"
    assert to(f"note {kind}", ruled_out).value == "denied"


def test_a_listed_diagnosis_has_its_signs_as_reasons():
    chart = stay(labels=("shock", "septicemia"))
    reply = to("why septicemia", chart)
    assert reply.status == "answered"
    assert "“fever”" in reply.text
    assert "lactate 4.0 mmol/L at hour 30" in reply.text
    assert {"variable": "lactate", "hour": 30.0, "value": 4.0} in reply.evidence
    bare = stay({}, note=(), labels=("septicemia",))
    assert to("why septicemia", bare).status == "not_in_chart"
    assert "no note" in to("why septicemia", bare).text


def test_an_unknown_concept_or_label_is_refused_with_near_names():
    with pytest.raises(UserError, match="symptom:chest_pain"):
        to("note symptom:chestpain")
    with pytest.raises(UserError, match="did you mean 'shock'"):
        to("why shok")


VALUES = st.lists(
    st.tuples(st.integers(0, 90), st.integers(300, 2500)), min_size=1, max_size=30, unique_by=lambda row: row[0]
)


@given(VALUES, st.integers(0, 60), st.integers(1, 40), st.integers(1, 80))
def test_extremes_means_and_counts_are_those_of_the_hours_in_the_window(rows, start, width, end):
    cells = {"heart_rate": [(float(hour), value / 10) for hour, value in rows]}
    chart = stay(cells, end=float(end), note=())
    inside = {hour: value / 10 for hour, value in sorted(rows) if start <= hour < min(start + width, end)}
    window = Window(start, start + width)
    replies = {
        kind: answer(Query(kind, "heart_rate", window=window), chart) for kind in ("highest", "lowest", "mean", "count")
    }
    if not inside:
        assert {reply.status for kind, reply in replies.items() if kind != "count"} == {"not_in_chart"}
        return
    written = variables()["heart_rate"].written
    assert replies["highest"].value == written(max(inside.values()))
    assert replies["lowest"].value == written(min(inside.values()))
    assert replies["mean"].value == pytest.approx(sum(inside.values()) / len(inside), abs=0.5001)
    assert replies["count"].value == len(inside)
    first = next(hour for hour, value in inside.items() if value == max(inside.values()))
    assert replies["highest"].evidence[0]["hour"] == first


@given(VALUES, st.integers(1, 60), st.integers(0, 90), st.integers(300, 2500))
def test_nothing_from_the_prediction_time_on_changes_an_answer(rows, end, hour, value):
    cells = {"heart_rate": [(float(at), number / 10) for at, number in rows]}
    later = {"heart_rate": [*cells["heart_rate"], (float(end + hour), value / 10)]}
    for text in ("highest heart_rate", "value last heart_rate", "mean heart_rate last:6", "count heart_rate 0-99",
                 "trend heart_rate", "range above heart_rate", "value at 40 heart_rate"):  # fmt: skip
        assert to(text, stay(cells, float(end))) == to(text, stay(later, float(end)))


@given(VALUES, st.integers(0, 95))
def test_the_value_at_an_hour_is_that_of_the_nearest_measurement(rows, hour):
    cells = {"heart_rate": [(float(at), number / 10) for at, number in rows]}
    reply = to(f"value at {hour} heart_rate", stay(cells, 100.0))
    nearest = min(abs(at - hour) for at, _ in rows)
    if nearest > NEAREST:
        assert reply.status == "not_in_chart"
        return
    (one,) = reply.evidence
    assert abs(one["hour"] - hour) == nearest
    assert one["hour"] == min(at for at, _ in rows if abs(at - hour) == nearest)
