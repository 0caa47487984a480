"""What the cues beside a head say about it, apart from numbers: side, trend, denial, frequency, severity, time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from clinragen.catalog import variables
from clinragen.verification.cue_phrases import Head
from clinragen.verification.figures import canonical
from clinragen.verification.masked import Cue
from clinragen.verification.statements import Count, Frequency, Hour, Moment, Side, TrendWord, Way
from clinragen.verification.times import HourWindow

WHOLE_STAY = (0.0, float("inf"))
#: A term has a side of its own: worsening hypotension is a fall.
_WORSE: dict[str, tuple[TrendWord, TrendWord]] = {
    "worsening": ("rising", "falling"),
    "improving": ("falling", "rising"),
}
#: Before a name these are adjectives: "increased creatinine" is high, "creatinine increased" rises.
_ADJECTIVAL: dict[str, Side] = {"increased": "high", "decreased": "low", "increases": "high", "decreases": "low"}
#: With an amount these are verbs: "reduced by 40 %".
_MOVING: dict[str, TrendWord] = {
    "raised": "rising", "elevated": "rising", "reduced": "falling", "lower": "falling", "higher": "rising"
}  # fmt: skip


@dataclass(frozen=True)
class Qualifiers:
    """Qualifiers of a statement: frequency, severity, time."""

    frequency: Frequency | None = None
    severity: Literal["mild", "marked"] | None = None
    window: HourWindow | None = None
    moment: Moment | None = None
    hour: Hour | None = None


@dataclass(frozen=True)
class Stance:
    """The side of the variable, its trend, and whether they are denied."""

    side: Side | None = None
    trend: TrendWord | Literal["stable"] | None = None
    negated: bool = False

    @property
    def way(self) -> Way:
        """Direction of a change; "stable" has none."""
        return Way(None if self.trend == "stable" else self.trend, self.side)


def qualifiers_of(cues: list[Cue]) -> Qualifiers:
    """Times, frequency and severity: the first of each, but the most specific frequency."""

    def first(kind: str) -> Any:
        return next((cue.value for cue in cues if cue.kind == kind), None)

    often: list[Frequency] = [cue.value for cue in cues if cue.kind == "often"]
    frequency = max(often, key=_precise, default=None)
    total = HourWindow(*WHOLE_STAY) if any(cue.kind == "total" for cue in cues) else None
    return Qualifiers(frequency, first("severity"), first("window") or total, first("moment"), first("hour"))


def _precise(frequency: Frequency) -> int:
    """How specific a frequency is: in "stayed above 90 at all times", the second is more so."""
    return 2 if isinstance(frequency, Count) else 1 if frequency == "always" else 0


def stance_of(text: str, of: Head, before: list[Cue], after: list[Cue], *, whole: bool) -> Stance:
    """What the cues beside a head say about it; with ``whole``, a term such as "anaemia" may state its own side."""
    cues = [*before, *after]
    states, trends = _states_and_trends(text, before, after)
    side: Side | None = states[0] if states else None
    negated = any(cue.kind == "denied" for cue in cues)
    numbered = any(cue.kind == "number" for cue in after)
    if side is None and of.sides and (whole or (trends and not numbered)):
        side = of.sides[0] if len(of.sides) == 1 else "normal"
        if of.absent and len(of.sides) == 1:
            negated = not negated
    return Stance(side, _trend_of(of, trends) or _written_trend(of, cues), negated)


def _states_and_trends(
    text: str, before: list[Cue], after: list[Cue]
) -> tuple[list[Side], list[TrendWord | Literal["stable"]]]:
    """The sides and the trends that the cues beside a head name, in reading order."""
    states: list[Side] = []
    trends: list[TrendWord | Literal["stable"]] = []
    amounts = any(cue.kind in ("number", "change") for cue in after)
    for cue in (*before, *after):
        word: str = text[cue.start : cue.end].lower()
        if cue.kind == "trend" and cue in before and word in _ADJECTIVAL:
            states.append(_ADJECTIVAL[word])
        elif cue.kind == "state" and word in _MOVING and any(c.kind == "change" for c in after):
            trends.append(_MOVING[word])
        elif cue.kind == "state":
            states.append(cue.value)
        elif cue.kind == "trend":
            partly = cue.value == "resolved" and amounts and "norm" not in word  # "recovered to 12" of 15
            trends.append("improving" if partly else cue.value)
        elif cue.kind == "change" and cue.value[0]:
            trends.append(cue.value[0])
    if len(states) > 1 and states[-1] == "normal":
        states = ["normal"]  # "low-normal"
    return states, trends


def _trend_of(of: Head, trends: list[TrendWord | Literal["stable"]]) -> TrendWord | Literal["stable"] | None:
    """The most specific trend; for a term with one side, the direction in which its variable changes."""
    order = ("resolved", "rising", "falling", "improving", "worsening", "stable")
    trend = min(trends, key=order.index, default=None)
    if trend in _WORSE and len(of.sides) == 1:
        return _WORSE[trend][of.sides[0] == "low"]
    return trend


def _written_trend(of: Head, cues: list[Cue]) -> TrendWord | None:
    """The trend stated by the numbers themselves, as in "down from 5", if they are in a unit of the variable."""
    written = [cue.value for cue in cues if cue.kind == "number" and cue.value.trend]
    variable = variables()[of.variables[0]]
    return next((each.trend for each in written if canonical(each, variable, about=False)), None)
