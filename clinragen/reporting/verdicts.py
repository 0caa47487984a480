"""Claims on the page: their words, marked by verdict, with the evidence and a link to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any

from clinragen.catalog import variables
from clinragen.reporting.charts import range_text, unit_text
from clinragen.reporting.citations import passage_id
from clinragen.verification.claims import ABSENCE, Checked, Verdict
from clinragen.verification.rebuttals import REBUTTAL

#: The worst verdict of claims on the same words is shown; an absence never looks like a supported claim.
_WORST = {
    str(Verdict.CONTRADICTED): 0,
    str(Verdict.NOT_IN_CHART): 1,
    ABSENCE: 2,
    str(Verdict.SUPPORTED): 3,
}


@dataclass(frozen=True)
class ClaimText:
    """A claim as shown on the page: ``start`` and ``end`` in the rationale. ``verdict``: its standing."""

    start: int
    end: int
    verdict: str
    about: str
    evidence: str
    target: str  # id of the element with the evidence, possibly empty
    number: int = 0  # of its citation; 0: it cites nothing


@dataclass(frozen=True)
class Marked:
    """Words of a rationale with their claims, possibly none."""

    text: str
    claims: tuple[ClaimText, ...] = ()

    @property
    def verdict(self) -> str:
        """The worst of the claims."""
        return min((claim.verdict for claim in self.claims), key=_WORST.__getitem__)

    @property
    def affirms(self) -> bool:
        """Whether the words only name a diagnosis that the output lists."""
        return self.verdict == Verdict.SUPPORTED and not any(self.numbers)

    @property
    def numbers(self) -> list[int]:
        """Of the claims that cite evidence."""
        return [claim.number for claim in self.claims if claim.number]

    @property
    def target(self) -> str:
        """The element with the evidence of the worst claim."""
        return next((c.target for c in self.claims if c.verdict == self.verdict and c.target), "")


def claim_text(
    claim: Checked,
    sections: Sequence[tuple[str, str]],
    titles: Sequence[str],
    names: Mapping[str, Mapping[str, Any]],
    number: int = 0,
) -> ClaimText:
    """A claim as text.

    Args:
        claim: with its verdict.
        sections: (key, text) of the note's sections, which the claim's places refer to.
        titles: titles of the sections.
        names: attributes of the concept graph's nodes by id.
        number: of its citation; 0: it cites nothing.
    """
    if claim.kind == "absence":
        about, evidence, target = "nothing to hold against the chart", "", ""
    elif claim.kind == "series":
        about, evidence, target = _measured(claim)
    elif claim.kind == REBUTTAL:
        about, target = f"against {_name(claim, names)}", "diagnoses"
        evidence = "By what its clause states, and by what the concept graph ties to the diagnosis."
    else:
        about, target = _name(claim, names), ""
        evidence = _placed(claim, sections, titles)
        if claim.places:
            target = passage_id(claim.places[0].section, claim.places[0].start)
        elif claim.kind == "diagnosis" and claim.negated:
            about, evidence = f"no {about}", "A statement of absence: nothing supports it. It gives no reason."
        elif claim.kind == "diagnosis":
            about, target = f"{about}, as a diagnosis", "diagnoses"
            listed = "among" if claim.verdict == Verdict.SUPPORTED else "not among"
            evidence = f"It is {listed} the diagnoses of this output."
    return ClaimText(claim.start, claim.end, claim.standing, about, evidence, target, number)


def _name(claim: Checked, names: Mapping[str, Mapping[str, Any]]) -> str:
    return str(names.get(claim.about, {}).get("name") or claim.about.partition(":")[2])


def marked(text: str, claims: Sequence[ClaimText]) -> list[Marked]:
    """A text split where claims begin and end; neighbours with the same claims are joined.

    >>> [(part.text, len(part.claims)) for part in marked("high lactate.", [ClaimText(0, 12, "supported", "", "", "")])]
    [('high lactate', 1), ('.', 0)]
    """
    spans = [(max(claim.start, 0), min(claim.end, len(text)), claim) for claim in claims]
    cuts = sorted({0, len(text), *(start for start, _, _ in spans), *(end for _, end, _ in spans)})
    opening: dict[int, list[ClaimText]] = {}
    for start, end, claim in spans:
        if start < end:
            opening.setdefault(start, []).append(claim)
    parts: list[Marked] = []
    owners: tuple[ClaimText, ...] = ()
    for start, end in pairwise(cut for cut in cuts if cut <= len(text)):
        still = (*(claim for claim in owners if claim.end > start), *opening.get(start, ()))
        if parts and parts[-1].claims == still:
            parts[-1] = Marked(parts[-1].text + text[start:end], still)
        else:
            parts.append(Marked(text[start:end], still))
        owners = still
    return parts


def _measured(claim: Checked) -> tuple[str, str, str]:
    keys = claim.about.split(",")
    about = " or ".join(variables()[key].label for key in keys)
    if not claim.measured:
        return about, "Not measured in the hours of this claim.", ""
    return about, "; ".join(_values(claim)), f"chart-{claim.measured[0][0]}"


def _values(claim: Checked) -> Iterator[str]:
    for key, rows in groupby(claim.measured, key=lambda row: row[0]):
        spec = variables()[key]
        values = ", ".join(f"{value:.{spec.decimals}f} at hour {hour:g}" for _, hour, value in rows)
        reference = f", reference range {range_text(spec)}" if range_text(spec) else ""
        yield f"{spec.label} {values}{unit_text(spec) and f' ({unit_text(spec).strip()})'}{reference}"


def _placed(claim: Checked, sections: Sequence[tuple[str, str]], titles: Sequence[str]) -> str:
    if not claim.places:
        return "The note does not mention it." if claim.verdict == Verdict.NOT_IN_CHART else ""
    span = claim.places[0]
    sentence = " ".join(sections[span.section][1][span.start : span.end].split())
    more = f", and {len(claim.places) - 1} more" if len(claim.places) > 1 else ""
    return f"{titles[span.section]}: \u201c{sentence[:240]}\u201d{more}"
