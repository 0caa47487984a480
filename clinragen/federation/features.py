"""What the linear probes of all sites read: terms, concepts and binned series, made of sums that sites have in common.

Whoever has the sums makes the same features of a stay, at a site or after the last round.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from scipy.sparse import csr_matrix, hstack

from clinragen import label_sets, tasks
from clinragen.catalog import shipped_variables
from clinragen.cohort.folder import Cohort
from clinragen.cohort.sections import note_text, sections_by_stay
from clinragen.cohort.window import Window
from clinragen.data.lexicon import Lexicon
from clinragen.data.mentions import MentionEncoder
from clinragen.data.series import SUMMARIES, SeriesStatistics, grid
from clinragen.federation import statistics as sums
from clinragen.federation.update import Tensors
from clinragen.federation.work import Statistic
from clinragen.knowledge.relabel import open_graph
from clinragen.model.concepts import concept_ids
from clinragen.model.linear_probes import MENTION_SCALE
from clinragen.model.series_encoder import PiecewiseLinear


@dataclass
class LinearSettings:
    """Settings of the work.

    Attributes:
        labels: keys of the labels, as cohorts have them; by default those of the 25 phenotypes.
        variables: keys of the variables that may be read; by default all shipped ones.
        hours: of the window.
        bins: of each summary of a variable.
        min_share: share of the stays in which a variable must be measured.
        terms: most terms of notes.
        buckets: for the hashes of terms.
        smallest_cell: patients of a site that must have a term for it to be counted there.
        least_sites: that must have a term.
        pairs: pairs of rounds of training.
        local_steps: of the second round of a pair.
        penalties: of the note's and the series' probe, for the summed loss of all sites.
        fusion_rounds, threshold_rounds: of what is fitted to validation stays.
    """

    labels: list[str] = field(default_factory=lambda: list(label_sets.load(label_sets.DEFAULT)))
    variables: list[str] = field(default_factory=lambda: sorted(shipped_variables()))
    hours: int = 48
    bins: int = 6
    min_share: float = 0.1
    terms: int = 2048
    buckets: int = 1 << 17
    smallest_cell: int = 10
    least_sites: int = 2
    pairs: int = 10
    local_steps: int = 10
    penalties: dict[str, float] = field(default_factory=lambda: {"note": 0.3, "series": 100.0})
    fusion_rounds: int = 8
    threshold_rounds: int = 5


@dataclass(frozen=True)
class SiteRows:
    """Features and labels of some stays of a site: matrices by probe, labels and eligible [n, L], patients [n]."""

    matrices: dict[str, csr_matrix | np.ndarray]
    labels: np.ndarray
    eligible: np.ndarray
    patients: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


class SharedFeatures:
    """Features of stays, by the sums of all sites.

    Args:
        settings: of the work.
    """

    def __init__(self, settings: LinearSettings) -> None:
        self.settings = settings
        self.graph = open_graph(None, label_sets.load(label_sets.DEFAULT))
        self.concepts = concept_ids(self.graph)
        self._rows: dict[tuple[str, bytes], SiteRows] = {}
        self._linker = MentionEncoder(self.graph, self.concepts)

    @property
    def widths(self) -> dict[str, int]:
        """Number of features of each probe."""
        of_variable = len(SUMMARIES) * self.settings.bins + 1
        return {
            "note": self.settings.terms + 2 * len(self.concepts),
            "series": len(self.settings.variables) * of_variable,
        }

    def series_statistics(self, tensors: Tensors) -> SeriesStatistics:
        """Standardisation and bins of all variables that may be read, in the order of the settings."""
        return replace(self._unbinned(tensors), edges=tensors["edges"].tolist())

    def read_variables(self, tensors: Tensors) -> list[int]:
        """Which variables are measured in enough stays."""
        share = tensors["means"][:, 0] / max(int(tensors["total"][0]), 1)
        return np.flatnonzero(share >= max(self.settings.min_share, 1e-9)).tolist()

    def terms(self, tensors: Tensors) -> dict[int, str]:
        """The terms of notes, by row of the note's weights."""
        return sums.read_terms(tensors["spelling"], tensors["buckets"], self.settings.buckets)

    def lexicon(self, tensors: Tensors) -> tuple[Lexicon, list[int]]:
        """The terms with their inverse document frequencies, and their rows."""
        terms = self.terms(tensors)
        rows = sorted(terms, key=terms.__getitem__)
        stays = int(tensors["total"][0])
        idf = np.log((1 + stays) / (1 + tensors["bucket_patients"][rows])) + 1
        return Lexicon([terms[row] for row in rows], idf.tolist()), rows

    def digest(self, tensors: Tensors) -> bytes:
        """A hash of all that features are made by."""
        features = ("total", "means", "edges", "buckets", "bucket_patients", "spelling")
        return hashlib.sha256(b"".join(tensors[name].tobytes() for name in features)).digest()

    def rows(self, cohort: Cohort, tensors: Tensors, split: str) -> SiteRows:
        """Features and labels of the stays of a split; read once."""
        stays = stays_of(cohort, split)
        read = hashlib.sha256(stays.tobytes() + self.digest(tensors))
        key = str(cohort.paths.root), read.digest()
        if key not in self._rows:
            labels = self._labels(cohort, stays)
            matrices = {"note": self._notes(cohort, stays, tensors), "series": self._series(cohort, stays, tensors)}
            self._rows[key] = SiteRows(matrices, labels.present, labels.eligible, patients_of(cohort, stays))
        return self._rows[key]

    def _labels(self, cohort: Cohort, stays: np.ndarray) -> tasks.Labels:
        return tasks.load(tasks.DEFAULT).labels(cohort, stays)

    def _grid(self, cohort: Cohort, stays: np.ndarray) -> np.ndarray:
        return grid(cohort, stays, self.settings.variables, Window(self.settings.hours))

    def _texts(self, cohort: Cohort, stays: np.ndarray) -> list[str]:
        sections = sections_by_stay(cohort.notes, labels=cohort.label_set)
        return [note_text(sections.get(int(stay), [])) for stay in stays]

    def _terms(self, cohort: Cohort) -> dict[int, tuple[str, int]]:
        stays = stays_of(cohort, "train")
        patients = patients_of(cohort, stays).tolist()
        counts = sums.patients_with(self._texts(cohort, stays), patients)
        return sums.by_bucket(counts, self.settings.buckets, self.settings.smallest_cell)

    def _unbinned(self, tensors: Tensors) -> SeriesStatistics:
        means = tensors["means"].copy()
        means[means[:, 0] == 0] = [1.0, 0.0, 1.0]  # nobody has it
        return sums.unbinned(self.settings.variables, means, self.settings.hours)

    def _notes(self, cohort: Cohort, stays: np.ndarray, tensors: Tensors) -> csr_matrix:
        lexicon, rows = self.lexicon(tensors)
        encoded = lexicon.encode(self._texts(cohort, stays)).tocoo()
        columns = np.array(rows, dtype=np.int64)[encoded.col] if rows else encoded.col
        wide = csr_matrix((encoded.data, (encoded.row, columns)), (len(stays), self.settings.terms))
        sections = sections_by_stay(cohort.notes, labels=cohort.label_set, layout=True)
        empty = np.zeros((0, 2 * len(self.concepts)), np.float32)
        mentions = [self._linker(sections.get(int(stay), [])).reshape(1, -1) for stay in stays]
        mentioned = csr_matrix(np.concatenate([empty, *mentions]).astype(np.float32))
        return csr_matrix(hstack([wide, MENTION_SCALE * mentioned]), dtype=np.float32)

    def _series(self, cohort: Cohort, stays: np.ndarray, tensors: Tensors) -> np.ndarray:
        statistics = self.series_statistics(tensors)
        read = sums.summaries(statistics, self._grid(cohort, stays))
        with torch.inference_mode():
            features = PiecewiseLinear(statistics)(torch.from_numpy(read)).numpy()
        absent = np.ones(features.shape[1], dtype=bool)
        absent[self.read_variables(tensors)] = False
        features[:, absent] = 0
        return features.reshape(len(stays), self.widths["series"]).astype(np.float32)


def stays_of(cohort: Cohort, split: str) -> np.ndarray:
    """Ids of the stays of a split, ascending; a small site may have none."""
    return cohort.stays.filter(cohort.stays["split"] == split)["stay_id"].to_numpy()


def patients_of(cohort: Cohort, stays: np.ndarray) -> np.ndarray:
    """Whose the stays are, [n]."""
    return cohort.stays["subject_id"].to_numpy()[np.searchsorted(cohort.stays["stay_id"].to_numpy(), stays)]


def over_all(rows: SiteRows, values: np.ndarray) -> Statistic:
    """Sums over all of a site's rows: one cell each, of all its stays."""
    return Statistic(np.asarray(values, np.float64), np.full(values.shape, len(rows), np.int64))
