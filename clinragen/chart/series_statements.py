"""Statements about a series, in words and charted numbers; nothing that was not charted.

A small model must be able to learn the statements from the series. They therefore have few patterns, use only first,
last and extreme values, and state each with "about", rounded well within its tolerance, so that the student need not
predict the last digit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import floor, log10
from typing import Literal

from clinragen.catalog import Variable, variables
from clinragen.chart.findings import HOURLY, Finding
from clinragen.chart.reference_range import tolerance
from clinragen.chart.wording import Wording, listed, named
from clinragen.knowledge.graph import ConceptGraph
from clinragen.label_sets import LabelSet

OPENING = "Lab test shows"
MOST_WORDS = 50  # of a series rationale
MOST_STATEMENTS = 4  # on abnormal variables
LINKS = ("pointing to", "supporting", "consistent with", "suggesting")
#: The same of what a model's estimate rests on, though no known tie makes it a sign of the diagnosis.
ADDING = ("adding to the estimate of",)
NOT_MEASURED = ("no measurements", "nothing, as no values were charted")
ALL_NORMAL = ("no abnormal values", "only values within the reference ranges")
#: Before a group of statements that points to no diagnosis, after another group.
ALSO = "also"
#: Laboratory values whose normality is informative.
WORTH = ("creatinine", "lactate", "wbc", "hemoglobin", "platelets", "potassium", "sodium", "bilirubin_total", "inr")
#: End of the first day: extremes are placed before or after it.
_DAY = 24


@dataclass(frozen=True)
class SeriesStatement:
    """A checkable statement about one variable.

    Attributes:
        variable: catalogue key.
        direction: high, low or normal.
        statement: the words.
        value, first: as charted: the extreme, the level or the end of a trend; the start of the trend.
        stated: the numbers as written, rounded.
        hour: hour of the extreme, if the statement gives it.
    """

    variable: str
    direction: str
    form: Literal["trend", "extreme", "level", "normal"]
    statement: str
    value: float
    first: float | None = None
    stated: tuple[str, ...] = ()
    hour: float | None = None

    def as_json(self) -> dict[str, object]:
        """The fields that are set."""
        return {key: value for key, value in asdict(self).items() if value not in (None, ())}


def statement(finding: Finding, graph: ConceptGraph, wording: Wording) -> SeriesStatement:
    """One finding in words."""
    variable, direction = finding.variable, finding.direction
    if direction == "normal":
        return SeriesStatement(variable, direction, "normal", normal_values([name(variable)]), finding.last)
    if finding.spec.unit == "flag":  # present or absent, without a number
        text = graph.name(finding.concept) if finding.concept in graph.nodes else f"{direction} {name(variable)}"
        return SeriesStatement(variable, direction, "level", text, finding.extreme)
    if _moves(finding):
        begin, end = _rounded(finding.first, finding), _rounded(finding.last, finding)
        verb = "rising" if finding.trend > 0 else "falling"
        text = f"{direction} {name(variable)} {verb} from about {begin} to {_with_unit(end, finding.spec)}"
        return SeriesStatement(
            variable, direction, "trend", text, finding.last, first=finding.first, stated=(begin, end)
        )
    number = _rounded(finding.extreme, finding)
    written = _with_unit(number, finding.spec)
    subject = _subject(finding, graph, wording)
    if finding.count == 1:
        text = f"{subject} of about {written}"
        return SeriesStatement(variable, direction, "level", text, finding.extreme, stated=(number,))
    text = f"{subject} {'up' if direction == 'high' else 'down'} to about {written}"
    hour = None
    if finding.spec.kind in HOURLY and wording.pick((True, False, False, False)):
        hour = finding.extreme_hour
        text += f" {wording.pick(_times(hour))}"
    elif finding.share > 0.8 and subject.startswith(direction):  # beside a time it would be about those hours only
        text = f"persistently {text}"
    return SeriesStatement(variable, direction, "extreme", text, finding.extreme, stated=(number,), hour=hour)


def normal_statement(finding: Finding) -> SeriesStatement:
    """One normal finding, by its variable's name; ``normal_values`` words several of them."""
    return SeriesStatement(finding.variable, "normal", "normal", name(finding.variable), finding.last)


def pointing(link: str, keys: Sequence[str], labels: LabelSet) -> str:
    """The end of a group of statements: the diagnoses that each of them supports, or adds to the estimate of.

    ``link``: one of ``LINKS``, or of ``ADDING``.
    """
    return f"{link} {named([labels[key].name for key in keys])}"


def no_value_points_to(keys: Sequence[str], labels: LabelSet) -> str:
    """The statement that nothing in the series supports these diagnoses."""
    return f"no value points to {listed([labels[key].name for key in keys], 'or')}"


def normal_values(names: Sequence[str]) -> str:
    """The statement that variables, by ``name``, are normal."""
    return f"normal {listed(names)}"


def name(variable: str) -> str:
    """A variable as written in a sentence: no comma, no brackets.

    >>> name("gcs_total")
    'Glasgow coma scale total'
    """
    return variables()[variable].label.partition(" (")[0].replace(",", "")


def _moves(finding: Finding) -> bool:
    """Whether to state a trend: for laboratory values that end out of range, if the rounded numbers show it, too."""
    if finding.spec.kind not in ("lab", "gas") or finding.count < 2 or not finding.outside(finding.last):
        return False
    change = float(_rounded(finding.last, finding)) - float(_rounded(finding.first, finding))
    return change * finding.trend > 0


def _times(hour: float) -> tuple[str, str, str]:
    """Wordings of the hour of an extreme: the day twice as often as the hour."""
    near = round(hour / 6) * 6  # "around hour 12" means within three hours
    day = f"in the first {_DAY} hours" if hour < _DAY else f"after hour {_DAY}"
    return day, day, f"around hour {near}"


def _subject(finding: Finding, graph: ConceptGraph, wording: Wording) -> str:
    """ "tachycardia" or "high heart rate": the finding's own name if it is short."""
    plain = f"{finding.direction} {name(finding.variable)}"
    concept = graph.nodes[finding.concept]["name"] if finding.concept in graph.nodes else ""
    short = bool(concept) and finding.spec.label.split()[-1] not in concept and len(concept.split()) == 1
    return wording.pick((concept, plain)) if short else plain


def _rounded(value: float, finding: Finding) -> str:
    """A number as written: rounded within the tolerance of "about", but never across the bound it lies beyond.

    >>> finding = Finding("heart_rate", "high", 9, 4, 90.0, 104.0, 128.0, 3.0)
    >>> _rounded(128.0, finding), _rounded(101.0, finding)
    ('130', '101')
    """
    spec = finding.spec
    exact = f"{value:.{spec.decimals}f}"
    step = _step(value, spec)
    rounded = round(value / step) * step if step else value
    written = f"{rounded:.{0 if step >= 1 else spec.decimals}f}"
    if finding.outside(value) != finding.outside(float(written)) or float(written) == 0:
        return exact
    return written


def _step(value: float, spec: Variable) -> float:
    """The roundest step (1, 2 or 5 in a decade) that stays within four fifths of the tolerance of "about"."""
    allowed = 0.8 * tolerance(value, spec)
    if allowed <= 0:
        return 0.0
    decade = 10.0 ** floor(log10(allowed))
    step = max(factor * decade for factor in (1, 2, 5) if factor * decade <= allowed * (1 + 1e-9))
    return max(step, 10.0**-spec.decimals)


def _with_unit(written: str, spec: Variable) -> str:
    """The number with the unit of the variable, as the catalogue writes it."""
    return spec.format(0.0).replace(f"{0:.{spec.decimals}f}", written, 1)
