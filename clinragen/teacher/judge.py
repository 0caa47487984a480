"""A draft before the chart: its claims with their verdicts, and what stands of it once the unfounded ones are gone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

from clinragen.chart.measurements import measurements
from clinragen.knowledge.graph import ConceptGraph
from clinragen.teacher.prompts import OPENINGS, Stay
from clinragen.verify.claims import Checked as Claim
from clinragen.verify.claims import Verdict
from clinragen.verify.grounds import with_absences
from clinragen.verify.rationale import Verifier

#: Between statements that can stand alone, and, finer, between parts of one.
_STATEMENTS = re.compile(r";\s+|(?<=[.!?])\s+")
_PARTS = re.compile(r";\s+|(?<=[.!?])\s+|,\s+(?:and\s+|but\s+|with\s+)?|\s+and\s+")
_DANGLING = re.compile(r"\A(?:pointing|supporting|suggesting|consistent|indicating|which|this|these|and|but)\b", re.I)


@dataclass(frozen=True)
class Judgement:
    """All claims of a text. ``unfounded`` must not be taught; ``supported`` counts those that the chart bears out."""

    claims: list[Claim]

    @property
    def unfounded(self) -> list[Claim]:
        """Contradicted by chart or labels, a finding that the note does not hold, a variable never measured."""
        return [
            claim
            for claim in self.claims
            if claim.verdict == Verdict.CONTRADICTED
            or (claim.kind != "diagnosis" and claim.verdict == Verdict.NOT_IN_CHART)
        ]

    @property
    def supported(self) -> int:
        """Number of findings and values (not of diagnoses, which were given) that the chart bears out."""
        return sum(claim.standing == Verdict.SUPPORTED and claim.kind != "diagnosis" for claim in self.claims)


class Judge:
    """Checks drafts with the verifier that evaluation uses, too."""

    def __init__(self, graph: ConceptGraph) -> None:
        self._verifier = Verifier(graph)

    def judge(self, text: str, stay: Stay, kind: str) -> Judgement:
        """Claims about the note (kind note) or the series (kind series), and every diagnosis that is affirmed."""
        chart = measurements(stay.cells) if kind == "series" else {}
        claims = self._verifier.check(text, kind, stay.sections, chart, stay.diagnoses)
        return Judgement(with_absences(text, claims))

    def mended(self, text: str, stay: Stay, kind: str, least: int) -> tuple[str, Judgement] | None:
        """The text without the statements that the chart does not bear out, or None where too little stands.

        What is left of a note rationale must still conclude on a diagnosis, if the stay has any.
        """
        doubtful = [claim for claim in self.judge(text, stay, kind).claims if claim.verdict != Verdict.SUPPORTED]
        for separators in (_STATEMENTS, _PARTS):
            edited = _without(text, doubtful, OPENINGS[kind], separators)
            if edited is None:
                continue
            again = self.judge(edited, stay, kind)
            concludes = kind == "series" or not stay.diagnoses or any(c.kind == "diagnosis" for c in again.claims)
            if not again.unfounded and again.supported >= least and concludes:
                return edited, again
        return None


def words_of(text: str, claims: list[Claim]) -> list[str]:
    """The clauses in which claims stand, to tell a teacher what to leave out."""
    clauses = []
    for start, end in _pieces(text, _PARTS):
        if any(start < claim.end and claim.start < end for claim in claims):
            clauses.append(text[start:end].strip(" .;,"))
    return clauses


def _without(text: str, doubtful: list[Claim], opening: str, separators: re.Pattern[str]) -> str | None:
    """The pieces that hold no doubtful claim, put together anew behind the opening."""
    kept: list[tuple[int, int]] = []
    grounded = False
    for start, end in _pieces(text, separators):
        hit = any(start < claim.end and claim.start < end for claim in doubtful)
        if not hit and (grounded or not _DANGLING.match(text[start:end])):
            kept.append((start, end))
        grounded = not hit if not _DANGLING.match(text[start:end]) else grounded and not hit
    if not kept:
        return None
    body = text[kept[0][0] : kept[0][1]]
    for (_, end), (start, stop) in pairwise(kept):
        between = text[end:start] if _adjacent(text, end, start, separators) else ", "
        body += between + text[start:stop]
    body = body.strip(" ,;")
    if not body.startswith(opening):
        body = f"{opening}{'' if opening.startswith('Lab') else ','} {_lower_first(body)}"
    if body.rstrip(".") == opening:
        return None
    return body if body[-1] in ".!?" else f"{body}."


def _adjacent(text: str, end: int, start: int, separators: re.Pattern[str]) -> bool:
    return separators.fullmatch(text[end:start]) is not None


def _pieces(text: str, separators: re.Pattern[str]) -> list[tuple[int, int]]:
    pieces, start = [], 0
    for match in separators.finditer(text):
        pieces.append((start, match.start()))
        start = match.end()
    return [(a, b) for a, b in [*pieces, (start, len(text))] if b > a]


def _lower_first(body: str) -> str:
    first = body.split(maxsplit=1)[0]
    return body if sum(letter.isupper() for letter in first) > 1 else body[0].lower() + body[1:]
