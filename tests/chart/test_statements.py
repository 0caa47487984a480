"""The sentences that can be made of a chart: their words, and that their numbers are the chart's."""

from __future__ import annotations

from itertools import combinations

import pytest
from whole_graph import GRAPH

from clinragen.catalog import phenotypes, variables
from clinragen.chart import note_statements, series_statements
from clinragen.chart.findings import Finding
from clinragen.chart.measurements import measurements
from clinragen.chart.note_evidence import NoteEvidence
from clinragen.chart.note_statements import (
    CLOSINGS,
    LINKS,
    NO_FINDING,
    clause,
    only_unsupported,
    undiagnosed,
    unsupported,
    without_note,
)
from clinragen.chart.series_statements import (
    name,
    no_value_points_to,
    normal_statement,
    normal_values,
    pointing,
    statement,
)
from clinragen.chart.support import supported
from clinragen.chart.wording import Wording, every, listed
from clinragen.verification.grounds import grounded_diagnoses
from clinragen.verification.rationale import Verifier

VERIFIER = Verifier(GRAPH)
NOTE = [("history_of_present_illness", "Fever and cough since noon.")]
POINTS_TO = LINKS[0]


def wordings(finding: Finding) -> list[str]:
    return [each.statement for each in every(lambda wording: statement(finding, GRAPH, wording))]


@pytest.mark.parametrize(
    ("finding", "expected"),
    [
        # a laboratory value that ends out of range and has moved: its course
        (Finding("creatinine", "high", 3, 2, 1.0, 2.44, 2.44, 9.0),
         ["high creatinine rising from about 1.0 to 2.4 mg/dL"]),
        (Finding("creatinine", "high", 3, 3, 4.0, 2.0, 4.0, 1.0),
         ["high creatinine falling from about 4.0 to 2.0 mg/dL"]),
        # back in range at the end: the extreme, not the course
        (Finding("creatinine", "high", 3, 1, 1.0, 1.1, 2.0, 4.0), ["high creatinine up to about 2.0 mg/dL"]),
        (Finding("creatinine", "high", 1, 1, 2.0, 2.0, 2.0, 4.0), ["high creatinine of about 2.0 mg/dL"]),
        # the finding's own name, where it is one word
        (Finding("sodium", "low", 5, 5, 128.0, 128.0, 126.0, 4.0),
         ["persistently low sodium down to about 126 mEq/L", "hyponatremia down to about 126 mEq/L"]),
        # what is charted every hour may be placed in time: the day, or the hour to the nearest six
        (Finding("mean_bp", "low", 5, 1, 80.0, 80.0, 50.0, 32.0),
         ["low mean blood pressure down to about 50 mmHg after hour 24",
          "low mean blood pressure down to about 50 mmHg around hour 30",
          "low mean blood pressure down to about 50 mmHg"]),
    ],
)  # fmt: skip
def test_an_abnormal_finding_in_words(finding, expected):
    assert set(wordings(finding)) == set(expected)


def test_persistently_is_not_said_of_part_of_the_stay():
    """High in 9 of 11 measurements is persistently; in 2 of the first 3 it is not."""
    texts = wordings(Finding("heart_rate", "high", 11, 9, 80.0, 120.0, 130.0, 9.0))
    assert {text for text in texts if "persistently" in text} == {"persistently high heart rate up to about 130 bpm"}
    assert any("in the first 24 hours" in text for text in texts)


def test_a_number_is_never_rounded_back_into_the_range():
    finding = Finding("heart_rate", "high", 1, 1, 101.0, 101.0, 101.0, 2.0)
    assert finding.spec.high == 100
    assert all("101" in text for text in wordings(finding))


def test_a_statement_carries_the_charted_value_and_the_written_one():
    said = statement(Finding("creatinine", "high", 1, 1, 2.04, 2.04, 2.04, 4.0), GRAPH, Wording(1))
    assert said.as_json() == {
        "variable": "creatinine",
        "direction": "high",
        "form": "level",
        "statement": "high creatinine of about 2.0 mg/dL",
        "value": 2.04,
        "stated": ("2.0",),
    }


def test_what_closes_a_series_sentence():
    assert pointing("supporting", ["shock"], phenotypes()) == "supporting shock"
    assert pointing("supporting", ["shock", "septicemia"], phenotypes()) == "supporting shock and septicemia"
    assert (
        no_value_points_to(["shock", "copd"], phenotypes())
        == f"no value points to shock or {phenotypes()['copd'].name}"
    )
    normal = normal_statement(Finding("sodium", "normal", 2, 0, 140.0, 141.0, 141.0, 5.0))
    assert (normal.form, normal.value) == ("normal", 141.0)
    assert normal_values([normal.statement, name("lactate")]) == "normal sodium and lactate"


def test_a_finding_supports_the_diagnoses_it_is_tied_to():
    lactate = Finding("lactate", "high", 1, 1, 6.0, 6.0, 6.0, 0.0)
    assert "shock" in supported(lactate, list(phenotypes()), GRAPH)
    assert supported(lactate, ["copd"], GRAPH) == []


def evidence(phrase: str, concept: str = "symptom:x", *, past: bool = False) -> NoteEvidence:
    return NoteEvidence(concept, "history_of_present_illness", 0, len(phrase), phrase, past)


@pytest.mark.parametrize(
    ("items", "text"),
    [
        ([evidence("fever")], "fever points to pneumonia"),
        ([evidence("fever"), evidence("cough")], "fever and cough point to pneumonia"),
        ([evidence("COPD", past=True)], "a history of COPD points to pneumonia"),
        ([evidence("oxygen", "drug:oxygen"), evidence("fever")], "fever and treatment with oxygen point to pneumonia"),
        # the diagnosis' own name is no ground, but a record of it
        ([evidence("pneumonia")], "pneumonia is recorded"),
        ([evidence("pneumonia", past=True)], "a history of pneumonia is recorded"),
        ([evidence("pneumonia"), evidence("fever")], "fever and the recorded diagnosis point to pneumonia"),
    ],
)
def test_a_clause_on_a_diagnosis(items, text):
    assert clause(items, ["pneumonia"], POINTS_TO) == text


def test_what_nothing_speaks_for_is_named_in_full_or_shorter():
    assert unsupported(["shock"], CLOSINGS[0], phenotypes()) == ["the notes do not show shock"]
    full, short = unsupported(["shock", "septicemia", "copd"], NO_FINDING, phenotypes())
    assert full == f"no finding supports shock, septicemia or {phenotypes()['copd'].name}"
    assert short == "no finding supports shock and 2 other diagnoses"
    assert only_unsupported(["shock"], phenotypes()) == ["Based on the medical notes, no finding supports shock."]


def test_no_note_and_no_diagnosis():
    assert without_note([], phenotypes()) == [
        "Based on the medical notes, no disease was diagnosed; no note is available."
    ]
    assert without_note(["shock"], phenotypes())[0] == (
        "Based on the medical notes, nothing can be said about shock, as no note is available."
    )
    assert undiagnosed([], "despite") == "Based on the medical notes, no disease was diagnosed."
    assert undiagnosed([evidence("fever")], "despite") == (
        "Based on the medical notes, no disease was diagnosed, despite fever."
    )


def test_the_wording_of_a_stay_never_changes_and_differs_between_stays():
    def draws(stay: int) -> list[int]:
        wording = Wording(stay, "note")
        return [wording.pick(range(10)) for _ in range(20)]

    assert draws(7) == draws(7)
    assert draws(7) != draws(8)
    assert len(set(draws(7))) > 3


def test_a_list_of_one_two_and_many():
    assert [listed([]), listed(["a"]), listed(["a", "b"], "or"), listed(["a", "b", "c"])] == [
        "", "a", "a or b", "a, b and c",
    ]  # fmt: skip


def diagnoses(text: str, kind: str) -> dict[str, bool]:
    """Diagnoses that a reader finds in a text, and whether it denies them."""
    chart = measurements({"lactate": [(1.0, 4.0)]})
    claims = VERIFIER.check(text, kind, NOTE, chart, ["shock", "pneumonia"])
    return {claim.about.removeprefix("phenotype:"): claim.negated for claim in claims if claim.kind == "diagnosis"}


@pytest.mark.parametrize("link", series_statements.LINKS)
def test_every_link_of_a_series_sentence_is_read_as_a_conclusion(link):
    text = f"{series_statements.OPENING} high lactate of about 4.0 mmol/L, {pointing(link, ['shock'], phenotypes())}."
    assert diagnoses(text, "series") == {"shock": False}


@pytest.mark.parametrize("link", LINKS)
def test_every_link_of_a_note_clause_is_read_as_a_conclusion(link):
    for items in ([evidence("fever")], [evidence("fever"), evidence("cough")]):
        text = f"{note_statements.OPENING}, {clause(items, ['pneumonia'], link)}."
        assert diagnoses(text, "note") == {"pneumonia": False}


def test_each_of_several_diagnoses_is_read_as_argued_for():
    chart = measurements({"lactate": [(1.0, 4.0)]})
    for keys in combinations(phenotypes(), 2):
        names = [phenotypes()[key].name for key in keys]
        texts = {
            "series": f"{series_statements.OPENING} high lactate of about 4.0 mmol/L, "
            f"{pointing('pointing to', keys, phenotypes())}.",
            "note": f"{note_statements.OPENING}, {clause([evidence('fever')], names, POINTS_TO)}.",
        }
        for kind, text in texts.items():
            claims = VERIFIER.check(text, kind, NOTE, chart, keys)
            assert {str(claim.verdict) for claim in claims} == {"supported"}, text
            assert set(grounded_diagnoses([(text, claims)])) == set(keys), text


@pytest.mark.parametrize("denial", [*CLOSINGS, NO_FINDING])
def test_every_way_to_say_that_nothing_supports_a_diagnosis_is_read_as_a_denial(denial):
    for text in unsupported(["shock", "pneumonia"], denial, phenotypes()):
        assert diagnoses(f"{note_statements.OPENING}, {text}.", "note") == {"shock": True, "pneumonia": True}


def test_variables_whose_being_normal_is_worth_saying_have_a_range_and_a_plain_name():
    assert {variables()[key].kind for key in series_statements.WORTH} <= {"lab", "gas"}
    for key in series_statements.WORTH:
        assert name(key)
        assert not set(name(key)) & set(",()")
