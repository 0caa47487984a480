"""Knowledge ablation: one model with the graph, a random graph, the paper's vocabulary, a plain vocabulary, none.

    python benchmarks/knowledge_ablation.py --cohort COHORT --out FOLDER [--graph GRAPH] [--stays 1000]
        [--shares 1.0 0.3 0.1] [--seeds 5] [--steps 300]

Every cell (kind of knowledge, share of the training stays, seed) trains the preset `tiny` on the label loss alone. The
series are read in full. The note is read through the concepts that the linker finds in it, in every arm alike (the
language model gets the prefix prompts and one token), so that nothing but the knowledge differs; the wide path of the
label head, which sees the same mentions and summaries, stays in all arms. Scaling of the series and tokenizer come from
the whole training split, labels from the cell's share of it. A share s is trained for sqrt(s) times the steps; the best
of two evaluations on validation stays counts.

One JSON file per cell is written into FOLDER; existing cells are not trained again, and the table shows what
exists. Intervals: resamples of the test patients, on each of which the mean of the seeds is taken; a difference
is taken on the same resamples.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from printed_tables import Console, with_interval
from rich.table import Table

from clinragen.artifacts import write_text
from clinragen.choices import Modality
from clinragen.cohort.folder import Cohort
from clinragen.cohort.window import Window
from clinragen.config import load
from clinragen.data.dataset import StayDataset, collate
from clinragen.data.mentions import MentionEncoder
from clinragen.data.series import SeriesStatistics, grid, observed_variables
from clinragen.evaluation.diagnosis import METRICS, System, bootstrap, interval
from clinragen.inference.calibrate import fit_calibration
from clinragen.inference.predict import score
from clinragen.knowledge.graph import ConceptGraph, build
from clinragen.model.clinragen import ClinRaGen, assemble
from clinragen.model.config import KNOWLEDGE, KnowledgeKind, ModelConfig
from clinragen.model.language_model import train_tokenizer
from clinragen.quiet import quiet_libraries
from clinragen.stages.config import StageConfig
from clinragen.stages.loop import schedule
from clinragen.stages.module import StageModule, macro_auroc

INPUTS: list[Modality] = ["note", "series"]
SHOWN = {"macro AUROC": "macro_auroc", "micro F1": "thresholded_micro_f1", "macro F1": "thresholded_macro_f1"}
CHECKS = 2  # evaluations on the validation stays, spread evenly over the steps


class Bench:
    """One cohort as datasets that every cell shares."""

    def __init__(self, cohort: Cohort, graph: ConceptGraph, stays: int | None, settings: list[str]):
        config = load("model", "tiny", ModelConfig, settings)
        self.config = replace(config, max_note_tokens=1, head=replace(config.head, linear_probes=False))
        self.graph = graph
        train = cohort.split("train")
        window = Window.of(cohort)
        names = observed_variables(cohort, train, config.series.min_share, window)
        self.statistics = SeriesStatistics.fit(grid(cohort, train, names, window), names, config.series.bins, window)
        texts = cohort.notes["text"].to_list() + [data["name"] for data in graph.nodes.values()] * 20
        self.tokenizer = train_tokenizer(texts, config.language_model.vocabulary)
        model = self.model("graph", 0)
        self.labels = list(model.labels)
        chosen = np.sort(np.random.default_rng(0).permutation(train)[:stays])
        self.order = np.random.default_rng(1).permutation(len(chosen))  # a share is the start of this order
        link = MentionEncoder(graph, model.concepts.ids)
        self.data = {
            split: StayDataset(
                cohort, ids, self.tokenizer, link, self.statistics, model.target_format(("diagnoses",)), 1, 2
            )
            for split, ids in (
                ("train", chosen),
                ("validation", cohort.split("validation")),
                ("test", cohort.split("test")),
            )
        }
        subjects = dict(cohort.stays.select("stay_id", "subject_id").iter_rows())
        self.patients = np.array([subjects[int(stay)] for stay in self.data["test"].stay_ids])
        self.gold = self.data["test"].labels.astype(bool)

    def model(self, knowledge: KnowledgeKind, seed: int) -> ClinRaGen:
        """An untrained model; the seed also draws the random graph and the plain vocabulary."""
        torch.manual_seed(seed)
        config = replace(self.config, attention=replace(self.config.attention, knowledge=knowledge, seed=seed))
        return assemble(config, self.statistics, self.graph, self.tokenizer)

    def train(self, knowledge: KnowledgeKind, share: float, seed: int, steps: int, size: int) -> dict[str, Any]:
        """Train one cell and score the test stays: probabilities, thresholds and how long it took."""
        began = time.perf_counter()
        model = self.model(knowledge, seed)
        train, validation = self.data["train"], self.data["validation"]
        count, steps = round(share * len(train)), round(steps * share**0.5)
        stage = StageConfig(inputs=INPUTS, targets=["diagnoses"], seed=seed)
        optimizer = torch.optim.AdamW(StageModule(model, stage).groups())
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: schedule(step, steps, stage.warmup))
        random = np.random.default_rng(seed)
        stream = itertools.chain.from_iterable(
            random.permutation(self.order[:count]).tolist() for _ in itertools.count()
        )
        best, weights, calibration = np.inf, {}, None
        for step in range(1, steps + 1):
            model.train()
            rows = list(itertools.islice(stream, min(size, count)))
            batch = collate([train[row] for row in rows], model.tokenizer.pad_token_id)
            loss = F.binary_cross_entropy_with_logits(model(batch, INPUTS, targets=False).logits, batch.labels)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad(set_to_none=True)
            if step % (steps // CHECKS) == 0 or step == steps:
                logits, gold = score(model, validation, INPUTS)
                found = F.binary_cross_entropy_with_logits(torch.tensor(logits), torch.tensor(gold)).item()
                if found < best:
                    best, calibration = found, fit_calibration(logits, gold, self.labels)
                    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        assert calibration is not None  # the last step is always scored
        model.load_state_dict(weights)
        logits, gold = score(model, self.data["test"], INPUTS)
        return {
            "knowledge": knowledge,
            "share": share,
            "seed": seed,
            "steps": steps,
            "batch_size": size,
            "stays": count,
            "seconds": round(time.perf_counter() - began, 1),
            "validation_bce": round(best, 5),
            "macro_auroc": round(macro_auroc(gold, logits), 4),
            "thresholds": calibration.thresholds,
            "probabilities": calibration.probabilities(logits).round(5).tolist(),
        }


def summarise(cells: list[dict[str, Any]], bench: Bench, resamples: int, console: Console) -> None:
    """Print a table per share of the training stays, with the difference from the graph."""
    for share in sorted({cell["share"] for cell in cells}, reverse=True):
        mine = [cell for cell in cells if cell["share"] == share]
        systems = {
            f"{cell['knowledge']} {cell['seed']}": System(
                np.asarray(cell["probabilities"]), np.asarray(cell["thresholds"])
            )
            for cell in mine
        }
        scored = bootstrap(bench.gold, systems, bench.patients, resamples)
        table = Table("knowledge", "seeds", *SHOWN, "graph ahead, macro AUROC", title=f"{mine[0]['stays']} stays")
        means = {
            kind: (
                np.mean([scored[f"{kind} {cell['seed']}"].value for cell in mine if cell["knowledge"] == kind], axis=0),
                np.mean(
                    [scored[f"{kind} {cell['seed']}"].replicates for cell in mine if cell["knowledge"] == kind], axis=0
                ),
            )
            for kind in KNOWLEDGE
            if any(cell["knowledge"] == kind for cell in mine)
        }
        for kind, (value, replicates) in means.items():
            columns = [METRICS.index(name) for name in SHOWN.values()]
            row = [_text(value[column], replicates[:, column]) for column in columns]
            ahead = ""
            if kind != "graph" and "graph" in means:
                first = columns[0]
                ahead = _text(
                    means["graph"][0][first] - value[first], means["graph"][1][:, first] - replicates[:, first]
                )
            table.add_row(kind, str(sum(cell["knowledge"] == kind for cell in mine)), *row, ahead)
        console.print(table)


def _text(value: float, replicates: np.ndarray) -> str:
    found = interval(float(value), replicates)
    return with_interval(found)


def main() -> None:
    """Train the cells that are missing, seed by seed, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cohort", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--graph", type=Path, help="default: the curated core")
    parser.add_argument("--stays", type=int, help="training stays of share 1 (default: all)")
    parser.add_argument("--shares", type=float, nargs="+", default=[1.0])
    parser.add_argument("--knowledge", nargs="+", default=list(KNOWLEDGE), choices=KNOWLEDGE)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="setting of the model")
    args = parser.parse_args()
    quiet_libraries()
    console = Console(width=150)
    graph = ConceptGraph.load(args.graph) if args.graph else build()
    bench = Bench(Cohort.load(args.cohort), graph, args.stays, args.set)
    args.out.mkdir(parents=True, exist_ok=True)
    cells = []
    order = [(seed, share, kind) for seed in range(args.seeds) for share in args.shares for kind in args.knowledge]
    for seed, share, knowledge in order:
        path = args.out / f"{knowledge}-{share:g}-{seed}.json"
        if not path.exists():
            found = bench.train(knowledge, share, seed, args.steps, args.batch_size)
            write_text(path, json.dumps(found))
            console.print(f"{path.stem}: macro AUROC {found['macro_auroc']:.3f}, {found['seconds']:.0f} s")
        cells.append(json.loads(path.read_text(encoding="utf-8")))
    summarise(cells, bench, args.resamples, console)


if __name__ == "__main__":
    main()
