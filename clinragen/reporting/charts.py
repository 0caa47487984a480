"""Inline SVG for the report. Colours and fonts come from the page's style sheet through classes.

Marks differ in shape as well as colour: a dot is within the reference range, a triangle points to the side outside.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from markupsafe import Markup, escape

from clinragen.catalog import Variable
from clinragen.evaluation.rows import Bin

WIDTH, HEIGHT = 264, 104
LEFT, RIGHT, TOP, BOTTOM = 34, 6, 7, 17
#: Gap in hours from which the line between two values is dashed.
LONG_GAP = 6.0


def ticks(low: float, high: float, decimals: int, about: int = 3) -> list[float]:
    """Round numbers within [low, high], about this many, with at most the variable's usual decimals.

    >>> ticks(0.0, 48.0, 0, 4), ticks(7.31, 7.48, 2), ticks(2.8, 5.1, 0)
    ([0.0, 10.0, 20.0, 30.0, 40.0], [7.35, 7.4, 7.45], [3.0, 4.0, 5.0])
    """
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = max(min((m * power for m in (1, 2, 5, 10)), key=lambda s: abs(math.log(s / raw))), 10.0**-decimals)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(i * step, 10) for i in range(first, last + 1)]


def hour_ticks(window: float) -> list[float]:
    """Hours to label on the time axis: half or whole days, at most nine.

    >>> hour_ticks(48.0), hour_ticks(6.0)
    ([0.0, 12.0, 24.0, 36.0, 48.0], [0.0, 2.0, 4.0, 6.0])
    """
    step = next((s for s in (1, 2, 6, 12, 24, 48, 96) if window / s <= 5), math.ceil(window / 5))
    return [float(h) for h in np.arange(0, window + 1e-9, step)]


def _plain(value: float) -> str:
    return f"{value:g}".replace("-", "−")


@dataclass(frozen=True)
class Measured:
    """The values of one variable in one stay, with their texts and sides computed once.

    Args:
        variable: gives the unit and the reference range.
        hours: ascending hours from admission to the unit.
        values: as many values, in the variable's unit.
    """

    variable: Variable
    hours: Sequence[float]
    values: Sequence[float]

    @cached_property
    def sides(self) -> list[int]:
        """-1 below, 0 within, 1 above the reference range, for each value."""
        return [self.variable.direction(value) for value in self.values]

    @cached_property
    def texts(self) -> list[str]:
        """The values in the catalogue's notation, with typographic units, escaped for HTML."""
        unit, decimals = escape(unit_text(self.variable)), self.variable.decimals
        return [f"{value:.{decimals}f}{unit}" for value in self.values]

    @property
    def summary(self) -> str:
        """Description of a chart for screen readers."""
        parts = [f"{escape(self.variable.label)}: {len(self.values)} value{'s' if len(self.values) > 1 else ''}"]
        if len(self.values) > 1:
            by_value = sorted(range(len(self.values)), key=lambda i: self.values[i])
            parts.append(f"from {self.texts[by_value[0]]} to {self.texts[by_value[-1]]}")
        parts.append(f"last {self.texts[-1]} at hour {self.hours[-1]:g}")
        for side, name in ((1, "above"), (-1, "below")):
            if count := self.sides.count(side):
                parts.append(f"{count} {name} the reference range")
        return ", ".join(parts)


def series_chart(measured: Measured, window: float, carried: Sequence[tuple[float, float, str]] = ()) -> Markup:
    """One variable over the stay: reference range shaded, values outside marked, hour and value on hover.

    Args:
        measured: at least one value.
        window: hours that the time axis shows.
        carried: (from hour, to hour, diagnoses) of hours that a diagnosis rests on, shaded.
    """
    variable, hours, values = measured.variable, measured.hours, measured.values
    bounds = [b for b in (variable.low, variable.high) if b is not None]
    low, high = min([*values, *bounds]), max([*values, *bounds])
    if variable.bin == "sum":
        low = min(low, 0.0)
    margin = 0.08 * (high - low) or max(0.05 * abs(high), 0.5)
    low, high = (low if variable.bin == "sum" else low - margin), high + margin
    across, down = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def x(hour: float) -> float:
        return LEFT + across * min(hour / window, 1.0)

    def y(value: float) -> float:
        return TOP + down * (high - value) / (high - low)

    parts = [f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{measured.summary}">']
    if bounds:
        top = y(variable.high) if variable.high is not None else float(TOP)
        foot = y(variable.low) if variable.low is not None else float(TOP + down)
        thick = max(foot - top, 1.5)  # a range of one value, such as a full coma score, must remain visible
        parts.append(f'<rect class="range" x="{LEFT}" y="{top:.1f}" width="{across}" height="{thick:.1f}"/>')
    for tick in ticks(low, high, variable.decimals):
        parts.append(f'<path class="grid" d="M{LEFT} {y(tick):.1f}h{across}"/>')
        parts.append(f'<text class="y" x="{LEFT - 4}" y="{y(tick) + 3:.1f}">{_plain(tick)}</text>')
    for tick in hour_ticks(window):
        end = ' class="x end"' if tick == window else ' class="x"'
        parts.append(f'<text{end} x="{x(tick):.1f}" y="{HEIGHT - 4}">{tick:g}</text>')
    parts.append(f'<path class="axis" d="M{LEFT} {TOP + down}h{across}"/>')
    for start, end, what in carried:
        left = x(start)
        title = f"<title>hours {start:g} to {end:g} carried {escape(what)}</title>"
        shape = f'x="{left:.1f}" y="{TOP}" width="{max(x(end) - left, 1):.1f}" height="{down}"'
        parts.append(f'<rect class="carried" {shape}>{title}</rect>')
    points = [(x(h), y(v)) for h, v in zip(hours, values, strict=True)]
    if variable.bin != "sum":
        parts += _lines(points, hours)
    width = max(across / window - 1, 1.5)
    for (px, py), hour, text, side in zip(points, hours, measured.texts, measured.sides, strict=True):
        mark = _column(px, py, width, y(0.0) - py, side) if variable.bin == "sum" else _point(px, py, side)
        where = (", below range", "", ", above range")[side + 1]
        parts.append(f"<path {mark}><title>hour {hour:g}: {text}{where}</title></path>")
    parts.append("</svg>")
    return Markup("".join(parts))


def _point(x: float, y: float, side: int) -> str:
    """A dot, or a triangle towards the side outside the range."""
    if side:
        return f'class="{"lnh"[side + 1]}" d="M{x:.1f} {y - 3.5 * side:.1f}l3.6 {6 * side}h-7.2z"'
    return f'class="n" d="M{x - 2:.1f} {y:.1f}a2 2 0 1 0 4 0a2 2 0 1 0-4 0"'


def _column(x: float, y: float, width: float, height: float, side: int) -> str:
    """A column from zero to the value of an hour."""
    return f'class="{"lnh"[side + 1]}" d="M{x:.1f} {y:.1f}h{width:.1f}v{max(height, 0.8):.1f}h-{width:.1f}z"'


def _lines(points: Sequence[tuple[float, float]], hours: Sequence[float]) -> list[str]:
    """The line through the values, dashed across long gaps."""
    solid, dashed = [], []
    for i in range(1, len(points)):
        (ax, ay), (bx, by) = points[i - 1], points[i]
        if hours[i] - hours[i - 1] > LONG_GAP:
            dashed.append(f"M{ax:.1f} {ay:.1f}L{bx:.1f} {by:.1f}")
        else:
            joined = solid and hours[i - 1] - hours[i - 2] <= LONG_GAP
            solid.append(f"L{bx:.1f} {by:.1f}" if joined else f"M{ax:.1f} {ay:.1f}L{bx:.1f} {by:.1f}")
    lines = [("line", solid), ("line gap", dashed)]
    return [f'<path class="{name}" d="{"".join(path)}"/>' for name, path in lines if path]


def value_list(measured: Measured) -> Markup:
    """All values as text, for users who cannot hover: hour, value, and a mark if out of range."""
    marks = {1: ("h", " ▲"), -1: ("l", " ▼")}
    items = []
    for hour, text, side in zip(measured.hours, measured.texts, measured.sides, strict=True):
        name, mark = marks.get(side, ("", ""))
        items.append(f"<span{f' class="{name}"' if name else ''}><i>{hour:g} h</i> {text}{mark}</span>")
    return Markup(" ".join(items))


def unit_text(variable: Variable) -> str:
    """The unit after a number of this variable, typographic.

    >>> from clinragen.catalog import variable
    >>> [unit_text(variable(key)) for key in ("temperature", "spo2", "ph")]
    [' °C', '%', '']
    """
    unit = variable.format(0.0).removeprefix(f"{0:.{variable.decimals}f}")
    for plain, typeset in (("degC", "°C"), ("/uL", "/µL"), ("umol", "µmol"), ("cmH2O", "cmH₂O")):
        unit = unit.replace(plain, typeset)
    return unit


def range_text(variable: Variable) -> str:
    """The reference range as text; empty without one.

    >>> from clinragen.catalog import variable
    >>> [range_text(variable(key)) for key in ("sodium", "base_excess", "urine_output", "gcs_eye", "weight")]
    ['135–145 mEq/L', '−2 to 2 mEq/L', 'at least 30 mL', '4', '']
    """
    low, high = variable.low, variable.high
    unit = unit_text(variable)
    if low is not None and high is not None:
        both = f"{_plain(low)}–{_plain(high)}" if low >= 0 else f"{_plain(low)} to {_plain(high)}"
        return (_plain(low) if low == high else both) + unit
    if low is not None:
        return f"at least {_plain(low)}{unit}"
    return f"up to {_plain(high)}{unit}" if high is not None else ""


def reliability_chart(curve: Sequence[Bin]) -> Markup:
    """Observed share over mean probability per bin; on the diagonal the model is calibrated.

    Args:
        curve: ``calibration_curve`` of the evaluation.
    """
    side, edge = 200, 30
    largest = max((b["count"] for b in curve), default=1)

    def at(b: Bin) -> tuple[float, float]:
        return edge + side * b["probability"], 6 + side * (1 - b["observed"])

    parts = [
        f'<svg class="chart reliability" viewBox="0 0 {side + edge + 10} {side + 36}" role="img" aria-label="'
        'Reliability: share of recorded diagnoses over predicted probability">',
        f'<path class="grid" d="M{edge} {6 + side}L{edge + side} 6"/>',
        f'<path class="axis" d="M{edge} 6v{side}h{side}"/>',
    ]
    for tick in (0.0, 0.5, 1.0):
        parts.append(f'<text class="y" x="{edge - 4}" y="{6 + side * (1 - tick) + 3:.0f}">{tick:g}</text>')
        parts.append(f'<text class="x" x="{edge + side * tick:.0f}" y="{side + 18}">{tick:g}</text>')
    parts.append(f'<text class="x" x="{edge + side / 2:.0f}" y="{side + 32}">predicted probability</text>')
    path = "L".join(f"{px:.1f} {py:.1f}" for px, py in map(at, curve))
    parts.append(f'<path class="line" d="M{path}"/>' if len(curve) > 1 else "")
    for b in curve:
        px, py = at(b)
        title = f"{b['count']:.0f} predictions near {b['probability']:.2f}: {b['observed']:.2f} recorded"
        radius = 2 + 5 * math.sqrt(b["count"] / largest)
        parts.append(f'<circle class="n" cx="{px:.1f}" cy="{py:.1f}" r="{radius:.1f}"><title>{title}</title></circle>')
    return Markup("".join(parts) + "</svg>")
