"""What constrained decoding prefers: a language model without any preference writes what the grounds are worth."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from whole_graph import GRAPH, LINKER

from clinragen.chart.findings import Finding
from clinragen.chart.limits import most_words
from clinragen.chart.note_evidence import NoteEvidence, read_note
from clinragen.chart.note_statements import CLOSINGS
from clinragen.data.evidence_pieces import EvidencePiece
from clinragen.inference.contributions import RECORDED, TIED, UNTIED, Contributions, ModelGrounds
from clinragen.inference.grounded import Constraints, Grounded, Spelling, shares_of
from clinragen.inference.grounded_notes import GroundedNote
from clinragen.inference.grounded_report import _rebuttable
from clinragen.inference.grounded_series import GroundedSeries
from clinragen.model.language_model import train_tokenizer

HPI = "history_of_present_illness"
LABELS = ["shock", "septicemia", "pneumonia", "acute_renal_failure"]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(
        ["Based on the medical notes, fever points to shock; Lab test shows high lactate of about 4.0"], 400
    )


@dataclass(frozen=True)
class Given:
    """Shares as given, by (concept, diagnosis)."""

    shares: Mapping[tuple[str, str], float]
    opposed: Mapping[tuple[str, str], float] = field(default_factory=dict)
    weak: Mapping[tuple[str, str], float] = field(default_factory=dict)
    untied: Collection[tuple[str, str]] = ()

    def share(self, item: Finding | NoteEvidence, key: str) -> float:
        return self.shares.get((item.concept, key), 0.0)

    def tied(self, item: Finding | NoteEvidence, key: str) -> bool:
        return (item.concept, key) not in self.untied

    def least_share(self, item: Finding | NoteEvidence, key: str) -> float:
        return self.weak.get((item.concept, key), 0.0)

    def against(self, item: Finding | NoteEvidence, key: str) -> float:
        return self.opposed.get((item.concept, key), 0.0)


def abnormal(variable: str, direction: str = "high") -> Finding:
    value = {"lactate": 4.0, "wbc": 18.0, "creatinine": 3.2, "heart_rate": 130.0, "bun": 60.0}[variable]
    return Finding(variable, direction, 1, 1, value, value, value, 2.0)


def normal(variable: str) -> Finding:
    return Finding(variable, "normal", 1, 0, 1.0, 1.0, 1.0, 2.0)


def likeliest(tokenizer, text: Grounded) -> str:
    """What is written where the language model finds every token equally likely: the grammar's beliefs decide."""
    written: list[int] = []
    while True:
        allowed = text.allowed()
        token = max(sorted(allowed), key=lambda token: allowed[token])
        if token == tokenizer.eos_token_id:
            return tokenizer.decode(written).strip()
        written.append(token)
        text.advance(token)


def series(tokenizer, findings: list[Finding], grounds, called: list[str], rebuttable=None, budget=128) -> str:
    constraints = Constraints(
        dict.fromkeys(called, 0.9), GRAPH, budget, [tokenizer.eos_token_id], grounds, rebuttable or {}
    )
    return likeliest(tokenizer, GroundedSeries(Spelling(tokenizer), findings, constraints))


def note(tokenizer, text: str, grounds, called: list[str], rebuttable=None) -> str:
    constraints = Constraints(
        dict.fromkeys(called, 0.9), GRAPH, 128, [tokenizer.eos_token_id], grounds, rebuttable or {}
    )
    reading = read_note([(HPI, text)], LINKER, GRAPH)
    return likeliest(tokenizer, GroundedNote(Spelling(tokenizer), reading.evidence, constraints, reading.denials))


@settings(max_examples=20, deadline=None)
@given(order=st.permutations(["lactate", "wbc", "creatinine", "heart_rate"]))
def test_a_larger_contribution_is_stated_first(tokenizer, order):
    shares = {(f"finding:{name}:high", "shock"): 0.4 * 0.5**place for place, name in enumerate(order)}
    text = series(tokenizer, [abnormal(name) for name in sorted(order)], Given(shares), ["shock"])
    stems = {"lactate": "lactate", "wbc": "white|leuko", "creatinine": "creatinine", "heart_rate": "heart|tachy"}
    places = [match.start() if (match := re.search(stems[name], text)) else len(text) for name in order]
    assert places[0] < min(places[1:])


def test_a_phrase_of_more_worth_is_preferred_and_one_of_none_is_left_out(tokenizer):
    shares = {("finding:temperature:high", "pneumonia"): 0.1, ("symptom:cough", "pneumonia"): 0.5}
    text = note(tokenizer, "Fever. Cough. Nausea.", Given(shares), ["pneumonia"])
    assert "cough" in text
    assert "nausea" not in text
    assert text.index("cough") < text.index("fever")


def test_a_diagnosis_that_nothing_has_spoken_for_is_argued_for_before_a_second_ground_of_another(tokenizer):
    shares = {
        ("finding:lactate:high", "shock"): 0.5,
        ("finding:heart_rate:high", "shock"): 0.4,
        ("finding:creatinine:high", "acute_renal_failure"): 0.2,
    }
    findings = [abnormal("heart_rate"), abnormal("creatinine"), abnormal("lactate")]
    text = series(tokenizer, findings, Given(shares), ["shock", "acute_renal_failure"])
    assert text.index("acute renal failure") > text.index("shock")
    assert text.index("creatinine") < (text.find("heart rate") % 999 if "heart rate" in text else 999)


def test_a_statement_points_to_every_diagnosis_that_it_speaks_for(tokenizer):
    shares = {("finding:lactate:high", key): share for key, share in (("shock", 0.4), ("septicemia", 0.38))}
    text = series(tokenizer, [abnormal("lactate")], Given(shares), ["shock", "septicemia"])
    clause = text.split(";")[0]
    assert "shock" in clause
    assert "septicemia" in clause


def test_a_weak_ground_is_stated_only_where_there_is_no_other(tokenizer):
    weak = {("symptom:cough", "pneumonia"): 1e-3}
    assert "cough points to pneumonia" in note(tokenizer, "Fever. Cough.", Given({}, weak=weak), ["pneumonia"]).replace(
        "supports", "points to"
    ).replace("suggests", "points to").replace("indicates", "points to")
    text = note(
        tokenizer, "Fever. Cough.", Given({("finding:temperature:high", "pneumonia"): 0.3}, weak=weak), ["pneumonia"]
    )
    assert "cough" not in text


def test_a_normal_value_is_a_ground_where_it_has_a_share_and_else_only_an_end(tokenizer):
    shares = {("finding:creatinine:normal", "shock"): 0.3, ("finding:lactate:high", "shock"): 0.4}
    findings = [abnormal("lactate"), normal("creatinine"), normal("sodium")]
    text = series(tokenizer, findings, Given(shares), ["shock"])
    before, after = text.split("shock", 1)
    assert "normal creatinine" in text
    assert "normal creatinine" in before or "shock" in after  # it points to shock, as lactate does
    plain = series(tokenizer, findings, Given({("finding:lactate:high", "shock"): 0.4}), ["shock"])
    assert "shock" not in plain.split("shock", 1)[1]


NEARLY = {"pneumonia": 0.05}


def test_what_speaks_against_a_diagnosis_that_is_nearly_called_ends_the_rationale(tokenizer):
    for_shock = {("finding:lactate:high", "shock"): 0.4, ("finding:temperature:high", "shock"): 0.4}
    opposed = {("finding:wbc:normal", "pneumonia"): 0.2, ("symptom:cough", "pneumonia"): 0.2}
    grounds = Given(for_shock, opposed)
    findings = [abnormal("lactate"), normal("wbc"), normal("sodium")]
    assert series(tokenizer, findings, grounds, ["shock"], NEARLY).endswith(
        "; against pneumonia: normal white blood cell count."
    )
    assert note(tokenizer, "Fever. No cough.", grounds, ["shock"], NEARLY).endswith("; against pneumonia: no cough.")
    weaker = Given(for_shock, dict.fromkeys(opposed, 0.04))
    assert "against" not in series(tokenizer, findings, weaker, ["shock"], NEARLY)
    assert "against" not in note(tokenizer, "Fever. No cough.", weaker, ["shock"], NEARLY)


def test_what_is_left_open_and_what_is_argued_against_fit_one_end(tokenizer):
    grounds = Given({("finding:temperature:high", "shock"): 0.4}, {("symptom:cough", "pneumonia"): 0.2})
    text = note(tokenizer, "Fever. No cough.", grounds, ["shock", "acute_renal_failure"], NEARLY)
    assert text.endswith("; against pneumonia: no cough.")
    assert "acute renal failure" in text


def test_nearly_called_diagnoses_come_first_and_called_ones_need_more_against_them():
    least = _rebuttable({"shock": 0.9, "pneumonia": 0.35, "copd": 0.45, "septicemia": 0.1})
    assert list(least) == ["copd", "pneumonia", "shock"]
    assert least["shock"] > least["copd"] == least["pneumonia"]


def model_grounds(**falls: list[float]) -> ModelGrounds:
    """What each piece contributes to shock and pneumonia; names with an underscore for a colon are concepts."""
    pieces = {
        EvidencePiece("concept", name.replace("__", ":"))
        if "__" in name
        else EvidencePiece("variable", name): np.array(values)
        for name, values in falls.items()
    }
    return ModelGrounds(GRAPH, Contributions(pieces, ["shock", "pneumonia"]))


def test_evidence_without_a_tie_is_cited_from_a_larger_share_of_what_the_model_goes_by():
    lactate, sodium = abnormal("lactate"), normal("sodium")
    grounds = model_grounds(lactate=[0.015, 0], sodium=[0.015, 0], other=[1.0, 0])
    assert grounds.share(lactate, "shock") == pytest.approx(0.015 / 1.03)
    assert TIED < grounds.share(lactate, "shock") < UNTIED
    assert grounds.share(sodium, "shock") == 0.0  # too little for what the graph does not tie to shock
    more = model_grounds(lactate=[0.02, 0], sodium=[0.2, 0], other=[1.0, 0])
    assert more.share(sodium, "shock") == pytest.approx(0.2 / 1.22)
    assert more.tied(lactate, "shock")
    assert not more.tied(sodium, "shock")
    none = model_grounds(lactate=[0.001, 0], other=[1.0, 0])
    assert none.share(lactate, "shock") == 0.0
    assert none.least_share(lactate, "shock") == pytest.approx(0.001 / 1.001)
    assert model_grounds(lactate=[-0.5, 0], other=[1.0, 0]).least_share(lactate, "shock") == 0.0


def test_what_the_logit_gains_without_a_piece_speaks_against_it():
    grounds = model_grounds(wbc=[0.1, -0.3], lactate=[0.4, 0.6])
    assert grounds.against(normal("wbc"), "pneumonia") == pytest.approx(0.5)
    assert grounds.share(normal("wbc"), "pneumonia") == 0.0
    assert grounds.against(abnormal("lactate"), "pneumonia") == 0.0
    assert grounds.against(normal("sodium"), "pneumonia") == 0.0  # the model does not read it


def test_the_notes_own_record_is_cited_rather_than_denied():
    record = NoteEvidence("phenotype:pneumonia", HPI, 0, 9, "pneumonia", past=False)
    cough = NoteEvidence("symptom:cough", HPI, 11, 16, "cough", past=False)
    grounds = model_grounds(phenotype__pneumonia=[0, -0.2], symptom__cough=[0, -0.1], lactate=[1, 1])
    assert shares_of([record, cough], "pneumonia", grounds) == {record: RECORDED}
    assert shares_of([cough], "pneumonia", grounds) == {}
    nausea = NoteEvidence("symptom:nausea", HPI, 18, 24, "nausea", past=False)  # which only adds to the estimate
    more = model_grounds(phenotype__pneumonia=[0, -0.2], symptom__nausea=[0, 0.5], lactate=[1, 1])
    assert not more.tied(nausea, "pneumonia")
    assert shares_of([record, nausea], "pneumonia", more) == {record: RECORDED, nausea: pytest.approx(1 / 3)}


def test_age_and_place_are_cited_behind_findings_and_once(tokenizer):
    shares = {
        ("circumstance:age_80_or_more", "shock"): 0.3,
        ("circumstance:surgical_unit", "shock"): 0.2,
        ("finding:temperature:high", "shock"): 0.1,
    }
    text = note(tokenizer, "An 84-year-old man with fever. Went to the SICU.", Given(shares), ["shock"])
    assert re.match("Based on the medical notes, fever and an age of 84 years [a-z]+ shock", text), text


def test_what_no_known_tie_makes_a_sign_adds_to_the_estimate_after_the_reasons(tokenizer):
    shares = {("symptom:cough", "pneumonia"): 0.3, ("symptom:nausea", "pneumonia"): 0.5}
    text = note(tokenizer, "Nausea. Cough.", Given(shares, untied=[("symptom:nausea", "pneumonia")]), ["pneumonia"])
    reason, disclosed = text.split("; ")
    assert "cough" in reason
    assert "nausea" not in reason
    assert disclosed == "nausea adds to the estimate of pneumonia."


def test_a_diagnosis_that_rests_on_nothing_known_says_what_adds_to_its_estimate(tokenizer):
    untied = Given({("symptom:nausea", "pneumonia"): 0.5}, untied=[("symptom:nausea", "pneumonia")])
    text = note(tokenizer, "Nausea.", untied, ["pneumonia"])
    said, closing = text.removesuffix(".").split("; ")
    assert said == "Based on the medical notes, nausea adds to the estimate of pneumonia"
    assert closing in [f"{denial} pneumonia" for denial in CLOSINGS]


def test_a_group_of_statements_points_only_where_each_is_a_known_sign(tokenizer):
    shares = {("finding:lactate:high", "shock"): 0.4, ("finding:bun:high", "shock"): 0.3}
    findings = [abnormal("lactate"), abnormal("bun")]
    text = series(tokenizer, findings, Given(shares, untied=[("finding:bun:high", "shock")]), ["shock"])
    for clause in text.split(";"):
        assert ("adding to the estimate of" in clause) == ("urea" in clause.lower()), text


def test_the_series_argues_first_for_what_the_note_has_not_argued_for(tokenizer):
    shares = {
        ("finding:temperature:high", "pneumonia"): 0.4,
        ("finding:wbc:high", "pneumonia"): 0.5,
        ("finding:creatinine:high", "acute_renal_failure"): 0.2,
    }
    constraints = Constraints(
        dict.fromkeys(["pneumonia", "acute_renal_failure"], 0.9), GRAPH, 128, [tokenizer.eos_token_id], Given(shares)
    )
    reading, findings = read_note([(HPI, "Fever.")], LINKER, GRAPH), [abnormal("wbc"), abnormal("creatinine")]

    def order(note: GroundedNote | None) -> bool:
        text = likeliest(tokenizer, GroundedSeries(Spelling(tokenizer), findings, constraints, note))
        return text.index("creatinine") < max(text.find("white"), text.find("leuko"))

    written = GroundedNote(Spelling(tokenizer), reading.evidence, constraints)
    assert written.cited == {}
    assert "pneumonia" in likeliest(tokenizer, written)
    assert written.cited == pytest.approx({"pneumonia": 0.4})
    assert order(written)
    assert not order(None)


def test_statements_for_the_same_diagnosis_stand_together_and_normal_values_are_named_in_a_list(tokenizer):
    high, usual = ["lactate", "heart_rate", "wbc"], ["creatinine", "sodium", "platelets"]
    shares = {(f"finding:{name}:high", "shock"): 0.2 for name in high}
    shares |= {(f"finding:{name}:normal", "shock"): 0.1 for name in usual}
    findings = [abnormal(name) for name in high] + [normal(name) for name in usual]
    untied = [(f"finding:{name}:normal", "shock") for name in usual]
    text = series(tokenizer, findings, Given(shares, untied=untied), ["shock"], budget=500)
    reasons, added = text.split("; ")[:2]
    assert reasons.count("shock") == 1
    assert re.search(
        r"about .*, .*about .* and .*about .*, (pointing to|supporting|consistent with|suggesting) shock$", reasons
    )
    assert re.fullmatch(r"normal [a-z ]+, [a-z ]+ and [a-z ]+, adding to the estimate of shock\.?", added), text


@pytest.mark.parametrize("diagnoses", [1, 4])
def test_each_further_diagnosis_gets_further_words(tokenizer, diagnoses):
    called = LABELS[:diagnoses]
    shares = {
        (f"finding:{name}:high", key): 0.1 + 0.01 * rank
        for key in called
        for rank, name in enumerate(["lactate", "wbc", "creatinine", "heart_rate", "bun"])
    }
    findings = [abnormal(name) for name in ("lactate", "wbc", "creatinine", "heart_rate", "bun")]
    constraints = Constraints(dict.fromkeys(called, 0.9), GRAPH, 1000, [tokenizer.eos_token_id], Given(shares))
    text = GroundedSeries(Spelling(tokenizer), findings, constraints)
    assert text.limit.words == most_words("series", diagnoses)
    assert len(likeliest(tokenizer, text).split()) <= text.limit.words
