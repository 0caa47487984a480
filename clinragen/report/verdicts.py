"""Claims on the page: the words that make them, marked by verdict, with the evidence and a link to where it stands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from clinragen.catalog import variables
from clinragen.report.charts import range_text, unit_text
from clinragen.verify.claims import Checked, Verdict

#: Of claims on the same words the worst verdict shows.
_WORST = (Verdict.CONTRADICTED, Verdict.NOT_IN_CHART, Verdict.SUPPORTED)


@dataclass(frozen=True)
class Told:
    """A claim as the page tells it: ``start`` and ``end`` in the rationale."""

    start: int
    end: int
    verdict: str
    about: str
    evidence: str
    target: str  # id of the element that holds the evidence, empty where there is none


@dataclass(frozen=True)
class Marked:
    """Words of a rationale with the claims that they make; none where they claim nothing."""

    text: str
    claims: tuple[Told, ...] = ()

    @property
    def verdict(self) -> str:
        """The worst of the claims."""
        return min((claim.verdict for claim in self.claims), key=[str(v) for v in _WORST].index)

    @property
    def hint(self) -> str:
        """Verdict and evidence of each claim, a line each."""
        return "\n".join(f"{claim.verdict}: {claim.about}. {claim.evidence}".strip() for claim in self.claims)

    @property
    def target(self) -> str:
        """Where the evidence of the worst claim stands."""
        return next((c.target for c in self.claims if c.verdict == self.verdict and c.target), "")


def told(
    claim: Checked,
    sections: Sequence[tuple[str, str]],
    titles: Sequence[str],
    names: Mapping[str, Mapping[str, Any]],
) -> Told:
    """A claim in words.

    Args:
        sections: (key, text) of the note's sections, which the claim's places refer to; ``titles`` as shown.
        names: attributes of the concept graph's nodes by id.
    """
    if claim.kind == "series":
        about, evidence, target = _measured(claim)
    else:
        about, target = str(names.get(claim.about, {}).get("name") or claim.about.partition(":")[2]), ""
        evidence = _placed(claim, sections, titles)
        if claim.places:
            target = f"note-{claim.places[0].section}"
        elif claim.kind == "diagnosis" and claim.negated:
            about, evidence = f"no {about}", "The note does not affirm it."
        elif claim.kind == "diagnosis":
            about, target = f"{about}, as a diagnosis", "diagnoses"
            listed = "among" if claim.verdict == Verdict.SUPPORTED else "not among"
            evidence = f"It is {listed} the diagnoses of this output."
    return Told(claim.start, claim.end, str(claim.verdict), about, evidence, target)


def marked(text: str, claims: Sequence[Told]) -> list[Marked]:
    """A text cut where claims begin and end, neighbours with the same claims joined.

    >>> [(part.text, len(part.claims)) for part in marked("high lactate.", [Told(0, 12, "supported", "", "", "")])]
    [('high lactate', 1), ('.', 0)]
    """
    owners = [tuple(claim for claim in claims if claim.start <= place < claim.end) for place in range(len(text))]
    parts = []
    for owner, group in groupby(range(len(text)), key=owners.__getitem__):
        places = list(group)
        parts.append(Marked(text[places[0] : places[-1] + 1], owner))
    return parts


def _measured(claim: Checked) -> tuple[str, str, str]:
    keys = claim.about.split(",")
    about = " or ".join(variables()[key].label for key in keys)
    if not claim.measured:
        return about, "Not measured in the hours that it speaks of.", ""
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
    place = claim.places[0]
    sentence = " ".join(sections[place.section][1][place.start : place.end].split())
    more = f", and {len(claim.places) - 1} more" if len(claim.places) > 1 else ""
    return f"{titles[place.section]}: \u201c{sentence[:240]}\u201d{more}"
