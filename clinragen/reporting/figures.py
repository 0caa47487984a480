"""The measurements of one stay as text, from which the script of the page draws the plots.

The values of consecutive hours follow each other, from hour 0 on: ``88 90 91 6:84`` are 88 at hour 0, 90 and 91 at the
next two, and 84 at hour 6; ``15*3`` is 15 three times. A page thus weighs a tenth of one with pictures, and shows
the values without the script.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from clinragen.catalog import variables
from clinragen.chart.measurements import Cells
from clinragen.cohort.sections import section_title
from clinragen.reporting.charts import range_text, unit_text

_GROUPS = {
    "vital": "Vital signs",
    "coma": "Glasgow coma scale",
    "ventilation": "Ventilation",
    "treatment": "Treatments",
    "gas": "Blood gases",
    "lab": "Laboratory",
    "output": "Output",
    "body": "Body size",
}


@dataclass(frozen=True)
class Figure:
    """One measured variable.

    Attributes:
        key, label: of the variable.
        values: as text, see the module.
        cited: the hours that claims rest on, by the number of the claim.
        asked: the hours that answers to questions rest on, by the number of the place.
        carried: (from hour, to hour, diagnoses) of hours that a diagnosis rests on.
        matters: whether a claim cites it, or the estimate of a diagnosis rests on it.
        outside: whether any value is outside the reference range.
    """

    key: str
    label: str
    values: str
    cited: Mapping[int, Sequence[float]] = field(default_factory=dict)
    carried: Sequence[tuple[float, float, str]] = ()
    matters: bool = False
    outside: bool = False
    asked: Mapping[int, Sequence[float]] = field(default_factory=dict)

    @property
    def cited_text(self) -> str:
        """The cited hours for the script: ``3:0,6-9 5:12``."""
        return _numbered(self.cited)

    @property
    def asked_text(self) -> str:
        """The hours of answers for the script, in the same form."""
        return _numbered(self.asked)

    @property
    def carried_text(self) -> str:
        """The carried hours for the script: ``12-24``."""
        return " ".join(f"{start:g}-{end:g}" for start, end, _ in self.carried)


def figures_of(
    cells: Cells,
    cited: Mapping[str, Mapping[int, Sequence[float]]],
    shares: Mapping[str, float],
    carried: Mapping[str, Sequence[tuple[float, float, str]]],
    of_answers: Mapping[str, Mapping[int, Sequence[float]]] | None = None,
) -> list[Figure]:
    """The measured variables: first those that matter, by their largest share, then the others as in the catalogue.

    Args:
        cells: the stay's measurements, by ascending hour.
        cited: hours that claims rest on, by variable and number of the claim.
        shares: the largest share of each variable in an estimate.
        carried: hours that a diagnosis rests on, by variable.
        of_answers: hours that answers to questions rest on, by variable and number of the place.
    """
    specs = variables()
    rank = {key: position for position, key in enumerate(specs)}
    drawn = [
        Figure(
            key=key,
            label=specs[key].label,
            values=values_text(rows, specs[key].decimals),
            cited=cited.get(key, {}),
            carried=carried.get(key, ()),
            matters=key in cited or key in shares or key in carried,
            outside=any(specs[key].direction(value) for _, value in rows),
            asked=(of_answers or {}).get(key, {}),
        )
        for key, rows in cells.items()
    ]
    drawn.sort(key=lambda one: (not one.matters, -shares.get(one.key, 0.0) if one.matters else 0.0, rank[one.key]))
    return drawn


def values_text(rows: Sequence[tuple[float, float]], decimals: int) -> str:
    """Measurements, as (hour, value), as text.

    >>> values_text([(0, 88), (1, 90), (6, 84.0)], 0), values_text([(0.5, 7.4), (1.5, 7.4), (2.5, 7.4)], 2)
    ('88 90 6:84', '0.5:7.40*3')
    """
    parts: list[str] = []
    following, last, times = 0.0, "", 1
    written = f"%.{decimals}f"
    for hour, value in rows:
        text = written % value
        if hour != following:
            parts.append(f"{hour:g}:{text}")
        elif last == text:
            times += 1
            parts[-1] = f"{parts[-1].partition('*')[0]}*{times}"
            following = hour + 1
            continue
        else:
            parts.append(text)
        following, last, times = hour + 1, text, 1
    return " ".join(parts)


def _numbered(hours: Mapping[int, Sequence[float]]) -> str:
    return " ".join(f"{number}:{_spans(each)}" for number, each in hours.items())


def _spans(hours: Sequence[float]) -> str:
    """Hours, those that follow each other as one span.

    >>> _spans([0, 6, 7, 8, 9.5])
    '0,6-8,9.5'
    """
    spans: list[list[float]] = []
    for hour in sorted(set(hours)):
        if spans and hour == spans[-1][1] + 1:
            spans[-1][1] = hour
        else:
            spans.append([hour, hour])
    return ",".join(f"{start:g}" if start == end else f"{start:g}-{end:g}" for start, end in spans)


def catalogue() -> dict[str, dict[str, Any]]:
    """What the script must know of the variables: label, group, unit, reference range, decimals, whether hours are
    summed; in the order of the groups."""
    order = list(_GROUPS)
    specs = sorted(variables().items(), key=lambda item: order.index(item[1].kind) if item[1].kind in order else 99)
    return {
        key: {
            "label": spec.label,
            "group": _GROUPS.get(spec.kind, section_title(spec.kind)),
            "unit": unit_text(spec),
            "range": range_text(spec),
            "low": spec.low,
            "high": spec.high,
            "decimals": spec.decimals,
            "sum": spec.bin == "sum",
        }
        for key, spec in specs
    }
