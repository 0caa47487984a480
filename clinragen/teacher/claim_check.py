"""The claim checker of teachers: verdicts of a draft's claims, and the draft without its unsupported statements."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

from clinragen.chart.measurements import measurements
from clinragen.choices import RationaleKind
from clinragen.knowledge.graph import ConceptGraph
from clinragen.teacher.prompts import OPENINGS
from clinragen.teacher.stays import StayRecord
from clinragen.verification.claims import Checked as Claim
from clinragen.verification.claims import Verdict
from clinragen.verification.grounds import with_absences
from clinragen.verification.rationale import Verifier

#: Separators between statements that can stand alone, and between parts of one.
_STATEMENTS = re.compile(r";\s+|(?<=[.!?])\s+")
_PARTS = re.compile(r";\s+|(?<=[.!?])\s+|,\s+(?:and\s+|but\s+|with\s+)?|\s+and\s+")
_DANGLING = re.compile(r"\A(?:pointing|supporting|suggesting|consistent|indicating|which|this|these|and|but)\b", re.I)


@dataclass(frozen=True)
class ClaimCheck:
    """All claims of a text. ``unfounded`` ones must not be learned; ``supported`` counts the supported ones."""

    claims: list[Claim]

    @property
    def unfounded(self) -> list[Claim]:
        """Claims contradicted by chart or labels, findings not in the note, variables that were not measured."""
        return [
            claim
            for claim in self.claims
            if claim.verdict == Verdict.CONTRADICTED
            or (claim.kind != "diagnosis" and claim.verdict == Verdict.NOT_IN_CHART)
        ]

    @property
    def supported(self) -> int:
        """Number of supported findings and values (not of diagnoses, which were given)."""
        return sum(claim.standing == Verdict.SUPPORTED and claim.kind != "diagnosis" for claim in self.claims)


class ClaimChecker:
    """Checks drafts with the same verifier as evaluation. Building one takes tenths of a second; reuse it."""

    def __init__(self, graph: ConceptGraph) -> None:
        self._verifier = Verifier(graph)

    def check(self, text: str, stay: StayRecord, kind: RationaleKind) -> ClaimCheck:
        """Claims about the note (kind note) or the series (kind series), and every diagnosis that is affirmed."""
        chart = measurements(stay.cells) if kind == "series" else {}
        claims = self._verifier.check(text, kind, stay.sections, chart, stay.diagnoses)
        return ClaimCheck(with_absences(text, claims))

    def edited(self, text: str, stay: StayRecord, kind: RationaleKind, least: int) -> tuple[str, ClaimCheck] | None:
        """The text without unsupported statements, with its check, or None.

        Whole statements are removed first, then parts of them. The rest of a note rationale must still conclude on a
        diagnosis, if the stay has any.

        Args:
            text: the draft.
            stay: the stay of the rationale.
            kind: note or series.
            least: least number of supported findings and values in the rest.
        """
        doubtful = [claim for claim in self.check(text, stay, kind).claims if claim.verdict != Verdict.SUPPORTED]
        for separators in (_STATEMENTS, _PARTS):
            shorter = _without(text, doubtful, OPENINGS[kind], separators)
            if shorter is None:
                continue
            check = self.check(shorter, stay, kind)
            concludes = kind == "series" or not stay.diagnoses or any(c.kind == "diagnosis" for c in check.claims)
            if not check.unfounded and check.supported >= least and concludes:
                return shorter, check
        return None


def clauses_of(text: str, claims: list[Claim]) -> list[str]:
    """The clauses that contain claims, to tell a teacher what to leave out."""
    clauses = []
    for start, end in _pieces(text, _PARTS):
        if any(start < claim.end and claim.start < end for claim in claims):
            clauses.append(text[start:end].strip(" .;,"))
    return clauses


def _without(text: str, doubtful: list[Claim], opening: str, separators: re.Pattern[str]) -> str | None:
    """The opening, followed by the pieces without a doubtful claim."""
    pieces = _standing(text, doubtful, separators)
    if not pieces:
        return None
    body = text[pieces[0][0] : pieces[0][1]]
    for (_, end), (start, stop) in pairwise(pieces):
        between = text[end:start] if _adjacent(text, end, start, separators) else ", "
        body += between + text[start:stop]
    body = body.strip(" ,;")
    if not body.startswith(opening):
        body = f"{opening}{'' if opening.startswith('Lab') else ','} {_lower_first(body)}"
    if body.rstrip(".") == opening:
        return None
    return body if body[-1] in ".!?" else f"{body}."


def _standing(text: str, doubtful: list[Claim], separators: re.Pattern[str]) -> list[tuple[int, int]]:
    """Pieces without a doubtful claim; one that continues a removed piece ("pointing to ...") is removed, too."""
    standing: list[tuple[int, int]] = []
    grounded = False
    for start, end in _pieces(text, separators):
        sound = not any(start < claim.end and claim.start < end for claim in doubtful)
        dangling = _DANGLING.match(text[start:end]) is not None
        if sound and (grounded or not dangling):
            standing.append((start, end))
        grounded = sound and (grounded or not dangling)
    return standing


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
