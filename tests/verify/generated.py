"""Statements made from a variable's measurements, each true, with one that turns its direction round."""

from __future__ import annotations

from collections.abc import Iterator

from clinragen.catalog import Variable
from clinragen.verify.series import Measured

VERBS = (("rose", "fell"), ("increased", "decreased"), ("climbed", "dropped"), ("trended up", "trended down"))


def statements(spec: Variable, measured: Measured, i: int, j: int) -> Iterator[tuple[str, str]]:
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
