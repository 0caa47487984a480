"""What a sign is worth for a diagnosis: the graph's word while little was counted, the counts when they are many."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinragen.chart.findings import Finding
from clinragen.chart.note_evidence import NoteEvidence
from clinragen.chart.support import SUPPORTS, tie
from clinragen.chart.worth import FULL_TIE, Tally, Worth, sign_of, speaking
from clinragen.knowledge.graph import build

GRAPH = build()
LACTATE = Finding("lactate", "high", 1, 1, 9.0, 9.0, 9.0, 0.0)
LITTLE_LACTATE = Finding("lactate", "high", 4, 1, 1.0, 1.0, 2.4, 0.0)


def phrase(concept: str, *, past: bool = False) -> NoteEvidence:
    return NoteEvidence(concept, "history_of_present_illness", 0, 5, "words", past)


def counted(item: Finding | NoteEvidence, with_both: int, with_key: int, with_sign: int, stays: int) -> Worth:
    """Of so many stays: those with sign and shock, those with shock, those with the sign."""
    tally = Tally()
    for stay in range(stays):
        shock = stay < with_key
        shows = stay < with_both or with_key <= stay < with_key + with_sign - with_both
        tally.add([item] if shows else [], ["shock"] if shock else [])
    return Worth(GRAPH, tally)


def worth(of: Worth, item: Finding | NoteEvidence) -> float:
    return of.estimate(item, "shock")[0]


def test_without_stays_the_graph_decides():
    strength = GRAPH.strength("finding:lactate:high", "shock")
    assert strength >= SUPPORTS
    assert worth(Worth(GRAPH), LACTATE) == pytest.approx(FULL_TIE * strength * LACTATE.weight)
    assert list(Worth(GRAPH).speaks_for(LACTATE, ["shock", "copd"])) == ["shock"]


def test_a_sign_that_no_stay_shows_is_worth_what_the_graph_says_whatever_the_share_of_the_diagnosis():
    for with_key in (1, 5, 50, 95):
        assert worth(counted(LACTATE, 0, with_key, 0, 100), LACTATE) == pytest.approx(
            worth(Worth(GRAPH), LACTATE), rel=0.12
        )


@pytest.mark.parametrize("with_key", [0, 40])
def test_a_diagnosis_of_all_stays_or_of_none_teaches_nothing(with_key):
    assert worth(counted(LACTATE, 0, with_key, 20, 40), LACTATE) == pytest.approx(worth(Worth(GRAPH), LACTATE))


def test_with_many_stays_the_counts_decide():
    # 60 % of 1,000 stays with shock show it, 10 % of 9,000 without
    found = worth(counted(LACTATE, 600, 1000, 1500, 10_000), LACTATE)
    assert found == pytest.approx(math.log(6), abs=0.03)
    few = worth(counted(LACTATE, 6, 10, 15, 100), LACTATE)
    prior = worth(Worth(GRAPH), LACTATE)
    assert min(prior, math.log(6)) < few < max(prior, math.log(6))


def test_a_tie_that_the_stays_contradict_is_not_cited():
    assert "shock" in counted(LACTATE, 300, 1000, 1500, 10_000).speaks_for(LACTATE, ["shock"])
    assert counted(LACTATE, 60, 1000, 1560, 10_000).speaks_for(LACTATE, ["shock"]) == {}


def test_what_the_graph_does_not_tie_is_cited_only_where_the_stays_speak_clearly():
    strange = phrase("symptom:clubbing")
    assert tie(strange, "shock", GRAPH) < SUPPORTS
    assert Worth(GRAPH).speaks_for(strange, ["shock"]) == {}
    assert counted(strange, 3, 10, 5, 100).speaks_for(strange, ["shock"]) == {}  # six times as often, but of ten
    assert counted(strange, 110, 1000, 1000, 10_000).speaks_for(strange, ["shock"]) == {}  # hardly more often
    assert list(counted(strange, 300, 1000, 750, 10_000).speaks_for(strange, ["shock"])) == ["shock"]


def test_signs_are_told_apart_by_how_marked_they_are_and_by_time():
    assert sign_of(LACTATE) != sign_of(LITTLE_LACTATE)
    assert sign_of(phrase("disease:x")) != sign_of(phrase("disease:x", past=True))
    seen = counted(LACTATE, 600, 1000, 1500, 10_000)
    assert worth(seen, LITTLE_LACTATE) == pytest.approx(worth(Worth(GRAPH), LITTLE_LACTATE), rel=0.12)


def test_a_finding_at_the_edge_of_its_range_speaks_for_nothing():
    edge = Finding("lactate", "high", 1, 1, 2.01, 2.01, 2.01, 0.0)
    assert speaking([edge, LACTATE]) == [LACTATE]
    assert Worth(GRAPH).speaks_for(edge, ["shock"]) == {}


def test_the_origin_tells_apart_what_was_learned_from_what():
    one, other = counted(LACTATE, 6, 10, 15, 100), counted(LACTATE, 5, 10, 15, 100)
    assert one.origin == counted(LACTATE, 6, 10, 15, 100).origin
    assert one.origin != other.origin
    assert one.origin["stays"] == 100


def test_what_a_diagnosis_of_the_stay_explains_is_not_cited_for_those_that_go_with_it():
    clubbing = phrase("symptom:clubbing")
    tally = Tally()
    for stay in range(1000):  # shock goes with the lung disease; the graph ties clubbing to that one
        both = stay < 200
        tally.add([clubbing] if both else [], ["other_lower_respiratory_disease", "shock"] if both else [])
    learned = Worth(GRAPH, tally)
    assert list(learned.speaks_for(clubbing, ["shock"])) == ["shock"]
    assert list(learned.speaks_for(clubbing, ["other_lower_respiratory_disease", "shock"])) == [
        "other_lower_respiratory_disease"
    ]


def test_a_sign_is_shared_among_the_diagnoses_that_may_be_why_it_shows():
    shares = Worth(GRAPH).speaks_for(LACTATE, ["septicemia", "shock"])
    assert shares["shock"] > shares["septicemia"] > 0  # by the strength of their ties
    assert sum(shares.values()) < 1
    assert shares["shock"] < Worth(GRAPH).speaks_for(LACTATE, ["shock"])["shock"]


NORMAL_LACTATE = Finding("lactate", "normal", 3, 0, 1.0, 1.2, 1.2, 9.0)
NO_COUGH = NoteEvidence("symptom:cough", "history_of_present_illness", 0, 5, "cough", past=False, denied=True)


@pytest.mark.parametrize(("item", "key"), [(NORMAL_LACTATE, "shock"), (NO_COUGH, "pneumonia")])
def test_what_is_missing_speaks_against_what_would_show_it_less_than_it_would_speak_for_it(item, key):
    against = Worth(GRAPH).speaks_against(item, key)
    concept = "finding:lactate:high" if key == "shock" else "symptom:cough"
    assert 0 < against == pytest.approx(FULL_TIE * GRAPH.strength(concept, key) / 2)
    assert Worth(GRAPH).speaks_for(item, [key]) == {}
    assert Worth(GRAPH).speaks_against(item, "lipid_disorders") <= 0.0


def test_what_speaks_against_is_bounded_however_clear_the_counts_are():
    tally = Tally()
    for stay in range(20_000):
        tally.add([NORMAL_LACTATE] if stay < 20 or stay >= 2000 else [], ["shock"] if stay < 2000 else [])
    assert Worth(GRAPH, tally).estimate(NORMAL_LACTATE, "shock")[0] < -FULL_TIE
    assert Worth(GRAPH, tally).speaks_against(NORMAL_LACTATE, "shock") == FULL_TIE


def test_a_normal_value_is_a_ground_only_where_the_stays_speak_for_it_clearly():
    assert Worth(GRAPH).speaks_for(NORMAL_LACTATE, ["essential_hypertension"]) == {}
    tally = Tally()
    for stay in range(1000):
        tally.add([NORMAL_LACTATE] if stay < 400 else [], ["essential_hypertension"] if stay % 2 == stay // 500 else [])
    assert Worth(GRAPH, tally).speaks_for(NORMAL_LACTATE, ["essential_hypertension"]) == {}  # as often with as without
    clear = Tally()
    for stay in range(1000):
        clear.add(
            [NORMAL_LACTATE] if stay < 400 or stay > 900 else [], ["essential_hypertension"] if stay < 500 else []
        )
    assert list(Worth(GRAPH, clear).speaks_for(NORMAL_LACTATE, ["essential_hypertension"])) == [
        "essential_hypertension"
    ]


def test_who_is_at_risk_tells_less_than_what_is_found():
    age = phrase("circumstance:age_80_or_more")
    strength = tie(age, "essential_hypertension", GRAPH)
    assert strength >= SUPPORTS
    assert Worth(GRAPH).estimate(age, "essential_hypertension")[0] == pytest.approx(FULL_TIE * strength / 2)


@given(both=st.integers(0, 50), with_key=st.integers(1, 50), without=st.integers(0, 50), strong=st.booleans())
def test_what_speaks_for_a_diagnosis_never_speaks_against_it(both, with_key, without, strong):
    """Of one item and one diagnosis, at most one of the two is said."""
    item = LACTATE if strong else NORMAL_LACTATE
    of = counted(item, min(both, with_key), with_key, min(both, with_key) + without, with_key + 60)
    assert not (of.speaks_for(item, ["shock"]) and of.speaks_against(item, "shock") > 0)
