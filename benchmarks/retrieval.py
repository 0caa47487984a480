"""Whether the vote of similar training stays helps, on the eICU demo: beside linear probes, beside text, beside `tiny`.

    python benchmarks/retrieval.py --cohort COHORT [COHORT ...] [--runs RUN [RUN ...]]

The cohorts are splits of one database, as `benchmarks/eicu_table.py` prepares them in its folder `default/split1` and
so on; the runs, finished runs of the first of these cohorts, such as its `tiny/multimodal`. The vote is fitted as
`stage.similar_cases=true` fits it, with all that is chosen there chosen on validation stays. Rows with `random
neighbours` have any training stays for neighbours, those with `shuffled labels` the labels of other training stays:
both must gain nothing. Differences are paired: the same draws of patients with replacement for all rows.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from printed_tables import Console, with_interval
from rich.table import Table
from scipy.special import expit
from torch import Tensor

from clinragen.choices import Modality
from clinragen.cohort.folder import Cohort
from clinragen.data.dataset import StayDataset
from clinragen.evaluation.diagnosis import METRICS, Bootstrapped, System, bootstrap, interval
from clinragen.inference.predict import TrainedModel, score
from clinragen.model.clinragen import ClinRaGen
from clinragen.model.linear_probes import LinearProbes
from clinragen.model.similar_cases import SimilarCases
from clinragen.quiet import quiet_libraries
from clinragen.stages.build import new_model, stays
from clinragen.stages.config import resolve
from clinragen.stages.ensemble import fit_linear_probes, refit_linear_probes
from clinragen.stages.similar_cases import fit_similar_cases

FEW = 5  # labels with fewer positives among the test stays are left out, as their AUROC is chance
REPLICATES, BATCH = 1000, 32
SPLITS = ("train", "validation", "test")
BOTH: tuple[Modality, ...] = ("note", "series")
type Data = dict[str, StayDataset]


def shuffled(train: StayDataset) -> StayDataset:
    """The training stays with each other's labels."""
    other = copy(train)
    order = np.random.default_rng(0).permutation(len(train))
    other.labels, other.eligible = train.labels[order], train.eligible[order]
    return other


def at_random(chance: torch.Generator) -> Callable[[SimilarCases, str, Tensor, Tensor], Tensor]:
    """A search that finds any stays but those of the same patient."""
    searched = SimilarCases.similarities

    def similarities(cases: SimilarCases, name: str, vectors: Tensor, hashes: Tensor) -> Tensor:
        similar = searched(cases, name, vectors, hashes)
        drawn = torch.rand(similar.shape, generator=chance)
        return torch.where(similar.isfinite(), drawn, similar)

    return similarities


@dataclass(frozen=True)
class Row:
    """What is compared: by which modalities similar cases are asked for, and what must gain nothing."""

    name: str
    voting: tuple[Modality, ...] = ()
    control: str = ""


def rows_of(base: str, linear: tuple[Modality, ...]) -> list[Row]:
    """The rows of one model: without the vote, with it, and with what must gain nothing."""
    by_series = [Row(f"{base} + vote, by series too", BOTH)] if linear != BOTH else []
    return [
        Row(base),
        Row(f"{base} + vote", linear),
        *by_series,
        Row(f"{base} + vote of random neighbours", BOTH, "random"),
        Row(f"{base} + vote with shuffled labels", BOTH, "shuffled"),
    ]


@dataclass(frozen=True)
class Base:
    """A model whose linear probes were fitted on training stays, and then on validation stays, too, as a stage does.

    Attributes:
        model: with its probes.
        data: stays of all splits.
        linear: modalities of the probes.
        chosen, final: buffers of the probes when the vote is chosen, and when test stays are read.
    """

    model: ClinRaGen
    data: Data
    linear: tuple[Modality, ...]
    chosen: dict[str, Tensor]
    final: dict[str, Tensor]

    @classmethod
    def fit(cls, model: ClinRaGen, data: Data, linear: tuple[Modality, ...], *, network: bool) -> Base:
        """Fit the probes; without the ``network`` they are all there is."""
        model.head.reset()
        probes, labelled = _probes(model), {name: data[name] for name in ("train", "validation")}
        fits = fit_linear_probes(model, labelled, linear, BATCH)
        assert fits is not None, "the model has linear probes"
        if not network:
            probes.gains[0] = 0
        chosen = {name: buffer.clone() for name, buffer in probes.state_dict().items()}
        refit_linear_probes(model, labelled, fits)
        final = {name: buffer.clone() for name, buffer in probes.state_dict().items()}
        return cls(model, data, linear, chosen, final)

    def logits(self, row: Row) -> tuple[np.ndarray, dict[str, float]]:
        """Of the test stays, and what was chosen of the vote."""
        self.model.head.similar_cases, gained = None, {}
        searched = at_random(torch.Generator().manual_seed(0)) if row.control == "random" else SimilarCases.similarities
        with patch.object(SimilarCases, "similarities", searched):
            if row.voting:
                train = self.data["train"]
                voters = {**self.data, "train": shuffled(train) if row.control == "shuffled" else train}
                _probes(self.model).load_state_dict(self.chosen)
                gained = fit_similar_cases(self.model, voters, row.voting, BATCH)
            _probes(self.model).load_state_dict(self.final)
            return score(self.model, self.data["test"], row.voting or self.linear)[0], gained


def _probes(model: ClinRaGen) -> LinearProbes:
    assert model.head.linear_probes is not None, "the model has linear probes"
    return model.head.linear_probes


def split(cohort: Cohort, run: Path | None, seed: int) -> tuple[dict[str, Bootstrapped], np.ndarray]:
    """All rows of one split on the same draws of patients, and which labels have at least ``FEW`` positives."""
    config = resolve("multimodal", "tiny", "evidence", ["stage.parent=null", "stage.targets=[diagnoses]"])
    torch.manual_seed(0)
    bare = new_model(config, cohort, None).eval()
    data = {name: stays(bare, config, cohort, name) for name in SPLITS}
    systems: dict[str, System] = {}

    def add(name: str, base: Base) -> None:
        for row in rows_of(name, base.linear):
            logits, gained = base.logits(row)
            systems[row.name] = System(expit(logits), np.full(logits.shape[1], 0.5))
            print(f"split {seed}, {row.name}: {', '.join(f'{key} {value:g}' for key, value in gained.items())}")

    add("linear paths", Base.fit(bare, data, BOTH, network=False))
    add("text", Base.fit(bare, data, ("note",), network=False))
    if run is not None:
        trained = TrainedModel.load(run)
        read = {name: trained.dataset(cohort, name) for name in SPLITS}
        add("tiny", Base.fit(trained.model, read, BOTH, network=True))
    gold = data["test"].labels
    return bootstrap(gold, systems, data["test"].patients, REPLICATES, seed), gold.sum(0) >= FEW


def show(splits: list[tuple[dict[str, Bootstrapped], np.ndarray]]) -> None:
    """Means over the splits that have a row, and the difference from the row without a vote."""
    table = Table(title="macro AUROC on the eICU demo, mean over the splits (95 % interval, patients resampled)")
    for heading in ("model", "splits", f"of labels with {FEW}", "difference", "of all labels", "difference "):
        table.add_column(heading, justify="left" if heading == "model" else "right")
    for name in dict.fromkeys(name for results, _ in splits for name in results):
        base = name.partition(" + ")[0]
        parts = [(results[name], results[base], many) for results, many in splits if name in results]
        cells = [name, str(len(parts))]
        for measure in (_frequent, _all):
            values = [(measure(own, many), measure(other, many)) for own, other, many in parts]
            mean = float(np.mean([own[0] for own, _ in values]))
            drawn = np.mean([own[1] for own, _ in values], axis=0)
            gain = float(np.mean([own[0] - other[0] for own, other in values]))
            gains = np.mean([own[1] - other[1] for own, other in values], axis=0)
            cells += [_interval(mean, drawn), "" if name == base else _interval(gain, gains)]
        table.add_row(*cells)
    Console(width=150).print(table)


def _frequent(result: Bootstrapped, many: np.ndarray) -> tuple[float, np.ndarray]:
    return float(np.nanmean(result.auroc[many])), np.nanmean(result.auroc_replicates[:, many], axis=1)


def _all(result: Bootstrapped, many: np.ndarray) -> tuple[float, np.ndarray]:
    column = METRICS.index("macro_auroc")
    return float(result.value[column]), result.replicates[:, column]


def _interval(value: float, replicates: np.ndarray) -> str:
    ends = interval(value, replicates)
    return with_interval(ends, digits=4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cohort", type=Path, nargs="+", required=True, help="cohorts, each a split of one database")
    parser.add_argument("--runs", type=Path, nargs="*", default=[], help="finished runs of the first of these cohorts")
    args = parser.parse_args()
    quiet_libraries()
    runs = [*args.runs, *[None] * (len(args.cohort) - len(args.runs))]
    show([split(Cohort.load(folder), run, n) for n, (folder, run) in enumerate(zip(args.cohort, runs, strict=True), 1)])


if __name__ == "__main__":
    main()
