"""Series claims: read from ordinary wording, checked against the chart, never supported with the direction flipped."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from clinragen.catalog import phenotypes, variables
from clinragen.knowledge.graph import build
from clinragen.teacher.evidence import EvidenceTeacher
from clinragen.teacher.facts import facts
from clinragen.verify.claims import ClaimReader, Verdict
from clinragen.verify.series import chart, verify

DATA = yaml.safe_load((Path(__file__).parent / "series_claims.yaml").read_text())
CHARTS = {
    name: chart({key: [tuple(cell) for cell in cells] for key, cells in rows.items()})
    for name, rows in DATA["charts"].items()
}
WORDS = {"s": Verdict.SUPPORTED, "c": Verdict.CONTRADICTED, "n": Verdict.NOT_IN_CHART}
GRAPH = build()
READER = ClaimReader(GRAPH)
TEACHER = EvidenceTeacher(GRAPH)


def verdicts(row: dict) -> list[str]:
    return [verdict for _, verdict in verify(row["t"], CHARTS[row["c"]], READER)]


def test_hand_labelled_claims_are_judged_right():
    wrong = []
    for row in DATA["claims"]:
        wanted = [WORDS[v] for v in row["v"] if v != "-"]
        if Counter(verdicts(row)) != Counter(wanted):
            wrong.append((row["t"], verdicts(row)))
    assert len(wrong) <= 0.05 * len(DATA["claims"]), wrong


FLIPS = {
    "high": "low", "low": "high", "elevated": "reduced", "rising": "falling", "falling": "rising", "rose": "fell",
    "fell": "rose", "climbing": "dropping", "dropping": "climbing", "dropped": "rose",
}  # fmt: skip


def flip(text: str) -> str:
    return " ".join(FLIPS.get(word.lower().strip(",."), word) for word in text.split())


@pytest.mark.parametrize(
    "row", [row for row in DATA["claims"] if row["v"] == ["s"] and flip(row["t"]) != row["t"]], ids=lambda row: row["t"]
)
def test_a_flipped_direction_is_never_supported(row):
    assert Verdict.SUPPORTED not in verdicts({**row, "t": flip(row["t"])})


bounded = sorted(key for key, spec in variables().items() if spec.low is not None and spec.high is not None)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(bounded), st.lists(st.floats(0, 1), min_size=1, max_size=6), st.sampled_from(["high", "low"]))
def test_high_and_low_are_supported_only_by_such_values(key, shares, word):
    spec = variables()[key]
    values = [spec.plausible[0] + share * (spec.plausible[1] - spec.plausible[0]) for share in shares]
    stay = chart({key: list(enumerate(values))})
    label = spec.label.partition(" (")[0].replace(",", "")
    supported = [v for _, v in verify(f"{word} {label}.", stay, READER) if v == Verdict.SUPPORTED]
    outside = [float(f"{v:.6g}") for v in values]
    assert bool(supported) == any(spec.direction(v) == (1 if word == "high" else -1) for v in outside)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 47), st.sampled_from(sorted(variables())), st.floats(0, 1)), min_size=1, max_size=40
    ),
    st.sets(st.sampled_from(sorted(phenotypes())), max_size=6),
    st.integers(0, 10**6),
)
def test_every_claim_of_the_evidence_teacher_is_read_and_supported(rows, gold, stay):
    cells = {}
    for hour, key, share in rows:
        low, high = variables()[key].plausible
        cells[(key, hour)] = float(np.float32(low + share**3 * (high - low)))
    frame = pl.DataFrame(
        [(stay, float(hour), key, value) for (key, hour), value in cells.items()],
        schema={"stay_id": pl.Int64, "hour": pl.Float32, "variable": pl.String, "value": pl.Float32},
        orient="row",
    )
    rationale = TEACHER.series(stay, facts(frame)[stay], sorted(gold))
    by_variable: dict[str, list[tuple[float, float]]] = {}
    for (key, hour), value in cells.items():
        by_variable.setdefault(key, []).append((hour, value))
    checked = verify(rationale.text, chart(by_variable), READER)
    assert {verdict for _, verdict in checked} <= {Verdict.SUPPORTED}, (rationale.text, checked)
    assert len(checked) == len(json.loads(rationale.verdicts)["claims"]), (rationale.text, checked)
