"""Generated rationales against the teacher's: ROUGE-L, corpus BLEU-4, lengths and variety.

Words are lower-cased runs of letters, digits and inner points (so that ``3.2`` is one word). Both scores measure
likeness to the teacher, not truth: a rationale can score high and contradict the chart.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

_WORD = re.compile(r"\w+(?:[.'/-]\w+)*")


def words(text: str) -> list[str]:
    """Lower-cased words.

    >>> words("Creatinine rose to 3.2 mg/dL.")
    ['creatinine', 'rose', 'to', '3.2', 'mg/dl']
    """
    return _WORD.findall(text.lower())


def common_subsequence(first: Sequence[str], second: Sequence[str]) -> int:
    """Length of the longest common subsequence, bit-parallel (Hyyrö 2004): one integer operation per word.

    >>> common_subsequence("a b c d".split(), "b x d".split())
    2
    """
    masks: dict[str, int] = {}
    for position, word in enumerate(first):
        masks[word] = masks.get(word, 0) | (1 << position)
    full = (1 << len(first)) - 1
    open_positions = full
    for word in second:
        matched = open_positions & masks.get(word, 0)
        open_positions = ((open_positions + matched) | (open_positions - matched)) & full
    return len(first) - open_positions.bit_count()


def rouge_l(generated: str, reference: str) -> float:
    """ROUGE-L F1 (Lin 2004): two empty texts agree fully, one empty text not at all.

    >>> rouge_l("lactate is high", "lactate was high")
    0.6666666666666666
    """
    ours, theirs = words(generated), words(reference)
    if not ours or not theirs:
        return float(ours == theirs)
    return 2 * common_subsequence(ours, theirs) / (len(ours) + len(theirs))


def corpus_bleu(generated: Sequence[str], references: Sequence[str], order: int = 4) -> float:
    """Corpus BLEU (Papineni et al. 2002), one reference each, without smoothing; 0 if any order has no match."""
    matches, totals = np.zeros(order), np.zeros(order)
    length, reference_length = 0, 0
    for ours, theirs in zip(map(words, generated), map(words, references), strict=True):
        length += len(ours)
        reference_length += len(theirs)
        for n in range(1, order + 1):
            have = Counter(_ngrams(ours, n))
            matches[n - 1] += (have & Counter(_ngrams(theirs, n))).total()
            totals[n - 1] += have.total()
    if not matches.all():
        return 0.0
    brevity = 1.0 if length >= reference_length else math.exp(1 - reference_length / length)
    return float(brevity * math.exp(np.log(matches / totals).mean()))


def _ngrams(sequence: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(sequence[i : i + n]) for i in range(len(sequence) - n + 1)]


def distinct(texts: Sequence[str], n: int) -> float:
    """Distinct-n (Li et al. 2016): different n-grams over all n-grams of the corpus; 0 without any.

    >>> distinct(["fever and cough", "fever and chills"], 1)
    0.6666666666666666
    """
    seen = Counter(gram for text in texts for gram in _ngrams(words(text), n))
    return len(seen) / seen.total() if seen else 0.0


def describe(generated: Sequence[str], references: Sequence[str | None], limit: int) -> dict[str, Any]:
    """Likeness to the references, lengths in words and variety of one kind of rationale.

    Args:
        generated: one text per stay.
        references: the teacher's text, or None for a stay the teacher has none for (left out of the likeness).
        limit: the words a rationale of this kind may have.
    """
    pairs = [(ours, theirs) for ours, theirs in zip(generated, references, strict=True) if theirs is not None]
    lengths = np.array([len(words(text)) for text in generated])
    likeness: dict[str, Any] = {"compared": len(pairs), "rouge_l": None, "bleu": None}
    if pairs:
        ours, theirs = zip(*pairs, strict=True)
        likeness["rouge_l"] = float(np.mean([rouge_l(a, b) for a, b in pairs]))
        likeness["bleu"] = corpus_bleu(ours, theirs)
        likeness["reference_words"] = float(np.mean([len(words(text)) for text in theirs]))
    return likeness | {
        "words": {"mean": float(lengths.mean()), "median": float(np.median(lengths)), "longest": int(lengths.max())},
        "empty": int((lengths == 0).sum()),
        "too_long": int((lengths > limit).sum()),
        "different": len(set(generated)) / len(generated),
        "distinct_1": distinct(generated, 1),
        "distinct_2": distinct(generated, 2),
        "distinct_4": distinct(generated, 4),
    }
