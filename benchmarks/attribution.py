"""Do explanations name the true cause, and are they faithful? Measured on the synthetic hospital, with ground truth.

    python benchmarks/attribution.py --model RUN --cohort COHORT --truth RAW/truth [--stays 150] [--cells 3]

Every true positive of the test stays (the probability reaches the threshold, the code is there) is explained by
`occlusion` and by `attention`.

True cause: the top five concepts include a finding that the condition changed in this stay (the variables and
directions of `truth/conditions.parquet`), or a concept that the linker finds in the terms written about it. True
positives of conditions that show nowhere are left out.

Deletion: the top hours of a method (blocks of one variable) are made unmeasured, and the calibrated probability is
computed again; for comparison, as many measurements in random blocks, the mean of five draws. A method is the more
faithful the more probability its hours cost.

The time of what `clinragen predict` does for every stay is printed beside that of occlusion: what each piece of
evidence contributes to all logits, from one reading of the stay (`inference/contributions.py`), after that reading.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import polars as pl
import torch
from printed_tables import Console
from rich.table import Table

from clinragen.attribution import occlusion
from clinragen.attribution.explain import METHODS, Explainer
from clinragen.cohort.folder import Cohort
from clinragen.data.dataset import Stay, StayDataset
from clinragen.data.evidence_pieces import StayEvidence, without_cells
from clinragen.data.mentions import MentionEncoder
from clinragen.evaluation.explanation import HoursScore
from clinragen.inference.contributions import contributions
from clinragen.inference.predict import TrainedModel, batches
from clinragen.model.clinragen import ClinRaGen
from clinragen.quiet import quiet_libraries

CONCEPTS = 5
DRAWS = 5


def causes(truth: Path, model: ClinRaGen, link: MentionEncoder) -> dict[tuple[int, str], set[str]]:
    """(stay, phenotype) to the concepts that are its true causes in that stay; only conditions that were coded."""
    rows = pl.read_parquet(truth / "conditions.parquet").filter("is_phenotype", "coded")
    found: dict[tuple[int, str], set[str]] = defaultdict(set)
    known = set(model.concepts.ids)
    for row in rows.iter_rows(named=True):
        mine = found[row["stay_id"], row["condition"]]
        mine |= {f"finding:{variable}" for variable in row["variables"]} & known
        for term in row["terms"]:
            text = term.replace("_", " ")
            mine |= {f"symptom:{term}"} & known
            mine |= {mention.concept for mention in link.linker.link(text)} & known
    return found


def cells_of(entries: list[HoursScore], count: int, model: ClinRaGen, stay: Stay) -> np.ndarray:
    """The measured (variable, hour) cells of the first blocks, bool [V, T]."""
    cells = np.zeros_like(stay.observed)
    for entry in entries[:count]:
        column = model.statistics.variables.index(entry["variable"])
        cells[column, int(entry["from_hour"]) : int(entry["to_hour"])] = True
    return cells & stay.observed


def random_cells(stay: Stay, values: int, width: int, random: np.random.Generator) -> np.ndarray:
    """Measured cells of random blocks, at least as many as ``values``."""
    columns, hours = stay.observed.shape
    blocks = [(v, h) for v in range(columns) for h in range(0, hours, width) if stay.observed[v, h : h + width].any()]
    cells = np.zeros_like(stay.observed)
    for position in random.permutation(len(blocks)):
        if (cells & stay.observed).sum() >= values:
            break
        column, start = blocks[position]
        cells[column, start : start + width] = True
    return cells & stay.observed


def contribution_time(trained: TrainedModel, dataset: StayDataset, size: int = 16) -> float:
    """Seconds a stay for what its pieces of evidence contribute, without the reading; the mean over the stays."""
    inputs, spent = list(trained.manifest.inputs), 0.0
    with torch.inference_mode():
        for indices, batch in batches(trained.model, dataset, size):
            batch = batch.to(trained.device)
            output = trained.model(batch, inputs, targets=False, explain=True)
            began = time.perf_counter()
            contributions(trained.model, batch, output, [StayEvidence(dataset, index, inputs) for index in indices])
            spent += time.perf_counter() - began
    return spent / len(dataset)


def main() -> None:
    """Explain, compare with the truth, delete, and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--cohort", type=Path, required=True)
    parser.add_argument("--truth", type=Path, required=True)
    parser.add_argument("--stays", type=int, default=150)
    parser.add_argument("--cells", type=int, default=3, help="blocks of hours that are deleted")
    args = parser.parse_args()
    quiet_libraries()
    trained, cohort = TrainedModel.load(args.model), Cohort.load(args.cohort)
    model, inputs = trained.model, list(trained.manifest.inputs)
    dataset = trained.dataset(cohort, "test", limit=args.stays)
    explainer = Explainer(trained, dataset)
    known = causes(args.truth, model, dataset.link)
    random = np.random.default_rng(0)
    named: dict[str, list[bool]] = defaultdict(list)
    dropped: dict[str, list[float]] = defaultdict(list)
    chance: dict[str, list[float]] = defaultdict(list)
    silent, spent = 0, 0.0
    for index in range(len(dataset)):
        stay = dataset[index]
        began = time.perf_counter()
        explained = explainer.explain(index)["diagnoses"]
        spent += time.perf_counter() - began
        altered: list[Stay] = []
        asked: list[tuple[str, int]] = []
        for row in explained:
            label = list(model.labels).index(row["diagnosis"])
            if row["probability"] < row.get("threshold", 0.5) or not stay.labels[label]:
                continue
            true = known.get((int(stay.stay_id), row["diagnosis"]), set())
            silent += not true
            for method in METHODS:
                attribution = row.get(method)
                if attribution is None:
                    continue
                if true:
                    said = {entry["concept"] for entry in attribution["concepts"][:CONCEPTS]}
                    named[method].append(bool(said & true))
                cells = cells_of(attribution["hours"], args.cells, model, stay)
                values = int(cells.sum())
                altered.append(without_cells(stay, cells))
                width = model.series_encoder.patch_hours
                drawn = [random_cells(stay, values, width, random) for _ in range(DRAWS)]
                altered += [without_cells(stay, other) for other in drawn]
                asked.append((method, label))
        if not asked:
            continue
        whole = trained.calibration.probabilities(occlusion.logits(model, [stay], inputs))[0]
        without = trained.calibration.probabilities(occlusion.logits(model, altered, inputs))
        for position, (method, label) in enumerate(asked):
            own, *others = without[position * (DRAWS + 1) : (position + 1) * (DRAWS + 1), label]
            dropped[method].append(float(whole[label] - own))
            chance[method].append(float(whole[label] - np.mean(others)))
    console = Console(width=130)
    table = Table("method", "true positives", f"a true cause among the first {CONCEPTS} concepts")
    for method in METHODS:
        table.add_row(method, str(len(named[method])), f"{np.mean(named[method]):.3f}")
    console.print(table, f"{silent} true positives of conditions that show nowhere were left out")
    table = Table(
        "method",
        "true positives",
        "probability lost",
        "at random",
        "difference (95 % interval)",
        "worth more than random",
    )
    for method in METHODS:
        own, other = np.array(dropped[method]), np.array(chance[method])
        gap = own - other
        error = 1.96 * gap.std(ddof=1) / len(gap) ** 0.5
        table.add_row(
            method,
            str(len(own)),
            f"{own.mean():.3f}",
            f"{other.mean():.3f}",
            f"{gap.mean():.3f} ({gap.mean() - error:.3f} to {gap.mean() + error:.3f})",
            f"{(gap > 0).mean():.3f}",
        )
    console.print(table, f"{spent / len(dataset):.2f} s per stay explained, all phenotypes at once")
    milliseconds = 1000 * contribution_time(trained, dataset)
    console.print(f"{milliseconds:.1f} ms per stay for the contributions of all pieces of evidence to all phenotypes")


if __name__ == "__main__":
    main()
