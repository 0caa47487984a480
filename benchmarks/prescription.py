"""Which classes of drugs are started next? The eICU demo at 12 hours, side by side: new starts of the next 24 hours.

    python benchmarks/prescription.py --raw PATH/TO/eicu-demo --out outputs/prescription [--models popularity,tiny]

Five patient-disjoint splits (64/16/20, by salt), scored each by itself. A stay counts if a drug had been ordered before
the prediction time, a class if it had not (task `prescription`), so a row that copies what is in force scores nothing:
`in_force` shows it. AUROC and average precision are means over the classes with at least 20 new starts in the data and
a new start among the held-out stays; R@5 is the share of a stay's new starts among its five likeliest classes, a mean
over the stays that have some. Rows: popularity in training; logistic regressions on the classes ordered so far and at
home, and further on series statistics and text; votes of the most similar training stays; PyHealth's MLP, which
reads what the last regression reads and learns from training stays alone, its epoch chosen on validation (extra
`pyhealth`); and clinragen's student. A finished cell is kept; run again to go on.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
from eicu_table import SHARES
from prescription_pyhealth import pyhealth
from printed_tables import Console, with_interval
from rich.table import Table
from scipy.sparse import csr_matrix, hstack
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from clinragen import tasks
from clinragen.artifacts import read_json, write_json
from clinragen.baselines import series_statistics
from clinragen.cohort.folder import Cohort
from clinragen.cohort.sections import note_text, sections_by_stay
from clinragen.evaluation.diagnosis import interval
from clinragen.inference.predict import TrainedModel, score
from clinragen.prescription.history import History
from clinragen.prescription.rankers import Neighbours, Popularity
from clinragen.quiet import quiet_libraries
from clinragen.stages.run import Request, run_stage
from clinragen.tasks import Labels
from clinragen.teacher.evidence_run import generate
from mimic_prep.cli import main as mimic_prep

HOURS, FEW, LISTED = 12, 20, 5
TASK = "prescription"
REPLICATES = 500
#: a list of all classes, which a language model must have room to write, takes about 750 tokens
ROOM = ("model.language_model.scratch.max_position_embeddings=1536",)


@dataclass(frozen=True)
class Split:
    """The stays of a cohort that the rows learn from and are scored on."""

    cohort: Cohort
    out: Path

    @cached_property
    def stays(self) -> pl.DataFrame:
        """The stays for which some class can be started, in the cohort's order."""
        some = self.labels_of(self.cohort.stays["stay_id"].to_numpy()).eligible.any(1)
        return self.cohort.stays.filter(pl.Series(some))

    def labels_of(self, stay_ids: np.ndarray) -> Labels:
        """What was started, and what could have been."""
        return tasks.load(TASK).labels(self.cohort, stay_ids)

    @cached_property
    def labels(self) -> Labels:
        """Of ``stays``."""
        return self.labels_of(self.stays["stay_id"].to_numpy())

    @cached_property
    def trained(self) -> Labels:
        """Of the stays that rows without settings learn from."""
        train = self.rows("train", "validation")
        return Labels(*(part[train] for part in self.labels))

    @cached_property
    def keys(self) -> list[str]:
        """Keys of the classes."""
        return list(tasks.load(TASK).label_set(self.cohort))

    def rows(self, *splits: str) -> np.ndarray:
        """Which of ``stays`` are in some splits, bool [n]."""
        return self.stays["split"].is_in(splits).to_numpy()

    @cached_property
    def history(self) -> History:
        """The drugs of ``stays`` as they are known at the prediction time."""
        return self.history_of(self.stays["stay_id"].to_numpy())

    def history_of(self, stay_ids: np.ndarray) -> History:
        """The same of other stays."""
        return History(self.cohort, stay_ids, tuple(self.keys))

    @cached_property
    def drugs(self) -> np.ndarray:
        """Classes ordered so far, then those taken at home, [n, 2 classes]."""
        return np.hstack([self.history.ordered, self.history.at_home]).astype(float)

    @cached_property
    def texts(self) -> list[str]:
        """What the notes say."""
        sections = sections_by_stay(self.cohort.notes)
        return [note_text(sections.get(stay, [])) for stay in self.stays["stay_id"]]

    @cached_property
    def statistics(self) -> np.ndarray:
        """Statistics of the series, [n, features], NaN where nothing was measured."""
        return series_statistics(self.cohort.series, self.stays.select("stay_id"))


Row = Callable[[Split], np.ndarray]


def popularity(split: Split) -> np.ndarray:
    """The share of training stays that started a class, of those that could."""
    return Popularity.fit(split.trained).probabilities(split.history)


def in_force(split: Split) -> np.ndarray:
    """A copy of what had been ordered, and nothing else."""
    return split.history.ordered.astype(float)


def regression(*parts: str) -> Row:
    """Logistic regressions, one for each class, on its eligible training stays; strength chosen on validation."""

    def run(split: Split) -> np.ndarray:
        read = csr_matrix(hstack([csr_matrix(_features(split, part)) for part in parts]))
        best = max(
            (0.003, 0.01, 0.03, 0.1, 0.3, 1.0),
            key=lambda strength: _mean_precision(
                _regressed(split, read, split.rows("train"), strength), split, split.rows("validation")
            ),
        )
        return _regressed(split, read, split.rows("train", "validation"), best)

    return run


def _features(split: Split, part: str) -> np.ndarray | csr_matrix:
    train = split.rows("train")
    if part == "drugs":
        return split.drugs
    if part == "text":
        words = TfidfVectorizer(ngram_range=(1, 2), min_df=3, sublinear_tf=True)
        return words.fit([text for text, use in zip(split.texts, train, strict=True) if use]).transform(split.texts) * 3
    return _series(split)


def _series(split: Split) -> np.ndarray:
    """Scaled statistics of the series, small beside the indicators of drugs and words."""
    return _scaled(split) / 8


def _scaled(split: Split) -> np.ndarray:
    scaled = make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler())
    return np.asarray(scaled.fit(split.statistics[split.rows("train")]).transform(split.statistics)).clip(-4, 4)


def _regressed(split: Split, read: csr_matrix, train: np.ndarray, strength: float) -> np.ndarray:
    scores = popularity(split)
    for column in range(len(split.keys)):
        use = train & split.labels.eligible[:, column]
        target = split.labels.present[use, column]
        if target.sum() >= 3:
            model = LogisticRegression(C=strength, max_iter=300).fit(read[use], target)
            scores[:, column] = model.predict_proba(read)[:, 1]
    return scores


def neighbours(split: Split) -> np.ndarray:
    """Votes of the most similar training stays, by drugs and text, over popularity."""
    train = split.history_of(split.stays.filter(pl.Series(split.rows("train", "validation")))["stay_id"].to_numpy())
    return Neighbours(split.cohort, train, split.trained).probabilities(split.history)


def student(split: Split) -> np.ndarray:
    """clinragen's preset `tiny`, trained on the task in its three stages."""
    return _student(split, "tiny", {"notes": 3, "series": 2, "multimodal": 4})


def direct(split: Split) -> np.ndarray:
    """The same in its last stage alone, with the rationale of the series: no stay has a whole list to learn."""
    return _student(split, "tiny_direct", {"multimodal": 4}, "stage.parent=null", "stage.targets=[series]")


def _student(split: Split, name: str, stages: Mapping[str, int], *settings: str) -> np.ndarray:
    """Probabilities of a student that is trained in some stages, for so many epochs each."""
    parent = None
    for stage, epochs in stages.items():
        here = split.out / name / stage
        if not (here / "manifest.json").exists():
            given = (*(ROOM if parent is None else ()), "stage.batch_size=8", f"stage.epochs={epochs}", *settings)
            root = split.cohort.paths.root
            run_stage(Request(stage, root, here, "tiny", parent, overrides=given, task=TASK), Console(stderr=True))
        parent = here
    trained = TrainedModel.load(split.out / name / "multimodal")
    data = trained.dataset(split.cohort, "test")
    logits, _ = score(trained.model, data, trained.manifest.inputs)
    scores = np.zeros((split.stays.height, len(split.keys)))
    of_stay = dict(zip(split.cohort.split("test").tolist(), trained.calibration.probabilities(logits), strict=True))
    for number, stay in enumerate(split.stays["stay_id"]):
        if stay in of_stay:
            scores[number] = of_stay[stay]
    return scores


ROWS: dict[str, tuple[str, Row]] = {
    "in_force": ("a copy of what is in force", in_force),
    "popularity": ("popularity", popularity),
    "neighbours": ("votes of similar stays", neighbours),
    "drugs": ("LR on drugs", regression("drugs")),
    "drugs_series": ("LR on drugs and series", regression("drugs", "series")),
    "plain": ("LR on drugs, series and text", regression("drugs", "series", "text")),
    "mlp": ("PyHealth MLP", pyhealth("MLP", _series)),
    "rnn": ("PyHealth RNN", pyhealth("RNN", _scaled)),
    "transformer": ("PyHealth Transformer", pyhealth("Transformer", _scaled)),
    "tiny": ("clinragen, tiny", student),
    "tiny_direct": ("clinragen, tiny, last stage alone", direct),
}
PLAIN = [name for name in ROWS if not name.startswith("tiny")]


def prepare(raw: Path, out: Path, salt: str) -> Path:
    """The cohort of one split with rationales."""
    cohort = out / "cohort"
    if not (cohort / "rationales").exists():
        settings = [f"splits.salt={salt}", *SHARES, f"window.hours={HOURS}", "notes.kinds=[medication]"]
        given = [word for setting in settings for word in ("--set", setting)]
        if mimic_prep(["eicu", "--raw", str(raw), "--out", str(cohort), "--overwrite", *given]):
            raise SystemExit(f"{cohort} could not be prepared")
        generate(cohort)
    return cohort


def _precision(gold: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> float:
    """Average precision of weighted rows; of equal scores none comes first."""
    order = np.argsort(-scores, kind="stable")
    gold, weights, scores = gold[order], weights[order], scores[order]
    hits, all_ = np.cumsum(weights * gold), np.cumsum(weights)
    last = np.append(scores[1:] != scores[:-1], True)
    hits, all_ = hits[last], all_[last]
    return float((np.diff(hits, prepend=0) * hits / np.maximum(all_, 1e-12)).sum() / hits[-1])


def _auroc(gold: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> float:
    _, rank = np.unique(scores, return_inverse=True)
    positive, negative = (np.bincount(rank, weights * part) for part in (gold, 1 - gold))
    below = np.cumsum(negative) - negative
    return float((positive * (below + negative / 2)).sum() / (positive.sum() * negative.sum()))


def _mean_precision(scores: np.ndarray, split: Split, rows: np.ndarray) -> float:
    values = []
    for column in range(scores.shape[1]):
        use = rows & split.labels.eligible[:, column]
        gold = split.labels.present[use, column].astype(float)
        if gold.any():
            values.append(_precision(gold, scores[use, column], np.ones(use.sum())))
    return float(np.mean(values))


METRICS = ("AUROC", "AP", "R@5", "ECE")


def measure(split: Split, scores: np.ndarray, often: np.ndarray, weights: np.ndarray) -> list[float]:
    """The metrics on the held-out stays, each counted by its weight [held-out stays]."""
    rows = split.rows("test")
    scores, present, eligible = scores[rows], split.labels.present[rows], split.labels.eligible[rows]
    areas, precisions = [], []
    for column in np.flatnonzero(often):
        use = eligible[:, column] & (weights > 0)
        gold, counted = present[use, column].astype(float), weights[use]
        if gold.any() and not gold.all():
            areas.append(_auroc(gold, scores[use, column], counted))
            precisions.append(_precision(gold, scores[use, column], counted))
    ranked = np.argsort(-np.where(eligible, scores, -np.inf), axis=1, kind="stable")[:, :LISTED]
    hits = np.take_along_axis(present & eligible & (scores > 0), ranked, 1).sum(1)  # what scores nothing is not listed
    some = present.any(1) & (weights > 0)
    recall = np.average(hits[some] / present[some].sum(1), weights=weights[some])
    return [float(np.mean(areas)), float(np.mean(precisions)), float(recall), _ece(scores, present, eligible, weights)]


def _ece(scores: np.ndarray, present: np.ndarray, eligible: np.ndarray, weights: np.ndarray) -> float:
    """Expected calibration error over all eligible pairs, in ten bins of equal width."""
    counted = np.broadcast_to(weights[:, None], scores.shape)[eligible]
    bins = (scores[eligible] * 10).astype(int).clip(0, 9)
    size, gold, stated = (
        np.bincount(bins, counted * part, 10) for part in (np.ones(len(bins)), present[eligible], scores[eligible])
    )
    return float(np.abs(gold - stated).sum() / size.sum())


def show(splits: list[Split], names: list[str]) -> None:
    """Means over the splits with intervals that resample patients, and the lead of the student over the best row."""
    draw = np.random.default_rng(0)
    often = np.sum([split.labels.present for split in splits[:1]], axis=(0, 1)) >= FEW
    values: dict[str, np.ndarray] = {name: np.zeros((len(splits), 4)) for name in names}
    drawn: dict[str, np.ndarray] = {name: np.zeros((len(splits), REPLICATES, 4)) for name in names}
    for number, split in enumerate(splits):
        cells = {name: np.array(read_json(split.out / f"{name}.json", "a cell")["scores"]) for name in names}
        held = split.stays.filter(pl.Series(split.rows("test")))
        _, patient = np.unique(held["subject_id"].to_numpy(), return_inverse=True)
        for name in names:
            values[name][number] = measure(split, cells[name], often, np.ones(held.height))
        for replicate in range(REPLICATES):
            times = np.bincount(draw.integers(0, patient.max() + 1, patient.max() + 1), minlength=patient.max() + 1)
            for name in names:
                drawn[name][number, replicate] = measure(split, cells[name], often, times[patient].astype(float))
    title = f"new starts of {HOURS} to {HOURS + 24} h, {often.sum()} classes, mean over {len(splits)} splits"
    table = Table(title=f"eICU demo, {title} (95 % interval, patients resampled)")
    for heading in ("row", *METRICS, "lead, AUROC", "lead, AP", "lead, R@5"):
        table.add_column(heading, justify="left" if heading == "row" else "right")
    plain = [name for name in names if name in PLAIN]
    for name in names:
        mean, spread = values[name].mean(0), drawn[name].mean(0)
        cells = [_interval(mean[column], spread[:, column]) for column in range(4)]
        for column in range(3):
            if name in PLAIN or not plain:
                cells.append("")
                continue
            best = max(plain, key=lambda rival: values[rival].mean(0)[column])
            lead = mean[column] - values[best].mean(0)[column]
            cells.append(_interval(lead, spread[:, column] - drawn[best].mean(0)[:, column]))
        table.add_row(ROWS[name][0], *cells)
    Console(width=170).print(table)
    stays = splits[0].stays.height
    some = int(splits[0].labels.present.any(1).sum())
    print(f"{stays} stays with an earlier order, {some} of them with a class newly started")


def _interval(value: float, replicates: np.ndarray) -> str:
    of = interval(value, replicates)
    return with_interval(of)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--raw", type=Path, required=True, help="the folder of the eICU demo")
    parser.add_argument("--out", type=Path, required=True, help="cohorts, run folders and cells; run again to go on")
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument(
        "--models", default=",".join(name for name in ROWS if name != "tiny_direct"), help=f"rows: {', '.join(ROWS)}"
    )
    args = parser.parse_args()
    quiet_libraries()
    names = [name for name in ROWS if name in args.models.split(",")]
    splits = []
    for number in range(args.splits):
        out = args.out / str(number)
        split = Split(Cohort.load(prepare(args.raw, out, f"prescription-{number}")), out)
        for name in names:
            if not (out / f"{name}.json").exists():
                print(f"split {number}: {ROWS[name][0]}", flush=True)
                write_json(out / f"{name}.json", {"scores": ROWS[name][1](split).round(6).tolist()})
        splits.append(split)
    show(splits, names)


if __name__ == "__main__":
    main()
