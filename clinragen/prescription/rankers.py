"""How likely each class is to be started: by how often it is, and by what similar stays were started on.

Both learn from the training split of a cohort, and give the probability of a new start within 24 hours for a stay that
has not had the class, shrunk towards its rate where few stays tell.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from clinragen.cohort.folder import Cohort
from clinragen.cohort.sections import note_text, sections_by_stay
from clinragen.prescription.history import History
from clinragen.tasks import Labels

NEIGHBOURS = 40
#: Stays' worth of the general rate that the votes of neighbours are mixed with.
_PRIOR = 5.0


class Ranker(Protocol):
    """Anything that gives probabilities of new starts."""

    def probabilities(self, history: History) -> np.ndarray:
        """Probabilities of the stays of a history, [n, classes]."""
        ...


@dataclass(frozen=True)
class Popularity:
    """The share of training stays that were started on a class, of those that had not had it.

    Attributes:
        rates: [classes].
    """

    rates: np.ndarray

    @classmethod
    def fit(cls, labels: Labels) -> Popularity:
        """Learn from the labels of task ``prescription`` on training stays."""
        started, could = (part.sum(0) for part in labels)
        return cls((started + 0.5) / (could + 1.0))

    def probabilities(self, history: History) -> np.ndarray:
        """The same rates for every stay, [n, classes]."""
        return np.tile(self.rates, (len(history.stay_ids), 1))


class Neighbours:
    """What the most similar training stays were started on; a stay of the same patient never counts.

    Similarity is the cosine of the words of the notes (TF-IDF) plus that of the classes ordered so far.

    Args:
        cohort: the cohort of the training stays.
        train: their history.
        labels: of task ``prescription`` on them.

    Attributes:
        train, labels: as given.
    """

    def __init__(self, cohort: Cohort, train: History, labels: Labels) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer

        self._words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
        self._text: Any = None
        with suppress(ValueError):  # no word stands in two notes: the drugs alone tell who is similar
            self._text = self._words.fit_transform(_texts(cohort, train.stay_ids))
        self._drugs = _unit(train.ordered)
        self.train, self.labels = train, labels
        self._subjects = _subjects(train)
        self._popularity = Popularity.fit(labels)

    def probabilities(self, history: History) -> np.ndarray:
        """Weighted votes of the neighbours, mixed with the general rate, [n, classes]."""
        return self.ranked(history)[0]

    def votes(self, history: History) -> tuple[np.ndarray, np.ndarray]:
        """How many of the neighbours were started on each class, and how many could have been, int [n, classes].

        What has nothing in common with a stay, or is the same patient's, is no neighbour of it.
        """
        return self.ranked(history)[1]

    def ranked(self, history: History) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
        """``probabilities`` and ``votes``, of neighbours that are looked for once."""
        nearest, weights = self.nearest(history)
        started, could = (part[nearest] for part in self.labels)
        of_started, of_could = ((part * weights[:, :, None]).sum(1) for part in (started, could))
        probabilities = (of_started + _PRIOR * self._popularity.rates) / (of_could + _PRIOR)
        similar = weights[:, :, None] > 0
        return probabilities, ((started & similar).sum(1), (could & similar).sum(1))

    def nearest(self, history: History) -> tuple[np.ndarray, np.ndarray]:
        """Rows of ``train`` of the most similar stays, the nearest first, and their similarity, [n, neighbours].

        A stay of the same patient has similarity 0, as one without anything in common.
        """
        near = np.asarray((_unit(history.ordered) @ self._drugs.T).todense())
        if self._text is not None:
            words: Any = self._words.transform(_texts(history.cohort, history.stay_ids))
            near = near + np.asarray((words @ self._text.T).todense())
        near[_subjects(history)[:, None] == self._subjects[None]] = -1
        nearest = np.argsort(-near, axis=1, kind="stable")[:, :NEIGHBOURS]
        return nearest, np.take_along_axis(near, nearest, 1).clip(0)


def _unit(rows: np.ndarray) -> Any:
    from scipy.sparse import csr_matrix
    from sklearn.preprocessing import normalize

    return normalize(csr_matrix(rows.astype(float)))


def _texts(cohort: Cohort, stay_ids: np.ndarray) -> list[str]:
    sections = sections_by_stay(cohort.notes)
    return [note_text(sections.get(stay, [])) for stay in stay_ids.tolist()]


def _subjects(history: History) -> np.ndarray:
    stays = history.cohort.stays
    rows = np.searchsorted(stays["stay_id"].to_numpy(), history.stay_ids)
    return stays["subject_id"].to_numpy()[rows]
