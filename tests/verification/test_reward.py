"""The reward of sampled rationales, at its extremes."""

from __future__ import annotations

import pytest

from clinragen.chart.measurements import measurements
from clinragen.knowledge.graph import build
from clinragen.verification.grounds import with_absences
from clinragen.verification.rationale import Verifier
from clinragen.verification.reward import ARGUED, CONTRADICTED, NOT_IN_CHART, OVERLONG, REPEATED, TRUE, reward

FAST = {"heart_rate": [(1.0, 90.0), (9.0, 131.0)], "creatinine": [(2.0, 3.4)], "potassium": [(2.0, 4.1)]}
SLOW = {"heart_rate": [(1.0, 71.0), (9.0, 75.0)], "creatinine": [(2.0, 0.8)], "potassium": [(2.0, 4.3)]}
KIDNEY = "acute_renal_failure"


@pytest.fixture(scope="module")
def judged():
    """``judged(text, own, others)``: the reward of a series rationale of a stay with these measurements."""
    verifier = Verifier(build())

    def claims(text, cells, listed):
        return with_absences(text, verifier.check(text, "series", [], measurements(cells), listed))

    def judge(text, own=FAST, others=(SLOW,), listed=(KIDNEY,), most_words=50):
        elsewhere = [claims(text, cells, listed) for cells in others]
        return reward(text, claims(text, own, listed), elsewhere, listed, most_words)

    return judge


def test_a_true_claim_of_this_stay_earns_and_one_of_every_stay_does_not(judged):
    assert judged("Lab test shows high heart rate up to about 130.") == (TRUE, True)
    assert judged("Lab test shows high heart rate up to about 130.", others=(FAST,)) == (0, False)
    assert judged("Lab test shows high heart rate up to about 130.", others=(FAST, SLOW)) == (TRUE / 2, True)


@pytest.mark.parametrize(
    "text", ["", "Lab test shows no abnormal values.", "Lab test shows normal potassium.", "The patient is unwell."]
)
def test_nothing_earns_nothing(judged, text):
    assert judged(text, SLOW, (FAST,)).total == 0
    assert not judged(text, SLOW, (FAST,)).sound


def test_what_is_false_costs_more_than_what_is_true_earns(judged):
    assert judged("Lab test shows high potassium of about 6.5.").total == CONTRADICTED
    assert judged("Lab test shows high lactate of about 6.5.").total == NOT_IN_CHART
    mixed = judged("Lab test shows high heart rate up to about 130 and high potassium of about 6.5.")
    assert mixed == (TRUE + CONTRADICTED, False)
    assert TRUE + NOT_IN_CHART < 0


def test_an_argument_for_a_listed_diagnosis_earns_and_one_for_another_costs(judged):
    text = "Lab test shows high creatinine of about 3.4 mg/dL, pointing to acute and unspecified renal failure."
    assert judged(text) == (TRUE + ARGUED, True)
    assert not judged(text, listed=()).sound
    assert judged(text, listed=()).total < TRUE


def test_repetition_and_length_cost(judged):
    one = "Lab test shows high heart rate up to about 130"
    twice = judged(f"{one}; high heart rate up to about 130.")
    assert twice.total < TRUE
    assert not twice.sound
    assert twice.total <= TRUE + REPEATED
    long = judged(f"{one}.", most_words=7)
    assert long.total == pytest.approx(TRUE + 3 * OVERLONG)
    assert not long.sound


def test_one_sentence_for_all_stays_is_worth_nothing_on_average(judged):
    stays = [FAST, SLOW, {**FAST, "creatinine": [(2.0, 0.9)]}, {**SLOW, "heart_rate": [(3.0, 128.0)]}]
    for text in ("Lab test shows high heart rate.", "Lab test shows high heart rate up to about 130."):
        totals = [judged(text, own, [other for other in stays if other is not own]).total for own in stays]
        assert sum(totals) <= 0
