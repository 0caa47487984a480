"""For any language model, the output is a valid report: sections in order and labels of the closed list."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clinragen.catalog import phenotypes
from clinragen.data.targets import MARKERS, ORDERS, TargetFormat, sections_for
from clinragen.inference.decode import ReportGrammar, read_list, read_report
from clinragen.model.language_model import train_tokenizer

NAMES = tuple(entry.name for entry in phenotypes().values())
#: One tokenizer that knows the labels' words, one that spells nearly every letter.
TOKENIZERS = [train_tokenizer([*NAMES, *MARKERS.values()], size) for size in (1500, 280)]
TARGETS = st.sets(st.sampled_from(sorted(MARKERS)), min_size=1)


def decode(target: TargetFormat, budget: int, skip: int, scores, rows: int = 3, beliefs=None) -> list[list[int]]:
    """Greedy decoding as transformers does it, from ``scores(step)``, [rows, vocabulary]."""
    grammar = ReportGrammar(target, budget, skip, beliefs)
    eos, pad = target.tokenizer.eos_token_id, target.tokenizer.pad_token_id
    ids = torch.full((rows, skip), pad, dtype=torch.long)
    alive = torch.ones(rows, dtype=torch.bool)
    for step in range(grammar.longest):
        chosen = grammar(ids, scores(step)).argmax(-1)
        ids = torch.cat([ids, torch.where(alive, chosen, pad)[:, None]], dim=1)
        alive &= chosen != eos
        if not alive.any():
            break
    assert not alive.any(), "a report ends within the budget the grammar states"
    return ids[:, skip:].tolist()


def check(target: TargetFormat, generated: list[list[int]]) -> None:
    for tokens in generated:
        report = read_report(target, tokens)
        assert set(report.rationales) == set(target.sections) - {"diagnoses"}
        assert report.diagnoses == sorted(set(report.diagnoses))
        assert all(0 <= label < len(NAMES) for label in report.diagnoses)
        if "diagnoses" in target.sections:
            start = str(target.markers["diagnoses"])[1:-1]
            assert start in str(tokens)
            assert report.parsed or not all(report.rationales.values())


@settings(deadline=None, max_examples=20)
@given(
    seed=st.integers(0, 2**31),
    tokenizer=st.integers(0, 1),
    targets=TARGETS,
    order=st.sampled_from(sorted(ORDERS)),
    budget=st.integers(1, 12),
    skip=st.integers(0, 1),
)
def test_random_scores_always_give_a_report(seed, tokenizer, targets, order, budget, skip):
    target = TargetFormat(TOKENIZERS[tokenizer], NAMES, sections_for(sorted(targets), order))
    generator = torch.Generator().manual_seed(seed)
    width = len(target.tokenizer)
    check(target, decode(target, budget, skip, lambda _: torch.randn(3, width, generator=generator)))


@settings(deadline=None, max_examples=20)
@given(
    tokenizer=st.integers(0, 1), targets=TARGETS, order=st.sampled_from(sorted(ORDERS)), favourite=st.integers(0, 279)
)
def test_a_model_that_repeats_one_token_still_writes_a_report(tokenizer, targets, order, favourite):
    """Among the favourites are the end of sequence, padding, the full stop and the separator."""
    target = TargetFormat(TOKENIZERS[tokenizer], NAMES, sections_for(sorted(targets), order))

    def scores(step: int) -> torch.Tensor:
        wanted = torch.zeros(3, len(target.tokenizer))
        wanted[0, favourite] = 9.0
        wanted[1, target.tokenizer.eos_token_id] = 9.0
        wanted[2, target.separator] = 9.0
        return wanted

    check(target, decode(target, 8, 1, scores))


@settings(deadline=None, max_examples=10)
@given(
    tokenizer=st.integers(0, 1),
    order=st.sampled_from(sorted(ORDERS)),
    present=st.lists(st.booleans(), min_size=len(NAMES), max_size=len(NAMES)),
)
def test_a_model_that_knows_the_target_writes_it(tokenizer, order, present):
    """The grammar forbids no target it was taught with."""
    target = TargetFormat(TOKENIZERS[tokenizer], NAMES, sections_for(sorted(MARKERS), order))
    wanted = target.encode("fever and cough", "lactate 4.1 mmol/L.", present, budget=500).ids

    def scores(step: int) -> torch.Tensor:
        row = torch.zeros(1, len(target.tokenizer))
        row[0, wanted[min(step, len(wanted) - 1)]] = 9.0
        return row

    (written,) = decode(target, 100, 0, scores, rows=1)
    assert written == wanted
    assert read_report(target, written).diagnoses == [i for i, flag in enumerate(present) if flag]


@settings(deadline=None, max_examples=10)
@given(
    tokenizer=st.integers(0, 1),
    seed=st.integers(0, 2**31),
    present=st.lists(st.booleans(), min_size=len(NAMES), max_size=len(NAMES)),
)
def test_beliefs_of_0_and_1_are_the_list_whatever_the_model_prefers(tokenizer, seed, present):
    target = TargetFormat(TOKENIZERS[tokenizer], NAMES, sections_for(sorted(MARKERS), "rationales_first"))
    generator = torch.Generator().manual_seed(seed)
    width = len(target.tokenizer)
    beliefs = np.array([present], dtype=float)
    (written,) = decode(target, 8, 0, lambda _: 1e4 * torch.randn(1, width, generator=generator), 1, beliefs)
    assert read_report(target, written).diagnoses == [i for i, flag in enumerate(present) if flag]


def test_impossible_scores_still_give_a_report():
    """A model may forbid (with minus infinity) everything the grammar allows."""
    target = TargetFormat(TOKENIZERS[0], NAMES, sections_for(["diagnoses"], "rationales_first"))
    check(target, decode(target, 4, 0, lambda _: torch.full((3, len(target.tokenizer)), -torch.inf)))


@pytest.mark.parametrize("cut", ["marker", "list", "order", "alien"])
def test_what_is_no_report_is_not_parsed(cut):
    target = TargetFormat(TOKENIZERS[0], NAMES, sections_for(sorted(MARKERS), "rationales_first"))
    present = [index in (1, 4) for index in range(len(NAMES))]
    whole = target.encode("fever", "lactate 4", present, budget=500).ids
    listed = target.diagnoses(present)
    head = whole[: -len(listed) - 1]
    tokens = {
        "marker": whole[len(target.markers["note"]) :],
        "list": head + listed[:-1],
        "order": head + target.labels[4] + target.separator + target.labels[1] + target.end,
        "alien": head + target.tokenizer(" gout", add_special_tokens=False)["input_ids"] + target.end,
    }[cut]
    assert read_report(target, whole).parsed
    assert not read_report(target, tokens).parsed


def test_labels_that_begin_alike_are_told_apart():
    """One label may be the beginning of another, or hold the separator."""
    names = ("shock", "shock; septic", "shock; septic; late", "pneumonia")
    target = TargetFormat(TOKENIZERS[1], names, ("diagnoses",))
    for code in range(16):
        present = [bool(code >> bit & 1) for bit in range(4)]
        tokens = target.diagnoses(present)
        found = read_list(target, tokens)
        assert found is not None
        assert target.diagnoses([index in found for index in range(4)]) == tokens
