"""Generated true statements about a variable's measurements, each with its opposite."""

from __future__ import annotations

from collections.abc import Iterator

from clinragen.catalog import Variable
from clinragen.chart.measurements import Measurements

VERBS = (("rose", "fell"), ("increased", "decreased"), ("climbed", "dropped"), ("trended up", "trended down"))


def statements(spec: Variable, measured: Measurements, i: int, j: int) -> Iterator[tuple[str, str]]:
    """(true, turned round) about the measurements ``i`` < ``j``, the extremes, and the sides of the reference range."""
    values, hours = measured.values, measured.hours
    name = spec.label.partition(" (")[0].replace(",", "")
    said = [f"{value:.{spec.decimals}f}" for value in values]
    apart = 1.01 * 10.0**-spec.decimals  # nearer values may be written alike
    if abs(float(said[i]) - float(said[j])) > apart:
        up = values[j] > values[i]
        rise, fall = VERBS[(i + j) % len(VERBS)]
        change = f"from {said[i]} to {spec.format(values[j])}"
        yield f"{name} {rise if up else fall} {change}.", f"{name} {fall if up else rise} {change}."
    top, bottom = int(values.argmax()), int(values.argmin())
    if float(said[top]) - float(said[bottom]) > apart:
        yield f"{name} peaked at {spec.format(values[top])}.", f"{name} as low as {spec.format(values[top])}."
        low = f"{spec.format(values[bottom])} at hour {hours[bottom]:.0f}"
        yield f"{name} fell to a nadir of {low}." if bottom else f"Lowest {name} {low}.", f"{name} peaked at {low}."
    for word, other, side in (("high", "low", 1), ("low", "high", -1)):
        outside = [spec.direction(value) for value in values]
        if side in outside and -side not in outside:
            yield f"{word} {name}.", f"{other} {name}."
            yield f"The {name} was {word} at some point.", f"The {name} was {other} at some point."


def shorthand(spec: Variable, measured: Measurements, i: int, j: int) -> Iterator[tuple[str, str]]:
    """(true, false) about the measurements ``i`` < ``j`` in the shorthand of notes: values before, ranges, amounts."""
    name = spec.label.partition(" (")[0].replace(",", "")
    old, new = (f"{measured.values[k]:.{spec.decimals}f}" for k in (i, j))
    apart = 1.01 * 10.0**-spec.decimals
    if abs(float(old) - float(new)) > apart:
        way, other = ("up", "down") if float(new) > float(old) else ("down", "up")
        value = spec.format(measured.values[j])
        yield f"{name} {value}, {way} from {old}.", f"{name} {value}, {other} from {old}."
        yield f"{name} {value} ({way} from {old}).", f"{name} {spec.format(measured.values[i])}, {way} from {new}."
    values = [float(f"{value:.{spec.decimals}f}") for value in measured.values]
    first, last = values[0], values[-1]
    if spec.unit != "%" and values in (sorted(values), sorted(values, reverse=True)) and abs(last - first) > 3 * apart:
        rose, fell = ("rose", "fell") if last > first else ("fell", "rose")
        by = f"{abs(last - first):.{spec.decimals}f}"
        yield f"{name} {rose} by {by}.", f"{name} {fell} by {by}."
        yield f"{name} {rose} {by} points.", f"{name} {rose} {3 * float(by):.{spec.decimals}f} points."
    if spec.low is not None and spec.high is not None and spec.low < spec.high:
        value, beyond = spec.format(measured.values[i]), spec.format(measured.values.max() + 10 * apart)
        for written in (f"({spec.low:g}-{spec.high:g})", f"[ref {spec.low:g}–{spec.high:g}]"):
            yield f"{name} {value} {written}.", f"{name} {beyond} {written}."
    for unit, (scale, offset) in spec.accepts.items():
        if unit not in ("fraction", "m", "torr") and scale > 0:
            digits = max(0, spec.decimals + len(f"{scale:.0f}") + 1)
            value, beyond = ((x - offset) / scale for x in (measured.values[i], measured.values.max() + 10 * apart))
            yield f"{name} {value:.{digits}f} {unit}.", f"{name} {beyond:.{digits}f} {unit}."
