"""One student of several tasks beside a student of each task alone, at as many optimiser steps of that task.

    python benchmarks/generalist.py --work FOLDER [--patients 600] [--epochs 6] [--weights diagnosis=1,...]

A synthetic hospital, predicted for after 12 hours, with rationales of the evidence teacher and questions about its
stays. The generalist (`clinragen train generalist --model tiny`) learns all tasks of ``--weights``. A student of one
task with labels is stage ``multimodal`` without a parent; of questions, stage ``ask`` with the same language model; of
captions, stage ``generalist`` with one step of diagnosis in an epoch, since a run needs a label head. Nothing stops
early: each keeps its best epoch by validation loss.

Scored on test stays: macro AUROC of labels, the share of questions that are read into the query meant, and the mean
share of statements of captions that the measurements support. Notes and targets are cut short to save time, and there
are no linear probes: they are fitted for each task after the training, and would hide what it makes of the network.
Intervals resample patients: of the generalist, and of its difference from the other on the same stays.

Runs in FOLDER are kept: a stopped benchmark goes on, and other ``--weights`` train only another generalist.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from printed_tables import Console, with_interval
from rich.table import Table

import clinragen
from clinragen.artifacts import read_json
from clinragen.choices import ASK, CAPTIONS
from clinragen.cohort.folder import Cohort
from clinragen.evaluation.diagnosis import interval, patient_bootstrap
from clinragen.evaluation.ranking import Ranking
from clinragen.inference.captions import caption_writer, supported_shares, write_captions
from clinragen.inference.predict import score
from clinragen.knowledge.relabel import open_graph
from clinragen.model.query_reader import QuestionReader
from clinragen.questions.file import read_questions
from clinragen.questions.outline import Outliner
from clinragen.quiet import quiet_libraries
from clinragen.stages.ask import outlined
from clinragen.teacher.evidence_run import generate
from mimic_prep.cli import main as mimic_prep

REPLICATES, BATCH = 1000, 16
#: Of each student. The list of more than a hundred classes of drugs does not fit the positions of `tiny`.
SETTINGS = (
    "model.language_model.scratch.max_position_embeddings=1536",
    "model.max_note_tokens=128",
    "model.max_target_tokens=96",
    "model.head.linear_probes=false",
    "stage.precision=32-true",
)
#: Questions of a stay.
QUESTIONS = 4
SPLITS = {"train": 0.6, "validation": 0.15, "test": 0.25}


def prepare(work: Path, patients: int) -> tuple[Path, Path]:
    """The cohort and its questions."""
    raw, cohort, questions = work / "raw", work / "cohort", work / "questions"
    if not (raw / "truth" / "manifest.json").exists():
        _run("synthesize", "--patients", str(patients), "--seed", "5", "--out", str(raw))
    if not (cohort / "rationales").exists():
        splits = [option for split, share in SPLITS.items() for option in ("--set", f"splits.{split}={share}")]
        _run("mimic-iv", "--raw", str(raw), "--out", str(cohort), "--overwrite", "--set", "window.hours=12", *splits)
        generate(cohort)
    if not questions.exists():
        clinragen.teach_questions(cohort, questions, per_stay=QUESTIONS)
    return cohort, questions


def _run(*arguments: str) -> None:
    if mimic_prep(list(arguments)):
        raise SystemExit(f"mimic-prep {' '.join(arguments)} failed")


class Bench:
    """Trains and scores students on one cohort.

    Args:
        work: folder of cohort and runs.
        patients: of the synthetic hospital.
        epochs: of the generalist.
        seed: of the training.
    """

    def __init__(self, work: Path, patients: int, epochs: int, seed: int) -> None:
        self.work, self.epochs, self.seed = work, epochs, seed
        self.folder, self.questions = prepare(work, patients)
        self.cohort = Cohort.load(self.folder)
        self.graph = open_graph(None, self.cohort.label_set, self.cohort.added)
        self.ids = self.cohort.split("test")
        patient = dict(self.cohort.stays.select("stay_id", "subject_id").iter_rows())
        whose = np.array([patient[stay] for stay in self.ids.tolist()])
        #: how often each test stay counts: first once, then as each replicate of the bootstrap has it
        self.counts = np.array([np.ones(len(self.ids)), *patient_bootstrap(whose, REPLICATES, 0)])

    def train(self, name: str, stage: str, epochs: int, settings: Sequence[str] = (), **options: Any) -> Path:
        """The run of this name, trained unless it is there."""
        out, began = self.work / f"{name}-{self.epochs}", time.process_time()
        fixed = [f"stage.epochs={epochs}", f"stage.patience={epochs}", *SETTINGS]
        clinragen.train(
            stage, self.folder, out, model="tiny", seed=self.seed, finish=True, set=[*fixed, *settings], **options
        )
        print(f"{out.name}: {time.process_time() - began:.0f} s of processor time, best epoch {kept(out)}", flush=True)
        return out

    def generalist(self, weights: str) -> Path:
        """The student of several tasks."""
        name = "generalist-" + weights.replace("=", "").replace(",", "-")
        return self.train(name, "generalist", self.epochs, tasks=weights, questions=self.questions)

    def alone(self, task: str, steps: int, weight: float) -> Path:
        """A student of one task, with as many steps, as nearly as whole epochs allow."""
        name = f"alone-{task}-{weight:g}"
        if task == CAPTIONS:
            return self.train(name, "generalist", self.epochs, tasks={"diagnosis": 0.001, CAPTIONS: weight})
        if task == ASK:
            graph = Outliner(self.graph)
            epochs = round(steps / -(-len(outlined(self.questions, "train", graph)) // BATCH))
            return self.train(name, ASK, max(1, epochs), questions=self.questions)
        return self.train(name, "multimodal", round(weight * self.epochs), ["stage.parent=null"], task=task)

    def scores(self, run: Path, task: str) -> dict[str, np.ndarray]:
        """What a run reaches at a task on the test stays and on each replicate, by measure, [1 + replicates]."""
        if task == ASK:
            return {"exact": self._exact(QuestionReader.load(run, self.graph))}
        trained = clinragen.load(run, task=None if task == CAPTIONS else task)
        stays = trained.dataset(self.cohort, "test")
        if task == CAPTIONS:
            writer = caption_writer(trained)
            return {"supported": self._mean(supported_shares(stays, write_captions(writer, stays), writer))}
        logits, labels = score(trained.model, stays, trained.manifest.inputs)
        ranking = Ranking(labels > 0, logits, stays.eligible)
        return {"macro AUROC": np.array([np.nanmean(ranking(counts)[0]) for counts in self.counts])}

    def _exact(self, reader: QuestionReader) -> np.ndarray:
        rows = read_questions(self.questions).filter(split="test").unique("question", maintain_order=True)
        queries = reader.read(rows["question"].to_list())
        meant = rows["query"].to_list()
        hits = [query is not None and query.text() == text for query, text in zip(queries, meant, strict=True)]
        return self._mean(np.array(hits, dtype=float), np.searchsorted(self.ids, rows["stay_id"].to_numpy()))

    def _mean(self, values: np.ndarray, stays: np.ndarray | None = None) -> np.ndarray:
        """The mean of values of test stays, or of the stays at these places, on each replicate."""
        counts = self.counts if stays is None else self.counts[:, stays]
        return (counts @ values) / counts.sum(1)


def kept(run: Path) -> str:
    """The epoch that a run kept, and of how many."""
    epochs = len((run / "metrics.csv").read_text(encoding="utf-8").splitlines()) - 1
    return f"{read_json(run / 'manifest.json', 'a run')['best']['epoch'] + 1:.0f} of {epochs}"


def shown(values: np.ndarray, sign: str = "") -> str:
    """A score, or a difference with its sign, with the interval over the replicates."""
    ends = interval(float(values[0]), values[1:])
    return with_interval(ends, sign=sign)


def compare(bench: Bench, weights: str, console: Console) -> None:
    """Train the generalist and a student of each task, and print the table."""
    run = bench.generalist(weights)
    tasks = read_json(run / "manifest.json", "a run")["tasks"]
    first = tasks[read_json(run / "manifest.json", "a run")["task"]]["examples"]["train"]
    table = Table("task", "weight", "steps", "measure", "alone", "generalist", "difference", box=None)
    for task, entry in tasks.items():
        weight = entry["weight"]
        steps = bench.epochs * max(1, round(weight * -(-first // BATCH)))
        both = [bench.scores(one, task) for one in (bench.alone(task, steps, weight), run)]
        for measure, alone in both[0].items():
            several = both[1][measure]
            row = [f"{alone[0]:.3f}", shown(several), shown(several - alone, "+")]
            table.add_row(task, f"{weight:g}", str(steps), measure, *row)
    console.print(table)


def main() -> None:
    """Train, score and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--patients", type=int, default=600)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--weights", default="diagnosis=1,prescription=1,ask=1,captions=1")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    quiet_libraries()
    args.work.mkdir(parents=True, exist_ok=True)
    compare(Bench(args.work, args.patients, args.epochs, args.seed), args.weights, Console(width=130))


if __name__ == "__main__":
    main()
