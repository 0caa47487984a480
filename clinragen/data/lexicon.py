"""Note text as TF-IDF weights of words and word pairs: the features of the note's linear probe."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from scipy.sparse import csr_matrix

from clinragen.data.term_counts import Spans, TermCounts

if TYPE_CHECKING:
    from sklearn.feature_extraction.text import TfidfTransformer, TfidfVectorizer

MIN_NOTES = 3  # rarer terms are not informative and may identify a person


@dataclass(frozen=True)
class Lexicon:
    """Terms with their inverse document frequencies, fitted on training notes and saved with the model."""

    terms: list[str]
    idf: list[float]

    @classmethod
    def fit(cls, texts: Sequence[str], most: int) -> Lexicon:
        """The ``most`` frequent terms that occur in at least ``MIN_NOTES`` notes; possibly none."""
        vectorizer = _vectorizer(min_df=MIN_NOTES, max_features=most)
        try:
            vectorizer.fit(texts)
        except ValueError:  # raised by scikit-learn if no term is left
            return cls([], [])
        return cls(vectorizer.get_feature_names_out().tolist(), vectorizer.idf_.tolist())

    def encode(self, texts: Sequence[str]) -> csr_matrix:
        """Weights of each text's terms, [n, terms], rows of norm 1 (or 0 without a known term)."""
        if not self.terms or not texts:
            return csr_matrix((len(texts), len(self.terms)), dtype=np.float32)
        return csr_matrix(self._vectorizer.transform(texts), dtype=np.float32)

    def encode_without(self, text: str, cuts: Sequence[Spans]) -> csr_matrix:
        """Weights of a text's terms without some passages, for each set of passages, [cuts, terms]."""
        if not self.terms or not cuts:
            return csr_matrix((len(cuts), len(self.terms)), dtype=np.float32)
        counts = TermCounts(text, self._vectorizer.vocabulary_).without(cuts)
        return csr_matrix(self._weights.transform(counts), dtype=np.float32)

    @cached_property
    def _weights(self) -> TfidfTransformer:
        from sklearn.feature_extraction.text import TfidfTransformer

        transformer = TfidfTransformer(sublinear_tf=True)
        transformer.idf_ = np.asarray(self.idf)
        return transformer

    @cached_property
    def _vectorizer(self) -> TfidfVectorizer:
        vectorizer = _vectorizer(vocabulary=self.terms)
        vectorizer.idf_ = np.asarray(self.idf)
        return vectorizer


def analyser() -> Callable[[str], list[str]]:
    """Splits a text into the words and word pairs that may become terms."""
    return _vectorizer().build_analyzer()


def _vectorizer(**options: Any) -> TfidfVectorizer:
    from sklearn.feature_extraction.text import TfidfVectorizer  # takes two seconds

    return TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, dtype=cast(Any, np.float32), **options)
