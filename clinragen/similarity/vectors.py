"""Charts as vectors: what the note says in words and in concepts, and what the series look like.

Each encoder is fitted on training stays and saved with the index. Text becomes weights of terms that several notes
share; no text is held.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import torch
from scipy.sparse import csr_matrix, hstack
from sklearn.preprocessing import normalize

from clinragen.cohort.folder import Cohort
from clinragen.cohort.sections import note_text, sections_by_stay
from clinragen.cohort.window import Window
from clinragen.data.lexicon import Lexicon
from clinragen.data.mentions import MentionEncoder
from clinragen.data.series import SUMMARIES, SeriesStatistics, grid, observed_variables, summarise
from clinragen.knowledge.graph import ConceptGraph
from clinragen.knowledge.linker import LINKED_KINDS
from clinragen.model.linear_probes import MENTION_SCALE
from clinragen.similarity.axes import FARTHEST, principal_axes
from clinragen.similarity.student import StudentVectors

#: (section, text) of a note in reading order.
Sections = Sequence[tuple[str, str]]
TERMS = 5000  # of the lexicon, at most
MIN_SHARE = 0.02  # of the training stays that measure a variable, for it to count


@dataclass(frozen=True)
class NoteWords:
    """A note as TF-IDF weights of its words and word pairs."""

    lexicon: Lexicon

    @classmethod
    def fit(cls, notes: Sequence[Sections]) -> NoteWords:
        """From the notes of training stays."""
        return cls(Lexicon.fit([note_text(list(note)) for note in notes], TERMS))

    def encode(self, notes: Sequence[Sections]) -> csr_matrix:
        """Unit rows [n, terms]; 0 without a known term."""
        return self.lexicon.encode([note_text(list(note)) for note in notes])


@dataclass(frozen=True)
class NoteConcepts:
    """A note as the concepts that it affirms or denies, weighted by how rare each is.

    Attributes:
        ids: concepts of the graph.
        idf: of each, affirmed and then denied, [2 x concepts].
        link: reads notes.
    """

    ids: list[str]
    idf: np.ndarray
    link: MentionEncoder

    @classmethod
    def fit(cls, notes: Sequence[Sections], graph: ConceptGraph) -> NoteConcepts:
        """From the notes of training stays; concepts that none of them names are left out."""
        every = sorted(node for node, data in graph.nodes.items() if data["kind"] in LINKED_KINDS)
        link = MentionEncoder(graph, every)
        named = np.stack([link(note) for note in notes])
        some = np.flatnonzero(named.any(axis=(0, 1)))
        ids = [every[position] for position in some]
        counts = named[:, :, some].sum(axis=0).reshape(-1)
        idf = np.log((1 + len(notes)) / (1 + counts)).astype(np.float32)
        link = copy(link)  # its names need not be read again
        link.column = {node: position for position, node in enumerate(ids)}
        return cls(ids, idf, link)

    def mentions(self, notes: Sequence[Sections]) -> csr_matrix:
        """What each note affirms and denies, 0 or 1, [n, 2 x concepts]."""
        rows = [self.link(note).reshape(-1) for note in notes]
        return csr_matrix(np.stack(rows) if rows else np.zeros((0, len(self.idf))), dtype=np.float32)

    def weigh(self, mentions: csr_matrix) -> csr_matrix:
        """Unit rows of mentions, [n, 2 x concepts]; 0 without any."""
        return csr_matrix(normalize(csr_matrix(mentions.multiply(self.idf))), dtype=np.float32)

    def affirmed(self, row: csr_matrix) -> list[str]:
        """The concepts that a row affirms, the rarest first."""
        columns = [column for column in row.indices.tolist() if column < len(self.ids)]
        return [self.ids[column] for column in sorted(columns, key=lambda column: (-self.idf[column], column))]


@dataclass(frozen=True)
class SeriesSummaries:
    """A series as summaries of each variable and whether it was measured, along the axes in which stays differ most.

    Attributes:
        statistics: standardise values, and say which variables and hours are read.
        centre, scale: of the summaries, float32 [variables x summaries].
        measured: share of the training stays that measure each variable, float32 [variables].
        axes: float32 [features, axes].
    """

    statistics: SeriesStatistics
    centre: np.ndarray
    scale: np.ndarray
    measured: np.ndarray
    axes: np.ndarray

    @classmethod
    def fit(cls, cohort: Cohort, stay_ids: np.ndarray) -> SeriesSummaries:
        """From the series of training stays.

        Raises:
            UserError: no variable is measured often enough.
        """
        window = Window.of(cohort)
        variables = observed_variables(cohort, stay_ids, MIN_SHARE, window)
        values = grid(cohort, stay_ids, variables, window)
        statistics = SeriesStatistics.fit(values, variables, 2, window)  # no bins are read
        summaries = _summaries(statistics, values)
        some = np.isfinite(summaries)
        counts = np.maximum(1, some.sum(0))
        centre = np.where(some, summaries, 0).sum(0) / counts
        scale = np.sqrt(np.where(some, (summaries - centre) ** 2, 0).sum(0) / counts) + 1e-6
        measured = some[:, :: len(SUMMARIES)].mean(0)
        centre, scale, measured = (part.astype(np.float32) for part in (centre, scale, measured))
        features = cls(statistics, centre, scale, measured, np.zeros((0, 0), dtype=np.float32)).features(values)
        return cls(statistics, centre, scale, measured, principal_axes(features))

    def features(self, values: np.ndarray) -> np.ndarray:
        """Standardised summaries, and whether each variable was measured, [n, features]; 0 is as usual.

        Args:
            values: a grid of these variables and this window, NaN where not measured.
        """
        summaries = _summaries(self.statistics, values)
        some = np.isfinite(summaries)
        standard = np.clip((summaries - self.centre) / self.scale, -FARTHEST, FARTHEST)
        seen = some[:, :: len(SUMMARIES)] - self.measured
        return np.hstack([np.where(some, standard, 0), seen]).astype(np.float32)

    def project(self, features: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Unit rows along the axes, [n, axes]; 0 where nothing was measured."""
        some = np.isfinite(values).any(axis=(1, 2))
        return np.asarray(normalize(np.where(some[:, None], features @ self.axes, 0)), dtype=np.float32)

    def grid(self, cohort: Cohort, stay_ids: np.ndarray) -> np.ndarray:
        """The values of stays of a cohort, [n, variables, bins]."""
        return grid(cohort, stay_ids, self.statistics.variables, self.statistics.window)

    def grid_of(self, rows: pl.DataFrame) -> np.ndarray:
        """The values of one stay that is in no cohort, [1, variables, bins].

        Args:
            rows: hour, variable, value in canonical units; the last hour is where the window of a stay may end.
        """
        window = self.statistics.window
        column = {name: position for position, name in enumerate(self.statistics.variables)}
        values = np.full((1, len(column), window.bins), np.nan, dtype=np.float32)
        rows = rows.filter(pl.col("variable").is_in(list(column)))
        hours = np.floor(rows["hour"].to_numpy())
        begin = max(0, int(hours.max()) + 1 - window.hours) if window.kind == "last" and len(hours) else 0
        rows = rows.with_columns(bin=pl.Series(window.bin_of(hours - begin), dtype=pl.Int64)).filter(pl.col("bin") >= 0)
        means = rows.group_by("variable", "bin").agg(pl.col("value").mean()).sort("variable", "bin")
        for name, bin_, value in means.iter_rows():
            values[0, column[name], bin_] = value
        return values


class Source(NamedTuple):
    """Features of n charts, [n, features], and which of them have any, bool [n]."""

    features: csr_matrix | np.ndarray
    some: np.ndarray


@dataclass(frozen=True)
class Encoded:
    """Charts of n stays.

    Attributes:
        words, concepts: unit rows of their notes, sparse.
        series: unit rows of their series.
        note, measured: what linear models read: of the notes, sparse, and of the series; [n, features] each.
        student: unit rows by a student, by modality.
    """

    words: csr_matrix
    concepts: csr_matrix
    series: np.ndarray
    note: csr_matrix
    measured: np.ndarray
    student: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.measured)

    def rows(self, name: str) -> csr_matrix | np.ndarray:
        """The unit rows of a modality, [n, d]."""
        return self.student[name] if name in self.student else getattr(self, name)

    @property
    def sources(self) -> dict[str, Source]:
        """What linear models read, of notes and of series."""
        some = np.asarray(self.note.getnnz(axis=1) > 0)
        return {"note": Source(self.note, some), "series": Source(self.measured, self.series.any(axis=1))}


@dataclass(frozen=True)
class Encoders:
    """The encoders of an index; with a student if it has modalities of one."""

    words: NoteWords
    concepts: NoteConcepts
    series: SeriesSummaries
    student: StudentVectors | None = None

    @classmethod
    def fit(cls, cohort: Cohort, stay_ids: np.ndarray, graph: ConceptGraph) -> Encoders:
        """From training stays of a cohort."""
        notes = notes_of(cohort, stay_ids)
        return cls(NoteWords.fit(notes), NoteConcepts.fit(notes, graph), SeriesSummaries.fit(cohort, stay_ids))

    def encode(self, notes: Sequence[Sections], values: np.ndarray) -> Encoded:
        """Charts as vectors, without those of a student.

        Args:
            notes: of n stays; empty where there is none.
            values: of their series, as ``SeriesSummaries.grid`` gives them.
        """
        words, mentions = self.words.encode(notes), self.concepts.mentions(notes)
        features = self.series.features(values)
        note = csr_matrix(hstack([words, MENTION_SCALE * mentions]), dtype=np.float32)
        return Encoded(words, self.concepts.weigh(mentions), self.series.project(features, values), note, features)

    def of_stays(self, cohort: Cohort, stay_ids: np.ndarray) -> Encoded:
        """The charts of stays of a cohort, ascending ids."""
        encoded = self.encode(notes_of(cohort, stay_ids), self.series.grid(cohort, stay_ids))
        return self.with_student(encoded, cohort, stay_ids)

    def with_student(self, encoded: Encoded, cohort: Cohort, stay_ids: np.ndarray) -> Encoded:
        """Encoded charts with vectors of the student, if there is one, which reads them from a cohort."""
        return encoded if self.student is None else replace(encoded, student=self.student.of_stays(cohort, stay_ids))

    def to_json(self) -> dict[str, Any]:
        """What is no array."""
        return {
            "lexicon": asdict(self.words.lexicon),
            "concepts": self.concepts.ids,
            "series": self.series.statistics.to_json(),
        }

    def tensors(self) -> dict[str, np.ndarray]:
        """The arrays."""
        names = ("centre", "scale", "measured", "axes")
        series = {f"series.{name}": getattr(self.series, name) for name in names}
        student = self.student.tensors() if self.student is not None else {}
        return {"concepts.idf": self.concepts.idf, **series, **student}

    @classmethod
    def load(
        cls,
        values: dict[str, Any],
        tensors: dict[str, np.ndarray],
        graph: ConceptGraph,
        student: StudentVectors | None = None,
    ) -> Encoders:
        """From ``to_json`` and ``tensors``."""
        arrays = (tensors[f"series.{name}"] for name in ("centre", "scale", "measured", "axes"))
        ids = values["concepts"]
        return cls(
            NoteWords(Lexicon(**values["lexicon"])),
            NoteConcepts(ids, tensors["concepts.idf"], MentionEncoder(graph, ids)),
            SeriesSummaries(SeriesStatistics(**values["series"]), *arrays),
            student,
        )


def notes_of(cohort: Cohort, stay_ids: np.ndarray) -> list[Sections]:
    """The notes of stays, without what no model reads."""
    notes = cohort.notes.filter(pl.col("stay_id").is_in(pl.Series(stay_ids).implode()))
    sections = sections_by_stay(notes, labels=cohort.label_set, layout=True)
    return [sections.get(stay, []) for stay in stay_ids.tolist()]


def _summaries(statistics: SeriesStatistics, values: np.ndarray) -> np.ndarray:
    """Standardised, [n, variables x summaries]; NaN where never measured."""
    standard, observed = statistics.standardise(values)
    summaries = summarise(torch.from_numpy(standard), torch.from_numpy(observed))
    return summaries.flatten(1).numpy()
