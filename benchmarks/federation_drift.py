"""Synthetic hospitals that code and chart differently train together: who gains, by codes and by patients?

    python benchmarks/federation_drift.py --out outputs/federation_drift [--patients 1500] [--seeds 1,2]

`mimic-prep synthesize --sites 5` without and with `--site-drift 1`: the same patients, of whom some hospitals leave
conditions uncoded, write another version of the ICD or store rows late. `federated` is the work `linear` as in
`federation.py`, `own` each hospital alone, `central` the same work with all rows as one site. Held-out stays are judged
twice: by the labels that their hospital wrote, and by what the usual hospital would have written
(`truth/uncoded.parquet` says what is missing). Macro AUROC over the labels with enough positives in that hospital's
held-out stays; seeds are other patients, and intervals resample these.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
from eicu_table import FEW, SHARES
from federation import Split
from printed_tables import Console, with_interval
from rich.table import Table
from scipy.special import expit

from clinragen.artifacts import read_json, write_json
from clinragen.cohort.folder import Cohort
from clinragen.evaluation.diagnosis import System, bootstrap, interval
from clinragen.federation.linear import LinearProbesWork
from clinragen.quiet import quiet_libraries
from mimic_prep.cli import main as mimic_prep
from mimic_prep.synthetic.write import synthesize

SITES = 5
MODELS = ("central", "federated", "own")
ALL = "all"
REPLICATES = 500
ALONE = LinearProbesWork({"smallest_cell": 1, "least_sites": 1})


@dataclass(frozen=True)
class Group:
    """A hospital group that was trained on: its split, and the labels that the usual hospital would have written."""

    split: Split
    usual: np.ndarray  # of the held-out stays, [n, L]

    @property
    def written(self) -> np.ndarray:
        """The labels of the held-out stays as their hospitals wrote them, [n, L]."""
        return self.split.cohort.label_matrix(self.split.cohort.split("test"))

    def logits(self, model: str) -> np.ndarray:
        """Of the held-out stays by a model, [n, L]."""
        return np.array(read_json(self.split.out / f"{model}.json", "a cell")["test"])

    @property
    def hospitals(self) -> np.ndarray:
        """Of each held-out stay, [n]."""
        stays = pl.DataFrame({"stay_id": self.split.cohort.split("test")})
        table = self.split.cohort.sites.select("stay_id", "hospital")
        return stays.join(table, on="stay_id", how="left", maintain_order="left")["hospital"].to_numpy()

    def at(self, site: str) -> np.ndarray:
        """Which held-out stays are of a hospital, or of all, bool [n]."""
        return np.full(len(self.usual), True) if site == ALL else self.hospitals == site

    @property
    def patients(self) -> np.ndarray:
        """Of each held-out stay, [n]."""
        return self.split.cohort.stays.filter(pl.col("split") == "test")["subject_id"].to_numpy()


def group(out: Path, patients: int, seed: int, strength: float) -> Group:
    """Make, prepare and train on a group; what is there already is left."""
    here = out / f"{patients}-{seed}-{strength:g}"
    raw, cohort = here / "raw", here / "cohort"
    if not raw.exists():
        synthesize(patients, seed, raw, sites=SITES, site_drift=strength)
    if not cohort.exists():
        shares = [word for setting in SHARES for word in ("--set", setting)]
        if mimic_prep(["mimic-iv", "--raw", str(raw), "--out", str(cohort), *shares]):
            raise SystemExit(f"{cohort} could not be prepared")
    split = Split(Cohort.load(cohort), here, seed, by="hospital")
    train(split)
    held = split.cohort.split("test")
    usual = split.cohort.label_matrix(held).copy()
    names = list(split.cohort.label_set)
    if strength:
        for stay, name in pl.read_parquet(raw / "truth" / "uncoded.parquet").iter_rows():
            if name in names:
                usual[held == stay, names.index(name)] = True
    return Group(split, usual)


def train(split: Split) -> None:
    """Logits of the held-out stays by each model; what is there already is left."""
    makers = {
        "central": lambda: Pooled(split.cohort, split.out, split.seed, work=ALONE).trained(),
        "federated": lambda: split.test(split.federated()),
        "own": split.own,
    }
    for name, make in makers.items():
        if not (file := split.out / f"{name}.json").exists():
            write_json(file, {"test": make().round(5).tolist()})


class Pooled(Split):
    """All rows in one place, as the only site."""

    @cached_property
    def sites(self) -> dict[str, Cohort]:
        """The whole cohort."""
        return {"pooled": self.cohort}

    def trained(self) -> np.ndarray:
        """Logits of the held-out stays, [n, L]."""
        return self.test(self.federated())


def scores(group: Group, gold: np.ndarray, site: str) -> dict[str, tuple[float, np.ndarray]]:
    """Macro AUROC of each model on a hospital's held-out stays, with its replicates."""
    here = group.at(site)
    many = (gold[here].sum(0) >= FEW) & (gold[here].sum(0) < here.sum())
    systems = {name: System(expit(group.logits(name)[here]), np.full(len(many), 0.5)) for name in MODELS}
    drawn = bootstrap(gold[here], systems, group.patients[here], replicates=REPLICATES, seed=group.split.seed)
    return {
        name: (float(np.nanmean(part.auroc[many])), np.nanmean(part.auroc_replicates[:, many], axis=1))
        for name, part in drawn.items()
    }


def show(groups: dict[float, list[Group]]) -> None:
    """A table for each kind of group: hospital by hospital, mean over the seeds."""
    for strength, of_seeds in groups.items():
        for judged in ("written", "usual") if strength else ("written",):
            title = f"site drift {strength:g}, {len(of_seeds)} seeds, judged by the labels as {judged}: macro AUROC"
            table = Table(title=title)
            for heading in ("hospital", "held-out stays", *MODELS, "federated - central", "federated - own"):
                table.add_column(heading, justify="right")
            for site in (*(f"hospital-{number}" for number in range(1, SITES + 1)), ALL):
                each = [scores(one, getattr(one, judged), site) for one in of_seeds]
                value = {name: float(np.mean([one[name][0] for one in each])) for name in MODELS}
                drawn = {name: np.mean([one[name][1] for one in each], axis=0) for name in MODELS}
                cells = [_shown(value[name], drawn[name]) for name in MODELS]
                cells += [
                    _shown(value["federated"] - value[rival], drawn["federated"] - drawn[rival])
                    for rival in ("central", "own")
                ]
                stays = sum(int(one.at(site).sum()) for one in of_seeds)
                table.add_row(site, str(stays), *cells)
            Console(width=150).print(table)


def _shown(value: float, replicates: np.ndarray) -> str:
    ends = interval(value, replicates)
    return "" if ends["value"] is None else with_interval(ends)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="groups and cells; run again to go on")
    parser.add_argument("--patients", type=int, default=1500, help="of each group")
    parser.add_argument("--seeds", default="1,2", help="of the groups")
    parser.add_argument("--strength", type=float, default=1.0, help="of the drift between the hospitals")
    args = parser.parse_args()
    quiet_libraries()
    seeds = [int(seed) for seed in args.seeds.split(",")]
    groups = {
        strength: [group(args.out, args.patients, seed, strength) for seed in seeds]
        for strength in (0.0, args.strength)
    }
    show(groups)


if __name__ == "__main__":
    main()
