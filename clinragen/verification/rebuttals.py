"""What a rationale says against a diagnosis: checked by its grounds, and by what the graph ties to the diagnosis."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from clinragen.chart.support import SUPPORTS
from clinragen.knowledge.graph import ConceptGraph
from clinragen.verification.claims import Checked, Verdict
from clinragen.verification.grounds import by_clause, cited_concepts

#: The kind of a claim that names a diagnosis against which its clause argues.
REBUTTAL = "rebuttal"


def judged(text: str, claims: Sequence[Checked], graph: ConceptGraph) -> list[Checked]:
    """The claims, each rebuttal among them with its verdict.

    A rebuttal is supported where its clause states something that the chart bears out and that does not speak for the
    diagnosis by the graph. It is contradicted where what it states does ("against pneumonia: fever"), and not in the
    chart where it states nothing.
    """
    verdicts: dict[Checked, Verdict] = {}
    for within in by_clause(text, claims):
        for claim in within:
            if claim.kind == REBUTTAL:
                verdicts[claim] = _verdict(claim.about.removeprefix("phenotype:"), within, graph)
    return [replace(claim, verdict=verdicts[claim]) if claim in verdicts else claim for claim in claims]


def rebutted_diagnoses(rationales: Iterable[tuple[str, Sequence[Checked]]]) -> dict[str, list[Checked]]:
    """The diagnoses that the rationales of a stay argue against, each with the supported claims that speak against it.

    Args:
        rationales: (text, its claims) of one stay.
    """
    against: dict[str, dict[Checked, None]] = {}  # the claims as keys: each once, in order
    for text, claims in rationales:
        for within in by_clause(text, claims):
            for claim in within:
                if claim.kind == REBUTTAL and claim.verdict == Verdict.SUPPORTED:
                    grounds = dict.fromkeys(_stated(within))
                    against.setdefault(claim.about.removeprefix("phenotype:"), {}).update(grounds)
    return {key: list(grounds) for key, grounds in against.items()}


def _verdict(key: str, within: Sequence[Checked], graph: ConceptGraph) -> Verdict:
    if any(_speaks_for(claim, key, graph) for claim in within if claim.kind in ("finding", "series")):
        return Verdict.CONTRADICTED
    return Verdict.SUPPORTED if _stated(within) else Verdict.NOT_IN_CHART


def _stated(within: Iterable[Checked]) -> list[Checked]:
    """The supported findings and measurements of a clause."""
    return [one for one in within if one.kind in ("finding", "series") and one.verdict == Verdict.SUPPORTED]


def _speaks_for(claim: Checked, key: str, graph: ConceptGraph) -> bool:
    """Whether the graph ties what is stated to the diagnosis."""
    return not claim.negated and any(graph.strength(concept, key) >= SUPPORTS for concept in cited_concepts(claim))
