"""What a sign is worth for a diagnosis: the graph's word while little was counted, the counts when they are many."""

from __future__ import annotations

import math

import pytest

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
    return of.estimate(item, "shock", tie(item, "shock", GRAPH))[0]


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
