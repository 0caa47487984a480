"""Numbers with a slash: 120/80 is a systolic and a diastolic pressure, 9/15 a score and its maximum."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from clinragen.catalog import Variable, variables
from clinragen.verification.cue_phrases import Head
from clinragen.verification.figures import Written
from clinragen.verification.masked import Cue

_PRESSURES = frozenset(("systolic_bp", "mean_bp"))


def unpaired(of: Head, before: list[Cue], after: list[Cue]) -> Iterator[tuple[Head, list[Cue], list[Cue]]]:
    """Split a statement with pairs: 120/80 is a systolic and a diastolic pressure, 9/15 a score and its maximum.

    Other numbers with a slash ("pain 7/10", a date) are left out.
    """
    cues = [*before, *after]
    if not any(cue.kind == "number" and cue.value.second for cue in cues):
        yield of, before, after
    elif _PRESSURES & set(of.variables):
        if of.sides or any(cue.kind == "state" for cue in cues):  # "hypotensive to 85/40": low, and these values
            yield of, _repicked(before, lambda written: None), _repicked(after, lambda written: None)
        for half, key in enumerate(("systolic_bp", "diastolic_bp")):
            mine = [
                [cue for cue in _repicked(side, partial(_pressure, half=half)) if cue.kind != "state"]
                for side in (before, after)
            ]
            yield Head((key,)), mine[0], mine[1]
    else:
        score = partial(_score, variable=variables()[of.variables[0]])
        yield of, _repicked(before, score), _repicked(after, score)


def _repicked(cues: list[Cue], pick: Callable[[Written], Written | None]) -> list[Cue]:
    """Cues with their figures replaced; cues without a replacement are dropped."""
    picked = [cue._replace(value=pick(cue.value)) if cue.kind == "number" else cue for cue in cues]
    return [cue for cue in picked if cue.value is not None]


def _pressure(written: Written, half: int) -> Written | None:
    pairs = zip(written.parts, written.second, strict=bool(written.second))
    paired = bool(written.second) and all(_pressures(part.number, second) for part, second in pairs)
    return written.component(half) if paired else None


def _score(written: Written, variable: Variable) -> Written | None:
    if not written.second:
        return written
    whole = variable.unit == "score" and all(second in ("", f"{variable.plausible[1]:g}") for second in written.second)
    return written.component(0) if whole else None


def _pressures(systolic: str, diastolic: str) -> bool:
    if not (systolic.isdecimal() and diastolic.isdecimal()) or int(systolic) <= int(diastolic):
        return False
    keys = ("systolic_bp", "diastolic_bp")
    bounds = [variables()[key].plausible for key in keys]
    return all(low <= int(n) <= high for n, (low, high) in zip((systolic, diastolic), bounds, strict=True))
