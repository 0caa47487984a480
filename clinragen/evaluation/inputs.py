"""Read a predictions folder and its cohort; every mismatch is an error before any metric is computed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from clinragen import tasks
from clinragen.added_variables import NONE, AddedVariables, opened
from clinragen.artifacts import sha256_file
from clinragen.catalog import variables
from clinragen.choices import RationaleKind
from clinragen.cohort.folder import Cohort
from clinragen.errors import UserError
from clinragen.evaluation import prediction_columns as columns
from clinragen.evaluation.diagnosis import System
from clinragen.evaluation.explanation import ExplainedDiagnosis, Explanation
from clinragen.evaluation.prediction_columns import AGAIN, Contribution
from clinragen.integrity import complete, hold_output
from clinragen.knowledge.graph import ConceptGraph
from clinragen.knowledge.relabel import open_known_graph
from clinragen.label_sets import LabelSet, Phenotype, of_manifest, shipped
from clinragen.manifests import PredictionsManifest
from clinragen.packed_model import weights_folder
from clinragen.schema import RATIONALE_KINDS
from clinragen.shape import differs, of
from clinragen.tasks import Task

if TYPE_CHECKING:
    import pandas as pd

#: Files of a predictions folder besides its manifest.
FILES = ("predictions.parquet", "predictions.jsonl", "attributions.jsonl")


@dataclass(frozen=True)
class Predictions:
    """A predictions folder: ``n`` stays in file order, ``L`` labels in the manifest's order."""

    root: Path
    manifest: PredictionsManifest
    labels: LabelSet
    stay_ids: np.ndarray  # [n] int64
    system: System
    parsed: np.ndarray  # [n] bool
    note_rationales: list[str]
    series_rationales: list[str]
    concepts: list[list[tuple[str, float]]]  # per stay (concept id, attention weight), highest first
    attributions: dict[int, list[ExplainedDiagnosis]] = field(default_factory=dict)  # stay id -> explained diagnoses
    contributions: list[list[Contribution]] = field(default_factory=list)  # per stay; empty where not held
    abstains: list[list[str]] = field(default_factory=list)  # per stay the reasons; empty where not held
    added: AddedVariables = NONE  # variables beside the catalogue's
    intervals: np.ndarray | None = None  # [n, L, 2]: low and high end of each probability; None where not held

    @property
    def task(self) -> Task:
        """The predicted task."""
        return tasks.load(self.manifest.task or tasks.DEFAULT)

    def rationales(self, row: int) -> dict[RationaleKind, str]:
        """The rationales of the stay of a row."""
        return {"note": self.note_rationales[row], "series": self.series_rationales[row]}

    def take(self, rows: Sequence[int]) -> Predictions:
        """The predictions of some rows, in this order."""
        stays = self.stay_ids[rows]
        return replace(
            self,
            stay_ids=stays,
            system=self.system.take(rows),
            parsed=self.parsed[rows],
            note_rationales=[self.note_rationales[row] for row in rows],
            series_rationales=[self.series_rationales[row] for row in rows],
            concepts=[self.concepts[row] for row in rows],
            attributions={stay: self.attributions[stay] for stay in stays.tolist() if stay in self.attributions},
            contributions=[self.contributions[row] for row in rows] if self.contributions else [],
            abstains=[self.abstains[row] for row in rows] if self.abstains else [],
            intervals=None if self.intervals is None else self.intervals[rows],
        )

    def of_stays(self, stays: Sequence[int]) -> Predictions:
        """The predictions of some stays, in the order of the file.

        Raises:
            UserError: a stay was not predicted.
        """
        if absent := sorted(set(stays) - set(self.stay_ids.tolist())):
            raise UserError(
                f"{self.root} holds no stay {absent[0]}{f' and {len(absent) - 1} more' * (len(absent) > 1)}: "
                f"its {len(self.stay_ids)} stays are those of split '{self.manifest.split}'"
            )
        return self.take(np.flatnonzero(np.isin(self.stay_ids, list(stays))).tolist())

    def frame(self) -> pl.DataFrame:
        """One row per stay: stay_id, diagnoses, both rationales, whether they parsed, why the model abstains,
        ``probability_LABEL`` of each."""
        keys = list(self.labels)
        listed = [[keys[i] for i in np.flatnonzero(row)] for row in self.system.listed]
        return pl.DataFrame(
            {
                "stay_id": self.stay_ids,
                "diagnoses": pl.Series(listed, dtype=pl.List(pl.String)),
                "note_rationale": self.note_rationales,
                "series_rationale": self.series_rationales,
                "parsed": self.parsed,
                "abstains": pl.Series(self.abstains or [[] for _ in self.stay_ids], dtype=pl.List(pl.String)),
                **{f"probability_{name}": self.system.probabilities[:, i] for i, name in enumerate(self.labels)},
            }
        )

    def to_pandas(self) -> pd.DataFrame:
        """:meth:`frame` in pandas."""
        return self.frame().to_pandas()

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
    eligible: np.ndarray  # [n, L] bool: which labels count
    training_eligible: np.ndarray  # [m, L] bool
    labelled: bool = True  # if false, ``gold`` and ``training`` are meaningless

    def take(self, rows: Sequence[int], stay_ids: np.ndarray) -> Truth:
        """The rows of some predictions, in this order; the cohort is their part of it.

        Args:
            rows: of the predictions.
            stay_ids: of these rows.
        """
        return replace(
            self,
            cohort=self.cohort.of_stays(stay_ids),
            stays=self.stays[list(rows)],
            gold=self.gold[rows],
            eligible=self.eligible[rows],
        )


def load_predictions(root: Path) -> Predictions:
    """Read a folder written by ``clinragen predict``, checked against the hashes of its manifest.

    Raises:
        UserError: a file, column or manifest entry is missing, damaged or changed, a stay occurs twice, a label is
            unknown, or a probability is invalid.
    """
    manifest = PredictionsManifest.read(root / "manifest.json")
    for name in FILES:
        hold_output(root / name, manifest.stored, remedy=AGAIN)
        if manifest.outputs is not None and name not in manifest.outputs and (root / name).exists():
            raise UserError(f"{root / name} is not recorded in the manifest beside it: {AGAIN}")
    added = opened(manifest.stored, root / "manifest.json", AGAIN)
    labels = _label_set(root / "manifest.json", manifest)
    path = root / "predictions.parquet"
    table = columns.read_columns(path)
    stay_ids = table["stay_id"].to_numpy().astype(np.int64)
    ids, counts = np.unique(stay_ids, return_counts=True)
    if (counts > 1).any():
        raise UserError(f"{path}: stay {ids[counts > 1][0]} occurs more than once")
    probabilities = columns.probabilities(path, table["probabilities"], labels)
    thresholds = np.array([float(manifest.thresholds[label]) for label in labels])
    return Predictions(
        root=root,
        manifest=manifest,
        labels=labels,
        added=added,
        stay_ids=stay_ids,
        system=System(probabilities, thresholds, columns.written(path, table, labels)),
        parsed=table["parsed"].to_numpy(zero_copy_only=False).astype(bool),
        note_rationales=columns.texts(path, table, "note_rationale"),
        series_rationales=columns.texts(path, table, "series_rationale"),
        concepts=columns.concepts(path, table["concepts"]),
        contributions=columns.contributions(path, table),
        abstains=columns.abstains(path, table),
        intervals=columns.intervals(path, table, labels, probabilities),
        attributions=_attributions(root / "attributions.jsonl", set(stay_ids.tolist()), set(labels)),
    )


def _label_set(path: Path, manifest: PredictionsManifest) -> LabelSet:
    """The labels of the predictions; for those of an earlier release with names from the catalogue, or their keys."""
    keys = manifest.labels
    if manifest.label_set:
        labels = of_manifest(manifest.stored, AGAIN)
        if list(labels) != keys:
            raise UserError(f"{path}: labels and label_set differ; {AGAIN}")
        return labels
    default = shipped()
    return LabelSet.of("labels", (default.get(key) or Phenotype(key, key.replace("_", " ")) for key in keys))


def _attributions(path: Path, stays: set[int], labels: set[str]) -> dict[int, list[ExplainedDiagnosis]]:
    """The output of ``clinragen predict --explain``; empty if it was not requested."""
    if not path.is_file():
        return {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise UserError(f"{path} is no UTF-8 text: run clinragen predict --explain anew") from None
    by_stay: dict[int, list[ExplainedDiagnosis]] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            trouble = differs(row, of(Explanation)) or _belongs(row, stays, labels)
        except (ValueError, RecursionError):  # no JSON, too deeply nested, or a number with thousands of digits
            row, trouble = {}, "it is not JSON"
        if not trouble and row["stay_id"] in by_stay:
            trouble = f"stay {row['stay_id']} is explained twice"
        if trouble:
            raise UserError(
                f"{path}: line {number} is no explanation ({trouble}): run clinragen predict --explain anew"
            )
        by_stay[row["stay_id"]] = row["diagnoses"]
    return by_stay


def _belongs(row: Explanation, stays: set[int], labels: set[str]) -> str | None:
    """The first entry of an explanation that does not belong to these predictions."""
    if row["stay_id"] not in stays:
        return f"stay {row['stay_id']} is none of those predicted"
    for each in row["diagnoses"]:
        if each["diagnosis"] not in labels:
            return f"the diagnosis '{columns.shown(each['diagnosis'])}' is not among the labels"
        for block in each["occlusion"]["hours"]:
            if block["variable"] not in variables():
                return f"the variable '{columns.shown(block['variable'])}' is not in the catalogue"
    return None


def load_truth(predictions: Predictions, cohort: Cohort, *, needs_labels: bool = True) -> Truth:
    """The gold labels and stay rows of the predicted stays.

    Args:
        predictions: a predictions folder, already read.
        cohort: the cohort of the predictions.
        needs_labels: whether a cohort without labels is an error.

    Raises:
        UserError: another cohort, another label set, or a predicted stay is missing.
    """
    root = cohort.paths.root
    if cohort.sha256 != predictions.manifest.cohort_hash:
        raise UserError(
            f"{predictions.root} was predicted from another cohort ({predictions.manifest.cohort}) than {root}, "
            "or from an earlier state of it: their hashes differ; predict anew or name that cohort"
        )
    task = predictions.task
    columns = list(task.label_set(cohort))
    if needs_labels and not task.available(cohort):
        task.table(cohort)  # raises the error that says what is missing
    if set(columns) != set(predictions.labels):
        odd = ", ".join(sorted(set(columns) ^ set(predictions.labels)))
        raise UserError(f"{cohort.paths.labels} and {predictions.root} have different label sets: they differ in {odd}")
    stay_ids = cohort.stays["stay_id"].to_numpy()
    absent = predictions.stay_ids[~np.isin(predictions.stay_ids, stay_ids)]
    if len(absent):
        raise UserError(f"{cohort.paths.stays} lacks {len(absent)} predicted stays, the first is {absent[0]}")
    rows = np.searchsorted(stay_ids, predictions.stay_ids)
    stays = complete(cohort.stays[rows], ("intime", "outtime", "prediction_time"), cohort.paths.stays)
    order = [columns.index(label) for label in predictions.labels]
    if not task.available(cohort):
        nothing = np.zeros((len(rows), len(order)), dtype=bool)
        return Truth(cohort, stays, nothing, nothing[:0], nothing, nothing[:0], labelled=False)
    ids = cohort.stays.filter(pl.col("split") == "train")["stay_id"].to_numpy()
    gold, training = task.labels(cohort, predictions.stay_ids), task.labels(cohort, ids)
    if needs_labels:
        task.check(cohort, gold, "predicted")
    return Truth(
        cohort=cohort,
        stays=stays,
        gold=gold.present[:, order],
        training=training.present[:, order],
        eligible=gold.eligible[:, order],
        training_eligible=training.eligible[:, order],
    )


def load_control(root: Path, expected: str, predictions: Predictions) -> Predictions:
    """Predictions of the same model on the same stays with an altered series, in the order of ``predictions``.

    Args:
        root: folder of the control.
        expected: ``zeroed`` or ``permuted``.
        predictions: the predictions that it is a control for.

    Raises:
        UserError: another model, cohort, label set, set of stays, or series input.
    """
    control = load_predictions(root)
    if control.manifest.series_input != expected:
        raise UserError(f"{root}: series_input is '{control.manifest.series_input}', expected '{expected}'")
    for name in ("model_hash", "cohort_hash", "labels"):
        if getattr(control.manifest, name) != getattr(predictions.manifest, name):
            raise UserError(f"{root} is no control of {predictions.root}: their {name} differ")
    order = {stay: row for row, stay in enumerate(control.stay_ids)}
    if set(order) != set(predictions.stay_ids):
        raise UserError(f"{root} is no control of {predictions.root}: they hold different stays")
    return control.take([order[stay] for stay in predictions.stay_ids])


def teacher_rationales(cohort: Cohort, teacher: str, stay_ids: np.ndarray) -> dict[RationaleKind, list[str | None]]:
    """``note`` and ``series`` rationales of a teacher, one per stay; None for stays without one.

    Raises:
        UserError: the teacher wrote none for this cohort.
    """
    rows = cohort.rationales(teacher).select("stay_id", "kind", "text").iter_rows()
    texts = {(stay, kind): text for stay, kind, text in rows}
    return {kind: [texts.get((int(stay), kind)) for stay in stay_ids] for kind in RATIONALE_KINDS}


def graph_of(predictions: Predictions, graph: Path | None) -> ConceptGraph:
    """The concept graph for reading claims: the user's, or the model's if it still exists, or the curated core."""
    if graph is not None:
        return open_known_graph(graph, predictions.labels, predictions.added)
    recorded = predictions.manifest.graph
    places = [*_graph_of_model(Path(predictions.manifest.model)), *([Path(recorded)] if recorded else [])]
    folder = next((folder for folder in places if is_folder(folder)), None)
    return open_known_graph(folder, predictions.labels, predictions.added)


def _graph_of_model(model: Path) -> list[Path]:
    """Where a recorded model has its graph; nothing if the path is invalid or another file now."""
    try:
        return [weights_folder(model) / "graph"]
    except (OSError, ValueError, UserError):
        return []


def is_folder(path: Path) -> bool:
    """Whether a recorded path is a folder on this machine; invalid paths are none."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def default_teacher(cohort: Cohort) -> str | None:
    """The offline teacher, if it wrote rationales for this cohort."""
    return "evidence" if cohort.paths.rationales("evidence").is_file() else None
