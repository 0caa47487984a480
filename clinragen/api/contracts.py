"""Contracts for fresh data, from Python: solve, check, choose, compare, and fit what freshness is worth."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from clinragen.api.values import SettingsLike, console, overrides

if TYPE_CHECKING:
    from clinragen.contracts.comparison import Row, Writer
    from clinragen.contracts.holders import Choice, Simulation
    from clinragen.contracts.menu import Item, Menu
    from clinragen.contracts.problem import Problem
    from clinragen.contracts.promises import Violation
    from clinragen.contracts.worth import FittedWorth


@dataclass(frozen=True)
class SolvedContract:
    """The best menu of a contract problem.

    Attributes:
        menu: in the decimals in which it is written; it keeps its promises exactly.
        problem: what was solved.
        optimum: what the provider receives with the best menu, per unit of time and holder.
        value: the same with the menu as it is written.
        path: where it was written, if it was.
    """

    menu: Menu
    problem: Problem = field(repr=False)
    optimum: float
    value: float
    path: Path | None = None


def solve_contract(
    config: str | Path = "default",
    out: str | Path | None = None,
    *,
    set: SettingsLike = (),
    overwrite: bool = False,
) -> SolvedContract:
    """The menu of (update frequency, reward) that is best for the provider when costs are private.

    Args:
        config: a shipped name of ``configs/contract``, or a YAML file.
        out: a JSON file to write; None: nothing is written.
        set: settings to override, as ``{"beta": 20}``.
        overwrite: replace a file that an earlier run wrote.

    Raises:
        UserError: an impossible setting, or a file that may not be written.
    """
    from clinragen.artifacts import write_json
    from clinragen.contracts import settings
    from clinragen.contracts.menu import in_floats, rounded_menu
    from clinragen.contracts.optimum import best_frequencies, optimum
    from clinragen.contracts.promises import violations
    from clinragen.errors import UserError
    from clinragen.outputs import check_output_file

    loaded = settings.load(str(config), overrides(set))
    if out is not None:
        source = Path(config) if Path(config).exists() else None
        check_output_file(Path(out), (b"{",), overwrite=overwrite, inputs=(source,))
    problem = loaded.problem()
    types = [(one.name, one.cost, one.share) for one in loaded.ordered()]
    decimals = (loaded.decimals.frequency, loaded.decimals.reward)
    menu = rounded_menu(types, best_frequencies(problem).tolist(), decimals, problem.largest_frequency)
    if broken := violations(menu):  # cannot be: but no menu is written unchecked
        raise UserError(f"the menu breaks a promise and is not written: {broken[0]}")
    solved = SolvedContract(
        menu, problem, optimum(problem), problem.value(*in_floats(menu)), Path(out) if out is not None else None
    )
    if solved.path:
        write_json(solved.path, {**menu.as_json(), "provider": {"optimum": solved.optimum, "value": solved.value}})
    return solved


def check_contract(menu: str | Path | Menu) -> list[Violation]:
    """Every promise that a menu breaks, in exact arithmetic; empty if it keeps all.

    Args:
        menu: a JSON or YAML file, or a menu.

    Raises:
        UserError: the file is missing or malformed.
    """
    from clinragen.contracts.promises import violations

    return violations(open_menu(menu))


@dataclass(frozen=True)
class ChosenContract:
    """What a holder of a cost would do.

    Attributes:
        choice: the item that is best for it, or a refusal.
        honest: the item of its type; None if its cost is above all types.
        menu: all items, each of which it could have by a report.
    """

    choice: Choice
    honest: Item | None
    menu: Menu = field(repr=False)


def choose_contract(menu: str | Path | Menu, cost: float | str) -> ChosenContract:
    """What a holder of a private cost would choose, and what it could have by reporting another.

    Args:
        menu: a JSON or YAML file, or a menu.
        cost: of one update per unit of time.

    Raises:
        UserError: a negative cost, or a menu that is missing or malformed.
    """
    from clinragen.contracts.holders import choose, honest
    from clinragen.contracts.menu import number
    from clinragen.errors import UserError

    opened, exactly = open_menu(menu), number(cost, "cost")
    if exactly < 0:
        raise UserError(f"cost {cost}: expected 0 or more, the cost of one update per unit of time")
    return ChosenContract(choose(opened, exactly), honest(opened, exactly), opened)


def simulate_holders(menu: str | Path | Menu, holders: int = 10_000, *, seed: int = 0) -> Simulation:
    """Offer a menu to random holders, half of whom report another type than theirs.

    Args:
        menu: a JSON or YAML file, or a menu.
        holders: how many.
        seed: of types, reports and outsiders.

    Raises:
        UserError: no holders, or a menu that is missing or malformed.
    """
    import numpy as np

    from clinragen.contracts.holders import simulate
    from clinragen.errors import UserError

    if holders < 1:
        raise UserError(f"holders {holders}: expected 1 or more")
    return simulate(open_menu(menu), holders, np.random.default_rng(seed))


def compare_contracts(
    config: str | Path = "default",
    *,
    problems: int = 200,
    learned: bool = False,
    training_steps: int | None = None,
    seed: int = 0,
    set: SettingsLike = (),
    progress: bool = False,
) -> list[Row]:
    """Compare ways to write a menu: the optimum, one item for all, simple rules, and policies that learn.

    Args:
        config: a shipped name of ``configs/contract``, or a YAML file.
        problems: how many random problems with as many types are tried beside it.
        learned: also train the diffusion policy and PPO, in structured and raw form, on other random problems; minutes.
        training_steps: of each policy; None: as many as each needs.
        seed: of the random problems and rules, and of training.
        set: settings to override, as ``{"beta": 20}``.
        progress: report progress on standard error.

    Raises:
        UserError: an impossible setting, or no random problem.
    """
    import numpy as np

    from clinragen.contracts import comparison, settings
    from clinragen.contracts.instances import random_problem
    from clinragen.contracts.optimum import optimum
    from clinragen.errors import UserError

    for name, number in (("problems", problems), ("training steps", training_steps)):
        if number is not None and number < 1:
            raise UserError(f"{name} {number}: expected 1 or more")
    problem, rng = settings.load(str(config), overrides(set)).problem(), np.random.default_rng(seed)
    if optimum(problem) <= 0:
        raise UserError(f"{config}: no menu gains anything, as each update costs more than it is worth: raise beta")
    count = len(problem.costs)
    others = [random_problem(rng, (count, count)) for _ in range(problems)]
    rows = [comparison.row(name, problem, others, write) for name, write in comparison.rules(rng).items()]
    if learned:
        writers = _trained(count, seed, training_steps, progress)
        rows += [comparison.row(name, problem, others, write) for name, write in writers.items()]
    return rows


def _trained(types: int, seed: int, steps: int | None, progress: bool) -> dict[str, Writer]:
    """Every policy, trained."""
    from functools import partial

    from rich.progress import Progress

    from clinragen.contract_policies import writers

    trained, pool = {}, writers.pool((types, types), seed)
    with Progress(console=console(progress), transient=True) as bar:
        for name in writers.POLICIES:
            task = bar.add_task(f"  training {name}", total=steps or writers.STEPS[name])
            trained[name] = writers.train(name, pool, seed, steps=steps, report=partial(bar.advance, task))
    return trained


def fit_worth(
    measurements: str | Path,
    config: str | Path = "default",
    *,
    largest_age: float | None = None,
    set: SettingsLike = (),
) -> FittedWorth:
    """Fit what freshness is worth to measurements of frequency and worth.

    Args:
        measurements: a CSV file with the columns frequency and worth.
        config: a contract problem, whose delay and kind of updates hold.
        largest_age: if it is known; None fits it.
        set: settings to override, as ``{"age.delay": 0.5}``.

    Raises:
        UserError: a file is missing or malformed, or there are too few different frequencies.
    """
    from clinragen.contracts import settings
    from clinragen.contracts.worth import fit_curve, read_measurements
    from clinragen.errors import UserError

    if largest_age is not None and not 0 < largest_age < math.inf:
        raise UserError(f"largest age {largest_age}: expected a number above 0")
    age = settings.load(str(config), overrides(set)).age
    frequencies, worths = read_measurements(Path(measurements))
    return fit_curve(frequencies, worths, delay=age.delay, updates=age.updates, largest_age=largest_age)


def open_menu(menu: str | Path | Menu) -> Menu:
    """The menu; read from disk if a path is given."""
    from clinragen.contracts.menu import read_menu

    return read_menu(Path(menu)) if isinstance(menu, str | Path) else menu
