"""Claims of predicted rationales: counted by verdict, written with their evidence, and nothing of the note in a log."""

import argparse
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_hospital import make_predictions

from clinragen.commands import evaluate
from clinragen.evaluation.faithfulness import summarize
from clinragen.verify.claims import Checked, Verdict


def claim(verdict: Verdict, kind: str = "series") -> Checked:
    return Checked(0, 1, kind, "lactate", verdict)


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
    parser = argparse.ArgumentParser()
    evaluate.configure(parser)
    evaluate.run(parser.parse_args([f"--predictions={predictions}", f"--cohort={cohort}", "--replicates=5"]))
    first = json.loads((predictions / "claims.jsonl").read_text().splitlines()[0])
    assert first["stay_id"] == stay
    assert [c["verdict"] for c in first["series"]] == ["supported", "contradicted"]
    assert any(value == pytest.approx(top, rel=1e-4) for _, _, value in first["series"][0]["measured"])
    assert {c["verdict"] for c in first["note"]} == {"not in the chart"}
    shown = capsys.readouterr()
    assert "Claims of the rationales against the chart" in shown.out
    assert "hematemesis" not in shown.out + shown.err
