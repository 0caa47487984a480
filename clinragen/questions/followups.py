"""Questions that go on from the one before: what such a question changes of the query before, and the query it means.

"and the lowest?" changes the kind, "what about sodium?" the variable, "same for the first 6 hours" the hours; the rest
is that of the query before. Their wordings are in ``configs/questions/followups.yaml``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random
from typing import NamedTuple

from clinragen.catalog import variables
from clinragen.knowledge.graph import ConceptGraph
from clinragen.questions.draws import WIDTHS, can_be_asked, draw_query, draw_window, fits
from clinragen.questions.query import FORMS, HEADS, Query, Window
from clinragen.questions.stay_chart import StayChart

#: How often a question in a dialogue stands by itself, by what the one before is about.
_FRESH = {"variable": 0.125, "concept": 0.5, "label": 0.5}
#: Kinds that another kind can be asked for of the same variable and hours.
_HEADS = tuple(
    head
    for head in HEADS
    if head not in ("value at", "compare") and FORMS[head.split()[0]].subject == "variable"  # type: ignore[index]
)
_OF_STAY = ("time first", "time last")
#: The time of what a query gives: the value itself, or the first one beyond the range.
_TIMES = {
    "value first": "time first",
    "value last": "time last",
    "highest": "time highest",
    "lowest": "time lowest",
    "range above": "time first_above",
    "range below": "time first_below",
}


class FollowUp(NamedTuple):
    """The query that a question means, and what it changes of the one before; nothing where it stands by itself."""

    change: str
    query: Query


def follow_up(last: Query, charts: Sequence[StayChart], draw: Random) -> FollowUp | None:
    """A question that may come after a query; None where the one that was drawn cannot.

    Args:
        last: the query.
        charts: of the stays that are asked; what is asked about is in one of them at least.
        draw: decides.
    """
    kind = FORMS[last.kind].subject
    if draw.random() < _FRESH[kind]:
        query = draw_query(draw.choice(HEADS), draw.choice(charts), draw)
        return None if query is None else FollowUp("", query)
    change = draw.choice(_OFTEN) if kind == "variable" else kind
    query = _CHANGES[change](last, charts, draw)
    if query is None or query == last:
        return None
    return FollowUp(f"kind {query.head}" if change == "kind" else change, query)


def finding_of(query: Query, graph: ConceptGraph) -> str | None:
    """The finding that the value of a query would be in a note, were it abnormal; None where no side is meant.

    The highest potassium would be a high potassium.
    """
    if query.kind not in ("highest", "lowest", "range", "time"):
        return None
    which = query.which or query.kind
    if which in ("first", "last"):
        return None
    side = "low" if which.endswith(("lowest", "below")) else "high"
    concept = f"finding:{query.subject}:{side}"
    return concept if concept in graph.nodes else None


def _kind(last: Query, charts: Sequence[StayChart], draw: Random) -> Query | None:
    """Another kind, of the same variable and hours.

    When it was first or last measured is asked only where no hours are meant: it would not be clear whether they are.
    """
    heads = [head for head in _HEADS if head != last.head and fits(variables()[last.subject], head)]
    heads = [head for head in heads if last.window.whole or head not in _OF_STAY]
    if last.kind == "compare" or not heads:
        return None
    kind, _, which = draw.choice(heads).partition(" ")
    return Query(kind, last.subject, which or None, window=last.window)  # type: ignore[arg-type]


def _variable(last: Query, charts: Sequence[StayChart], draw: Random) -> Query | None:
    """The same of another variable."""
    keys = sorted({key for chart in charts for key in chart.series if fits(variables()[key], last.head)})
    return replace(last, subject=draw.choice(keys)) if keys else None


def _window(last: Query, charts: Sequence[StayChart], draw: Random) -> Query | None:
    """The same in other hours."""
    if last.kind == "compare" or last.hour is not None:
        return None
    return replace(last, window=draw_window(draw.choice(charts).end, draw))


def _hour(last: Query, charts: Sequence[StayChart], draw: Random) -> Query | None:
    """The value at another hour."""
    if last.kind != "value":
        return None
    return Query("value", last.subject, "at", float(draw.randrange(max(1, int(draw.choice(charts).end)))))


def _beside(
    hours_of: Callable[[Window, float | None], Window | None], *, some: bool
) -> Callable[[Query, Sequence[StayChart], Random], Query | None]:
    """The same in the hours before or after, all or some of them."""

    def change(last: Query, charts: Sequence[StayChart], draw: Random) -> Query | None:
        if last.kind == "compare" or last.hour is not None:
            return None
        hours = float(draw.choice(WIDTHS)) if some else None
        window = hours_of(last.window, hours)
        if window is None or (some and window.end is not None and window.end - window.start != hours):
            return None
        return replace(last, window=window)

    return change


def _time(last: Query, charts: Sequence[StayChart], draw: Random) -> Query | None:
    """When the value was measured that was asked for."""
    if (head := _TIMES.get(last.head)) is None or not fits(variables()[last.subject], head):
        return None
    return Query("time", last.subject, head.removeprefix("time "), window=last.window)


def _comparison(last: Query, charts: Sequence[StayChart], draw: Random) -> Query | None:
    """The mean against that of other hours."""
    other = draw_window(draw.choice(charts).end, draw)
    if last.kind != "mean" or last.window.whole or other == last.window:
        return None
    return Query("compare", last.subject, window=last.window, other=other)


def _note(last: Query, charts: Sequence[StayChart], draw: Random) -> Query | None:
    """Whether the note names it."""
    concept = finding_of(last, charts[0].graph)
    return None if concept is None else Query("note", concept)


def _concept(last: Query, charts: Sequence[StayChart], draw: Random) -> Query | None:
    """Whether the note names something else."""
    concepts = sorted({one.mention.concept for chart in charts for one in chart.mentions})
    concepts = [concept for concept in concepts if can_be_asked(concept)]
    return Query("note", draw.choice(concepts)) if concepts else None


def _label(last: Query, charts: Sequence[StayChart], draw: Random) -> Query | None:
    """The grounds of another diagnosis."""
    labels = sorted({label for chart in charts for label in chart.labels})
    return Query("why", draw.choice(labels)) if labels else None


_CHANGES: dict[str, Callable[[Query, Sequence[StayChart], Random], Query | None]] = {
    "kind": _kind,
    "variable": _variable,
    "window": _window,
    "hour": _hour,
    "all before": _beside(Window.before, some=False),
    "hours before": _beside(Window.before, some=True),
    "all after": _beside(Window.after, some=False),
    "hours after": _beside(Window.after, some=True),
    "time": _time,
    "comparison": _comparison,
    "note": _note,
    "concept": _concept,
    "label": _label,
}
#: How often each change of a question about a variable is tried: a note seldom names the finding that is meant.
_WEIGHTS = {"kind": 8, "variable": 2, "window": 2, "comparison": 6, "note": 30, "time": 2}
_OFTEN = [change for change in _CHANGES if change not in ("concept", "label") for _ in range(_WEIGHTS.get(change, 1))]
