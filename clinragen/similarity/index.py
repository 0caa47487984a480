"""An index of training stays: vectors of each modality, their labels, and the search for similar cases.

A stay of the same patient is never a neighbour. Where the cohort has an absolute clock, neither is one that ended after
the query's prediction time: what is now known of it was not known then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from safetensors import SafetensorError
from safetensors.numpy import load_file
from scipy.sparse import csr_matrix

from clinragen import versions
from clinragen.artifacts import read_json, write_json
from clinragen.cohort.folder import Cohort
from clinragen.errors import UserError
from clinragen.inference.predict import TrainedModel
from clinragen.integrity import hold_output, outputs_of
from clinragen.knowledge.graph import ConceptGraph
from clinragen.similarity.heads import LabelHeads
from clinragen.similarity.search import Dense, LabelSets, Rows, Sparse, first, ordered
from clinragen.similarity.student import STUDENT, StudentVectors
from clinragen.similarity.vectors import Encoded, Encoders

VECTORS, ENCODERS, MANIFEST = "vectors.safetensors", "encoders.json", "manifest.json"
_REMEDY = "build it anew with `clinragen index build`"
#: Modalities of the chart; and that which compares how likely each label is with the labels of a stay.
CHART, LABELS = ("words", "concepts", "series"), "diagnoses"
#: Of the manifest: which student reads charts for the index.
MODEL_HASH = "model_hash"
#: The first of each modality, from which the neighbours are drawn.
CANDIDATES = 200


@dataclass(frozen=True)
class Query:
    """A chart to which similar ones are sought.

    Attributes:
        vectors: by modality; one without anything to compare is left out.
        subject: whose it is, and which stay of theirs; None for a chart that is in no cohort.
        stay: its id.
        at: prediction time, milliseconds since 1970; None: now.
    """

    vectors: Mapping[str, np.ndarray | csr_matrix]
    subject: int | None = None
    stay: int | None = None
    at: int | None = None


@dataclass(frozen=True)
class Neighbour:
    """A stay of the index that is similar to a query.

    Attributes:
        row: of the index.
        score: weighted sum of the similarities.
        similarities: by modality.
    """

    row: int
    score: float
    similarities: dict[str, float]


@dataclass(frozen=True)
class IndexedStays:
    """The stays of an index, [n] each.

    Attributes:
        ids, subjects: of stay and patient, int64.
        ended: when the stay in hospital ended, int64 milliseconds since 1970.
        labels: with which it was coded, bool [n, L].
        started: classes of drugs newly started within a day of its prediction time, bool [n, classes].
    """

    ids: np.ndarray
    subjects: np.ndarray
    ended: np.ndarray
    labels: np.ndarray
    started: np.ndarray


@dataclass(frozen=True)
class SimilarIndex:
    """Vectors of training stays, and how they are searched.

    Attributes:
        vectors: by modality of the chart, or of a student: unit rows [n, d], dense or sparse.
        stays: whose they are.
        weights: of the modalities, which sum to 1.
        encoders: turn a chart into vectors.
        heads: say how likely each label is; None for a cohort without labels.
        manifest: hashes and settings.
    """

    vectors: dict[str, np.ndarray | csr_matrix]
    stays: IndexedStays
    weights: dict[str, float]
    encoders: Encoders
    heads: LabelHeads | None
    manifest: dict[str, Any] = field(repr=False)

    def __len__(self) -> int:
        return len(self.stays.ids)

    @cached_property
    def rows(self) -> dict[str, Rows]:
        """What is searched, by modality."""
        rows: dict[str, Rows] = {
            name: Sparse(matrix) if isinstance(matrix, csr_matrix) else Dense(matrix)
            for name, matrix in self.vectors.items()
        }
        return {**rows, LABELS: LabelSets(self.stays.labels)} if self.heads is not None else rows

    @property
    def dated(self) -> bool:
        """Whether times of different patients can be compared."""
        return self.manifest["clock"] == "absolute"

    def queries(self, encoded: Encoded, probabilities: np.ndarray | None = None) -> list[Query]:
        """Charts as queries, without whose they are.

        Args:
            encoded: n charts.
            probabilities: of their labels, [n, L]; those of the index's own linear models by default.
        """
        if probabilities is None and self.heads is not None:
            probabilities = self.heads.probabilities(encoded.sources)
        return [Query(self._vectors(encoded, row, probabilities)) for row in range(len(encoded))]

    def queries_of(
        self,
        cohort: Cohort,
        stay_ids: np.ndarray,
        probabilities: np.ndarray | None = None,
        encoded: Encoded | None = None,
    ) -> list[Query]:
        """Stays of a cohort as queries, each with whose it is and its prediction time.

        Args:
            cohort: any cohort with the variables of the index.
            stay_ids: ascending.
            probabilities: as in :meth:`queries`.
            encoded: the stays, if they were encoded before.

        Raises:
            UserError: a student of the index cannot read the cohort.
        """
        queries = self.queries(encoded or self.encoders.of_stays(cohort, stay_ids), probabilities)
        rows = cohort.stays.filter(pl.col("stay_id").is_in(pl.Series(stay_ids).implode())).sort("stay_id")
        columns = rows.select("subject_id", "stay_id", pl.col("prediction_time").dt.epoch("ms"))
        return [
            replace(query, subject=subject, stay=stay, at=at)
            for query, (subject, stay, at) in zip(queries, columns.iter_rows(), strict=True)
        ]

    def _vectors(
        self, encoded: Encoded, row: int, probabilities: np.ndarray | None
    ) -> dict[str, np.ndarray | csr_matrix]:
        vectors: dict[str, np.ndarray | csr_matrix] = {}
        for name in self.vectors:
            matrix: Any = encoded.rows(name)
            vector: Any = csr_matrix(matrix[row]) if isinstance(matrix, csr_matrix) else matrix[row]
            if vector.nnz if isinstance(vector, csr_matrix) else vector.any():
                vectors[name] = vector
        return vectors if probabilities is None else {**vectors, LABELS: probabilities[row]}

    def allowed(self, query: Query) -> np.ndarray:
        """Which stays may be neighbours, bool [n]."""
        allowed = np.ones(len(self), dtype=bool)
        if query.subject is not None:
            allowed &= self.stays.subjects != query.subject
        if query.stay is not None:
            allowed &= self.stays.ids != query.stay
        if self.dated and query.at is not None:
            allowed &= self.stays.ended <= query.at
        return allowed

    def candidates(self, query: Query, count: int = CANDIDATES, names: Sequence[str] | None = None) -> np.ndarray:
        """The first rows of each modality, ascending; at least what is asked for of each."""
        allowed = self.allowed(query)
        parts = [
            first(self.rows[name], query.vectors[name], allowed, count)
            for name in names or self.rows
            if name in query.vectors
        ]
        return np.unique(np.concatenate(parts)) if parts else np.zeros(0, dtype=np.int64)

    def similarities(self, query: Query, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Of some rows to a query, by modality, [rows] each; 0 by what the query lacks."""
        return {
            name: searched.exact(query.vectors[name], rows) if name in query.vectors else np.zeros(len(rows))
            for name, searched in self.rows.items()
        }

    def search(
        self, query: Query, count: int = 10, *, weights: Mapping[str, float] | None = None, candidates: int = CANDIDATES
    ) -> list[Neighbour]:
        """The most similar stays, most similar first; of equal ones, the one with the smaller stay id.

        Args:
            query: a chart.
            count: how many, at most.
            weights: of the modalities; those of the index by default. A modality that has none is not searched.
            candidates: the first of each modality, from which the neighbours are drawn.
        """
        weights = self.weights if weights is None else weights
        names = [name for name in self.rows if weights.get(name)]
        rows = self.candidates(query, max(candidates, count), names)
        similarities = self.similarities(query, rows)
        scores = np.zeros(len(rows))
        for name in names:
            scores += weights[name] * similarities[name]
        scores = scores.round(10)
        position = {row: number for number, row in enumerate(rows.tolist())}
        nearest = [position[row] for row in ordered(rows, scores)[:count].tolist()]
        return [
            Neighbour(
                int(rows[number]),
                float(scores[number]),
                {name: float(values[number]) for name, values in similarities.items()},
            )
            for number in nearest
            if scores[number] > 0  # otherwise they have nothing in common
        ]

    def with_weights(self, weights: dict[str, float]) -> SimilarIndex:
        """The same index with other weights."""
        return replace(self, weights=weights)

    def save(self, folder: Path) -> None:
        """Write the files of the index into a folder."""
        import torch

        from clinragen.tensors import write_tensors

        arrays = {f"stays.{name}": value for name, value in vars(self.stays).items()}
        for name, matrix in self.vectors.items():
            if isinstance(matrix, csr_matrix):
                parts = {"data": matrix.data, "columns": matrix.indices, "ends": matrix.indptr}
                arrays |= {f"{name}.{part}": value for part, value in parts.items()}
            else:
                arrays[name] = matrix
        arrays |= self.encoders.tensors() | (self.heads.tensors() if self.heads is not None else {})
        tensors = {name: torch.tensor(arrays[name]) for name in sorted(arrays)}
        write_tensors(folder / VECTORS, tensors)
        shapes: dict[str, Any] = {name: matrix.shape for name, matrix in self.vectors.items()}
        described = {
            "widths": {name: shape[1] for name, shape in shapes.items()},
            "weights": self.weights,
            "encoders": self.encoders.to_json(),
            "heads": self.heads.to_json() if self.heads is not None else None,
        }
        write_json(folder / ENCODERS, described)
        outputs = outputs_of([folder / VECTORS, folder / ENCODERS])
        write_json(folder / MANIFEST, {**versions.INDEX.mark, **self.manifest, **outputs})

    @classmethod
    def load(
        cls,
        folder: Path,
        graph_of: Callable[[dict[str, Any]], ConceptGraph],
        trained: TrainedModel | None = None,
    ) -> SimilarIndex:
        """Read an index.

        Args:
            folder: written by ``clinragen index build``.
            graph_of: gives the graph that its concepts are of, from its manifest.
            trained: the student of its modalities, if it has any of one.

        Raises:
            UserError: no index, a damaged one, or one of another graph.
        """
        manifest = read_manifest(folder)
        for name in (VECTORS, ENCODERS):
            hold_output(folder / name, manifest, remedy=_REMEDY)
        described = read_json(folder / ENCODERS, "part of an index made by `clinragen index build`")
        try:
            tensors = load_file(folder / VECTORS)
            names_of_student = [name for name in described["widths"] if name in STUDENT]
            student = StudentVectors.load(trained, names_of_student, tensors) if trained is not None else None
            encoders = Encoders.load(described["encoders"], tensors, graph_of(manifest), student)
            heads = LabelHeads.load(described["heads"], tensors) if described["heads"] else None
            names = ("ids", "subjects", "ended", "labels", "started")
            stays = IndexedStays(*(tensors[f"stays.{name}"] for name in names))
            vectors = {name: _matrix(name, width, tensors) for name, width in described["widths"].items()}
            weights = described["weights"]
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            raise UserError(f"{folder}: the index is damaged ({type(error).__name__}): {_REMEDY}") from None
        if encoders.concepts.link.fingerprint != manifest.get("concepts_hash"):
            raise UserError(f"{folder}: the index was built with another concept graph: give --graph, or {_REMEDY}")
        return cls(vectors, stays, weights, encoders, heads, manifest)


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of an index.

    Raises:
        UserError: there is none, or of a version that is not read.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder: expected an index made by `clinragen index build`")
    manifest = read_json(folder / MANIFEST, "the manifest of an index made by `clinragen index build`")
    versions.INDEX.check(manifest, folder / MANIFEST)
    return manifest


def _matrix(name: str, width: int, tensors: dict[str, np.ndarray]) -> np.ndarray | csr_matrix:
    if name in tensors:
        return tensors[name]
    data, columns, ends = (tensors[f"{name}.{part}"] for part in ("data", "columns", "ends"))
    return csr_matrix((data, columns, ends), shape=(len(ends) - 1, width))
