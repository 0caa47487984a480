"""The terms of a note without passages are those of the text from which they were cut."""

from __future__ import annotations

import time

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from clinragen.data.lexicon import Lexicon

WORDS = ["aa", "ab", "ba", "bb", "aab", "éa", "i̇a", "a_b", "12"]
TERMS = sorted([*WORDS, *(f"{one} {other}" for one in WORDS for other in WORDS)])
LEXICON = Lexicon(TERMS, [1 + 0.01 * index for index in range(len(TERMS))])


@st.composite
def cut_text(draw: st.DrawFn) -> tuple[str, list[list[tuple[int, int]]]]:
    """A text of few letters, and sets of passages in it that are apart from each other."""
    text = draw(st.text("aabbAéİ_1 -\n\u3000", max_size=40))
    sets = []
    for offsets in draw(st.lists(st.sets(st.integers(0, len(text)), max_size=8), max_size=3)):
        ordered = sorted(offsets)
        sets.append(list(zip(ordered[::2], ordered[1::2], strict=False)))
    return text, sets


@settings(deadline=None)  # scikit-learn is imported
@given(cut_text())
@example(("ab ba", [[(1, 4)]]))
@example(("aa ab ba bb", [[(0, 2), (3, 5)], [(3, 5), (9, 11)], [(0, 11)], []]))
@example(("İ aa ba", [[(2, 4)]]))
@example(("éaaéaaéaa ab", [[(1, 3), (4, 6), (7, 9)]]))
def test_what_is_left_is_counted_as_if_it_were_encoded_anew(drawn):
    text, sets = drawn
    left = []
    for spans in sets:
        cuts = [0, *(offset for span in spans for offset in span), len(text)]
        left.append("".join(text[start:end] for start, end in zip(cuts[::2], cuts[1::2], strict=True)))
    expected = LEXICON.encode(left) if left else np.zeros((0, len(TERMS)))
    counted = LEXICON.encode_without(text, sets)
    assert counted.shape == expected.shape
    np.testing.assert_allclose(counted.toarray(), expected if not left else expected.toarray(), atol=1e-6)


def test_an_empty_lexicon_has_no_terms():
    assert Lexicon([], []).encode_without("aa", [[(0, 2)], []]).shape == (2, 0)


def test_time_grows_with_the_note_and_not_with_the_note_times_its_passages():
    text = "aa ab ba " * 50_000
    begun = time.perf_counter()
    LEXICON.encode_without(text, [[(at, at + 2) for at in range(0, len(text), 9)]] * 2)
    assert time.perf_counter() - begun < 10  # a copy of the text for each passage would take minutes
