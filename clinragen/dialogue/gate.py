"""The last check of an answer: each number in its text, and each place that it cites, is looked up in the chart again.

It shares no code with ``questions.answer``, so that a fault there is seen here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from clinragen.catalog import Variable, variables
from clinragen.questions.answer import Answer
from clinragen.questions.query import Query, Window
from clinragen.questions.stay_chart import StayChart

_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?!\w)")
_QUOTED = re.compile(r"“[^”]*”")
_UNITS = re.compile(r"mL FEU|/?\b10\^?\d\b|cmH2O|PaO2/FiO2|FiO2|\b[A-Z]\d\b")


def unsupported(answer: Answer, query: Query, chart: StayChart) -> list[str]:
    """The numbers and places of an answer that the chart does not hold; empty for a sound answer.

    Args:
        answer: of the query.
        query: that was answered.
        chart: of the stay.
    """
    faults = [f"cited: {cited}" for cited in answer.evidence if not _holds(cited, chart)]
    allowed = _numbers(query, chart)
    plain = _UNITS.sub(" ", _QUOTED.sub(lambda match: match[0] if not _in_note(match[0], chart) else " ", answer.text))
    plain = plain.replace(_label(query), " ")
    faults += [number for number in _NUMBER.findall(plain) if _rounded(float(number)) not in allowed]
    return faults


def _holds(cited: dict[str, object], chart: StayChart) -> bool:
    """Whether a measurement or a phrase is where it is said to be."""
    if "variable" in cited:
        key, hour, value = str(cited["variable"]), cited["hour"], cited["value"]
        spec, measured = variables().get(key), chart.series.get(key)
        if spec is None or measured is None or not isinstance(hour, float) or not isinstance(value, float | int):
            return False
        rows = zip(measured.hours.tolist(), measured.values.tolist(), strict=True)
        return any(at == hour and spec.written(each) == value for at, each in rows if at < chart.end)
    start, end = cited.get("start"), cited.get("end")
    if not isinstance(start, int) or not isinstance(end, int):
        return False
    return any(
        section == cited.get("section") and 0 <= start < end <= len(text) and bool(text[start:end].strip())
        for section, text in chart.sections
    )


def _in_note(quoted: str, chart: StayChart) -> bool:
    """Whether a quoted phrase stands in the note, apart from blanks and case."""
    phrase = _folded(quoted.strip("“”"))
    return any(phrase in _folded(text) for _, text in chart.sections)


def _folded(text: str) -> str:
    return " ".join(text.split()).casefold()


def _label(query: Query) -> str:
    """The name of the variable, as answers write it: "hemoglobin A1c" has a number in it."""
    return variables()[query.subject].label if query.subject in variables() else ""


def _numbers(query: Query, chart: StayChart) -> set[float]:
    """Every number that may stand in an answer to a query."""
    if query.kind in ("note", "why"):
        return {float(number) for number in range(len(chart.sections) + len(chart.series) + 1)} | _everything(chart)
    spec = variables()[query.subject]
    numbers = {0.0, chart.end, 2.0}  # the tolerance of "value at" is 2 hours
    if query.hour is not None:
        numbers.add(query.hour)
    if (measured := chart.series.get(query.subject)) is not None:
        rows = [
            row for row in zip(measured.hours.tolist(), measured.values.tolist(), strict=True) if row[0] < chart.end
        ]
    else:
        rows = []
    for window in (query.window, *(() if query.other is None else (query.other,))):
        numbers |= _of_window(window, rows, spec, chart.end)
    return {each for number in numbers for each in (_rounded(number), round(number, 2))}


def _of_window(window: Window, rows: list[tuple[float, float]], spec: Variable, end: float) -> set[float]:
    """Bounds, hours, values, mean and counts of a window."""
    start = window.start if window.start >= 0 else max(0.0, end + window.start)
    stop = end if window.end is None else window.end
    inside = [(hour, value) for hour, value in rows if start <= hour < min(stop, end)]
    numbers = {start, min(stop, end), stop, float(len(inside)), float(len(rows) - len(inside))}
    numbers |= {bound for bound in (spec.low, spec.high) if bound is not None}
    numbers |= {float(f"{bound:.{spec.decimals}f}") for bound in (spec.low, spec.high) if bound is not None}
    if inside:
        written = [spec.written(value) for _, value in inside]
        numbers |= {hour for hour, _ in inside} | set(written)
        numbers.add(spec.written(math.fsum(value for _, value in inside) / len(inside)))
        sides = [spec.direction(value) for value in written]
        values = [value for _, value in inside]
        numbers |= {float(count) for count in (sides.count(1), sides.count(-1))}
        numbers |= {float(values.count(edge) - 1) for edge in (min(values), max(values))}
    return numbers


def _everything(chart: StayChart) -> set[float]:
    """Every value and hour of the chart, as written."""
    return {
        _rounded(number)
        for key, measured in chart.series.items()
        for hour, value in zip(measured.hours.tolist(), measured.values.tolist(), strict=True)
        for number in (float(f"{hour:.0f}"), hour, variables()[key].written(value))
    }


def _rounded(number: float) -> float:
    return round(number, 4) + 0.0


def sound(answers: Iterable[tuple[Query, Answer]], chart: StayChart) -> bool:
    """Whether every answer can be found in the chart."""
    return all(not unsupported(answer, query, chart) for query, answer in answers)
