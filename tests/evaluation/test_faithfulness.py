"""Claims of predicted rationales: counted by verdict, written with their evidence, and nothing of the note in a log."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_hospital import make_predictions

from clinragen.cli import dispatch
from clinragen.evaluation.faithfulness import coverage, footing, summarize
from clinragen.verification.claims import Checked, Verdict


def claim(verdict: Verdict, kind: str = "series") -> Checked:
    return Checked(0, 1, kind, "lactate", verdict)


def absent(verdict: Verdict = Verdict.SUPPORTED) -> Checked:
    return Checked(0, 1, "diagnosis", "phenotype:shock", verdict, negated=True, absence=True)


def test_shares_are_of_claims_and_wholly_supported_of_rationales_that_claim_anything():
    good, bad, gone = (claim(verdict) for verdict in Verdict)
    stays = [{"note": [], "series": row} for row in ([good, good], [good, bad], [gone], [])]
    row = summarize(stays, np.arange(4), 50, 0)["series"]["all"]
    assert row["claims"] == 5
    assert row["per_rationale"]["value"] == 1.25
    assert (row["supported"]["value"], row["contradicted"]["value"], row["not_in_the_chart"]["value"]) == (
        0.6,
        0.2,
        0.2,
    )
    assert row["wholly_supported"]["value"] == pytest.approx(1 / 3)
    assert row["supported"]["low"] <= 0.6 <= row["supported"]["high"]


def test_no_claim_gives_no_share():
    row = summarize([{"note": [], "series": []}], np.zeros(1), 10, 0)["note"]["finding"]
    assert (row["claims"], row["supported"]["value"], row["per_rationale"]["value"]) == (0, None, 0.0)


def test_a_statement_of_absence_leaves_the_shares_unless_it_is_refuted():
    good, bad, _ = (claim(verdict) for verdict in Verdict)
    stays = [{"note": row, "series": []} for row in ([absent()] * 7, [good, absent()], [bad], [absent()])]
    row = summarize(stays, np.arange(4), 50, 0)["note"]["all"]
    assert (row["claims"], row["absences"]) == (2, 9)
    assert row["supported"]["value"] == 0.5
    assert row["per_rationale"]["value"] == 0.5
    assert row["wholly_supported"]["value"] == 0.5  # of the two that claim anything
    refuted = summarize([{"note": [good, absent(Verdict.CONTRADICTED)], "series": []}], np.zeros(1), 5, 0)["note"]
    assert (refuted["all"]["absences"], refuted["all"]["contradicted"]["value"]) == (0, 0.5)
    assert refuted["diagnosis"]["contradicted"]["value"] == 1.0


@pytest.mark.parametrize(
    ("listed", "grounded", "share"),
    [
        ([0, 0], [0, 0], None),  # nothing listed: not defined, rather than perfect or nought
        ([3, 2], [0, 0], 0.0),
        ([3, 2], [3, 2], 1.0),
        ([3, 1], [1, 1], 0.5),
        ([0, 2], [0, 1], 0.5),
    ],
)
def test_coverage_is_the_share_of_listed_diagnoses_that_are_grounded(listed, grounded, share):
    found = coverage(np.array(listed), np.array(grounded), np.arange(2), 50, 0)
    assert (found["listed"], found["grounded"], found["share"]["value"]) == (sum(listed), sum(grounded), share)
    if share is None:
        assert found["share"]["low"] is None
    else:
        assert found["share"]["low"] <= share <= found["share"]["high"]


def test_the_interval_of_coverage_draws_patients_not_stays():
    listed, grounded = np.array([1, 1, 1, 1]), np.array([1, 1, 0, 0])
    apart = coverage(listed, grounded, np.array([1, 2, 3, 4]), 400, 0)["share"]
    together = coverage(listed, grounded, np.array([1, 1, 2, 2]), 400, 0)["share"]
    assert (together["low"], together["high"]) == (0.0, 1.0)
    assert apart["high"] - apart["low"] <= 1.0
    same = coverage(listed, grounded, np.array([7, 7, 7, 7]), 400, 0)["share"]
    assert (same["low"], same["high"]) == (0.5, 0.5)


def test_evaluate_writes_each_claim_with_its_evidence(cohort, tmp_path, capsys):
    predictions = make_predictions(tmp_path / "predictions", cohort)
    path = predictions / "predictions.parquet"
    rows, schema = pq.read_table(path).to_pylist(), pq.read_table(path).schema
    series = pq.read_table(cohort / "series.parquet").to_pylist()
    stay = rows[0]["stay_id"]
    rates = [(r["hour"], r["value"]) for r in series if r["stay_id"] == stay and r["variable"] == "heart_rate"]
    top = max(value for _, value in rates)
    rows[0] |= {
        "series_rationale": f"Lab test shows HR peaking at {top:.0f} bpm; heart rate was never above {top - 20:.0f}.",
        "note_rationale": "Based on the medical notes, there is hematemesis.",
    }
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)
    dispatch(["evaluate", f"--predictions={predictions}", f"--cohort={cohort}", "--replicates=5"])
    first = json.loads((predictions / "claims.jsonl").read_text().splitlines()[0])
    assert first["stay_id"] == stay
    assert [c["verdict"] for c in first["series"]] == ["supported", "contradicted"]
    assert any(value == pytest.approx(top, rel=1e-4) for _, _, value in first["series"][0]["measured"])
    assert {c["verdict"] for c in first["note"]} == {"not in the chart"}
    shown = capsys.readouterr()
    assert "Claims of the rationales against the chart" in shown.out
    assert "hematemesis" not in shown.out + shown.err


def footed(text: str, claims: list[Checked], listed: list[int]) -> tuple[int, int, int]:
    predictions = SimpleNamespace(
        labels=dict.fromkeys(["septicemia", "shock"]),
        system=SimpleNamespace(listed=np.array([listed], dtype=bool)),
        rationales=lambda row: {"note": text, "series": ""},
    )
    return footing(predictions, [{"note": claims, "series": []}])


def test_footing_counts_listed_diagnoses_that_are_admittedly_without_a_ground_or_rest_on_circumstances_alone():
    age = Checked(0, 3, "finding", "circumstance:age_80_or_more", Verdict.SUPPORTED)
    fever = Checked(4, 9, "finding", "symptom:fever", Verdict.SUPPORTED)
    shock = Checked(20, 25, "diagnosis", "phenotype:shock", Verdict.SUPPORTED)
    silent = Checked(30, 40, "diagnosis", "phenotype:septicemia", Verdict.SUPPORTED, negated=True, absence=True)
    text = "age,fever suggest   shock;    septicemia."
    assert footed(text, [age, shock, silent], [1, 1]) == (1, 1, 0)
    assert footed(text, [age, fever, shock, silent], [1, 1]) == (1, 0, 0)  # not on age alone
    assert footed(text, [age, shock], [1, 1]) == (0, 1, 0)  # nothing is said of septicemia
    assert footed(text, [age, shock, silent], [0, 0]) == (0, 0, 0)  # nothing is listed
    refuted = replace(age, verdict=Verdict.CONTRADICTED)
    assert footed(text, [refuted, shock, silent], [1, 1]) == (1, 0, 0)
    adding = "age,fever adds to the estimate of shock."
    assert footed(adding, [fever, replace(shock, start=33, end=38)], [0, 1]) == (0, 0, 1)
    firm = f"{adding} Fever suggests shock."
    also = [replace(fever, start=40, end=45), replace(shock, start=55, end=60)]
    assert footed(firm, [fever, replace(shock, start=33, end=38), *also], [0, 1]) == (0, 0, 0)
