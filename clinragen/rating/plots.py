"""The series of a stay as plots, drawn into the page: it needs no script and can be printed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from clinragen.catalog import variables
from clinragen.reporting import charts
from clinragen.reporting.figures import catalogue


@dataclass(frozen=True)
class Plot:
    """One measured variable.

    Attributes:
        label: of the variable.
        reference: its reference range in words; empty without one.
        last: its last value.
        high, low: numbers of values above and below the range.
        values: all values as text.
        svg: the plot.
    """

    label: str
    reference: str
    last: Markup
    high: int
    low: int
    values: Markup
    svg: Markup


@dataclass
class PlotGroup:
    """Variables of one kind: plots of those that were measured, and names of the others."""

    title: str
    plots: list[Plot] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def plot_groups(cells: Mapping[str, Sequence[tuple[float, float]]], window: float) -> list[PlotGroup]:
    """The variables of the catalogue by kind; kinds of which nothing was measured are left out.

    Args:
        cells: variable -> [(hour, value)], ascending in hours from admission to the unit.
        window: hours that the time axes show, rounded up to whole ones.
    """
    shown = max(float(math.ceil(window)), 1.0)
    groups: dict[str, PlotGroup] = {}
    for key, entry in catalogue().items():
        group = groups.setdefault(entry["group"], PlotGroup(entry["group"]))
        label = entry["label"].removeprefix(f"{entry['group']}, ")
        if key in cells:
            group.plots.append(_plot(key, label, cells[key], shown))
        else:
            group.missing.append(label)
    return [group for group in groups.values() if group.plots]


def _plot(key: str, label: str, rows: Sequence[tuple[float, float]], window: float) -> Plot:
    measured = charts.Measured(variables()[key], [hour for hour, _ in rows], [value for _, value in rows])
    return Plot(
        label=label,
        reference=charts.range_text(measured.variable),
        last=Markup(measured.texts[-1]),
        high=measured.sides.count(1),
        low=measured.sides.count(-1),
        values=charts.value_list(measured),
        svg=charts.series_chart(measured, window),
    )
