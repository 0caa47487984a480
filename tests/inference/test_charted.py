"""Series sentences held to the chart: whatever a model prefers, what it writes is complete, true and short enough."""

from __future__ import annotations

import random

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinragen.catalog import phenotypes, variables
from clinragen.inference.charted import Charted
from clinragen.knowledge.graph import build
from clinragen.model.language_model import train_tokenizer
from clinragen.teacher.facts import facts
from clinragen.teacher.series_rationale import LINKS, MOST_CLAIMS, OPENING
from clinragen.verify.claims import Verdict
from clinragen.verify.rationale import Verifier
from clinragen.verify.series import chart

BUDGET = 128
GRAPH = build()
VERIFIER = Verifier(GRAPH)
NAMES = [phenotype.name for phenotype in phenotypes().values()]
MEASURED = ["creatinine", "heart_rate", "lactate", "sodium", "systolic_bp", "mean_bp", "spo2", "wbc"]


@pytest.fixture(scope="module")
def tokenizer():
    words = [spec.label for spec in variables().values()] + NAMES
    return train_tokenizer(
        [f"{OPENING} high {word} up to about 1.2 mg/dL in the first 24 hours, pointing to" for word in words], 600
    )


def draw_series(seed: int) -> pl.DataFrame:
    """A stay with values in and out of their reference ranges, as often as not measured at all."""
    chance = np.random.default_rng(seed)
    rows = []
    for name in MEASURED:
        spec = variables()[name]
        middle = (spec.low or spec.high or 1.0) if spec.high is None else spec.high
        for hour in np.flatnonzero(chance.random(48) < chance.choice([0.0, 0.02, 0.5])):
            rows.append((1, float(hour), name, round(float(middle * chance.lognormal(0, 0.3)), spec.decimals)))
    schema = {"stay_id": pl.Int64, "hour": pl.Float32, "variable": pl.String, "value": pl.Float32}
    return pl.DataFrame(rows, schema=schema, orient="row")


def write(tokenizer, series: pl.DataFrame, called: list[str], seed: int) -> str:
    """A sentence whose every token is drawn at random from those allowed: the worst a model could do."""
    chance = random.Random(seed)
    shown = facts(series, normal=True).get(1, []) if len(series) else None
    beliefs = np.array([0.9 if key in called else 0.1 for key in phenotypes()])
    end = [tokenizer.eos_token_id]
    charted = Charted(tokenizer, shown, beliefs, GRAPH, BUDGET, end)
    written: list[int] = []
    while True:
        token = chance.choice(sorted(charted.allowed()))
        if token == end[0]:
            return tokenizer.decode(written)
        written.append(token)
        charted.advance(token)
        assert len(written) < BUDGET


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), called=st.lists(st.sampled_from(list(phenotypes())), unique=True, max_size=4))
def test_whatever_is_written_is_true_and_whole(tokenizer, seed, called):
    series = draw_series(seed)
    text = write(tokenizer, series, called, seed)
    assert text.strip().startswith(OPENING)
    assert text.endswith(".")
    rows: dict[str, list[tuple[float, float]]] = {}
    for _, hour, name, value in series.iter_rows():
        rows.setdefault(name, []).append((hour, value))
    checked = VERIFIER.check(text, "series", [], chart(rows), called)
    verdicts = [claim.verdict for claim in checked if claim.kind == "series"]
    assert set(verdicts) <= {Verdict.SUPPORTED}, text
    assert len(verdicts) <= MOST_CLAIMS + 2  # and two that are normal
    assert bool(verdicts) == bool(facts(series).get(1)) if len(series) else not verdicts


def test_no_choice_leads_to_a_dead_end_or_beyond_the_room(tokenizer):
    for seed in (88, 273, 295, 401, 594, 605, 673, *range(20)):  # the first have ended nowhere, or beyond the room
        chance = random.Random(seed)
        called = chance.sample(list(phenotypes()), chance.randrange(5))
        assert write(tokenizer, draw_series(seed), called, seed).endswith(".")


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), called=st.lists(st.sampled_from(list(phenotypes())), unique=True, max_size=4))
def test_a_statement_points_to_called_diagnoses_only(tokenizer, seed, called):
    text = write(tokenizer, draw_series(seed), called, seed)
    pointed = {name for name in NAMES for link in LINKS if f" {link} {name}" in text}
    assert pointed <= {phenotypes()[key].name for key in called}


def test_nothing_measured_and_nothing_abnormal_are_told_apart(tokenizer):
    schema = draw_series(0).clear()
    assert "no measurements" in write(tokenizer, schema, [], 0) or "no values" in write(tokenizer, schema, [], 0)
    normal = pl.DataFrame([(1, 3.0, "sodium", 140.0)], schema=schema.schema, orient="row")
    assert "normal" in write(tokenizer, normal, [], 0) or "reference" in write(tokenizer, normal, [], 0)
