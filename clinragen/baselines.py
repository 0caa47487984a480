"""Classical baselines of a cohort: what a student has to beat, calibrated and written as predictions.

- ``note``: logistic regression of each label on TF-IDF of words and pairs of words;
- ``series``: gradient boosting of each label on mean, extremes, last value and count of each variable;
- ``both``: gradient boosting on these statistics and the note's scores of all labels, of training stays out of fold.

Calibration and thresholds come from validation stays by models of the training stays, as for a student; then the models
are fitted again on both for the test stays. Settings were chosen on validation stays of the eICU demo
(``benchmarks/eicu_table.py``).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.special import logit
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict

from clinragen import __version__, tasks
from clinragen.artifacts import sha256_json
from clinragen.choices import SPLITS, BaselineReads, HeldOut
from clinragen.cohort.folder import Cohort
from clinragen.cohort.sections import note_text, sections_by_stay
from clinragen.errors import UserError
from clinragen.evaluation.diagnosis import System
from clinragen.inference.calibrate import Calibration, LabelCounts, fit_calibration
from clinragen.inference.prediction_rows import PredictionRow, schema_of
from clinragen.integrity import outputs_of
from clinragen.manifests import PredictionsManifest
from clinragen.outputs import PREDICTIONS, output_folder
from clinragen.tasks import Labels, Task

TITLES: dict[BaselineReads, str] = {
    "note": "TF-IDF, logistic regression",
    "series": "series statistics, gradient boosting",
    "both": "gradient boosting on series statistics and note scores",
}
STRENGTH = 3.0  # inverse of the penalty of the note's regression
FOLDS = 3  # of the training stays, for scores that a model of the note was not fitted to
_LEAST, _DECIMALS = 1e-4, 6  # of a probability
_PAUSE = 5.0  # seconds between two lines of progress
#: Called with a line that says what is done.
Say = Callable[[str], object]


def _silent(line: str) -> None:
    """For callers who want no progress."""


def _counted(labels: int, say: Say) -> Iterator[int]:
    """The numbers of the labels; says from time to time how many are done."""
    last = time.monotonic()
    for label in range(labels):
        if time.monotonic() - last > _PAUSE:
            say(f"{label} of {labels} labels")
            last = time.monotonic()
        yield label


def series_statistics(series: pl.DataFrame, stay_ids: pl.DataFrame) -> np.ndarray:
    """Mean, extremes, last value and count of each variable, [stays, features]; NaN where it was not measured.

    Args:
        series: rows of ``series.parquet``.
        stay_ids: one column ``stay_id``, in the order of the rows.
    """
    statistics = series.sort("stay_id", "hour").group_by("stay_id", "variable").agg(
        mean=pl.col("value").mean(), low=pl.col("value").min(), high=pl.col("value").max(),
        last=pl.col("value").last(), number=pl.len(),
    )  # fmt: skip
    statistics = statistics.sort("variable", "stay_id")  # boosting breaks ties by the order of columns
    wide = statistics.pivot(on="variable", index="stay_id", values=["mean", "low", "high", "last", "number"])
    return stay_ids.join(wide, on="stay_id", how="left", maintain_order="left").drop("stay_id").to_numpy().astype(float)


def boosting() -> HistGradientBoostingClassifier:
    """Gradient boosting with the settings of the baselines."""
    return HistGradientBoostingClassifier(
        max_iter=40, learning_rate=0.15, max_leaf_nodes=8, min_samples_leaf=15, l2_regularization=1.0, random_state=0
    )


def log_odds(probabilities: np.ndarray) -> np.ndarray:
    """The log-odds of probabilities, which are never taken as 0 or 1."""
    return logit(probabilities.clip(_LEAST, 1 - _LEAST))


def note_scores(
    texts: np.ndarray, labels: Labels, train: np.ndarray, say: Say = _silent
) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities by regressions on the words of the note, and the same with training stays out of fold; [n, L] each.

    Args:
        texts: [n] notes.
        labels: [n, L], and which of them count.
        train: [n] bool, what is learned from.
        say: called with lines of progress.
    """
    words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True).fit(texts[train]).transform(texts)
    scores, folded = np.zeros(labels.present.shape), np.zeros(labels.present.shape)
    for label in _counted(scores.shape[1], say):
        use = train & labels.eligible[:, label]
        target = labels.present[use, label]
        if min(target.sum(), (~target).sum()) < FOLDS:  # each fold needs one of both
            scores[:, label] = folded[:, label] = _rate(target)
            continue
        model = LogisticRegression(C=STRENGTH, solver="liblinear")
        out_of_fold = cross_val_predict(model, words[use], target, cv=FOLDS, method="predict_proba")
        scores[:, label] = folded[:, label] = model.fit(words[use], target).predict_proba(words)[:, 1]
        folded[use, label] = np.asarray(out_of_fold)[:, 1]
    return scores, folded


def boosted(features: np.ndarray, labels: Labels, train: np.ndarray, say: Say = _silent) -> np.ndarray:
    """Probabilities [n, L] by gradient boosting of each label.

    Args:
        features: [n, features], NaN where unknown.
        labels: [n, L], and which of them count.
        train: [n] bool, what is learned from.
        say: called with lines of progress.
    """
    varied = [len(np.unique(column[~np.isnan(column)])) > 1 for column in features[train].T]
    features = features[:, varied]
    scores = np.zeros(labels.present.shape)
    for label in _counted(scores.shape[1], say):
        use = train & labels.eligible[:, label]
        target = labels.present[use, label]
        one_class = target.all() or not target.any() or not features.shape[1]
        scores[:, label] = (
            _rate(target) if one_class else boosting().fit(features[use], target).predict_proba(features)[:, 1]
        )
    return scores


def _rate(target: np.ndarray) -> float:
    return float(target.mean()) if len(target) else 0.0


def scored(cohort: Cohort, labels: Labels, reads: BaselineReads, train: np.ndarray, say: Say = _silent) -> np.ndarray:
    """Probabilities [n, L] of all stays of a cohort by a baseline.

    Args:
        cohort: of the stays.
        labels: of all its stays.
        reads: which baseline.
        train: [n] bool, what is learned from.
        say: called with lines of progress.

    Raises:
        UserError: no training stay has the note that is to be read.
    """
    stays = cohort.stays.select("stay_id")
    if reads == "series":
        return boosted(series_statistics(cohort.series, stays), labels, train, say)
    sections = sections_by_stay(cohort.notes)
    texts = np.array([note_text(sections.get(stay, [])) for stay in stays["stay_id"]])
    if not any(texts[train]):
        raise UserError(f"{cohort.paths.notes}: no training stay has a note: use --reads series")
    scores, folded = note_scores(texts, labels, train, say)
    if reads == "note":
        return scores
    return boosted(np.hstack([series_statistics(cohort.series, stays), log_odds(folded)]), labels, train, say)


def fitted(
    cohort: Cohort, labels: Labels, keys: Sequence[str], reads: BaselineReads, split: HeldOut, say: Say = _silent
) -> tuple[np.ndarray, Calibration]:
    """Calibrated probabilities of a baseline for the stays of a split, [n, L], and the calibration.

    Args:
        cohort: of the stays.
        labels: of all its stays.
        keys: of the labels.
        reads: which baseline.
        split: whose stays; for the test stays it is fitted again on training and validation stays.
        say: called with lines of progress.

    Raises:
        UserError: no training stay has the note that is to be read.
    """
    rows = {name: (cohort.stays["split"] == name).to_numpy() for name in SPLITS}
    say(f"fitting {TITLES[reads]}, {len(keys)} labels, {int(rows['train'].sum()):,} training stays")
    scores = scored(cohort, labels, reads, rows["train"], say)
    calibration = fit_calibration(
        log_odds(scores[rows["validation"]]),
        labels.present[rows["validation"]].astype(float),
        list(keys),
        labels.eligible[rows["validation"]],
        training=LabelCounts.of(labels.present[rows["train"]], labels.eligible[rows["train"]]),
    )
    if split == "test":
        say("fitting it again on validation stays too")
        scores = scored(cohort, labels, reads, rows["train"] | rows["validation"], say)
    return calibration.probabilities(log_odds(scores[rows[split]])), calibration


def permuted_labels(cohort: Cohort, labels: Labels, seed: int) -> Labels:
    """The labels of a cohort's stays, with those of training and of validation stays dealt anew among these stays.

    Args:
        cohort: of the stays.
        labels: of all its stays; the labels of one stay stay together.
        seed: of the deal.
    """
    order = np.arange(cohort.stays.height)
    generator = np.random.default_rng(seed)
    for name in ("train", "validation"):
        rows = np.flatnonzero((cohort.stays["split"] == name).to_numpy())
        order[rows] = generator.permutation(rows)
    return Labels(labels.present[order], labels.eligible[order])


def labels_permuted(cohort: Cohort, task: Task, split: HeldOut, seed: int, say: Say = _silent) -> System:
    """The control in which nothing can be learned: a baseline of all that stays have, fitted to permuted labels.

    Its AUROC is one half but for chance. Where it is not, held-out labels reach the model by another way.

    Args:
        cohort: with labels.
        task: what is predicted.
        split: whose stays.
        seed: of the permutation.
        say: called with lines of progress.
    """
    stay_ids = cohort.stays["stay_id"].to_numpy()
    labels = permuted_labels(cohort, task.labels(cohort, stay_ids), seed)
    notes = cohort.notes.join(cohort.stays.filter(pl.col("split") == "train"), on="stay_id", how="semi")
    reads: BaselineReads = "both" if notes["text"].str.len_bytes().sum() else "series"
    probabilities, calibration = fitted(cohort, labels, list(task.label_set(cohort)), reads, split, say)
    return System(probabilities, np.array(calibration.thresholds))


def write_baseline(
    cohort: Cohort,
    out: Path,
    reads: BaselineReads,
    *,
    task: str = tasks.DEFAULT,
    split: HeldOut = "test",
    overwrite: bool = False,
    say: Say = _silent,
) -> PredictionsManifest:
    """Fit a baseline and write its predictions of a split, without rationales.

    Args:
        cohort: with labels.
        out: folder to write.
        reads: which baseline.
        task: what to predict.
        split: whose stays.
        overwrite: replace predictions that ``out`` holds.
        say: called with a line for each phase.

    Raises:
        UserError: a split is empty, two share a patient, the cohort lacks the labels, or the folder may not be written.
    """
    predicted = tasks.load(task)
    cohort.hold_patients_apart()
    stay_ids = cohort.stays["stay_id"].to_numpy()
    rows = {name: (cohort.stays["split"] == name).to_numpy() for name in SPLITS}
    for name in ("train", "validation", split):
        if not rows[name].any():
            raise UserError(f"{cohort.paths.stays}: split '{name}' has no stay, and a baseline needs it")
    labels = predicted.labels(cohort, stay_ids)
    predicted.check(cohort, Labels(*(part[rows["train"]] for part in labels)), "train")
    keys = predicted.label_set(cohort)
    with output_folder(out, PREDICTIONS, overwrite=overwrite, inputs=(cohort.paths.root,)) as folder:
        probabilities, calibration = fitted(cohort, labels, list(keys), reads, split, say)
        _write_rows(folder, stay_ids[rows[split]], probabilities.round(_DECIMALS), calibration)
        manifest = PredictionsManifest(
            created_by=f"clinragen {__version__}",
            model=f"baseline {reads}: {TITLES[reads]}",
            model_hash=sha256_json([reads, STRENGTH, FOLDS, repr(boosting()), cohort.sha256, task]),
            cohort=str(cohort.paths.root),
            cohort_hash=cohort.sha256,
            graph=None,
            split=split,
            task=predicted.name,
            labels=list(keys),
            label_set=keys.to_json(),
            added_variables=cohort.added.to_json() if cohort.added else None,
            thresholds=dict(zip(keys, calibration.thresholds, strict=True)),
            possible_from=calibration.possible,
            series_input="observed",
            decoding=None,
            source=cohort.manifest.get("source"),
            window=None,
            remarks=[f"a baseline without rationales: {TITLES[reads]}"],
            stays=int(rows[split].sum()),
            parsed=int(rows[split].sum()),
            training=None,
        )
        replace(manifest, **outputs_of(folder.iterdir())).write(folder / "manifest.json")
    return PredictionsManifest.read(out / "manifest.json")


def _write_rows(folder: Path, stay_ids: np.ndarray, probabilities: np.ndarray, calibration: Calibration) -> None:
    keys = calibration.labels
    possible = 1.0 if calibration.possible is None else calibration.possible
    rows = [
        PredictionRow(
            stay_id=int(stay),
            diagnoses=[key for key, p, t in zip(keys, row, calibration.thresholds, strict=True) if p >= t],
            possible=[key for key, p in zip(keys, row, strict=True) if p >= possible],
            probabilities=dict(zip(keys, map(float, row), strict=True)),
            interval=None,
            note_rationale="",
            series_rationale="",
            parsed=True,
            abstains=[],
            concepts=[],
            contributions=[],
        )
        for stay, row in zip(stay_ids, probabilities, strict=True)
    ]
    with open(folder / "predictions.jsonl", "w", encoding="utf-8", newline="") as lines:
        lines.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    pq.write_table(pa.Table.from_pylist(rows, schema_of(keys)), folder / "predictions.parquet", compression="zstd")
