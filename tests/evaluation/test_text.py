import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinragen.evaluation.text import common_subsequence, corpus_bleu, describe, distinct, rouge_l

tokens = st.lists(st.sampled_from("abcde"), max_size=20)


def by_table(first: list[str], second: list[str]) -> int:
    """The textbook dynamic programme."""
    best = [[0] * (len(second) + 1) for _ in range(len(first) + 1)]
    for i, a in enumerate(first):
        for j, b in enumerate(second):
            best[i + 1][j + 1] = best[i][j] + 1 if a == b else max(best[i][j + 1], best[i + 1][j])
    return best[-1][-1]


@given(tokens, tokens)
@settings(max_examples=200)
def test_common_subsequence_equals_the_textbook(first, second):
    assert common_subsequence(first, second) == by_table(first, second)


def test_rouge_l_bounds():
    assert rouge_l("Lactate rose to 3.2.", "lactate rose to 3.2") == 1.0
    assert rouge_l("fever", "cough") == 0.0
    assert rouge_l("", "") == 1.0
    assert rouge_l("", "fever") == 0.0


def test_bleu_of_the_same_text_is_one_and_of_short_text_is_penalised():
    reference = "the patient has a fever and a productive cough today"
    assert corpus_bleu([reference], [reference]) == pytest.approx(1.0)
    cut = "the patient has a fever and a"
    assert corpus_bleu([cut], [reference]) == pytest.approx(pow(2.718281828459045, 1 - 10 / 7))
    assert corpus_bleu(["fever"], [reference]) == 0.0


def test_bleu_equals_torchmetrics():
    ours = ["the cat sat on the mat near the door", "lactate is high and pressure is low since the night"]
    theirs = ["the cat sat on a mat near the old door", "lactate was high and pressure is low since last night"]
    # torchmetrics 1.9: bleu_score(ours, [[t] for t in theirs]); importing it here would cost seconds
    assert corpus_bleu(ours, theirs) == pytest.approx(0.489951, abs=1e-6)


def test_distinct_counts_repeats():
    assert distinct(["a b a b"], 1) == 0.5
    assert distinct([""], 4) == 0.0


def test_describe_leaves_stays_without_a_reference_out_of_the_likeness():
    found = describe(["lactate is high", "", "x y z"], ["lactate is high", None, None], limit=2)
    assert found["compared"] == 1
    assert found["rouge_l"] == 1.0
    assert (found["empty"], found["too_long"]) == (1, 2)
    assert describe(["a"], [None], limit=5)["bleu"] is None
