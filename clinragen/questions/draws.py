"""Queries drawn from what the chart of a stay holds."""

from __future__ import annotations

from random import Random

from clinragen.catalog import Variable, variables
from clinragen.questions.query import Query, Window
from clinragen.questions.stay_chart import StayChart

#: Lengths of windows in hours; short ones often hold no value of what is measured every hour.
WIDTHS = (1, 2, 3, 4, 6, 8, 12, 24)
_DAY = 24
#: Concepts that a note may be asked about; an age or a place of treatment is none.
_ASKED = ("phenotype", "disease", "finding", "symptom", "drug", "procedure")


def draw_query(head: str, chart: StayChart, draw: Random) -> Query | None:
    """A query of a kind about what the chart of a stay holds; None if it holds nothing of it.

    Args:
        head: one of ``HEADS``.
        chart: of the stay.
        draw: decides.
    """
    kind, _, which = head.partition(" ")
    if kind == "note":
        concepts = sorted({one.mention.concept for one in chart.mentions if can_be_asked(one.mention.concept)})
        return Query("note", draw.choice(concepts)) if concepts else None
    if kind == "why":
        return Query("why", draw.choice(sorted(chart.labels))) if chart.labels else None
    keys = sorted(key for key in chart.series if fits(variables()[key], head))
    if not keys:
        return None
    subject, end = draw.choice(keys), chart.end
    if kind == "compare":
        return _comparison(subject, end, draw)
    hour = float(draw.randrange(max(1, int(end)))) if which == "at" else None
    window = Window() if hour is not None else draw_window(end, draw)
    return Query.parse(f"{head} {'' if hour is None else hour} {subject} {window}")


def draw_window(end: float, draw: Random) -> Window:
    """A window of some hours up to the prediction time, or the whole stay.

    Args:
        end: prediction time in hours from intime.
        draw: decides.
    """
    form = draw.choice(("whole", "first", "between", "between", "between", "after", "last", "day"))
    last = max(2, int(end))
    width = draw.choice([width for width in WIDTHS if width < last])
    if form == "first":
        return Window(0, width)
    if form == "between":
        start = draw.randrange(last - width + 1)
        return Window(start, start + width)
    if form == "after":
        return Window(last - width)
    if form == "last":
        return Window(-width)
    if form == "day" and end > _DAY:
        start = _DAY * draw.randrange(min(7, int(end // _DAY)))
        return Window(start, start + _DAY)
    return Window()


def _comparison(subject: str, end: float, draw: Random) -> Query:
    """Two stretches of equal length, one after the other or apart."""
    last = max(2, int(end))
    width = draw.choice([width for width in WIDTHS if 2 * width <= last])
    first = draw.randrange(last - 2 * width + 1)
    second = draw.choice((first + width, last - width))
    windows = [Window(first, first + width), Window(second, second + width)]
    draw.shuffle(windows)
    return Query("compare", subject, window=windows[0], other=windows[1])


def can_be_asked(concept: str) -> bool:
    """Whether a note may be asked about a concept."""
    kind, _, named = concept.partition(":")
    return kind in _ASKED and not named.endswith((":rising", ":falling"))


def fits(spec: Variable, head: str) -> bool:
    """Whether a question of this kind about a variable makes sense; of one that is there or not, few do."""
    if spec.unit == "flag":
        return head in ("value first", "value last", "count", "time first", "time last")
    if head.endswith("above"):
        return spec.high is not None and spec.high < spec.plausible[1]
    if head.endswith("below"):
        return spec.low is not None and spec.low > spec.plausible[0]
    return True
