"""Contracts for fresh data: is the optimum right, are menus honest, how fast are they, and how far off is what learns?

    python benchmarks/contracts.py exact
    python benchmarks/contracts.py policies

``exact`` compares the optimum with SLSQP, which is given all IR and all pairs of IC as constraints, on random problems;
writes menus with random decimals and checks every pair in exact fractions, one by one; offers menus to simulated
holders who misreport; and times menus of 1,000 types.

``policies`` trains the diffusion policy and PPO, in structured and in raw form, with several seeds, and tells how far
below the optimum they and simple rules stay on the same held-out problems, and in how many their menus break IR or IC.
If types do not take the item that was meant for them, what the provider receives is counted from what they take.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from printed_tables import Console
from rich.progress import track
from rich.table import Table

from clinragen.contracts.comparison import Row, Writer, row, rules
from clinragen.contracts.holders import simulate
from clinragen.contracts.instances import random_problem
from clinragen.contracts.menu import Menu, rounded_menu
from clinragen.contracts.optimum import best_frequencies, optimum
from clinragen.contracts.problem import Problem
from clinragen.contracts.promises import violations

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from slsqp import solve_by_slsqp

if TYPE_CHECKING:
    from clinragen.contract_policies.actions import Form
    from clinragen.contract_policies.batch import ProblemBatch

CONSOLE, PROGRESS = Console(width=150), Console(stderr=True)
TOLERANCE = 1e-6  # of the worth
HELD_OUT, REPLICATES = 10**6, 1000


def exact(arguments: argparse.Namespace) -> None:
    """Optimum, promises, holders and times, one line each."""
    rows = [
        *_beside_slsqp(arguments.problems),
        _promises(arguments.menus),
        _holders(arguments.holders),
        *_times(arguments.types),
    ]
    table = Table("what", "result", show_edge=False)
    for what, result in rows:
        table.add_row(what, result)
    CONSOLE.print(table)


def _beside_slsqp(count: int) -> list[tuple[str, str]]:
    """Differences in units of the worth; the number of problems of each kind."""
    differences, kinds, failed = [], {"share an item": 0, "leave a type out": 0, "reach the largest frequency": 0}, 0
    for seed in track(range(count), "SLSQP", console=PROGRESS):
        problem = random_problem(np.random.default_rng(seed))
        best, frequencies = solve_by_slsqp(problem), best_frequencies(problem)
        inner = (frequencies[1:] > 0) & (frequencies[1:] < problem.largest_frequency)
        kinds["share an item"] += bool((inner & (np.diff(frequencies) == 0)).any())
        kinds["leave a type out"] += bool(frequencies[0] == 0)
        kinds["reach the largest frequency"] += bool(frequencies[-1] == problem.largest_frequency)
        if best is None:
            failed += 1
        else:
            differences.append((best - optimum(problem)) / problem.worth)
    off = np.abs(differences)
    return [
        (
            f"problems of 5 to 8 types: SLSQP within {TOLERANCE:g} of the worth",
            f"{(off <= TOLERANCE).sum()} of {count}",
        ),
        ("largest difference; SLSQP above the optimum by", f"{off.max():.1e}; {max(differences):.1e}"),
        ("SLSQP did not converge", str(failed)),
        *((f"of these problems, {kind}", str(number)) for kind, number in kinds.items()),
    ]


def _menu(problem: Problem, rng: np.random.Generator) -> Menu:
    """The best menu in random decimals, of costs in random decimals."""
    costs = problem.costs.round(int(rng.integers(0, 6))).tolist()
    types = [(f"type {n}", *row) for n, row in enumerate(zip(costs, problem.shares.tolist(), strict=True))]
    decimals = (int(rng.integers(0, 6)), int(rng.integers(0, 4)))
    return rounded_menu(types, best_frequencies(problem).tolist(), decimals, problem.largest_frequency)


def _promises(count: int) -> tuple[str, str]:
    """Menus in which each pair keeps IR and IC, compared one by one."""
    honest = 0
    for seed in track(range(count), "promises", console=PROGRESS):
        rng = np.random.default_rng(seed)
        menu = _menu(random_problem(rng, (2, 8)), rng)
        pairs = all(
            max((other.utility(item.cost) for other in menu.items), default=0) <= item.utility(item.cost) >= 0
            for item in menu.items
        )
        honest += pairs and not violations(menu)
    return "written menus that keep IR and IC for all pairs, exactly", f"{honest} of {count}"


def _holders(count: int) -> tuple[str, str]:
    """Choices of holders who all misreport, of many menus."""
    each, misreported, paid, gains, losses = 100, 0, 0, [], []
    for seed in track(range(-(-count // each)), "holders", console=PROGRESS):
        rng = np.random.default_rng(seed)
        menu = _menu(random_problem(rng, (2, 8)), rng)
        result = simulate(menu, each, rng, misreporting=1.0, outside=0.0)
        misreported, paid = misreported + result.misreported, paid + result.paid
        gains.append(float(result.largest_gain or 0))
        losses.append(float((result.mean_loss or 0) / max(menu.items[-1].utility(menu.items[-1].cost), 1)))
    return "misreports that paid; the most that one gained", f"{paid} of {misreported}; {max(gains):g}"


def _times(count: int) -> list[tuple[str, str]]:
    """Median of 21 runs, in ms."""
    problem = random_problem(np.random.default_rng(0), (count, count))
    types = [(str(n), *row) for n, row in enumerate(zip(problem.costs.tolist(), problem.shares.tolist(), strict=True))]
    frequencies = best_frequencies(problem)
    menu = rounded_menu(types, frequencies.tolist(), (4, 2), problem.largest_frequency)
    steps = {
        "the optimum": lambda: best_frequencies(problem),
        "rounding of the menu": lambda: rounded_menu(types, frequencies.tolist(), (4, 2), problem.largest_frequency),
        "the exact check": lambda: violations(menu),
    }
    rows = []
    for what, step in steps.items():
        spans = []
        for _ in range(21):
            start = time.perf_counter()
            step()
            spans.append(time.perf_counter() - start)
        rows.append((f"{count} types: {what}", f"{1000 * float(np.median(spans)):.1f} ms"))
    return rows


def policies(arguments: argparse.Namespace) -> None:
    """Regret of rules and of trained policies on the same held-out problems, over seeds of training."""
    from clinragen.contract_policies import writers

    types = (arguments.types[0], arguments.types[1])
    held = [random_problem(np.random.default_rng([HELD_OUT, number]), types) for number in range(arguments.problems)]
    runs: dict[str, list[Row]] = {}
    seconds: dict[str, float] = {}
    for seed in range(arguments.seeds):
        pool = writers.pool(types, seed)
        ways = {name: partial(_untrained, write) for name, write in rules(np.random.default_rng(seed)).items()}
        ways |= {name: partial(writers.train, name, pool, seed) for name in writers.POLICIES}
        ways |= _oracles(pool, seed)
        for name, make in track(ways.items(), f"seed {seed}", console=PROGRESS):
            start = time.process_time()
            write = make()
            seconds[name] = seconds.get(name, 0.0) + (time.process_time() - start) / arguments.seeds
            runs.setdefault(name, []).append(row(name, held[0], held, write))
            PROGRESS.print(f"  seed {seed}, {name}: mean regret {runs[name][-1].regrets.mean():.2%}")
    table = Table("menu", "mean regret", "95 %", "largest", "breaks IR", "breaks IC", "training", show_edge=False)
    for name, rows in runs.items():
        table.add_row(name, *_regret_cells(rows), f"{seconds[name]:.0f} s")
    CONSOLE.print(table)
    count = f"{arguments.seeds} seeds and {arguments.problems} problems of {types[0]} to {types[1]} types"
    CONSOLE.print(f"{count}; 95 % intervals resample both; training in seconds of one core")


def _untrained(write: Writer) -> Writer:
    return write


def _oracles(pool: ProblemBatch, seed: int) -> dict[str, Callable[[], Writer]]:
    """PPO of stable-baselines3, on as many problems as the project's own."""
    from contracts_sb3 import AVAILABLE, train_sb3

    from clinragen.contract_policies.actions import FORMS
    from clinragen.contract_policies.ppo import PPOSettings
    from clinragen.contract_policies.writers import STEPS, writer

    if not AVAILABLE:
        PROGRESS.print("  stable-baselines3 is not installed: no row of its PPO")
        return {}

    def train(form: Form) -> Writer:
        played = train_sb3(pool, FORMS[form], STEPS[f"PPO, {form}"] * PPOSettings().batch, seed)
        return writer(played, pool.types, seed)

    forms: tuple[Form, ...] = ("structured", "raw")
    return {f"PPO of stable-baselines3, {form}": partial(train, form) for form in forms}


def _regret_cells(rows: list[Row]) -> tuple[str, ...]:
    """Mean and 95 % quantile with intervals, the largest regret, and the parts of broken promises."""
    regrets = np.array([one.regrets for one in rows])  # [seeds, problems]
    rng = np.random.default_rng(0)
    draws = [
        regrets[rng.integers(0, len(regrets), len(regrets))][:, rng.integers(0, regrets.shape[1], regrets.shape[1])]
        for _ in range(REPLICATES)
    ]
    cells = []
    for statistic in (np.mean, partial(np.quantile, q=0.95)):
        low, high = np.quantile([statistic(draw) for draw in draws], [0.025, 0.975])
        cells.append(f"{statistic(regrets):.2%} ({low:.2%} to {high:.2%})")
    broken = np.mean([one.broken for one in rows], axis=0)
    return (*cells, f"{regrets.max():.0%}", *(f"{part:.1%}" for part in broken))


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("exact")
    one.add_argument("--problems", type=int, default=1000)
    one.add_argument("--menus", type=int, default=10_000)
    one.add_argument("--holders", type=int, default=10_000)
    one.add_argument("--types", type=int, default=1000)
    one.set_defaults(run=exact)
    one = commands.add_parser("policies")
    one.add_argument("--seeds", type=int, default=5)
    one.add_argument("--problems", type=int, default=1000)
    one.add_argument("--types", type=int, nargs=2, default=(5, 8))
    one.set_defaults(run=policies)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
