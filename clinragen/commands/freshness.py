"""``clinragen freshness``: tell how old the values of a cohort are at the prediction time."""

from __future__ import annotations

from typing import Literal

from clinragen.command_line import answer
from clinragen.options import AsJson, CohortFolder

_HEADINGS = {
    "variable": {
        "variable": "variable", "measured": "measured", "age_25": "age, 25 %", "age_50": "median age",
        "age_75": "age, 75 %", "mean_age": "median mean age", "unmeasured": "before the first",
    },
    "site": {
        "hospital": "hospital", "stays": "stays", "measured": "measured", "age_hours": "median age",
        "mean_age_hours": "median mean age", "order_hours": "orders entered after", "years": "years before the newest",
    },
}  # fmt: skip


def command(*, cohort: CohortFolder, by: Literal["variable", "site"] = "variable", as_json: AsJson = False) -> None:
    """Tell how old the newest value of each variable is at the prediction time, and on average until then, in hours.

    Args:
        by: A row for each variable, or each hospital, with the lag of its orders and how many years old its stays are.
    """
    from rich.console import Console
    from rich.table import Table

    from clinragen.cohort import freshness
    from clinragen.cohort.folder import Cohort

    opened = Cohort.load(cohort)
    rows = (freshness.lags(opened) if by == "site" else freshness.by_variable(opened)).to_dicts()
    if not as_json:
        table = Table(show_edge=False, caption="hours; a value counts from the start of its hour")
        for position, heading in enumerate(_HEADINGS[by].values()):
            table.add_column(heading, justify="right" if position else "left")
        for row in rows:
            table.add_row(*(_cell(name, row[name]) for name in _HEADINGS[by]))
        Console(width=120).print(table)
    answer("", rows, as_json)


def _cell(name: str, value: str | float | None) -> str:
    if value is None:
        return "not known" if name == "hospital" else ""
    if isinstance(value, float):
        return f"{value:.0%}" if name == "measured" else f"{value:.1f}"
    return str(value)
