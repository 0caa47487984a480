"""What a rationale gives no reason for, and which diagnoses it does: statements of absence, and grounded diagnoses.

A rationale that says "no finding supports shock" is not false, but it gives no reason. Such statements are told apart
from claims, so that they do not count as true to the chart, and each listed diagnosis is asked for a stated ground.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from clinragen.catalog import variables
from clinragen.verification.arguments import way_of
from clinragen.verification.claims import ABSENCE, Checked, Verdict

_CLAUSES = re.compile(r"[;.!?](?=\s|\Z)|\n")
#: Words by which a part of a sentence says that there is nothing. "Only values within ..." says it the other way round.
_DENIAL = re.compile(r"\b(?:no|none|nothing|not|cannot|only values within)\b", re.I)
# A clause that opens so takes up what the clause before it stated: "The patient has fever. This points to pneumonia."
_TAKES_UP = re.compile(
    r"\s*(?:and |so |all |taken |of |the )*(?:this|these|those|such|which|together|thus|therefore|hence|overall|"
    r"findings|combination|picture|presentation)\b",
    re.I,
)


def clauses(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of each clause: what stands between semicolons, full stops and line ends.

    >>> [text[a:b] for text in ["fever points to flu; HR 102.5."] for a, b in clauses(text)]
    ['fever points to flu', ' HR 102.5']
    """
    start = 0
    for match in _CLAUSES.finditer(text):
        if text[start : match.start()].strip():
            yield start, match.start()
        start = match.end()
    if text[start:].strip():
        yield start, len(text)


def with_absences(text: str, claims: Sequence[Checked]) -> list[Checked]:
    """The claims, and words that only say that there is nothing, in reading order.

    Those are found by what they are not: the part of a clause makes no claim, and it denies. "No disease was
    diagnosed", "no abnormal values" and "no note is available" are of this kind, whoever wrote them.

    Args:
        text: a rationale.
        claims: all that were read in the text.
    """
    checked = list(claims)
    for (start, end), within in _by_span(clauses(text), claims):
        parts = [(start, end)] if not within else list(_parts(text, start, end))
        for (a, b), stated in _by_span(iter(parts), within):
            denial = None if stated else _DENIAL.search(text, a, b)
            if denial:
                stop = a + len(text[a:b].rstrip())
                checked.append(Checked(denial.start(), stop, "absence", "", Verdict.SUPPORTED, True, absence=True))
    return sorted(checked, key=lambda claim: (claim.start, claim.end, claim.kind))


def grounded_diagnoses(
    rationales: Iterable[tuple[str, Sequence[Checked]]], *, adding: bool = True
) -> dict[str, list[Checked]]:
    """The diagnoses with a stated ground, and the claims that are it: a clause in one of the rationales argues for the
    diagnosis and carries at least one claim that the chart bears out. That the note records the diagnosis itself is
    such a claim.

    Args:
        rationales: (text, its claims) of one stay.
        adding: whether to count what only adds to an estimate, and is not known as a sign of the diagnosis.

    Returns:
        Keys of the diagnoses, each with the supported claims of findings and measurements that argue for it, in
        reading order, each once.
    """
    grounded: dict[str, dict[Checked, None]] = {}  # the claims as keys: each once, in order
    for text, claims in rationales:
        before: list[Checked] = []
        for (start, end), within in _by_span(clauses(text), claims):
            stated = [c for c in within if c.standing == Verdict.SUPPORTED and c.kind in ("finding", "series")]
            if not stated and _TAKES_UP.match(text, start, end):
                stated = before
            for claim in within if stated else ():
                argued = claim.kind == "diagnosis" and not claim.negated and claim.verdict == Verdict.SUPPORTED
                if argued and (adding or way_of(text, claim.start) != "adds"):
                    grounded.setdefault(claim.about.removeprefix("phenotype:"), {}).update(dict.fromkeys(stated))
            before = stated
    return {key: list(grounds) for key, grounds in grounded.items()}


def marked_diagnoses(claims: Iterable[Checked]) -> set[str]:
    """Keys of the diagnoses of which a rationale says by name that nothing supports them, undisputed by the chart."""
    absences = (claim for claim in claims if claim.kind == "diagnosis" and claim.standing == ABSENCE)
    return {claim.about.removeprefix("phenotype:") for claim in absences}


def cited_concepts(claim: Checked) -> set[str]:
    """What a claim cites, as nodes of the graph: a finding of the series from the sides of its telling measurements.

    >>> cited_concepts(Checked(0, 9, "series", "lactate", Verdict.SUPPORTED, measured=(("lactate", 3.0, 4.2),)))
    {'finding:lactate:high'}
    """
    if claim.kind != "series":
        return {claim.about}
    sides = {1: "high", -1: "low"}
    specs = variables()
    # as findings of the chart, by the value as it would be written
    measured = ((name, specs[name].direction(specs[name].written(value))) for name, _, value in claim.measured)
    return {f"finding:{name}:{sides[side]}" for name, side in measured if side in sides}


def by_clause(text: str, claims: Sequence[Checked]) -> Iterator[list[Checked]]:
    """The claims of each clause of a rationale, in reading order."""
    for _, within in _by_span(clauses(text), claims):
        yield within


def _parts(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Start and end of what stands between the commas of a clause."""
    for part in text[start:end].split(","):
        yield start, start + len(part)
        start += len(part) + 1


def _by_span(
    spans: Iterator[tuple[int, int]], claims: Sequence[Checked]
) -> Iterator[tuple[tuple[int, int], list[Checked]]]:
    """Each of the ascending spans with the claims that begin in it, or that reach into it from the span before."""
    ordered = sorted(claims, key=lambda claim: claim.start)
    position = 0
    reaching: list[Checked] = []
    for start, end in spans:
        within = [claim for claim in reaching if claim.end > start]
        while position < len(ordered) and ordered[position].start < end:
            if ordered[position].end > start:
                within.append(ordered[position])
            position += 1
        yield (start, end), within
        reaching = [claim for claim in within if claim.end > end]
