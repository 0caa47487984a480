"""A predictions folder read back and laid beside its cohort, with every mismatch an error before any number is made."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from clinragen.artifacts import read_json, read_table, sha256_file
from clinragen.catalog import phenotypes
from clinragen.data.cohort import Cohort
from clinragen.errors import UserError
from clinragen.evaluation.diagnosis import System
from clinragen.knowledge.graph import ConceptGraph
from clinragen.knowledge.relabel import open_graph
from clinragen.schema import RATIONALE_KINDS

_FIELDS = ("model", "model_hash", "cohort", "cohort_hash", "labels", "thresholds", "series_input", "split")
_COLUMNS = ("stay_id", "diagnoses", "probabilities", "note_rationale", "series_rationale", "parsed", "concepts")


@dataclass(frozen=True)
class Predictions:
    """A predictions folder: ``n`` stays in file order, ``L`` labels in the manifest's order."""

    root: Path
    manifest: dict[str, Any]
    labels: list[str]
    stay_ids: np.ndarray  # [n] int64
    system: System
    parsed: np.ndarray  # [n] bool
    note_rationales: list[str]
    series_rationales: list[str]
    concepts: list[list[tuple[str, float]]]  # per stay (concept id, attention weight), the heaviest first
    attributions: dict[int, list[dict[str, Any]]] = field(default_factory=dict)  # stay id -> explained diagnoses

    @property
    def table_hash(self) -> str:
        """SHA-256 of ``predictions.parquet``."""
        return sha256_file(self.root / "predictions.parquet")


@dataclass(frozen=True)
class Truth:
    """The cohort's rows for the predicted stays, in the order of the predictions."""

    cohort: Cohort
    stays: pl.DataFrame  # [n] rows of stays.parquet
    gold: np.ndarray  # [n, L] bool
    training: np.ndarray  # [m, L] bool, the labels of the cohort's training split


def load_predictions(root: Path) -> Predictions:
    """Read what ``clinragen predict`` wrote.

    Raises:
        UserError: a file, column or manifest entry is missing, a stay occurs twice, a label is unknown, or a
            probability is not one.
    """
    manifest = read_json(root / "manifest.json", "the manifest of a predictions folder (clinragen predict)")
    missing = [name for name in _FIELDS if not isinstance(manifest, dict) or name not in manifest]
    if missing:
        raise UserError(f"{root / 'manifest.json'}: entries missing: {', '.join(missing)}; run clinragen predict anew")
    path = root / "predictions.parquet"
    table = read_table(path)
    absent = [name for name in _COLUMNS if name not in table.column_names]
    if absent:
        raise UserError(f"{path}: columns missing: {', '.join(absent)}; it has {', '.join(table.column_names)}")
    if not table.num_rows:
        raise UserError(f"{path} holds no stay: predict a split that has some")
    stay_ids = table["stay_id"].to_numpy().astype(np.int64)
    ids, counts = np.unique(stay_ids, return_counts=True)
    if (counts > 1).any():
        raise UserError(f"{path}: stay {ids[counts > 1][0]} occurs more than once")
    labels = [str(label) for label in manifest["labels"]]
    probabilities = _probabilities(path, table["probabilities"], labels)
    unset = [label for label in labels if label not in manifest["thresholds"]]
    if unset:
        raise UserError(f"{root / 'manifest.json'}: thresholds has no entry for {', '.join(unset)}")
    thresholds = np.array([float(manifest["thresholds"][label]) for label in labels])
    return Predictions(
        root=root,
        manifest=manifest,
        labels=labels,
        stay_ids=stay_ids,
        system=System(probabilities, thresholds, _written(path, table, labels)),
        parsed=table["parsed"].to_numpy(zero_copy_only=False).astype(bool),
        note_rationales=[text or "" for text in table["note_rationale"].to_pylist()],
        series_rationales=[text or "" for text in table["series_rationale"].to_pylist()],
        concepts=[
            sorted(((str(row["concept"]), float(row["weight"])) for row in rows or []), key=lambda pair: -pair[1])
            for rows in table["concepts"].to_pylist()
        ],
        attributions=_attributions(root / "attributions.jsonl"),
    )


def _attributions(path: Path) -> dict[int, list[dict[str, Any]]]:
    """What ``clinragen predict --explain`` wrote; nothing where it was not asked for."""
    if not path.is_file():
        return {}
    found = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
            found[int(row["stay_id"])] = row["diagnoses"]
        except (ValueError, KeyError, TypeError):
            raise UserError(f"{path}: line {number} is no explanation: run clinragen predict --explain anew") from None
    return found


def _probabilities(path: Path, column: pa.ChunkedArray, labels: list[str]) -> np.ndarray:
    if not pa.types.is_struct(column.type):
        raise UserError(f"{path}: column 'probabilities' is {column.type}, expected a struct of one number per label")
    fields = {field.name for field in column.type}
    if fields != set(labels):
        odd = sorted(fields ^ set(labels))
        raise UserError(f"{path}: probabilities and the manifest's labels differ in {', '.join(odd)}")
    structs = pa.concat_arrays(column.chunks) if column.num_chunks != 1 else column.chunk(0)
    values = np.stack([structs.field(label).to_numpy(zero_copy_only=False).astype(float) for label in labels], axis=1)
    wrong = ~((values >= 0) & (values <= 1))
    if wrong.any():
        row, label = np.argwhere(wrong)[0]
        raise UserError(f"{path}: row {row}, {labels[label]}: {values[row, label]} is no probability (0 to 1)")
    return values


def _written(path: Path, table: pa.Table, labels: list[str]) -> np.ndarray:
    index = {label: i for i, label in enumerate(labels)}
    written = np.zeros((table.num_rows, len(labels)), dtype=bool)
    for row, said in enumerate(table["diagnoses"].to_pylist()):
        for label in said or []:
            if label not in index:
                raise UserError(f"{path}: row {row} names the diagnosis '{label}', which is not among the labels")
            written[row, index[label]] = True
    return written


def load_truth(predictions: Predictions, cohort: Cohort) -> Truth:
    """The gold labels and stay rows of the predicted stays.

    Raises:
        UserError: not the cohort the predictions were made from, another label set, or a predicted stay is absent.
    """
    root = cohort.paths.root
    if cohort.sha256 != predictions.manifest["cohort_hash"]:
        raise UserError(
            f"{predictions.root} was predicted from another cohort ({predictions.manifest['cohort']}) than {root}, "
            "or from an earlier state of it: their hashes differ; predict anew or name that cohort"
        )
    columns = cohort.labels.columns[1:]
    if set(columns) != set(predictions.labels):
        odd = ", ".join(sorted(set(columns) ^ set(predictions.labels)))
        raise UserError(f"{cohort.paths.labels} and {predictions.root} have different label sets: they differ in {odd}")
    known = cohort.stays["stay_id"].to_numpy()
    absent = predictions.stay_ids[~np.isin(predictions.stay_ids, known)]
    if len(absent):
        raise UserError(f"{cohort.paths.stays} lacks {len(absent)} predicted stays, the first is {absent[0]}")
    rows = np.searchsorted(known, predictions.stay_ids)
    order = [columns.index(label) for label in predictions.labels]
    training = cohort.stays.filter(pl.col("split") == "train")["stay_id"].to_numpy()
    return Truth(
        cohort=cohort,
        stays=cohort.stays[rows],
        gold=cohort.label_matrix(predictions.stay_ids)[:, order],
        training=cohort.label_matrix(training)[:, order],
    )


def load_control(root: Path, expected: str, predictions: Predictions) -> Predictions:
    """Predictions of the same model on the same stays with an altered series, in the order of ``predictions``.

    Args:
        root: the control's folder.
        expected: ``zeroed`` or ``shuffled``.
        predictions: what it is the control of.

    Raises:
        UserError: another model, cohort, label set, set of stays, or series input.
    """
    control = load_predictions(root)
    if control.manifest["series_input"] != expected:
        raise UserError(f"{root}: series_input is '{control.manifest['series_input']}', expected '{expected}'")
    for name in ("model_hash", "cohort_hash", "labels"):
        if control.manifest[name] != predictions.manifest[name]:
            raise UserError(f"{root} is no control of {predictions.root}: their {name} differ")
    order = {stay: row for row, stay in enumerate(control.stay_ids)}
    if set(order) != set(predictions.stay_ids):
        raise UserError(f"{root} is no control of {predictions.root}: they hold different stays")
    rows = [order[stay] for stay in predictions.stay_ids]
    system = control.system
    written = None if system.written is None else system.written[rows]
    return Predictions(
        root=root,
        manifest=control.manifest,
        labels=control.labels,
        stay_ids=predictions.stay_ids,
        system=System(system.probabilities[rows], system.thresholds, written),
        parsed=control.parsed[rows],
        note_rationales=[control.note_rationales[row] for row in rows],
        series_rationales=[control.series_rationales[row] for row in rows],
        concepts=[control.concepts[row] for row in rows],
    )


def teacher_rationales(cohort: Cohort, teacher: str, stay_ids: np.ndarray) -> dict[str, list[str | None]]:
    """``note`` and ``series`` rationales of a teacher, one per stay, None where it has none.

    Raises:
        UserError: the teacher wrote none for this cohort.
    """
    rows = cohort.rationales(teacher).select("stay_id", "kind", "text").iter_rows()
    texts = {(stay, kind): text for stay, kind, text in rows}
    return {kind: [texts.get((int(stay), kind)) for stay in stay_ids] for kind in RATIONALE_KINDS}


def graph_of(predictions: Predictions, given: Path | None) -> ConceptGraph:
    """The concept graph by which claims are read: the user's, else the model's own where it still is, else the core."""
    if given is not None:
        return open_graph(given)
    recorded = predictions.manifest.get("graph")
    places = [Path(predictions.manifest["model"]) / "model" / "graph", *([Path(recorded)] if recorded else [])]
    return open_graph(next((place for place in places if place.is_dir()), None))


def default_teacher(cohort: Cohort) -> str | None:
    """The offline teacher, where it wrote rationales for this cohort."""
    return "evidence" if cohort.paths.rationales("evidence").is_file() else None


def label_name(key: str) -> str:
    """The readable name of a label: the catalogue's, or the key with blanks for a user's own label.

    >>> label_name("copd"), label_name("long_covid")
    ('chronic obstructive pulmonary disease', 'long covid')
    """
    known = phenotypes().get(key)
    return known.name if known else key.replace("_", " ")


def published_names(key: str) -> tuple[str, ...]:
    """By what other names a label is known in the literature."""
    known = phenotypes().get(key)
    return known.published if known else ()
