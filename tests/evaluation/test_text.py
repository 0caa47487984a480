import math
import re

import pytest
import rouge_score.rouge_scorer  # noqa: F401  seconds, which no test is charged with if they are spent here
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu.metrics.bleu import BLEU

from clinragen.evaluation import text
from clinragen.evaluation.text import corpus_bleu, describe, distinct, rouge_l, words

SHORT = st.lists(st.sampled_from(["fever", "3.2", "of", "rising", "Lactate", "-"]), max_size=8).map(" ".join)


def common_subsequence(first: list[str], second: list[str]) -> int:
    """The textbook dynamic programme."""
    best = [[0] * (len(second) + 1) for _ in range(len(first) + 1)]
    for i, a in enumerate(first):
        for j, b in enumerate(second):
            best[i + 1][j + 1] = best[i][j] + 1 if a == b else max(best[i][j + 1], best[i + 1][j])
    return best[-1][-1]


@given(SHORT, SHORT)
@settings(max_examples=100, deadline=None)
def test_rouge_l_is_that_of_lin(first, second):
    """Over lower-cased runs of letters and digits: 3.2 is two words."""
    ours, theirs = (re.findall("[a-z0-9]+", text.lower()) for text in (first, second))
    both = len(ours) + len(theirs)
    assert rouge_l(first, second) == pytest.approx(
        2 * common_subsequence(ours, theirs) / both if ours and theirs else 0
    )


def test_rouge_l_by_hand():
    assert rouge_l("Lactate rose to 3.2.", "lactate rose to 3.2") == 1.0
    assert rouge_l("lactate 3.2", "lactate 3.4") == pytest.approx(2 / 3)
    assert rouge_l("fever", "cough") == 0.0
    assert rouge_l("fevers", "fever") == 0.0  # no stemming
    assert rouge_l("", "") == rouge_l("", "fever") == 0.0


def test_bleu_of_the_same_text_is_one_and_of_short_text_is_penalised():
    reference = "the patient has a fever and a productive cough today"
    assert corpus_bleu([reference], [reference]) == pytest.approx(1.0)
    cut = "the patient has a fever and a"
    assert corpus_bleu([cut], [reference]) == pytest.approx(math.exp(1 - 10 / 7))
    assert corpus_bleu(["cough"], ["fever"]) == 0.0
    assert corpus_bleu(["Fever and a productive cough"], ["fever and a productive cough"]) < 1.0  # case counts


def test_bleu_is_that_of_papineni():
    """Two sentences of 9 and 10 words against 10 each, each precision counted by hand."""
    ours = ["the cat sat on the mat near the door", "lactate is high and pressure is low since the night"]
    theirs = ["the cat sat on a mat near the old door", "lactate was high and pressure is low since last night"]
    precisions = [16 / 19, 10 / 17, 7 / 15, 4 / 13]
    expected = math.exp(1 - 20 / 19) * math.exp(sum(map(math.log, precisions)) / 4)
    assert corpus_bleu(ours, theirs) == pytest.approx(expected)
    with pytest.raises(ValueError, match="2 texts and 1 references"):
        corpus_bleu(ours, theirs[:1])


def test_bleu_has_the_signature_that_the_documentation_states():
    metric = BLEU()
    metric.corpus_score(["a b c d"], [["a b c d"]])
    signature = metric.get_signature().format().rpartition("|")[0]
    assert signature == "nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp"
    assert signature in " ".join((text.__doc__ or "").split())


def test_distinct_counts_repeats():
    assert distinct(["a b a b"], 1) == 0.5
    assert distinct([""], 4) == 0.0


def test_describe_leaves_stays_without_a_reference_out_of_the_likeness():
    found = describe(["lactate is high", "", "x y z"], ["lactate is high", None, None], limits=[2, 2, 2])
    assert found["compared"] == 1
    assert found["rouge_l"] == 1.0
    assert (found["empty"], found["too_long"]) == (1, 2)


def test_words_are_lower_cased_runs_with_their_inner_points():
    assert words("Creatinine rose to 3.2 mg/dL (stage-2 AKI); patient's pH 7.4.") == [
        *("creatinine", "rose", "to", "3.2", "mg/dl", "stage-2", "aki", "patient's", "ph", "7.4"),
    ]
    assert words(" - ") == []


def test_distinct_counts_n_grams_of_each_text_alone():
    texts = ["A b a b", "c", "a b c"]
    assert distinct(texts, 1) == 3 / 8
    assert distinct(texts, 2) == 3 / 5  # a b, b a, b c; none from one text to the next
    assert distinct(texts, 4) == 1.0
    assert distinct(texts, 5) == 0.0


def test_describe_by_hand():
    ours = ["Lactate is high", "", "x y x y", "Lactate is high"]
    theirs = ["lactate was high today", None, "x y z w v", None]
    assert describe(ours, theirs, limits=[3] * len(ours)) == {
        "compared": 2,
        "rouge_l": pytest.approx((4 / 7 + 4 / 9) / 2),
        "bleu": corpus_bleu([ours[0], ours[2]], [str(theirs[0]), str(theirs[2])]),
        "reference_words": 4.5,
        "words": {"mean": 2.5, "median": 3.0, "longest": 4},
        "empty": 1,
        "too_long": 1,
        "different": 0.75,
        "distinct_1": 0.5,
        "distinct_2": 4 / 7,
        "distinct_4": 1.0,
    }
    nothing = describe(["a"], [None], limits=[5])
    assert (nothing["compared"], nothing["rouge_l"], nothing["bleu"]) == (0, None, None)
    assert "reference_words" not in nothing
