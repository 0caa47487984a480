"""Grounded rationales: for any language model, the text is complete, supported by the chart and short enough."""

from __future__ import annotations

import random
import re
from copy import copy

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from whole_graph import GRAPH, LINKER

from clinragen.catalog import phenotypes, variables
from clinragen.chart import note_statements, series_statements
from clinragen.chart.findings import findings
from clinragen.chart.limits import most_words
from clinragen.chart.measurements import measurements
from clinragen.chart.note_evidence import gather
from clinragen.chart.support import SUPPORTS
from clinragen.chart.wording import Wording
from clinragen.chart.worth import Worth
from clinragen.data.targets import ORDERS, TargetFormat
from clinragen.inference.decode import ReportGrammar, read_report
from clinragen.inference.grounded import Constraints, GraphGrounds, Grounded, Spelling
from clinragen.inference.grounded_notes import GroundedNote
from clinragen.inference.grounded_series import GroundedSeries
from clinragen.knowledge.linker import LINKED_KINDS
from clinragen.model.language_model import train_tokenizer
from clinragen.teacher import note_rationale
from clinragen.verification.claims import Checked, Verdict
from clinragen.verification.rationale import Verifier

BUDGET = 128
VERIFIER = Verifier(GRAPH)
NAMES = {key: phenotype.name for key, phenotype in phenotypes().items()}
MEASURED = ["creatinine", "heart_rate", "lactate", "sodium", "systolic_bp", "mean_bp", "spo2", "wbc"]
FORMS = [
    form.lstrip("=")
    for node, data in sorted(GRAPH.nodes(data=True))
    if data["kind"] in LINKED_KINDS
    for form in (data["name"], *data["synonyms"])
]
SAID = ["Presents with {}.", "{} was noted.", "Denies {}.", "No {}.", "Later developed {}.", "H/o {}.", "On {}.", "{}"]
SECTIONS = ["chief_complaint", "history_of_present_illness", "past_medical_history", "medications_on_admission"]
SECTIONS += ["admission_exam", "family_history"]
called_keys = st.lists(st.sampled_from(list(phenotypes())), unique=True, max_size=8)
Note = list[tuple[str, str]]


@pytest.fixture(scope="module")
def tokenizer():
    words = [spec.label for spec in variables().values()] + list(NAMES.values())
    series = [f"{series_statements.OPENING} high {word} up to about 1.2 mg/dL in the first 24 hours" for word in words]
    note = [f"{note_statements.OPENING}, {word} points to {word}; the notes alone do not support it." for word in words]
    return train_tokenizer([*series, *note], 600)


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


def draw_note(seed: int) -> Note:
    """Sections that affirm, deny and remember concepts of the graph in any of its words."""
    chance = random.Random(seed)
    return [
        (section, " ".join(chance.choice(SAID).format(chance.choice(FORMS)) for _ in range(chance.randrange(12))))
        for section in chance.sample(SECTIONS, chance.randrange(len(SECTIONS) + 1))
    ]


def write(tokenizer, text: Grounded, seed: int) -> str:
    """Every token is drawn at random from those allowed: the worst a model could do."""
    chance = random.Random(seed)
    written: list[int] = []
    while True:
        token = chance.choice(sorted(text.allowed()))
        if token == tokenizer.eos_token_id:
            return tokenizer.decode(written).strip()
        written.append(token)
        text.advance(token)
        assert len(written) <= text.limit.tokens


def series_of(
    tokenizer, series: pl.DataFrame, called: list[str], budget=BUDGET, end: list[int] | None = None
) -> GroundedSeries:
    shown = findings(series, normal=True).get(1, []) if len(series) else None
    constraints = Constraints(
        dict.fromkeys(called, 0.9), GRAPH, budget, end or [tokenizer.eos_token_id], GraphGrounds(GRAPH)
    )
    return GroundedSeries(Spelling(tokenizer), shown, constraints)


def note_of(tokenizer, note: Note, called: list[str], budget=BUDGET, end: list[int] | None = None) -> GroundedNote:
    evidence = gather(note, LINKER, GRAPH) if note else None
    constraints = Constraints(
        dict.fromkeys(called, 0.9), GRAPH, budget, end or [tokenizer.eos_token_id], GraphGrounds(GRAPH)
    )
    return GroundedNote(Spelling(tokenizer), evidence, constraints)


def check(text: str, kind: str, note: Note, series: pl.DataFrame | None, called: list[str]) -> list[Checked]:
    """The claims of a rationale, all of which must hold."""
    rows: dict[str, list[tuple[float, float]]] = {}
    for _, hour, name, value in [] if series is None else series.iter_rows():
        rows.setdefault(name, []).append((hour, value))
    checked = VERIFIER.check(text, kind, note, measurements(rows), called)
    assert {claim.verdict for claim in checked} <= {Verdict.SUPPORTED}, (text, checked)
    return checked


class Everything(GraphGrounds):
    """All that is shown may be cited for every diagnosis; what the graph does not tie to it adds to the estimate."""

    def share(self, item, key):
        return 0.3

    def tied(self, item, key):
        return super().share(item, key) > 0


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), called=called_keys)
def test_what_only_adds_to_an_estimate_is_true_of_the_chart_too(tokenizer, seed, called):
    series, note = draw_series(seed), draw_note(seed)
    shown = findings(series, normal=True).get(1, []) if len(series) else None
    constraints = Constraints(dict.fromkeys(called, 0.9), GRAPH, BUDGET, [tokenizer.eos_token_id], Everything(GRAPH))
    text = write(tokenizer, GroundedSeries(Spelling(tokenizer), shown, constraints), seed)
    assert len(text.split()) <= most_words("series", len(called))
    check(text, "series", [], series, called)
    evidence = gather(note, LINKER, GRAPH) if note else None
    check(write(tokenizer, GroundedNote(Spelling(tokenizer), evidence, constraints), seed), "note", note, None, called)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), called=called_keys, budget=st.integers(1, BUDGET))
def test_whatever_is_written_of_a_series_is_true_whole_and_short(tokenizer, seed, called, budget):
    series = draw_series(seed)
    text = write(tokenizer, series_of(tokenizer, series, called, budget), seed)
    assert text.startswith(series_statements.OPENING)
    assert text.endswith(".")
    assert len(text.split()) <= most_words("series", len(called))
    checked = [claim for claim in check(text, "series", [], series, called) if claim.kind == "series"]
    assert len(checked) <= series_statements.MOST_STATEMENTS + 2  # and two that are normal
    assert bool(checked) == bool(findings(series).get(1)) if len(series) else not checked


def test_no_choice_leads_to_a_dead_end_or_beyond_the_room(tokenizer):
    for seed in (88, 273, 295, 401, 594, 605, 673, *range(20)):  # the first have ended nowhere, or beyond the room
        called = random.Random(seed).sample(list(phenotypes()), seed % 5)
        text = series_of(tokenizer, draw_series(seed), called)
        assert text.limit.tokens == BUDGET
        assert write(tokenizer, text, seed).endswith(".")


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), called=called_keys)
def test_a_statement_points_to_called_diagnoses_only(tokenizer, seed, called):
    text = write(tokenizer, series_of(tokenizer, draw_series(seed), called), seed)
    pointed = {name for name in NAMES.values() for link in series_statements.LINKS if f" {link} {name}" in text}
    assert pointed <= {NAMES[key] for key in called}


def test_nothing_measured_and_nothing_abnormal_are_told_apart(tokenizer):
    schema = draw_series(0).clear()
    text = write(tokenizer, series_of(tokenizer, schema, []), 0)
    assert "no measurements" in text or "no values" in text
    normal = pl.DataFrame([(1, 3.0, "sodium", 140.0)], schema=schema.schema, orient="row")
    text = write(tokenizer, series_of(tokenizer, normal, []), 0)
    assert "normal" in text or "reference" in text


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 10**6), called=called_keys, budget=st.integers(1, 2 * BUDGET))
def test_whatever_is_written_of_a_note_is_true_whole_and_short(tokenizer, seed, called, budget):
    note = draw_note(seed)
    text = write(tokenizer, note_of(tokenizer, note, called, budget), seed)
    assert text.startswith(note_statements.OPENING)
    assert text.endswith(".")
    assert len(text.split()) <= most_words("note", len(called))
    check(text, "note", note, None, called)


def supports(phrase: str, key: str) -> bool:
    """Whether a concept of this name speaks for the diagnosis, by the graph."""
    concepts = [mention.concept for mention in LINKER.link(phrase)]
    return any(GRAPH.strength(concept, key) >= SUPPORTS for concept in concepts)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), called=called_keys)
def test_a_clause_is_of_a_called_diagnosis_and_of_grounds_that_the_graph_ties_to_it(tokenizer, seed, called):
    text = write(tokenizer, note_of(tokenizer, draw_note(seed), called, 1000), seed)
    told = []
    for clause in text.removeprefix(f"{note_statements.OPENING}, ").removesuffix(".").split("; "):
        if clause.startswith(("no ", "nothing ", *note_statements.CLOSINGS)):
            continue
        key, ground = next(
            (key, clause.removesuffix(end))
            for key in called
            for end in (f" {NAMES[key]}", f"{NAMES[key]} is recorded")
            if clause.endswith(end)
        )
        assert ground in ("", "a history of ") or supports(ground, key), clause
        told.append(key)
    assert len(told) == len(set(told))


NOTE = [
    ("history_of_present_illness", "72F with dyspnea and orthopnea for a week. Denies fever."),
    ("past_medical_history", "COPD, CHF"),
    ("medications_on_admission", "Furosemide 40 mg\nTiotropium daily"),
]


def test_every_called_diagnosis_is_told_of_where_there_is_room(tokenizer):
    called = ["copd", "congestive_heart_failure", "septicemia"]
    for seed in range(20):
        text = write(tokenizer, note_of(tokenizer, NOTE, called, 400), seed)
        assert all(NAMES[key] in text for key in called), text
        assert any(f"{closing} septicemia." in text for closing in note_statements.CLOSINGS), text


def test_what_the_note_leaves_open_is_said(tokenizer):
    def one(note: Note, called: list[str]) -> str:
        return write(tokenizer, note_of(tokenizer, note, called, 400), 3)

    opening = note_statements.OPENING
    assert one(NOTE, ["shock"]) == f"{opening}, no finding supports shock."
    assert one([], ["shock"]) == f"{opening}, nothing can be said about shock, as no note is available."
    assert one([], []) == f"{opening}, no disease was diagnosed; no note is available."
    assert one(NOTE[1:], []) == f"{opening}, no disease was diagnosed."


@pytest.mark.parametrize("order", sorted(ORDERS))
@pytest.mark.parametrize("held", [("note", "series"), ("note",), ("series",)])
def test_a_report_of_grounded_sections_is_whole_in_either_order(tokenizer, order, held):
    target = TargetFormat(tokenizer, tuple(NAMES.values()), ORDERS[order])
    note, series, called = draw_note(4), draw_series(4), ["shock", "pneumonia"]
    end = {kind: target.opening(target.sections.index(kind) + 1) for kind in held}
    made = {
        "note": note_of(tokenizer, note, called, 40, end.get("note")),
        "series": series_of(tokenizer, series, called, 40, end.get("series")),
    }
    grammar = ReportGrammar(target, 40, 0, grounded={kind: [made[kind]] for kind in held})
    scores = torch.Generator().manual_seed(2)
    ids = torch.zeros((1, 0), dtype=torch.long)
    while tokenizer.eos_token_id not in ids:
        chosen = grammar(ids, torch.randn(1, len(tokenizer), generator=scores)).argmax(-1)
        ids = torch.cat([ids, chosen[:, None]], dim=1)
    assert ids.shape[1] <= grammar.longest
    report = read_report(target, ids[0].tolist())
    assert report.parsed
    for kind in held:
        text = report.rationales[kind]
        assert text.endswith(".")
        check(text, kind, note, series, called)


def reaches(tokenizer, text: Grounded, wanted: str, *written: int) -> bool:
    """Whether the grammar allows a text, in any of the ways to spell it."""
    allowed = text.allowed()
    if tokenizer.eos_token_id in allowed:
        return tokenizer.decode(written).strip() == wanted
    for token in allowed:
        if wanted.startswith(tokenizer.decode([*written, token]).strip()):
            further = copy(text)
            further.advance(token)
            if reaches(tokenizer, further, wanted, *written, token):
                return True
    return False


def test_what_the_teacher_writes_can_be_written(tokenizer):
    """A student that has learned its teacher's text is not kept from it."""
    for seed in range(60):
        note, called = draw_note(seed), random.Random(seed).sample(list(phenotypes()), seed % 6)
        evidence = gather(note, LINKER, GRAPH)
        made = note_rationale.compose(evidence if note else None, called, Worth(GRAPH), Wording(seed))
        wanted = made.text
        once = all(wanted.count(item.phrase) == 1 for item in made.told)
        clauses = len(re.findall(f" (?:{'|'.join(word for link in note_statements.LINKS for word in link)}) ", wanted))
        if not once or clauses < len(made.argued):
            continue  # the grammar tells a phrase once, of one diagnosis
        if len(wanted.split()) < note_statements.MOST_WORDS / 2:  # near the limit the grammar is the more careful
            assert reaches(tokenizer, note_of(tokenizer, note, called, 1000), wanted), wanted
