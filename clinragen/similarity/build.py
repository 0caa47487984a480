"""Building an index from a cohort: vectors of its training stays, linear models of the labels, and weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from clinragen import __version__, added_variables, tasks
from clinragen.cohort.folder import Cohort
from clinragen.cohort.orders import by_class, new_starts
from clinragen.errors import UserError, unknown_choice
from clinragen.inference.finished import FinishedRun
from clinragen.inference.predict import TrainedModel
from clinragen.knowledge.graph import ConceptGraph
from clinragen.similarity.heads import LabelHeads, LabelledStays
from clinragen.similarity.hybrid import Judged, fit_weights, jaccard
from clinragen.similarity.index import CHART, LABELS, MODEL_HASH, IndexedStays, SimilarIndex
from clinragen.similarity.student import STUDENT, StudentVectors, check_student, modalities_of, student_hash
from clinragen.similarity.vectors import Encoded, Encoders
from clinragen.tasks.prescription import HOURS, treatments

#: Validation stays that the weights are fitted to, at most: more make them no better, and each takes a search.
JUDGED = 400


def build_index(
    cohort: Cohort,
    graph: ConceptGraph,
    modalities: Sequence[str] = (),
    trained: TrainedModel | None = None,
    advance: Callable[[int], object] = lambda count: None,
) -> SimilarIndex:
    """An index of the training stays of a cohort.

    Args:
        cohort: its validation stays choose what the index is fitted with; its test stays are not read.
        graph: the concepts of notes.
        modalities: those to compare charts by; all that there are by default.
        trained: the student of ``aligned`` and ``embedding``.
        advance: called with the number of training stays that it has read, for each of these.

    Raises:
        UserError: an unknown modality, no training stays, or a student that cannot read them.
    """
    names = chosen_modalities(modalities, None if trained is None else trained.run)
    ids = cohort.split("train")
    encoders = Encoders.fit(cohort, ids, graph)
    encoded = encoders.of_stays(cohort, ids)
    vectors = {name: encoded.rows(name) for name in CHART if name in names}
    if trained is not None:
        read_by_it = [name for name in STUDENT if name in names]
        student, of_student = StudentVectors.fit(trained, read_by_it, cohort, ids, advance)
        encoders, vectors = replace(encoders, student=student), vectors | of_student
    judged = _judged_stays(cohort)
    validation = encoders.of_stays(cohort, judged) if len(judged) else None
    heads = None
    if LABELS in names and cohort.labelled and validation is not None:
        heads = _heads(cohort, {"train": (ids, encoded), "validation": (judged, validation)})
    if not vectors and heads is None:
        raise UserError(f"{cohort.paths.root} has no labels: an index needs another modality than '{LABELS}'")
    begun = SimilarIndex(vectors, _stays(cohort, ids), {}, encoders, heads, _manifest(cohort, encoders))
    weights = dict.fromkeys(begun.rows, round(1 / len(begun.rows), 6))
    if heads is not None:
        weights = _weights(begun, cohort, judged, validation)
    return begun.with_weights(weights)


def chosen_modalities(modalities: Sequence[str], run: FinishedRun | None) -> list[str]:
    """The modalities of an index; by default all that there are.

    Args:
        modalities: those that were asked for.
        run: of a student.

    Raises:
        UserError: an unknown modality, one of a student without a student, or a student without a modality of it.
    """
    every = (*CHART, LABELS, *STUDENT)
    for name in modalities:
        if name not in every:
            raise unknown_choice("modality", name, every)
    of_student = [name for name in modalities if name in STUDENT]
    if run is None and of_student:
        raise UserError(f"modality '{of_student[0]}' is read by a model: give --model, a run of `clinragen train`")
    if run is not None and modalities and not of_student:
        raise UserError(f"--model is read for {' and '.join(STUDENT)}: give one of them as --modality, or leave it out")
    if run is not None:
        check_student(run, of_student)
    present = (*CHART, LABELS, *(modalities_of(run) if run is not None else ()))
    return [name for name in present if not modalities or name in modalities]


def _heads(cohort: Cohort, read: dict[str, tuple[np.ndarray, Encoded]]) -> LabelHeads | None:
    """Linear models of the labels; None where no validation stay has one to calibrate them by."""
    stays = {split: LabelledStays(*tasks.load("diagnosis").labels(cohort, ids)) for split, (ids, _) in read.items()}
    if not stays["validation"].labels.any() or not stays["train"].labels.any():
        return None
    return LabelHeads.fit(list(cohort.label_set), {split: part.sources for split, (_, part) in read.items()}, stays)


def _judged_stays(cohort: Cohort) -> np.ndarray:
    """The validation stays, or as many of them as are looked at, evenly drawn."""
    ids = cohort.stays.filter(pl.col("split") == "validation")["stay_id"].to_numpy()
    return ids if len(ids) <= JUDGED else ids[np.linspace(0, len(ids) - 1, JUDGED).astype(int)]


def _weights(index: SimilarIndex, cohort: Cohort, ids: np.ndarray, encoded: Encoded | None) -> dict[str, float]:
    """Weights of the modalities by the label overlap of validation stays with their candidates."""
    stays = []
    for query, labels in zip(index.queries_of(cohort, ids, encoded=encoded), cohort.label_matrix(ids), strict=True):
        rows = index.candidates(query)
        similarities = np.stack([index.similarities(query, rows)[name] for name in index.rows], axis=1)
        stays.append(Judged(similarities, jaccard(labels, index.stays.labels[rows])))
    return fit_weights(stays, list(index.rows), LABELS, STUDENT)


def _stays(cohort: Cohort, ids: np.ndarray) -> IndexedStays:
    rows = cohort.stays.filter(pl.col("stay_id").is_in(pl.Series(ids).implode())).sort("stay_id")
    labels = cohort.label_matrix(ids) if cohort.labelled else np.zeros((len(ids), len(cohort.label_set)), dtype=bool)
    classes = tuple(treatments())
    started = np.zeros((len(ids), len(classes)), dtype=bool)
    if cohort.ordered:
        started = by_class(new_starts(cohort, HOURS), ids, classes)
    return IndexedStays(ids, rows["subject_id"].to_numpy(), _ended(cohort, rows), labels, started)


def _ended(cohort: Cohort, rows: pl.DataFrame) -> np.ndarray:
    """When each stay in hospital ended, when its codes are known; if not stated, that in the unit."""
    ended = rows["outtime"]
    if cohort.paths.outcomes.exists():
        left = cohort.outcomes.filter(pl.col("stay_id").is_in(rows["stay_id"].implode())).sort("stay_id")
        ended = pl.select(pl.max_horizontal(ended, left["hospital_outtime"])).to_series()
    return ended.dt.epoch("ms").to_numpy()


def _manifest(cohort: Cohort, encoders: Encoders) -> dict[str, Any]:
    """What the index was made from, and of what."""
    return {
        "created_by": f"clinragen {__version__}",
        "cohort_hash": cohort.sha256,
        "concepts_hash": encoders.concepts.link.fingerprint,
        "clock": cohort.clock,
        "label_set": cohort.label_set.to_json(),
        added_variables.MANIFEST: cohort.manifest.get(added_variables.MANIFEST),
        "labels": list(cohort.label_set),
        "classes": list(treatments()),
        "stays": len(cohort.split("train")),
        **({MODEL_HASH: student_hash(encoders.student.trained.run)} if encoders.student is not None else {}),
    }
