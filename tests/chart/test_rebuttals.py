"""What is said against a diagnosis: of what the graph would expect, the strongest, in words that can be checked."""

from __future__ import annotations

import pytest
from whole_graph import GRAPH, LINKER

from clinragen.chart.findings import Finding
from clinragen.chart.note_evidence import NoteEvidence, read_note
from clinragen.chart.rebuttals import MOST_ITEMS, Rebuttal, rebuttals
from clinragen.chart.worth import Worth
from clinragen.verification.claims import Verdict
from clinragen.verification.rationale import Verifier

HPI = "history_of_present_illness"
VERIFIER = Verifier(GRAPH)


def normal(variable: str) -> Finding:
    return Finding(variable, "normal", 2, 0, 1.0, 1.0, 1.0, 0.0)


def denied(text: str) -> list[NoteEvidence]:
    return read_note([(HPI, text)], LINKER, GRAPH).denials


def test_only_what_the_diagnosis_would_show_is_said_against_it_the_strongest_first():
    items = [normal("lactate"), normal("systolic_bp"), normal("sodium"), normal("heart_rate")]
    weights = {"lactate": 0.2, "systolic_bp": 0.9, "sodium": 3.0, "heart_rate": 0.3}
    (rebuttal,) = rebuttals(items, ["shock"], GRAPH, lambda item, key: weights[item.variable], {"shock": 0.1})
    assert [item.variable for item in rebuttal.items] == ["systolic_bp", "heart_rate"][
        :MOST_ITEMS
    ]  # sodium tells nothing
    assert rebuttal.text(GRAPH.labels) == "against shock: normal systolic blood pressure and heart rate"


def test_what_speaks_too_little_against_a_diagnosis_is_not_said():
    assert rebuttals([normal("lactate")], ["shock"], GRAPH, lambda item, key: 0.09, {"shock": 0.1}) == []


def test_the_diagnosis_that_matters_most_is_first():
    items = [normal("lactate"), normal("creatinine")]
    keys = ["acute_renal_failure", "shock"]
    made = rebuttals(items, keys, GRAPH, Worth(GRAPH).speaks_against, dict.fromkeys(keys, 0.1))
    assert [rebuttal.key for rebuttal in made] == keys


def test_signs_that_the_note_affirms_anywhere_are_not_denied():
    assert [item.phrase for item in denied("No fever. Denies cough.")] == ["fever", "cough"]
    assert [item.phrase for item in denied("No fever on arrival. Denies cough. Later fever to 39.")] == ["cough"]
    assert denied("Family history: no fever. No pneumonia.")[1:] == []  # a disease that is denied is no sign


@pytest.mark.parametrize("text", ["No fever and no cough.", "Denies F/C, dyspnea or chest pain.", "cough: negative"])
def test_a_rebuttal_of_denied_signs_holds(text):
    items = denied(text)
    assert items
    written = (
        f"Based on the medical notes, nausea is noted; {Rebuttal('pneumonia', tuple(items[:2])).text(GRAPH.labels)}."
    )
    claims = VERIFIER.check(written, "note", [(HPI, f"Nausea. {text}")], {}, [])
    assert [claim.standing for claim in claims if claim.kind == "rebuttal"] == ["supported"], (written, claims)
    assert {claim.verdict for claim in claims} == {Verdict.SUPPORTED}, (written, claims)
