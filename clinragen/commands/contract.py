"""``clinragen contract``: menus of (update frequency, reward) that pay sites for fresh data, with private costs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from clinragen.command_line import answer
from clinragen.options import AsJson, Flag, MaybeNumber, MaybeWholeNumber, Overwrite, Seed, Settings, WholeNumber

if TYPE_CHECKING:
    from fractions import Fraction

command = App(name="contract", help="Menus of (update frequency, reward) that pay sites for fresh data.")

EXIT_BROKEN = 1
_SHOWN = 10  # broken promises in the text of `check`; --json has all

Config = Annotated[str, Parameter(name="--config", help="Contract problem: a shipped name or a YAML file.")]
MenuFile = Annotated[Path, Parameter(name="--menu", help="JSON or YAML file of a menu.")]


@command.command
def solve(
    *,
    config: Config = "default",
    out: Annotated[Path | None, Parameter(name="--out", help="JSON file to write.")] = None,
    settings: Settings = (),
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Find the menu that is best for the provider, check its promises exactly, and write it.

    Each type accepts its item, and none gains by taking another's.

    Args:
        settings: Override a setting of the problem, as in beta=20; may be repeated.
    """
    from clinragen.api.contracts import solve_contract

    solved = solve_contract(config, out, set=settings, overwrite=overwrite)
    if not as_json:
        rows = [
            (item.name, item.cost, item.share, item.frequency, item.reward, item.utility(item.cost))
            for item in solved.menu.items
        ]
        _show(("type", "cost", "share", "frequency", "reward", "holder gains"), rows)
    written = f"; written to {out}" if out else ""
    text = (
        f"the provider gains {solved.value:.6g} per unit of time and holder, of {solved.optimum:.6g} unrounded{written}"
    )
    values = {**solved.menu.as_json(), "provider": {"optimum": solved.optimum, "value": solved.value}}
    answer(text, values, as_json)


@command.command
def check(menu: Path, /, *, as_json: AsJson = False) -> int | None:
    """Check in exact arithmetic that each type accepts its item (IR) and none gains by another's (IC).

    The exit code is 1 if a promise is broken.

    Args:
        menu: JSON or YAML file of a menu.
    """
    from clinragen.api.contracts import check_contract, open_menu

    opened = open_menu(menu)
    broken = check_contract(opened)
    lines = [str(one) for one in broken[:_SHOWN]]
    if len(broken) > _SHOWN:
        lines.append(f"and {len(broken) - _SHOWN} more")
    if not broken:
        lines = [f"{menu}: {len(opened.items)} items keep their promises (IR and IC of all pairs, exactly)"]
    values = {
        "menu": menu,
        "items": len(opened.items),
        "violations": [
            {
                "promise": one.promise, "type": one.item.name, "other": one.other.name if one.other else None,
                "gain": float(one.gain),
            }
            for one in broken
        ],
    }  # fmt: skip
    answer("\n".join(lines), values, as_json)
    return EXIT_BROKEN if broken else None


@command.command
def choose(
    *,
    menu: MenuFile,
    cost: Annotated[str, Parameter(name="--cost", help="What one more update per unit of time costs the holder.")],
    as_json: AsJson = False,
) -> None:
    """Tell what a holder of a cost would choose, and what a false report would bring it."""
    from clinragen.api.contracts import choose_contract
    from clinragen.contracts.menu import number

    chosen, exactly = choose_contract(menu, cost), number(cost, "cost")
    offers = [(item, item.utility(exactly)) for item in chosen.menu.items]
    if not as_json:
        rows = [
            (item.name, item.frequency, item.reward, utility, _mark(item is chosen.choice.item, item is chosen.honest))
            for item, utility in offers
        ]
        _show(("report", "frequency", "reward", "holder gains", ""), rows)
    item = chosen.choice.item
    text = "it refuses: every item costs it more than it is paid"
    if item is not None:
        text = f"it takes the item of '{item.name}' and gains {float(chosen.choice.utility):.6g} per unit of time"
    values = {
        "cost": str(cost),
        "chooses": item.name if item else None,
        "gains": float(chosen.choice.utility),
        "honest": chosen.honest.name if chosen.honest else None,
        "reports": {offer.name: float(utility) for offer, utility in offers},
    }
    answer(text, values, as_json)


@command.command
def compare(
    *,
    config: Config = "default",
    problems: WholeNumber = 200,
    learned: Flag = False,
    training_steps: MaybeWholeNumber = None,
    seed: Seed = 0,
    settings: Settings = (),
    as_json: AsJson = False,
) -> None:
    """Compare ways to write a menu by how far they stay below the optimum.

    Args:
        problems: How many random problems with as many types are tried beside it.
        learned: Also train a diffusion policy and PPO on other random problems, which takes minutes: with frequencies
            that do not decrease and payments by formula (structured), and with free frequencies and rewards (raw).
        training_steps: Steps of training of each policy. Default: as many as each needs.
        seed: Decides the random problems, the random rule, and training.
        settings: Override a setting of the problem, as in beta=20; may be repeated.
    """
    from clinragen.api.contracts import compare_contracts

    compared = compare_contracts(
        config,
        problems=problems,
        learned=learned,
        training_steps=training_steps,
        seed=seed,
        set=settings,
        progress=True,
    )
    rows = [one.as_json() for one in compared]
    if not as_json:
        headings = ("menu", "provider gains", "below the best", "random: mean", "95 %", "breaks IR", "IC")
        percent = ("regret", "mean_regret", "p95_regret", "broken_ir", "broken_ic")
        cells = [(one["name"], one["value"], *(f"{one[name]:.2%}" for name in percent)) for one in rows]
        _show(headings, cells)
    answer("", rows, as_json)


@command.command
def simulate(*, menu: MenuFile, holders: WholeNumber = 10_000, seed: Seed = 0, as_json: AsJson = False) -> None:
    """Offer a menu to random holders, half of whom report another type, and some of whom cost more than all types.

    Args:
        holders: How many.
        seed: Decides types, reports and outsiders.
    """
    from clinragen.api.contracts import simulate_holders

    result = simulate_holders(menu, holders, seed=seed)
    gain, loss = result.largest_gain, result.mean_loss
    lines = [
        f"{result.holders} holders: {result.refused} refused ({result.outsiders} cost more than all types), "
        f"{result.misreported} misreported",
        f"on average {result.frequency:.4g} updates per unit of time for {result.reward:.4g}",
    ]
    if gain is not None and loss is not None:
        lines.append(
            f"a misreport paid in {result.paid} cases: at best it gained {float(gain):.4g}, on average it lost "
            f"{float(loss):.4g}"
        )
    values = {
        **vars(result),
        "largest_gain": None if gain is None else float(gain),
        "mean_loss": None if loss is None else float(loss),
    }
    answer("\n".join(lines), values, as_json)


@command.command
def fit(
    *,
    measurements: Path,
    config: Config = "default",
    largest_age: MaybeNumber = None,
    settings: Settings = (),
    as_json: AsJson = False,
) -> None:
    """Fit what freshness is worth, alpha * log(G + 1), to measurements of frequency and worth.

    Args:
        measurements: CSV file with the columns frequency (updates per unit of time) and worth (a gain in AUROC, say).
        largest_age: The age at which the gain is 1, if it is known. Default: fitted.
        settings: Override a setting of the problem, as in age.delay=0.5; may be repeated.
    """
    from clinragen.api.contracts import fit_worth

    fitted = fit_worth(measurements, config, largest_age=largest_age, set=settings)
    explained = "" if fitted.explained is None else f", {fitted.explained:.1%} of the variance explained"
    lines = [
        f"alpha={fitted.alpha:.6g} age.largest={fitted.curve.largest_age:.6g}",
        f"residual {fitted.residual:.3g} (root mean square of {fitted.measurements} measurements){explained}",
        *(f"{name} is at a bound of the search: the measurements do not settle it" for name in fitted.at_bound),
    ]
    values = {
        "alpha": fitted.alpha, "age.largest": fitted.curve.largest_age, "residual": fitted.residual,
        "explained": fitted.explained, "measurements": fitted.measurements, "at_bound": fitted.at_bound,
    }  # fmt: skip
    answer("\n".join(lines), values, as_json)


def _mark(best: bool, honest: bool) -> str:
    return ", ".join(["chosen"] * best + ["its type"] * honest)


def _show(headings: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(show_edge=False)
    for position, heading in enumerate(headings):
        table.add_column(heading, justify="right" if position and heading else "left")
    for row in rows:
        table.add_row(*(value if isinstance(value, str) else _cell(value) for value in row))
    Console(width=120).print(table)


def _cell(value: Fraction | float | None) -> str:
    return "" if value is None else f"{float(value):.6g}"
