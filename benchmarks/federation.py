"""Many hospitals train the linear probes together: what it is worth, what spoils it, and what privacy costs.

    python benchmarks/federation.py --raw PATH/TO/eicu-demo --out outputs/federation [--attacks] [--dp 8,4,1]

The 28 networks of the eICU demo are the sites; five patient-disjoint splits (64/16/20, by salt), as `eicu_table.py` has
them. Rows: `central`, the probes fitted on pooled rows; `federated`, the work `linear` of `clinragen federate`, with no
cell below ten and the default rule; `own`, each network's rows alone, read with the features that all know together,
which favours it. All choose gains on validation stays; `central` is then fitted again on training and validation stays
together, the others are not. Intervals resample patients.

`--attacks`: three sites, drawn by lot, send minus ten times their change, its opposite, a hundred times it, or all the
same, in every round. `--dp`: every stay is protected inside its site's update (clipped gradients, Gaussian noise) with
delta 1e-5, for all rounds of training together; the sums before training are not counted. Noise is added by each site
for itself (`site`), or as shares of one noise under secure aggregation (`shared`). `--membership`: how well the loss of
a stay tells training stays from held-out ones, plainly and against eight models of other halves of the stays, both for
the first split.

`--network ROUNDS`: the network of `tiny`, work `network`: `central` is row `tiny` of `eicu_table.py`, three stages with
3, 2 and 3 epochs on pooled rows; `federated` is trained by all sites, one pass over their stays in each round, in one
stage; with `--alone`, `own` by each alone, as often, from the same start. With probes and gains, and the network alone.
A finished cell is kept; run again to go on.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import federated_network
import numpy as np
import polars as pl
from eicu_table import FEW, prepare, probes
from printed_tables import Console, with_interval
from rich.table import Table
from scipy.sparse import csr_matrix
from scipy.special import expit, logit
from sklearn.metrics import roc_auc_score

from clinragen.artifacts import read_json, write_json
from clinragen.cohort.folder import Cohort
from clinragen.evaluation.diagnosis import System, bootstrap, interval
from clinragen.federation.aggregation import Rule, RuleName, aggregate
from clinragen.federation.features import stays_of
from clinragen.federation.linear import LinearProbesWork
from clinragen.federation.network import NetworkWork
from clinragen.federation.privacy import noise_for
from clinragen.federation.update import Tensors, Update, apply, change
from clinragen.federation.work import Statistic, small_cells
from clinragen.model.linear_probes import PROBES
from clinragen.quiet import quiet_libraries
from clinragen.stages.logistic import Features, fit_elastic_net

SMALLEST = 10  # stays of a cell that leaves
BAD = 3  # sites that mean harm
DELTA = 1e-5
PRIVATE_ROUNDS, LONGEST = 10, 1.0  # of training with noise, and of the gradient of a stay
ATTACKS: dict[str, float] = {"minus_ten": -10.0, "flipped": -1.0, "scaled": 100.0, "colluding": -10.0}
RULES: tuple[RuleName, ...] = ("clipped_mean", "mean")
HALVES = 8  # other models that a stay's loss is held against
ALONE = ", alone"  # of the name of a row: the network without probes
#: The changes of all sites, in their order, as those send them that mean harm.
Tamper = Callable[[list[Tensors]], list[Tensors]]


@dataclass
class Split:
    """One split: the whole cohort, its sites by a column of its table of sites, and where cells lie."""

    cohort: Cohort
    out: Path
    seed: int
    by: str = "network"
    work: Any = field(default_factory=lambda: LinearProbesWork({"smallest_cell": SMALLEST}))  # or NetworkWork

    @cached_property
    def sites(self) -> dict[str, Cohort]:
        """Site -> its stays."""
        table = self.cohort.sites
        return {
            name: self.cohort.of_stays(table.filter(pl.col(self.by) == name)["stay_id"].to_numpy())
            for name in table[self.by].unique().sort()
        }

    @cached_property
    def counted(self) -> Tensors:
        """The model before training: all sums of the sites, small cells left out."""
        tensors = self.work.start()
        for phase in self.work.phases()[:3]:
            tensors = self.sum_up(tensors, phase.name)
        return tensors

    def sum_up(self, tensors: Tensors, phase: str) -> Tensors:
        """The model after one round of sums."""
        totals: dict[str, Statistic] = {}
        for site in self.sites.values():
            for name, sums in self.work.statistics(site, tensors, phase).items():
                keep = ~small_cells(sums, SMALLEST)
                before = totals.get(name) or Statistic(np.zeros_like(sums.values), np.zeros_like(sums.stays))
                totals[name] = Statistic(before.values + sums.values * keep, before.stays + sums.stays * keep)
        return self.work.advance(tensors, totals, phase)

    def fused(self, tensors: Tensors) -> Tensors:
        """The model with gains, offsets and threshold."""
        for phase in self.work.phases()[-2:]:
            for _ in range(phase.rounds):
                tensors = self.sum_up(tensors, phase.name)
        return tensors

    def federated(self, rule: RuleName = "clipped_mean", tamper: Tamper = lambda changes: changes) -> Tensors:
        """The model of all rounds."""
        phases = self.work.phases()
        tensors, number = self.counted, sum(phase.rounds for phase in phases[:3])
        for phase in phases[3:-2]:
            for _ in range(phase.rounds):
                number += 1
                trained = [self.work.train(site, tensors, number) for site in self.sites.values()]
                changes = tamper([change(tensors, after) for after, _ in trained])
                updates = [
                    Update(name, changed, count)
                    for name, changed, (_, count) in zip(self.sites, changes, trained, strict=True)
                ]
                tensors = apply(tensors, aggregate(updates, Rule(rule)).tensors)
        return self.fused(tensors)

    def private(self, epsilon: float, *, shared: bool) -> Tensors:
        """The model of rounds of clipped gradients with noise, without corrections, which would need more releases."""
        noise = noise_for(epsilon, PRIVATE_ROUNDS, DELTA) * LONGEST
        draw, tensors = np.random.default_rng(self.seed), dict(self.counted)
        rows = [self.work.rows(site, tensors, "train") for site in self.sites.values()]
        stays = sum(len(each) for each in rows)
        deviation = noise / stays * (1 if shared else len(rows) ** 0.5)
        for _ in range(PRIVATE_ROUNDS):
            moved: dict[str, np.ndarray] = {}
            for name in PROBES:
                before = tensors[f"{name}_weights"]
                each = [self.work.probe(site, tensors, name) for site in rows]
                total = sum(one.private_gradient(before, LONGEST / len(PROBES) ** 0.5) for one in each)
                gradient = np.asarray(total) / stays + draw.normal(0, deviation, before.shape)
                largest = max(each, key=lambda one: one.labels.shape[0])
                moved[f"{name}_weights"] = largest.private_step(before, gradient.astype(np.float32))
            tensors |= moved
        return self.fused(tensors)

    def own(self) -> np.ndarray:
        """Logits of held-out stays by models of their own networks, [n, L]."""
        counted, held = self.counted, stays_of(self.cohort, "test")
        logits = np.zeros((len(held), len(self.work.settings.labels)))
        for site in self.sites.values():
            train, test = (self.work.rows(site, counted, split) for split in ("train", "test"))
            if not len(test):
                continue
            rates = (train.labels.sum(0) + 0.5) / (len(train) + 1)
            scores = np.repeat(logit(rates)[None], len(test), axis=0)
            for name in PROBES if len(train) > 1 else ():
                fit = fit_elastic_net(
                    Features(train.matrices[name]), train.labels, self.work.settings.penalties[name],
                    self.work.nets[name], counts=train.eligible,
                )  # fmt: skip
                scores += np.asarray(test.matrices[name] @ fit[:-1]) - np.asarray(train.matrices[name] @ fit[:-1]).mean(
                    0
                )
            logits[np.isin(held, stays_of(site, "test"))] = scores
        return logits

    def test(self, tensors: Tensors) -> np.ndarray:
        """Logits of the held-out stays, [n, L]."""
        return self.work.logits(self.work.rows(self.cohort, tensors, "test"), tensors)


def poison(kind: str, seed: int) -> Tamper:
    """What three sites do, the same in all rounds."""

    def tamper(changes: list[Tensors]) -> list[Tensors]:
        bad = set(np.random.default_rng(seed).choice(len(changes), BAD, replace=False).tolist())
        sent = changes
        if kind == "colluding":
            mean = {name: np.mean([changes[site][name] for site in bad], axis=0) for name in changes[0]}
            sent = [mean] * len(changes)
        return [
            {name: ATTACKS[kind] * array for name, array in sent[site].items()} if site in bad else honest
            for site, honest in enumerate(changes)
        ]

    return tamper


def membership(split: Split, tensors: dict[str, Tensors]) -> dict[str, dict[str, float]]:
    """AUROC of training stays against held-out ones, by loss and by likelihood ratio, for each model."""
    work, counted = split.work, split.counted
    both = [work.rows(split.cohort, counted, part) for part in ("train", "test")]
    gold = np.concatenate([rows.labels for rows in both])
    matrices = {
        "note": csr_matrix(np.vstack([rows.matrices["note"].toarray() for rows in both])),  # type: ignore[union-attr]
        "series": np.concatenate([np.asarray(rows.matrices["series"]) for rows in both]),
    }
    member = np.arange(len(gold)) < len(both[0])
    draw, others = np.random.default_rng(split.seed), np.full((HALVES, len(gold)), np.nan)
    for number in range(HALVES):
        half = draw.random(len(gold)) < 0.5
        scores = np.zeros(gold.shape)
        for name in PROBES:
            fit = fit_elastic_net(
                Features(matrices[name][half]), gold[half], work.settings.penalties[name], work.nets[name]
            )
            scores += np.asarray(matrices[name] @ fit[:-1]) * counted["fusion"][PROBES.index(name)]
        scores += logit(gold[half].mean(0).clip(1e-3, 1 - 1e-3)) - scores[half].mean(0)
        others[number, ~half] = losses(scores, gold)[~half]
    expected, spread = np.nanmean(others, axis=0), np.nanstd(others, axis=0)
    found = {}
    for name, model in tensors.items():
        loss = np.concatenate([losses(work.logits(rows, model), rows.labels) for rows in both])
        ratio = (expected - loss) / (spread + np.nanmedian(spread))
        sure = np.isfinite(ratio)
        found[name] = {
            "loss": float(roc_auc_score(member, -loss)),
            "ratio": float(roc_auc_score(member[sure], ratio[sure])),
        }
    return found


def losses(logits: np.ndarray, gold: np.ndarray) -> np.ndarray:
    """Mean loss of each stay over the labels, [n]."""
    return (np.logaddexp(0, logits) - gold * logits).mean(1)


def compute(split: Split, wanted: list[str], network: NetworkWork | None = None) -> None:
    """The cells of one split that are not there yet: logits of the held-out stays by each model."""
    models: dict[str, Tensors] = {}

    def model(name: str) -> Tensors:
        if name not in models:
            kind, _, rest = name.partition("-")
            if kind == "federated":
                models[name] = split.federated("clipped_mean" if rest != "mean" else "mean")
            elif kind == "dp":
                epsilon, _, where = rest.partition("-")
                models[name] = split.private(float(epsilon), shared=where == "shared")
            else:
                attack, _, rule = rest.partition("-")
                models[name] = split.federated(RULES[rule == "mean"], poison(attack, split.seed))
        return models[name]

    for name in wanted:
        file, began = split.out / f"{name}.json", time.monotonic()
        if file.exists():
            continue
        if name == "central":
            cell = {"test": logit(probes(split.cohort, split.out)["test"].clip(1e-6, 1 - 1e-6))}
        elif is_network(name):
            cell = federated_network.cell(replace(split, work=network), name.removeprefix("network-"))
        elif name == "own":
            cell = {"test": split.own()}
        elif name == "membership":
            private = [each for each in wanted if each.startswith("dp-")]
            write_json(file, membership(split, {each: model(each) for each in ["federated", *private]}))
            continue
        else:
            cell = {"test": split.test(model(name))}
        values = {key: np.asarray(array).round(5).tolist() for key, array in cell.items()}
        write_json(file, {"seconds": round(time.monotonic() - began, 1), **values})


def is_network(name: str) -> bool:
    """Whether a cell is of the network."""
    return name.startswith("network-")


def cell_of(split: Split, name: str) -> list[list[float]]:
    """Logits of a finished cell; of the network alone where the name ends so."""
    whole = name.removesuffix(ALONE)
    return read_json(split.out / f"{whole}.json", "a cell")["test" if whole == name else "alone"]


def show(splits: list[Split], names: list[str]) -> None:
    """Mean over the splits of the macro AUROC of labels with enough positives, and what is lost beside the central."""
    values: dict[str, list[float]] = {name: [] for name in names}
    drawn: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for split in splits:
        cohort = split.cohort
        gold = cohort.label_matrix(cohort.split("test"))
        many = gold.sum(0) >= FEW
        systems = {name: System(expit(np.array(cell_of(split, name))), np.full(len(many), 0.5)) for name in names}
        patients = cohort.stays.filter(pl.col("split") == "test")["subject_id"].to_numpy()
        for name, part in bootstrap(gold, systems, patients, replicates=500, seed=split.seed).items():
            values[name].append(float(np.nanmean(part.auroc[many])))
            drawn[name].append(np.nanmean(part.auroc_replicates[:, many], axis=1))
    table = Table(title=f"eICU demo, {len(splits)} splits: macro AUROC of labels with {FEW} positives (95 % interval)")
    for heading in ("model", "AUROC", "minus central", "minus federated", "splits"):
        table.add_column(heading, justify="left" if heading == "model" else "right")
    for name in names:
        cells = [_shown(np.mean(values[name]), np.mean(drawn[name], axis=0))]
        for rival in ("central", "federated"):
            apart = [np.array(one) - np.array(two) for one, two in zip(drawn[name], drawn[rival], strict=True)]
            cells.append(_shown(np.mean(values[name]) - np.mean(values[rival]), np.mean(apart, axis=0)))
        table.add_row(name, *cells, " ".join(f"{value:.3f}" for value in values[name]))
    Console(width=150).print(table)


def show_sites(splits: list[Split]) -> None:
    """Micro AUROC of each network's held-out stays of all splits together."""
    rows: dict[str, dict[str, list[np.ndarray]]] = {}
    for split in splits:
        cohort, held = split.cohort, split.cohort.split("test")
        gold = cohort.label_matrix(held)
        network = dict(zip(cohort.sites["stay_id"], cohort.sites["network"], strict=True))
        of = np.array([network[stay] for stay in held.tolist()])
        for site in np.unique(of):
            here = rows.setdefault(str(site), {})
            here.setdefault("gold", []).append(gold[of == site])
            here.setdefault("train", []).append(np.array([len(stays_of(split.sites[str(site)], "train"))]))
            for name in ("central", "federated", "own"):
                cell = np.array(read_json(split.out / f"{name}.json", "a cell")["test"])
                here.setdefault(name, []).append(cell[of == site])
    table = Table(title="By network, all splits together: micro AUROC of held-out stays")
    for heading in ("network", "training stays", "held-out stays", "central", "federated", "own"):
        table.add_column(heading, justify="right")
    for site, here in sorted(rows.items(), key=lambda item: -float(np.mean(item[1]["train"]))):
        gold = np.concatenate(here["gold"]).ravel()
        scores = [
            f"{roc_auc_score(gold, np.concatenate(here[name]).ravel()):.3f}" for name in ("central", "federated", "own")
        ]
        table.add_row(site, f"{np.mean(here['train']):.0f}", str(sum(map(len, here["gold"]))), *scores)
    Console(width=110).print(table)


def _shown(value: float, replicates: np.ndarray) -> str:
    return with_interval(interval(float(value), replicates))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--raw", type=Path, required=True, help="the folder of the eICU demo")
    parser.add_argument("--out", type=Path, required=True, help="cohorts and cells; run again to go on")
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--attacks", action="store_true", help="three sites that mean harm, by two rules")
    parser.add_argument("--dp", default="", help="epsilons, such as 8,4,1")
    parser.add_argument(
        "--network", type=int, default=0, help="the network of tiny, too, in so many rounds of one pass"
    )
    parser.add_argument("--alone", action="store_true", help="each site's network by itself, too")
    parser.add_argument("--set", action="append", default=[], help="override of the network's settings")
    parser.add_argument("--membership", action="store_true", help="attack the models of the first split")
    args = parser.parse_args()
    quiet_libraries()
    names = ["central", "federated", "federated-mean", "own"]
    names += [f"attack-{kind}-{rule}" for kind in ATTACKS for rule in ("clipped", "mean")] if args.attacks else []
    names += [f"dp-{epsilon}-{where}" for epsilon in args.dp.split(",") if epsilon for where in ("site", "shared")]
    network = federated_network.work({"smallest_cell": SMALLEST}, args.network, args.set) if args.network else None
    kinds = ["central", "federated", *["own"] * args.alone] if args.network else []
    trained = [f"network-{kind}" for kind in kinds]
    splits = []
    for number in range(1, args.splits + 1):
        out = args.out / f"split{number}"
        split = Split(Cohort.load(prepare(args.raw, out, f"split{number}", diagnosis=False)), out, number)
        compute(split, [*names, *trained, *["membership"] * (args.membership and number == 1)], network)
        splits.append(split)
    show(splits, [*names, *trained[:2], *(f"{name}{ALONE}" for name in trained)])
    show_sites(splits)
    if args.membership:
        table = Table(title="Membership of the first split's training stays: AUROC")
        for heading in ("model", "loss", "likelihood ratio"):
            table.add_column(heading)
        for name, found in read_json(splits[0].out / "membership.json", "a cell").items():
            table.add_row(name, f"{found['loss']:.3f}", f"{found['ratio']:.3f}")
        Console().print(table)


if __name__ == "__main__":
    main()
