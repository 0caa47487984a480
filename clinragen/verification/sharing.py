"""Assign the cues of a sentence to its heads, and divide them into statements.

The cues between two heads are divided at the last separator. What follows a head is divided into statements at commas
and conjunctions. Heads joined by "and" share their cues.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from clinragen.verification import assembly, separators
from clinragen.verification.assembly import STATING
from clinragen.verification.claims import SeriesClaim
from clinragen.verification.masked import Cue

_TIMES = ("window", "moment", "hour")
#: Kinds of cue that stand right before the name that they are about: "high lactate".
_BEFORE_NAMES = ("state", "trend", "severity", "denied", "often", "how")
_BOUNDS = ("above", "below", "at_least", "at_most")


@dataclass
class Group:
    """Heads that share cues: those before them, and those after."""

    heads: list[Cue]
    before: list[Cue]
    after: list[Cue]


def groups(text: str, cues: list[Cue]) -> Iterator[Group]:
    """The heads of a sentence, each with its cues."""
    places = [position for position, cue in enumerate(cues) if cue.kind == "head"]
    if not places:
        return
    group = Group([cues[places[0]]], _leading(cues[: places[0]]), [])
    for here, there in pairwise(places):
        region = cues[here + 1 : there]
        if _joined(text, cues[here], region, cues[there]):
            group.heads.append(cues[there])
            continue
        group.after, before = _parted(region, cues[there])
        yield group
        group = Group([cues[there]], before, [])
    trailing = cues[places[-1] + 1 :]
    stop = next((position for position, cue in enumerate(trailing) if cue.kind == "linking"), len(trailing))
    group.after = trailing[:stop]
    yield group


def claims(text: str, group: Group) -> Iterator[SeriesClaim]:
    """The claims about the heads of a group."""
    heads = group.heads
    numbers = [cue for cue in group.after if cue.kind in ("number", "change")]
    one_each = all(cue.value.form == "one" for cue in numbers if cue.kind == "number")
    if len(heads) > 1 and len(numbers) == len(heads) and one_each:  # "ALT and AST of 500 and 300"
        shared = [cue for cue in group.after if cue not in numbers and cue.kind != "sep"]
        for head, number in zip(heads, numbers, strict=True):
            yield from assembly.claims(text, head, group.before, [*shared, number], whole=head is heads[0])
    elif len(heads) == 2 and len(numbers) == 1 and numbers[0].kind == "number" and numbers[0].value.second:
        for half, head in enumerate(heads):  # "BUN/Cr 52/3.1"
            part = numbers[0]._replace(value=numbers[0].value.component(half))
            after = [part if cue is numbers[0] else cue for cue in group.after]
            yield from assembly.claims(text, head, group.before, after, whole=True)
    else:
        for head in heads:
            for order, segment in enumerate(_segments(group.after) or [[]]):
                cues = segment if head is heads[-1] else _common(segment, head)
                yield from assembly.claims(text, head, group.before if order == 0 else [], cues, whole=order == 0)


def _joined(text: str, head: Cue, region: list[Cue], following: Cue) -> bool:
    """Whether two heads share cues: "BUN/Cr", "ALT and AST". A term and a variable do not: "fever and HR 120"."""
    between = text[head.end : following.start]
    if between == "/":
        return True
    only_separators = bool(region) and all(cue.kind == "sep" and separators.joins(cue) for cue in region)
    alike = bool(head.value.sides) == bool(following.value.sides)
    return only_separators and alike and separators.only_joins(between)


def _leading(cues: list[Cue]) -> list[Cue]:
    """Of the cues before the first head: those of its own clause, and times from anywhere."""
    last = max((position for position, cue in enumerate(cues) if cue.kind in ("sep", "linking")), default=-1)
    return [cue for position, cue in enumerate(cues) if position > last or cue.kind in _TIMES]


def _parted(region: list[Cue], head: Cue) -> tuple[list[Cue], list[Cue]]:
    """Divide the cues between two heads into those of the first and those of the second."""
    links = [position for position, cue in enumerate(region) if cue.kind == "linking"]
    if links:
        return region[: links[0]], [cue for cue in region[links[0] + 1 :] if cue.kind != "sep"]
    parting = [position for position, cue in enumerate(region) if cue.kind == "sep"]
    if parting:
        return region[: parting[-1]], region[parting[-1] + 1 :]
    adjoins = bool(region) and region[-1].end + 1 >= head.start
    if adjoins and len(region) > 1 and region[-1].kind == "number":
        return region[:-1], region[-1:]  # "SpO2 96% on 40% FiO2"
    numbered = any(cue.kind == "number" for cue in region)
    if adjoins and region[-1].kind in _BEFORE_NAMES and not numbered:
        return [], region
    return region, []


def _common(segment: list[Cue], head: Cue) -> list[Cue]:
    """Cues that also apply to a head before the last: "ALT and AST above 1000", but not "BUN and creatinine of 3.2"."""
    bound = any(cue.kind == "how" and cue.value in _BOUNDS for cue in segment)
    if bound and not head.value.sides:
        return segment
    return [cue for cue in segment if cue.kind not in ("number", "change")]


def _segments(cues: list[Cue]) -> list[list[Cue]]:
    """The cues after a head, divided into statements."""
    pieces: list[list[Cue]] = [[]]
    for cue in cues:
        if cue.kind == "sep":
            if separators.cuts(cue):
                pieces.append([])
            if separators.tells_later(cue):
                pieces[-1].append(Cue("moment", cue.start, cue.end, "later"))
        elif cue.kind != "linking":
            pieces[-1].append(cue)
    segments: list[list[Cue]] = []
    for piece in filter(None, pieces):
        if segments and not _states(piece):  # a time or a frequency alone belongs to the statement before it
            segments[-1] += [cue for cue in piece if cue.kind != "denied"]
        elif segments and (not _states(segments[-1]) or _completes(piece, segments[-1])):
            segments[-1] += piece
        else:
            segments.append(piece)
    return segments


def _states(piece: list[Cue]) -> bool:
    return any(cue.kind in STATING for cue in piece)


def _completes(piece: list[Cue], change: list[Cue]) -> bool:
    """Whether the numbers alone give start and end of a change: "more than tripled, 1.8 to 5.6"."""
    kinds = {cue.kind for cue in change}
    return {cue.kind for cue in piece} == {"number"} and bool(kinds & {"trend", "change"}) and "number" not in kinds
