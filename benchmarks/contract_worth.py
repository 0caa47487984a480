"""What the updates of hospitals are worth to a federation, as a curve of how often they come, and the contract it pays.

    python benchmarks/contract_worth.py --splits TABLE --out outputs/contract_worth [--lots 2] [--beta 100000] [--alone]

The 28 networks of the eICU demo train the regressions of work `series` for 20 rounds, which are one period, on the
splits of `eicu_table.py`. Half of the networks, drawn by lot, send an update in f of the 20 rounds, evenly spread; the
others in each. Worth is macro AUROC on held-out stays minus that without any update of that half, for each of its
networks. Sums for standardisation are of all networks throughout, so that only updates count. `measured.csv` holds each
split and lot; `clinragen contract fit` finds alpha and the largest age, `clinragen contract solve` the menu, for types
that cost as in `configs/contract/default.yaml`, at a price of one unit of AUROC (`--beta`). Intervals resample
held-out patients and fit again.

With `--alone` each network is left out in turn: what it alone is worth. Finished cells are kept; run again to go on.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
from eicu_table import FEW
from printed_tables import Console, with_interval
from rich.table import Table
from scipy.stats import spearmanr

from clinragen.api.contracts import fit_worth, solve_contract
from clinragen.artifacts import read_json, write_json
from clinragen.cohort.folder import Cohort
from clinragen.contracts.worth import fit_curve
from clinragen.errors import UserError
from clinragen.evaluation.diagnosis import System, bootstrap, interval
from clinragen.federation.aggregation import Rule, aggregate
from clinragen.federation.series_regression import SeriesRegression
from clinragen.federation.update import Tensors, Update, apply, change
from clinragen.federation.work import Statistic
from clinragen.quiet import quiet_libraries

FREQUENCIES = (0, 1, 2, 4, 10, 20)  # updates in a period
REPLICATES = 100
CONSOLE = Console(width=130)


class RememberedSeries(SeriesRegression):
    """Work `series` that reads a cohort once; its sites take their rows of it."""

    def __init__(self, cohort: Cohort) -> None:
        super().__init__({})
        self._all = np.sort(np.concatenate([cohort.split("train"), cohort.split("test")]))
        self._read = super()._values(cohort, self._all)
        self._gold = super()._labels(cohort, self._all)
        self._standard: dict[bytes, np.ndarray] = {}

    def _values(self, cohort: Cohort, stays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows = np.searchsorted(self._all, stays)
        return self._read[0][rows], self._read[1][rows]

    def _labels(self, cohort: Cohort, stays: np.ndarray) -> np.ndarray:
        return self._gold[np.searchsorted(self._all, stays)]

    def _inputs(self, cohort: Cohort, tensors: Tensors, stays: np.ndarray) -> np.ndarray:
        """The same in each round: only the first sums move what they are standardised by."""
        if (key := stays.tobytes()) not in self._standard:
            self._standard[key] = super()._inputs(cohort, tensors, stays)
        return self._standard[key]


class Split:
    """One split of the eICU demo: its networks, and federations of them."""

    def __init__(self, cohort: Cohort, out: Path, number: int) -> None:
        self.cohort, self.out, self.number = cohort, out / f"split{number}", number
        self.work = RememberedSeries(cohort)
        self.rounds = self.work.settings.rounds

    @cached_property
    def sites(self) -> dict[str, Cohort]:
        """Network -> its stays, of those with training stays."""
        table = self.cohort.sites
        parts = {
            name: self.cohort.of_stays(table.filter(pl.col("network") == name)["stay_id"].to_numpy())
            for name in table["network"].unique().sort()
        }
        return {name: part for name, part in parts.items() if (part.stays["split"] == "train").any()}

    @cached_property
    def standardised(self) -> Tensors:
        """The model before training, by the sums of all networks."""
        tensors, totals = self.work.start(), {}
        for site in self.sites.values():
            for name, sums in self.work.statistics(site, tensors, "standardise").items():
                before = totals.get(name)
                totals[name] = Statistic(before.values + sums.values, before.stays + sums.stays) if before else sums
        return self.work.advance(tensors, totals, "standardise")

    def probabilities(self, key: str, takes_part: Mapping[str, set[int]]) -> np.ndarray:
        """Of the held-out stays [n, L], after all rounds in which networks take part as stated; computed once."""
        file = self.out / f"{key}.json"
        if not file.exists():
            tensors = self.standardised
            for number in range(self.rounds):
                updates = [
                    Update(name, change(tensors, after), count)
                    for name, site in self.sites.items()
                    if number in takes_part[name]
                    for after, count in [self.work.train(site, tensors, number)]
                ]
                tensors = apply(tensors, aggregate(updates, Rule()).tensors)
            chances = self.work.probabilities(self.cohort, tensors, self.cohort.split("test"))
            write_json(file, {"test": chances.round(5).tolist()})
        return np.array(read_json(file, "a cell")["test"])

    def by_frequency(self, lot: int) -> dict[int, np.ndarray]:
        """Frequency of half of the networks -> probabilities."""
        draw = np.random.default_rng([self.number, lot])
        half = set(draw.choice(list(self.sites), len(self.sites) // 2, replace=False).tolist())
        phase = dict(zip(self.sites, draw.random(len(self.sites)), strict=True))
        found = {}
        for f in FREQUENCIES:
            rounds = {
                name: {int((turn + phase[name]) * self.rounds / f) for turn in range(f)} if name in half else self.all
                for name in self.sites
            }
            found[f] = self.probabilities(f"lot{lot}-{f}", rounds)
        return found

    @cached_property
    def all(self) -> set[int]:
        """Every round."""
        return set(range(self.rounds))

    def without(self, name: str) -> np.ndarray:
        """Probabilities where a network takes no part."""
        return self.probabilities(f"without-{name}", {site: set() if site == name else self.all for site in self.sites})

    def scores[Key](self, chances: Mapping[Key, np.ndarray]) -> dict[Key, np.ndarray]:
        """Macro AUROC of labels with enough positives: first on all held-out stays, then on each resample of them."""
        gold = self.cohort.label_matrix(self.cohort.split("test"))
        many = gold.sum(0) >= FEW
        patients = self.cohort.stays.filter(pl.col("split") == "test")["subject_id"].to_numpy()
        systems = {str(key): System(each[:, many], np.full(many.sum(), 0.5)) for key, each in chances.items()}
        drawn = bootstrap(gold[:, many], systems, patients, replicates=REPLICATES, seed=self.number)
        return {
            key: np.append(np.nanmean(drawn[str(key)].auroc), np.nanmean(drawn[str(key)].auroc_replicates, axis=1))
            for key in chances
        }


def measure(splits: list[Split], lots: int) -> tuple[list[int], np.ndarray]:
    """Frequencies above 0 of every split and lot, and their worth by network, [measurements, 1 + replicates]."""
    frequencies, worths = [], []
    for split in splits:
        for lot in range(lots):
            scores = split.scores(split.by_frequency(lot))
            for f in FREQUENCIES[1:]:
                frequencies.append(f)
                worths.append((scores[f] - scores[0]) / (len(split.sites) // 2))
            CONSOLE.print(f"  split {split.number}, lot {lot + 1}", style="dim", highlight=False)
    return frequencies, np.array(worths)


def show_curve(frequencies: list[int], worths: np.ndarray, out: Path, beta: float) -> None:
    """The measurements, the fit with its interval, and the menu."""
    file = out / "measured.csv"
    with open(file, "w", encoding="utf-8", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(("frequency", "worth"))
        rows.writerows((f, repr(float(worth[0]))) for f, worth in zip(frequencies, worths, strict=True))
    fitted = fit_worth(file)
    refitted = [fit_curve(frequencies, worths[:, number].tolist()) for number in range(1, worths.shape[1])]
    table = Table(title="Worth of a network's updates in AUROC, in thousandths (95 % interval)")
    for heading in ("updates in a period", "worth", "fitted"):
        table.add_column(heading, justify="right")
    of = np.array(frequencies)
    for f in FREQUENCIES[1:]:
        mean = 1000 * worths[of == f].mean(0)
        table.add_row(str(f), _shown(mean[0], mean[1:]), f"{1000 * float(fitted.worth(f)):.3f}")
    CONSOLE.print(table)
    alphas = np.array([fit.alpha for fit in refitted])
    ages = np.array([fit.curve.largest_age for fit in refitted])
    bound = sum(bool(fit.at_bound) for fit in refitted)
    CONSOLE.print(
        f"alpha {_shown(1000 * fitted.alpha, 1000 * alphas)} thousandths, largest age "
        f"{_shown(fitted.curve.largest_age, ages)} periods, residual {1000 * fitted.residual:.3f} thousandths, "
        f"explained {fitted.explained:.2f}, at a bound: {', '.join(fitted.at_bound) or 'nothing'}; of {len(refitted)} "
        f"resamples {bound} at a bound; {file}",
        highlight=False,
    )
    for price in (beta / 10, beta, 10 * beta):
        settings = {
            "alpha": fitted.alpha, "beta": price, "age.largest": fitted.curve.largest_age, "largest_frequency": 20,
        }  # fmt: skip
        try:
            solved = solve_contract(set=settings)
        except UserError as error:
            CONSOLE.print(f"beta {price:g}: {error}", highlight=False)
            continue
        items = "; ".join(
            f"{one.name} {float(one.frequency):.2f} for {float(one.reward):.2f}" for one in solved.menu.items
        )
        CONSOLE.print(f"beta {price:g}: {items}; the provider gains {solved.value:.3f} per network", highlight=False)


def show_left_out(splits: list[Split]) -> None:
    """What each network alone is worth."""
    worth: dict[str, list[np.ndarray]] = {}
    stays: dict[str, list[int]] = {}
    for split in splits:
        whole = split.probabilities("all", dict.fromkeys(split.sites, split.all))
        scores = split.scores({"all": whole, **{name: split.without(name) for name in split.sites}})
        for name, site in split.sites.items():
            worth.setdefault(name, []).append(scores["all"] - scores[name])
            stays.setdefault(name, []).append(int((site.stays["split"] == "train").sum()))
    means = {name: 1000 * np.mean(each, axis=0) for name, each in worth.items()}
    table = Table(title="What a network is worth: all minus all but it, AUROC in thousandths (95 % interval)")
    for heading in ("network", "training stays", "worth", "above 0 in splits"):
        table.add_column(heading, justify="right")
    for name in sorted(means, key=lambda name: -float(np.mean(stays[name]))):
        above = sum(each[0] > 0 for each in worth[name])
        row = name, f"{np.mean(stays[name]):.0f}", _shown(means[name][0], means[name][1:])
        table.add_row(*row, f"{above} of {len(worth[name])}")
    CONSOLE.print(table)
    sizes = [float(np.mean(stays[name])) for name in means]
    correlation, chance = spearmanr(sizes, [mean[0] for mean in means.values()])
    clear = sum((interval(float(mean[0]), mean[1:])["low"] or 0) > 0 for mean in means.values())
    CONSOLE.print(
        f"rank correlation of size and worth {correlation:.2f} (p {chance:.2g}); {clear} of {len(means)} "
        "networks with an interval above 0",
        highlight=False,
    )


def _shown(value: float, replicates: np.ndarray) -> str:
    return with_interval(interval(float(value), replicates))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--splits", type=Path, required=True, help="the folder of the splits of eicu_table.py")
    parser.add_argument("--out", type=Path, required=True, help="cells and measured.csv; run again to go on")
    parser.add_argument("--lots", type=int, default=2, help="draws of half of the networks, for each split")
    parser.add_argument("--beta", type=float, default=1e5, help="price of one unit of AUROC; ten times less, more, too")
    parser.add_argument("--alone", action="store_true", help="also leave out each network in turn")
    args = parser.parse_args()
    quiet_libraries()
    folders = sorted(args.splits.glob("split*/cohort"))
    splits = [Split(Cohort.load(folder), args.out, number) for number, folder in enumerate(folders, 1)]
    show_curve(*measure(splits, args.lots), args.out, args.beta)
    if args.alone:
        show_left_out(splits)


if __name__ == "__main__":
    main()
