"""Text metrics of generated rationales against the teacher's: ROUGE-L, corpus BLEU-4, lengths and variety.

ROUGE-L is Google's rouge-score and BLEU is sacrebleu, each with its own tokenization and settings, so that the numbers
are comparable with published ones: rouge-score without stemming (lower-cased runs of letters and digits), sacrebleu
with signature ``nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp``. Both measure similarity to the teacher, not truth: a
rationale can score high and contradict the chart.

Lengths and variety count words as lower-cased runs of letters, digits and inner points (``3.2`` is one).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from clinragen.evaluation.rows import Writing

_WORD = re.compile(r"\w+(?:[.'/-]\w+)*")


def words(text: str) -> list[str]:
    """Lower-cased words, for lengths and variety.

    >>> words("Creatinine rose to 3.2 mg/dL.")
    ['creatinine', 'rose', 'to', '3.2', 'mg/dl']
    """
    return _WORD.findall(text.lower())


@cache
def _rouge() -> Any:
    from rouge_score.rouge_scorer import RougeScorer  # takes a second, since it imports nltk

    return RougeScorer(["rougeL"], use_stemmer=False)


def rouge_l(generated: str, reference: str) -> float:
    """ROUGE-L F1 (Lin 2004) by rouge-score, from 0 to 1; 0 if either text has no word.

    >>> rouge_l("lactate is high", "lactate was high")
    0.6666666666666666
    """
    return float(_rouge().score(reference, generated)["rougeL"].fmeasure)


def corpus_bleu(generated: Sequence[str], references: Sequence[str]) -> float:
    """Corpus BLEU-4 (Papineni et al. 2002) by sacrebleu (Post 2018), one reference each, from 0 to 1.

    It is smoothed for n-gram orders without a match, so very short texts may score slightly above 0.

    Raises:
        ValueError: texts and references differ in number.
    """
    if len(generated) != len(references):
        raise ValueError(f"{len(generated)} texts and {len(references)} references")
    from sacrebleu.metrics.bleu import BLEU

    return BLEU().corpus_score(list(generated), [list(references)]).score / 100


def _ngrams(sequence: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(sequence[i : i + n]) for i in range(len(sequence) - n + 1)]


def distinct(texts: Sequence[str], n: int) -> float:
    """Distinct-n (Li et al. 2016): distinct n-grams over all n-grams of the corpus; 0 without any.

    >>> distinct(["fever and cough", "fever and chills"], 1)
    0.6666666666666666
    """
    counts = Counter(gram for text in texts for gram in _ngrams(words(text), n))
    return len(counts) / counts.total() if counts else 0.0


def describe(generated: Sequence[str], references: Sequence[str | None], limits: Sequence[int]) -> Writing:
    """Similarity to the references, lengths in words and variety of one kind of rationale.

    Args:
        generated: one text per stay.
        references: the teacher's texts; None for a stay without one (left out of the similarity).
        limits: most words of each.
    """
    pairs = [(ours, theirs) for ours, theirs in zip(generated, references, strict=True) if theirs is not None]
    lengths = np.array([len(words(text)) for text in generated])
    described: Writing = {
        "compared": len(pairs),
        "rouge_l": None,
        "bleu": None,
        "words": {"mean": float(lengths.mean()), "median": float(np.median(lengths)), "longest": int(lengths.max())},
        "empty": int((lengths == 0).sum()),
        "too_long": int((lengths > np.array(limits)).sum()),
        "different": len(set(generated)) / len(generated),
        "distinct_1": distinct(generated, 1),
        "distinct_2": distinct(generated, 2),
        "distinct_4": distinct(generated, 4),
    }
    if pairs:
        ours, theirs = zip(*pairs, strict=True)
        described["rouge_l"] = float(np.mean([rouge_l(a, b) for a, b in pairs]))
        described["bleu"] = corpus_bleu(ours, theirs)
        described["reference_words"] = float(np.mean([len(words(text)) for text in theirs]))
    return described
