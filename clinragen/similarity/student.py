"""Charts as vectors of a trained student: of the space in which note and series are aligned, and of its own states.

Of the student nothing is held but a hash of its files, so whoever asks an index of these modalities has the student.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from sklearn.preprocessing import normalize

from clinragen.artifacts import sha256_json
from clinragen.cohort.folder import Cohort
from clinragen.errors import UserError
from clinragen.inference.aligned import Vectors, states, vectors
from clinragen.inference.finished import FinishedRun
from clinragen.inference.predict import TrainedModel
from clinragen.model.alignment import FILE
from clinragen.similarity.axes import AXES, FARTHEST, principal_axes

ALIGNED, EMBEDDING = STUDENT = ("aligned", "embedding")
_PARTS = ("centre", "scale", "axes")


def student_hash(run: FinishedRun) -> str:
    """A hash of everything that the vectors of a run depend on."""
    return sha256_json([run.manifest.model_sha256, run.manifest.files])


def modalities_of(run: FinishedRun) -> tuple[str, ...]:
    """What stays can be compared by with a run: the aligned space only after stage ``align``."""
    return STUDENT if (run.model / FILE).is_file() else (EMBEDDING,)


def check_student(run: FinishedRun, names: Sequence[str]) -> None:
    """Raise a UserError if a run does not have one of some modalities."""
    if ALIGNED in names and ALIGNED not in modalities_of(run):
        raise UserError(f"{run.folder} is of stage '{run.manifest.stage}': '{ALIGNED}' needs one of stage align")


class _Read(NamedTuple):
    """What the student reads of n charts, and which of them have a note and a series, bool [2, n]."""

    by_name: dict[str, Vectors]
    some: np.ndarray


@dataclass(frozen=True)
class StudentVectors:
    """Vectors of a student.

    Attributes:
        trained: the student.
        names: ``aligned``: the sum of the unit vectors of note and series, whatever the chart has of them, so that a
            series finds notes; ``embedding``: mean states of both, standardised, along the axes in which stays differ
            most.
        centre, scale: of the states of note and series, float32 [2, d]; empty without ``embedding``.
        axes: float32 [2 d, axes].
    """

    trained: TrainedModel
    names: tuple[str, ...]
    centre: np.ndarray
    scale: np.ndarray
    axes: np.ndarray

    @classmethod
    def fit(
        cls,
        trained: TrainedModel,
        names: Sequence[str],
        cohort: Cohort,
        stay_ids: np.ndarray,
        advance: Callable[[int], object] = lambda count: None,
    ) -> tuple[StudentVectors, dict[str, np.ndarray]]:
        """From training stays of a cohort; and their vectors.

        Args:
            trained: the student.
            names: of ``STUDENT``.
            cohort: of the stays.
            stay_ids: ascending.
            advance: called with the number of stays that were read.

        Raises:
            UserError: the student cannot read the cohort.
        """
        nothing = np.zeros((0, 0), dtype=np.float32)
        begun = cls(trained, tuple(names), nothing, nothing, nothing)
        read = begun._read(cohort, stay_ids, advance)
        if EMBEDDING in names:
            parts = [side[some] for side, some in zip(read.by_name[EMBEDDING], read.some, strict=True)]
            centre = np.stack([part.mean(0) if len(part) else np.zeros(part.shape[1]) for part in parts])
            scale = np.stack([part.std(0) if len(part) else np.ones(part.shape[1]) for part in parts]) + 1e-6
            centre, scale = centre.astype(np.float32), scale.astype(np.float32)
            begun = cls(trained, begun.names, centre, scale, nothing)
            begun = cls(trained, begun.names, centre, scale, principal_axes(begun._standard(read), AXES))
        return begun, begun._project(read)

    def of_stays(
        self, cohort: Cohort, stay_ids: np.ndarray, advance: Callable[[int], object] = lambda count: None
    ) -> dict[str, np.ndarray]:
        """Unit rows of stays of a cohort by modality, [n, d]; 0 for a chart that has nothing to read.

        Raises:
            UserError: the student cannot read the cohort.
        """
        return self._project(self._read(cohort, stay_ids, advance))

    def _read(self, cohort: Cohort, stay_ids: np.ndarray, advance: Callable[[int], object]) -> _Read:
        stays = self.trained.stays(cohort, stay_ids)
        notes = [any(text.strip() for _, text in stays.sections.get(stay, ())) for stay in stay_ids.tolist()]
        some = np.stack([np.array(notes), stays.observed.any(axis=(1, 2))])
        by_name = {}
        if ALIGNED in self.names:
            by_name[ALIGNED] = vectors(self.trained, stays, advance=advance)
        if EMBEDDING in self.names:
            by_name[EMBEDDING] = states(self.trained, stays, advance=advance)
        return _Read(by_name, some)

    def _project(self, read: _Read) -> dict[str, np.ndarray]:
        rows = {}
        if ALIGNED in self.names:
            note, series = (side * some[:, None] for side, some in zip(read.by_name[ALIGNED], read.some, strict=True))
            rows[ALIGNED] = _unit(note + series)
        if EMBEDDING in self.names:
            rows[EMBEDDING] = _unit(self._standard(read) @ self.axes)
        return rows

    def _standard(self, read: _Read) -> np.ndarray:
        """Standardised states of note and series side by side, [n, 2 d]; 0 for what a chart lacks."""
        parts = [
            np.where(some[:, None], ((side - centre) / scale).clip(-FARTHEST, FARTHEST), 0)
            for side, some, centre, scale in zip(
                read.by_name[EMBEDDING], read.some, self.centre, self.scale, strict=True
            )
        ]
        return np.hstack(parts).astype(np.float32)

    def tensors(self) -> dict[str, np.ndarray]:
        """The arrays beside the student."""
        return {f"student.{name}": getattr(self, name) for name in _PARTS} if EMBEDDING in self.names else {}

    @classmethod
    def load(cls, trained: TrainedModel, names: Sequence[str], tensors: dict[str, np.ndarray]) -> StudentVectors:
        """From ``tensors`` and the student."""
        nothing = np.zeros((0, 0), dtype=np.float32)
        parts = (tensors[f"student.{name}"] if EMBEDDING in names else nothing for name in _PARTS)
        return cls(trained, tuple(names), *parts)


def _unit(rows: np.ndarray) -> np.ndarray:
    return np.asarray(normalize(rows), dtype=np.float32)
