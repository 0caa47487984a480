"""The lexicon of a model: its terms, and that a saved one gives the same result."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np

from clinragen.data.lexicon import MIN_NOTES, Lexicon

NOTES = ["chest pain and fever", "chest pain", "chest pain, cough", "fever", "fever and cough", "Jane Roe has a cough"]


def test_rare_terms_are_left_out_and_pairs_kept():
    terms = Lexicon.fit(NOTES, most=100).terms
    assert set(terms) == {"chest", "pain", "chest pain", "fever", "cough"}
    assert all(sum(term in note for note in NOTES) >= MIN_NOTES for term in terms)


def test_a_saved_lexicon_reads_as_before():
    lexicon = Lexicon.fit(NOTES, most=100)
    again = Lexicon(**json.loads(json.dumps(asdict(lexicon))))
    assert np.array_equal(lexicon.encode(NOTES).toarray(), again.encode(NOTES).toarray())


def test_the_most_frequent_terms_are_kept():
    assert len(Lexicon.fit(NOTES, most=2).terms) == 2


def test_notes_without_a_common_term_make_an_empty_lexicon():
    lexicon = Lexicon.fit(["alpha", "beta", ""], most=10)
    assert lexicon.terms == []
    assert lexicon.encode(["alpha"]).shape == (1, 0)
