"""Predictions and results in the forms of MEDS-DEV and meds-evaluation, a task for each label.

- ``predictions/<label>.parquet``: MEDS's label schema (``subject_id``, ``prediction_time``, ``boolean_value``) with the
  columns ``predicted_boolean_value`` and ``predicted_boolean_probability`` of meds-evaluation's ``PredictionSchema``
- ``results/<label>.json``: MEDS-DEV's record of a result: ``dataset``, ``task``, ``model``, ``timestamp``, ``version``
  and ``result``, the scores as meds-evaluation 0.0.6 computes them with its defaults

Sources: https://github.com/kamilest/meds-evaluation, https://github.com/Medical-Event-Data-Standard/MEDS-DEV.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TypedDict

import numpy as np
import pyarrow as pa

from clinragen import __version__, tasks
from clinragen.artifacts import PRIVATE_FOLDER, write_json, write_table
from clinragen.evaluation.inputs import Predictions, Truth
from clinragen.outputs import MEDS_DEV, output_folder

FOLDER = "meds-dev"
PREDICTIONS = pa.schema(
    [
        pa.field("subject_id", pa.int64(), nullable=False),
        pa.field("prediction_time", pa.timestamp("us"), nullable=False),
        pa.field("boolean_value", pa.bool_(), nullable=False),
        ("predicted_boolean_value", pa.bool_()),
        ("predicted_boolean_probability", pa.float32()),
    ]
)
#: meds-evaluation's defaults: stays drawn of each patient with replacement, and the seed
_DRAWN, _SEED = 4, 0
_BINS = 10


class Scores(TypedDict):
    """Scores of a label; those of the ranking are null where all stays carry it, or none."""

    binary_accuracy: float
    f1_score: float
    roc_auc_score: float | None
    average_precision_score: float | None
    calibration_error: float
    brier_score: float


class Results(TypedDict):
    """Scores over stays, and over four stays of each patient, drawn with replacement."""

    samples_equally_weighted: Scores
    subjects_equally_weighted: Scores


def write(predictions: Predictions, truth: Truth, folder: Path, *, overwrite: bool = False) -> None:
    """Write both files of every label that an eligible stay has an answer to.

    Args:
        predictions: of the stays.
        truth: their labels.
        folder: to write; readable by its owner only.
        overwrite: replace what an earlier evaluation wrote there.

    Raises:
        UserError: ``folder`` exists and may not be replaced.
    """
    model, task = Path(predictions.manifest.model).name, predictions.manifest.task or tasks.DEFAULT
    predicted_at = datetime.fromtimestamp((predictions.root / "predictions.parquet").stat().st_mtime, UTC)
    with output_folder(folder, MEDS_DEV, overwrite=overwrite, inputs=(truth.cohort.paths.root,)) as filled:
        for name in ("predictions", "results"):
            (filled / name).mkdir(PRIVATE_FOLDER)
        for column, label in enumerate(predictions.labels):
            table = labelled(predictions, truth, column)
            if not table.num_rows:
                continue
            write_table(filled / "predictions" / f"{label}.parquet", table)
            record = {
                "dataset": str(predictions.manifest.source or "not recorded"),
                "task": f"{task}/{label}",
                "model": f"clinragen/{model}",
                "timestamp": predicted_at.isoformat(),
                "result": results(table),
                "version": f"clinragen {__version__}",
            }
            write_json(filled / "results" / f"{label}.json", record)


def labelled(predictions: Predictions, truth: Truth, column: int) -> pa.Table:
    """The rows of one label (:data:`PREDICTIONS`), by patient and time, without stays that are not eligible.

    Args:
        predictions: of ``n`` stays.
        truth: their labels.
        column: which of the labels.
    """
    rows = np.flatnonzero(truth.eligible[:, column])
    stays = truth.stays[rows.tolist()]
    columns = [
        stays["subject_id"].to_arrow(),
        stays["prediction_time"].to_arrow().cast(pa.timestamp("us")),
        pa.array(truth.gold[rows, column]),
        pa.array(predictions.system.thresholded[rows, column]),
        pa.array(predictions.system.probabilities[rows, column].astype(np.float32)),
    ]
    table = pa.Table.from_arrays(columns, schema=PREDICTIONS)
    return table.sort_by([("subject_id", "ascending"), ("prediction_time", "ascending")])


def results(table: pa.Table) -> Results:
    """The scores of one label, as meds-evaluation computes them.

    Args:
        table: rows of :data:`PREDICTIONS`, at least one, by ``subject_id``.
    """
    gold, called, probabilities = (table[name].to_numpy(zero_copy_only=False) for name in PREDICTIONS.names[2:])
    subjects = table["subject_id"].to_numpy()
    drawing = np.random.RandomState(_SEED)
    of_subject = np.split(np.arange(len(subjects)), np.unique(subjects, return_index=True)[1][1:])
    drawn = np.concatenate([drawing.choice(rows, _DRAWN, replace=True) for rows in of_subject])
    return {
        "samples_equally_weighted": _scores(gold, called, probabilities),
        "subjects_equally_weighted": _scores(gold[drawn], called[drawn], probabilities[drawn]),
    }


def _scores(gold: np.ndarray, called: np.ndarray, probabilities: np.ndarray) -> Scores:
    from sklearn.calibration import calibration_curve
    from sklearn.metrics import accuracy_score, average_precision_score, brier_score_loss, f1_score, roc_auc_score

    both = bool(gold.any() and not gold.all())
    observed, predicted = calibration_curve(gold, probabilities, n_bins=_BINS)
    return {
        "binary_accuracy": float(accuracy_score(gold, called)),
        "f1_score": float(f1_score(gold, called, zero_division=0)),  # type: ignore[arg-type]
        "roc_auc_score": float(roc_auc_score(gold, probabilities)) if both else None,
        "average_precision_score": float(average_precision_score(gold, probabilities)) if both else None,
        "calibration_error": float(np.abs(observed - predicted).mean()),
        "brier_score": float(brier_score_loss(gold, probabilities)),
    }
