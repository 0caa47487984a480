"""Do the rationales help to diagnose? One model learns from diagnoses alone, or with rationales in one of several ways.

    python benchmarks/rationale_gain.py --out outputs/gain --patients 500 [--seeds 2] [--rows labels,joint]
    python benchmarks/rationale_gain.py --out outputs/gain --raw PATH/TO/eicu-demo --splits 5

Every row trains stage `multimodal` from scratch (the effect of the stages is in `stage_ablation.py`) on the same
stays; the epoch with the best validation macro AUROC counts. The rows:

- `labels`: diagnoses without rationales, with which all others are compared (``--base`` takes another).
- `joint`: both rationales and the diagnoses as one text, as `clinragen train` does.
- `separate`: rationales and diagnoses as two tasks of one model (distilling step by step, Hsieh et al. 2023), for twice
  the epochs, so that each task is seen as often. The label head then learns for twice as long, too: `labels_long` and
  `joint_long` do so without the second task.
- `several`: three rationales for each stay, of the same evidence in other words, in turn.
- `half_wrong`, `all_wrong`: a teacher whose rationales nobody verified: half or all are another stay's.
- `tokens`: besides the text, the next-token probabilities of a writer that did not learn from that stay.
- `conditioned`: the model reads, after the note, a rationale that a model wrote, and predicts from all of it; the
  probability is the mean over several sampled rationales. The teacher knows the diagnoses, so its rationale would tell
  them: training stays are given the text of a model that learned from the other half of them, validation and test stays
  that of row `joint`. Nothing that is read was written with knowledge of a stay's labels.
- `rationales_alone`: rationales in place of diagnoses; then only the label head is trained, on that frozen network.
- `untrained`: the label head on a frozen network without any training, for comparison with the row before.

Columns: the whole model; the network without its linear probes, which could hide an effect; and the list that the
language model writes after its rationale when nothing tells it the head's probabilities. Intervals resample patients,
differences are paired; several seeds or splits are averaged. Cells are kept: run again to go on.
"""

from __future__ import annotations

import argparse
import math
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import eicu_table
import numpy as np
import polars as pl
import stage_ablation
import torch
from printed_tables import Console, with_interval
from rich.table import Table
from scipy.special import expit
from transformers import LogitsProcessorList

from clinragen.artifacts import read_json, write_json, write_table
from clinragen.chart.findings import findings
from clinragen.cohort.folder import Cohort
from clinragen.data.batch import IGNORED
from clinragen.data.dataset import StayDataset
from clinragen.evaluation.diagnosis import METRICS, Bootstrapped, System, bootstrap, interval
from clinragen.inference.decode import ReportGrammar, read_report
from clinragen.inference.predict import TrainedModel, batches, score
from clinragen.integrity import outputs_of
from clinragen.knowledge.relabel import open_graph
from clinragen.model.language_model import Sampling
from clinragen.quiet import quiet_libraries
from clinragen.schema import LOGPROBS, NOTES, RATIONALES, STAYS
from clinragen.stages.run import Request, run_stage
from clinragen.teacher.evidence import EvidenceTeacher
from clinragen.teacher.stays import Stays

NEW, DIAGNOSES_ONLY = ("stage.parent=null",), ("stage.targets=[diagnoses]",)
FROZEN = ("stage.frozen=[language_model,series_encoder,concept_attention]",)
SEVERAL = 3  # rationales of a stay in row `several`
REPORTED = 5  # next tokens whose probability a teacher reports
TEMPERATURE = 0.7  # of sampled rationales, as in self-consistency (Wang et al. 2022)
SECTION = "assessment"  # the section of a note that holds a rationale which a model wrote


@dataclass(frozen=True)
class Row:
    """How one row learns.

    Attributes:
        teacher: the rationale set; those other than ``evidence`` are made here.
        changes: settings of its stage.
        epochs: times the epochs of the others.
        reads_rationale: whether the notes hold rationales that a model wrote.
        read_out: settings of a second stage, in which the head alone is trained.
    """

    heading: str
    teacher: str = "evidence"
    changes: tuple[str, ...] = ()
    epochs: int = 1
    reads_rationale: bool = False
    read_out: tuple[str, ...] = ()


ROWS = {
    "labels": Row("diagnoses only", changes=DIAGNOSES_ONLY),
    "joint": Row("rationales and diagnoses, one text"),
    "labels_long": Row("diagnoses only, twice the epochs", changes=DIAGNOSES_ONLY, epochs=2),
    "joint_long": Row("one text, twice the epochs", epochs=2),
    "separate": Row("rationales and diagnoses, two tasks", changes=("stage.tasks=separate",), epochs=2),
    "several": Row("three rationales a stay", "three"),
    "half_wrong": Row("half of the rationales of another stay", "half_wrong"),
    "all_wrong": Row("all rationales of another stay", "all_wrong"),
    "tokens": Row("token probabilities, too", "token_probabilities", ("stage.token_weight=0.5",)),
    "conditioned": Row("read after a written rationale", changes=DIAGNOSES_ONLY, reads_rationale=True),
    "rationales_alone": Row(
        "rationales in place of diagnoses",
        changes=("stage.targets=[note,series]", "stage.label_weight=0", "stage.monitor=loss"),
        read_out=(*DIAGNOSES_ONLY, *FROZEN, "stage.parent=multimodal"),
    ),
    "untrained": Row("head on an untrained network", changes=(*DIAGNOSES_ONLY, *FROZEN)),
}


@dataclass(frozen=True)
class Student:
    """The model of every row.

    Attributes:
        preset: of `clinragen train --model`.
        settings: further settings of model and stage.
        epochs: of the stage.
        samples: rationales of a held-out stay that row ``conditioned`` reads.
    """

    preset: str = "tiny"
    settings: tuple[str, ...] = ("stage.batch_size=8",)
    epochs: int = 3
    samples: int = 3


@dataclass
class Bench:
    """The rows on one cohort.

    Attributes:
        out: its folder: cells, runs, and the texts of writers.
    """

    cohort: Cohort
    out: Path
    student: Student

    def cell(self, name: str, seed: int) -> dict[str, Any]:
        """The results of one row for one seed, kept once they are there."""
        path = self.out / f"seed{seed}" / f"{name}.json"
        if not path.exists():
            began = time.monotonic()
            found = self._measure(name, seed)
            write_json(path, {"seconds": round(time.monotonic() - began, 1), **found})
        return read_json(path, "a cell of this table")

    def has(self, name: str, seed: int) -> bool:
        return (self.out / f"seed{seed}" / f"{name}.json").exists()

    def _measure(self, name: str, seed: int) -> dict[str, Any]:
        row = ROWS[name]
        trained = TrainedModel.load(self.trained(name, seed))
        cohorts = [self.with_rationales(draw) for draw in range(self.student.samples)] if row.reads_rationale else []
        held = [trained.dataset(cohort, "test") for cohort in cohorts or [self.cohort]]
        inputs = trained.manifest.inputs
        whole = [trained.calibration.probabilities(score(trained.model, data, inputs)[0]) for data in held]
        probes = trained.model.head.linear_probes
        assert probes is not None
        probes.reset()
        network = [expit(score(trained.model, data, inputs)[0]) for data in held]
        told = "diagnoses" in trained.manifest.targets and not (row.read_out or name == "untrained")
        return {
            "probabilities": np.mean(whole, axis=0).round(6).tolist(),
            "thresholds": trained.calibration.thresholds,
            "network": np.mean(network, axis=0).round(6).tolist(),
            "written": listed(trained, held[0]).astype(int).tolist() if told else None,
        }

    def trained(self, name: str, seed: int) -> Path:
        """The run folder of a row, trained where it is not there yet."""
        row, here = ROWS[name], self.out / f"seed{seed}" / "runs" / name
        cohort = self.with_rationales(0) if row.reads_rationale else self.cohort
        teacher = self.teacher(row.teacher)
        changes = (*self._longer(), *row.changes) if row.reads_rationale else row.changes
        if not row.read_out:
            return self._train(cohort, here, None, teacher, (*changes, *self._epochs(row.epochs)), seed)
        first = self._train(cohort, here / "first", None, teacher, (*changes, *self._epochs(row.epochs)), seed)
        return self._train(cohort, here / "second", first, teacher, (*row.read_out, *self._epochs(1)), seed)

    def _epochs(self, times: int) -> tuple[str, ...]:
        return (f"stage.epochs={times * self.student.epochs}",)

    def _longer(self) -> tuple[str, ...]:
        """Room for a rationale behind the note, so that the note is not cut."""
        model = TrainedModel.load(self.trained("joint", 0)).model
        return (f"model.max_note_tokens={model.config.max_note_tokens + model.config.max_target_tokens}",)

    def _train(
        self, cohort: Cohort, out: Path, parent: Path | None, teacher: str, changes: Sequence[str], seed: int
    ) -> Path:
        if not (out / "manifest.json").exists():
            fixed = ["stage.monitor=macro_auroc", f"stage.seed={seed}", *(() if parent else NEW)]
            if parent:
                model = [setting for setting in self.student.settings if not setting.startswith("model.")]
            else:
                model = [*self.student.settings]
            request = Request("multimodal", cohort.paths.root, out, self.student.preset, parent, teacher=teacher)
            run_stage(replace(request, overrides=(*model, *fixed, *changes)), Console(stderr=True))
        return out

    def teacher(self, name: str) -> str:
        """A rationale set of the cohort, made where it is not there yet."""
        made: dict[str, Callable[[], pl.DataFrame]] = {
            "three": lambda: several(self.cohort),
            "half_wrong": lambda: exchanged(self.cohort, 0.5),
            "all_wrong": lambda: exchanged(self.cohort, 1.0),
            "token_probabilities": lambda: self.cohort.rationales("evidence"),
        }
        path = self.cohort.paths.rationales(name)
        if name in made and not path.exists():
            if name == "token_probabilities":
                rows = [row for fold in range(2) for row in token_probabilities(*self._unseen(fold))]
                write_table(self.cohort.paths.logprobs(name), pl.DataFrame(rows).to_arrow().cast(LOGPROBS))
            table = made[name]().with_columns(teacher=pl.lit(name))
            write_table(path, table.select(RATIONALES.names).to_arrow().cast(RATIONALES))
        return name

    def _unseen(self, fold: int) -> tuple[TrainedModel, Cohort, np.ndarray]:
        """A model of one half of the training stays, the cohort, and the stays of the other half."""
        mine = self.cohort.split("train")[fold::2]
        here = self.out / "halves" / str(fold)
        stays = self.cohort.stays.with_columns(
            split=pl.when(pl.col("stay_id").is_in(mine.tolist())).then(pl.lit("test")).otherwise("split")
        )
        half = derived(self.cohort, here / "cohort", stays=stays)
        run = self._train(half, here / "run", None, "evidence", self._epochs(1), 0)
        return TrainedModel.load(run), self.cohort, mine

    def with_rationales(self, draw: int) -> Cohort:
        """The cohort with a written rationale in each note; with the first draw for training and validation stays."""
        here = self.out / "written" / str(draw)
        if (here / "manifest.json").exists():
            return Cohort.load(here)
        torch.manual_seed(draw)
        writers = [(TrainedModel.load(self.trained("joint", 0)), self.cohort, self.cohort.split("test"))]
        if draw == 0:
            model, cohort, _ = writers[0]
            writers += [(model, cohort, cohort.split("validation")), *(self._unseen(fold) for fold in range(2))]
        texts = {stay: text for writer in writers for stay, text in written(*writer).items()}
        added = pl.DataFrame(
            {"stay_id": list(texts), "text": list(texts.values())}, schema={"stay_id": pl.Int64, "text": pl.String}
        ).with_columns(note_id=pl.lit(SECTION), kind=pl.lit("digest"), section=pl.lit(SECTION), time=pl.lit(None))
        told = self.cohort.notes
        notes = pl.concat([told, added.select(told.columns)], how="vertical_relaxed")
        return derived(self.cohort, here, notes=notes)


def derived(cohort: Cohort, out: Path, **tables: pl.DataFrame) -> Cohort:
    """The cohort with other ``stays`` or ``notes``, as a folder of its own."""
    if not (out / "manifest.json").exists():
        shutil.copytree(cohort.paths.root, out, dirs_exist_ok=True, ignore=shutil.ignore_patterns("manifest.json"))
        manifest: dict[str, Any] = dict(cohort.manifest)
        for name, table in tables.items():
            path = out / f"{name}.parquet"
            schema = {"stays": STAYS, "notes": NOTES}[name]
            write_table(path, table.select(schema.names).to_arrow().cast(schema))
            new = outputs_of([path])
            manifest["outputs"] = {**manifest.get("outputs", {}), **new["outputs"]}
            manifest["sizes"] = {**manifest.get("sizes", {}), **new["sizes"]}
        write_json(out / "manifest.json", manifest)
    return Cohort.load(out)


def several(cohort: Cohort) -> pl.DataFrame:
    """The evidence teacher's rationales, and others of the same evidence in other words."""
    stays, teacher = Stays(cohort.paths), EvidenceTeacher(open_graph(None, cohort.label_set))
    shown = findings(stays.series, normal=True)
    teacher.learn(stays.training(len(stays)), shown)
    told = cohort.rationales("evidence")
    more = []
    for stay in stays:
        for other in range(1, SEVERAL):
            seed = stay.stay_id + other * 10**12  # it draws the phrasing
            for one in teacher.rationales(seed, stay.sections, shown.get(stay.stay_id), stay.diagnoses):
                more.append({"stay_id": stay.stay_id, "kind": one.kind, "text": one.text, "verdicts": one.verdicts})
    shared = told.select("teacher", "prompt_hash").row(0)
    added = pl.DataFrame(more).with_columns(teacher=pl.lit(shared[0]), prompt_hash=pl.lit(shared[1]))
    return pl.concat([told, added.select(told.columns)]).unique(["stay_id", "kind", "text"], maintain_order=True)


def exchanged(cohort: Cohort, share: float) -> pl.DataFrame:
    """The evidence teacher's rationales, of which a share of the training stays has those of another training stay."""
    told, train = cohort.rationales("evidence"), cohort.split("train")
    chosen = np.random.default_rng(0).permutation(train)[: round(share * len(train))]
    donors = pl.DataFrame({"stay_id": np.roll(chosen, 1), "reader": chosen})
    wrong = told.join(donors, on="stay_id").drop("stay_id").rename({"reader": "stay_id"})
    right = told.filter(~pl.col("stay_id").is_in(chosen.tolist()))
    return pl.concat([right, wrong.select(told.columns)]).sort("stay_id", "kind")


@torch.inference_mode()
def token_probabilities(trained: TrainedModel, cohort: Cohort, stay_ids: np.ndarray) -> list[dict[str, Any]]:
    """A model's next-token probabilities on the evidence teacher's rationales, as ``schema.LOGPROBS``."""
    model, tokenizer = trained.model.to(trained.device).eval(), trained.model.tokenizer
    kept: list[torch.Tensor] = []
    output = model.language_model.model.get_output_embeddings()
    hook = output.register_forward_hook(lambda module, args, logits: kept.append(logits))
    texts = {
        (stay, kind): text
        for stay, kind, text in cohort.rationales("evidence").select("stay_id", "kind", "text").iter_rows()
    }
    data = replace(trained.stays(cohort, stay_ids), teacher="evidence")
    rows = []
    for indices, batch in batches(model, data, 32):
        kept.clear()
        model(batch.to(trained.device), trained.manifest.inputs)
        spread = kept[-1].float().log_softmax(-1)
        logprobs, ids = spread.topk(REPORTED)
        begin = 0
        for position, index in enumerate(indices):
            stay = int(data.stay_ids[index])
            target = batch.target_ids[position]
            target = target[target != IGNORED]
            note, series, present = texts[stay, "note"], texts[stay, "series"], data.labels[index].tolist()
            places = data.targets.encode(note, series, present, data.max_target_tokens).rationales
            for kind, place in places.items():
                here = slice(begin + place.start, begin + place.stop)
                written = target[place.start : place.stop]
                rows.append(
                    {
                        "stay_id": stay,
                        "kind": kind,
                        "tokens": [tokenizer.decode([token]) for token in written.tolist()],
                        "logprobs": spread[here].gather(1, written[:, None])[:, 0].tolist(),
                        "top_tokens": [[tokenizer.decode([token]) for token in row] for row in ids[here].tolist()],
                        "top_logprobs": logprobs[here].tolist(),
                    }
                )
            begin += len(target)
    hook.remove()
    return rows


@torch.inference_mode()
def _reports(trained: TrainedModel, data: StayDataset, *, sample: bool) -> list[Any]:
    """What the language model writes freely for each stay, parsed; a sampled report ends with an empty list."""
    model, inputs = trained.model.to(trained.device).eval(), trained.manifest.inputs
    target = model.target_format(trained.manifest.targets)
    budget = model.config.max_target_tokens // 2
    reports: list[Any] = [None] * len(data)
    for indices, batch in batches(model, data, 64):
        beliefs = np.zeros((len(indices), len(model.labels))) if sample else None
        grammar = ReportGrammar(target, budget, model.language_model.decoder_start, beliefs)
        sampling = Sampling(TEMPERATURE) if sample else None
        ids = model.generate(
            batch.to(trained.device), inputs, LogitsProcessorList([grammar]), grammar.longest, sampling
        )
        for index, row in zip(indices, ids.tolist(), strict=True):
            reports[index] = read_report(target, row)
    return reports


def written(trained: TrainedModel, cohort: Cohort, stay_ids: np.ndarray) -> dict[int, str]:
    """A sampled free rationale of each stay."""
    reports = _reports(trained, trained.stays(cohort, stay_ids), sample=True)
    texts = [" ".join(report.rationales.values()) or "none" for report in reports]
    return dict(zip(stay_ids.tolist(), texts, strict=True))


def listed(trained: TrainedModel, data: StayDataset) -> np.ndarray:
    """The diagnoses that the language model lists after its own greedy rationale, [n, L] bool, without the head."""
    found = np.zeros((len(data), len(trained.model.labels)), dtype=bool)
    for row, report in enumerate(_reports(trained, data, sample=False)):
        found[row, report.diagnoses] = True
    return found


#: A row's scores: title -> value and replicates.
Scores = dict[str, tuple[float, np.ndarray]]
AREA, F1, WRITTEN = (METRICS.index(name) for name in ("macro_auroc", "thresholded_micro_f1", "written_micro_f1"))


def scored(bench: Bench, names: Sequence[str], seeds: Sequence[int], seed: int) -> dict[str, Scores]:
    """The rows of one cohort, each the mean over its seeds on the same replicates."""
    gold = bench.cohort.label_matrix(bench.cohort.split("test"))
    patients = bench.cohort.stays.filter(pl.col("split") == "test")["subject_id"].to_numpy()
    systems: dict[str, System] = {}
    for name in names:
        for number in seeds:
            cell = bench.cell(name, number)
            told = None if cell["written"] is None else np.array(cell["written"], dtype=bool)
            thresholds = np.array(cell["thresholds"])
            systems[f"{name} {number}"] = System(np.array(cell["probabilities"]), thresholds, told)
            systems[f"{name} {number} network"] = System(np.array(cell["network"]), np.full(len(thresholds), 0.5))
    found = bootstrap(gold, systems, patients, replicates=500, seed=seed)

    def mean(parts: list[Bootstrapped], metric: int) -> tuple[float, np.ndarray]:
        return (
            float(np.mean([part.value[metric] for part in parts])),
            np.mean([part.replicates[:, metric] for part in parts], axis=0),
        )

    scores = {}
    for name in names:
        whole = [found[f"{name} {number}"] for number in seeds]
        scores[name] = {
            "macro AUROC": mean(whole, AREA),
            "network alone": mean([found[f"{name} {number} network"] for number in seeds], AREA),
            "micro F1": mean(whole, F1),
        }
        if systems[f"{name} {seeds[0]}"].written is not None:
            scores[name]["F1 of its list"] = mean(whole, WRITTEN)
    return scores


def show(parts: list[dict[str, Scores]], names: Sequence[str], base: str, title: str) -> None:
    """Means over the cohorts, and the lead of each row over row ``base``."""
    titles = ("macro AUROC", "network alone", "micro F1", "F1 of its list")
    table = Table(title=title)
    for heading in ("learns from", *(cell for each in titles for cell in (each, "lead"))):
        table.add_column(heading, justify="left" if heading == "learns from" else "right")

    def mean(name: str, score: str) -> tuple[float, np.ndarray] | None:
        if any(score not in part[name] for part in parts):
            return None
        values = [part[name][score] for part in parts]
        return float(np.mean([value for value, _ in values])), np.mean([drawn for _, drawn in values], axis=0)

    for name in names:
        cells: list[str] = []
        for each in titles:
            mine, other = mean(name, each), mean(base, each) if base in names else None
            cells.append("" if mine is None else _interval(*mine))
            if mine is None or other is None or name == base:
                cells.append("")
            else:
                cells.append(_interval(mine[0] - other[0], mine[1] - other[1], "+"))
        table.add_row(ROWS[name].heading, *cells)
    Console(width=250).print(table)


def _interval(value: float, replicates: np.ndarray, sign: str = "") -> str:
    found = interval(value, replicates)
    return with_interval(found, sign=sign)


def student(preset: str, epochs: int | None, samples: int) -> Student:
    """Preset `tiny`, or SmolLM2-135M with low-rank adapters."""
    if preset == "tiny":
        return Student(epochs=epochs or 3, samples=samples)
    settings = ("stage.batch_size=4", *eicu_table.smollm2_settings("smollm2"))
    return Student("smollm2_135m", settings, epochs or 1, samples)


def cohorts(args: argparse.Namespace) -> dict[str, Cohort]:
    """The synthetic hospital, or the splits of the eICU demo."""
    if args.raw is None:
        here = args.out / f"synthetic{args.patients}"
        return {here.name: stage_ablation.prepare(here, args.patients, 11)[1]}
    names = [f"split{number}" for number in range(1, args.splits + 1)]
    return {name: Cohort.load(eicu_table.prepare(args.raw, args.out / name, name, diagnosis=False)) for name in names}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="cohorts, run folders and cells; run again to go on")
    parser.add_argument("--raw", type=Path, help="the folder of the eICU demo; without it, the synthetic hospital")
    parser.add_argument("--splits", type=int, default=5, help="of the eICU demo")
    parser.add_argument("--patients", type=int, default=500, help="of the synthetic hospital")
    parser.add_argument("--model", choices=("tiny", "smollm2"), default="tiny")
    parser.add_argument("--epochs", type=int, help="default: 3 (tiny), 1 (smollm2)")
    parser.add_argument("--samples", type=int, default=3, help="rationales of a held-out stay for `conditioned`")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--rows", default=",".join(ROWS), help=f"of {', '.join(ROWS)}")
    parser.add_argument(
        "--base", default="labels", choices=ROWS, help="the row whose scores the others are set against"
    )
    parser.add_argument("--minutes", type=float, default=math.inf, help="start no further cell after so long")
    args = parser.parse_args()
    quiet_libraries()
    began = time.monotonic()
    names, seeds = [name for name in ROWS if name in args.rows.split(",")], range(args.seeds)
    model = student(args.model, args.epochs, args.samples)
    benches = [Bench(cohort, args.out / name / args.model, model) for name, cohort in cohorts(args).items()]
    for seed in seeds:
        for bench in benches:
            for name in names:
                if not bench.has(name, seed) and time.monotonic() - began < 60 * args.minutes:
                    seconds = bench.cell(name, seed)["seconds"]
                    print(f"{bench.out.parent.name}, seed {seed}, {name}: {seconds:.0f} s", flush=True)
    done = [name for name in names if all(bench.has(name, seed) for bench in benches for seed in seeds)]
    if left := [name for name in names if name not in done]:
        print(f"not finished: {', '.join(left)}; run again to go on")
    if done:
        stays = sum(len(bench.cohort.split("train")) for bench in benches) / len(benches)
        title = f"{len(benches)} cohorts, {len(seeds)} seeds, {stays:.0f} stays to learn from, {args.model}"
        show([scored(bench, done, seeds, number) for number, bench in enumerate(benches)], done, args.base, title)


if __name__ == "__main__":
    main()
