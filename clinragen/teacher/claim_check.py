"""The claim checker of teachers: verdicts of a draft's claims, and the draft without its unsupported statements."""

from __future__ import annotations

from dataclasses import dataclass

from clinragen.chart.measurements import measurements
from clinragen.choices import RationaleKind
from clinragen.knowledge.graph import ConceptGraph
from clinragen.teacher.prompts import OPENINGS
from clinragen.teacher.stays import StayRecord
from clinragen.verification.claims import Checked as Claim
from clinragen.verification.claims import Verdict
from clinragen.verification.edits import without_claims
from clinragen.verification.grounds import with_absences
from clinragen.verification.rationale import Verifier


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
        return sum(claim.standing == Verdict.SUPPORTED and claim.kind in ("finding", "series") for claim in self.claims)


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
        for shorter in without_claims(text, doubtful, OPENINGS[kind]):
            check = self.check(shorter, stay, kind)
            concludes = kind == "series" or not stay.diagnoses or any(c.kind == "diagnosis" for c in check.claims)
            if not check.unfounded and check.supported >= least and concludes:
                return shorter, check
        return None
