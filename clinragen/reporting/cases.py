"""The case for each diagnosis: what the rationales state for it and against it, each with its weight and warrant."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from clinragen.catalog import variables
from clinragen.evaluation.inputs import Contribution
from clinragen.knowledge.graph import ConceptGraph
from clinragen.knowledge.warrants import Warrant, warrant
from clinragen.reporting import charts
from clinragen.reporting.verdicts import ClaimText
from clinragen.schema import RATIONALE_KINDS, RationaleKind
from clinragen.verification.claims import Checked
from clinragen.verification.grounds import cited_concepts, grounded_diagnoses
from clinragen.verification.rebuttals import rebutted_diagnoses

#: Claims by diagnosis.
_ByKey = Mapping[str, Sequence[Checked]]


@dataclass(frozen=True)
class Reason:
    """Something that is stated for a diagnosis, or against it.

    Attributes:
        words: as the rationale has them.
        evidence: the passage of the note, or the measurements.
        target: id of the element that shows it, possibly empty.
        share: of all that speaks for the diagnosis, what the model's estimate loses without it; negative: gains. None
            where predictions do not hold it, or where it is too little to be held.
        bar: of the share.
        warrant: the edge of the graph; None where the graph has none.
    """

    words: str
    evidence: str
    target: str
    share: float | None
    bar: Markup
    warrant: Warrant | None


@dataclass(frozen=True)
class Case:
    """A diagnosis that is listed, or only argued against.

    Attributes:
        name: of the diagnosis.
        probability, threshold: calibrated.
        listed: whether the output lists it.
        grounds: what is stated for it; none where no ground is stated.
        against: what is stated against it.
        unstated: what the estimate rests on most and no ground states, as (name, share).
    """

    name: str
    probability: float
    threshold: float
    listed: bool
    grounds: list[Reason]
    against: list[Reason]
    unstated: list[tuple[str, float]]


@dataclass(frozen=True)
class CaseFile:
    """What the cases of a stay are made of.

    Attributes:
        texts: the rationales.
        claims: of each rationale.
        as_text: a claim as text, with evidence and target.
        contributions: by diagnosis; empty where the predictions do not hold them.
        graph: gives the warrants.
    """

    texts: Mapping[RationaleKind, str]
    claims: Mapping[RationaleKind, Sequence[Checked]]
    as_text: Callable[[Checked], ClaimText]
    contributions: Mapping[str, Sequence[Contribution]]
    graph: ConceptGraph

    def cases(
        self, probabilities: Mapping[str, float], thresholds: Mapping[str, float], listed: Sequence[str]
    ) -> list[Case]:
        """The listed diagnoses, the most probable first, then those that are only argued against."""
        grounds, against = self._by_kind(grounded_diagnoses), self._by_kind(rebutted_diagnoses)
        rebutted = {key for stated in against.values() for key in stated} & probabilities.keys() - set(listed)
        cases = []
        for keys in (listed, sorted(rebutted)):
            for key in sorted(keys, key=lambda key: -probabilities[key]):
                stated = [reason for kind, by_key in grounds.items() for reason in self._reasons(kind, by_key, key)]
                reasons = [reason for kind, by_key in against.items() for reason in self._reasons(kind, by_key, key)]
                claims = [claim for by_key in grounds.values() for claim in by_key.get(key, ())]
                cases.append(
                    Case(
                        name=self.graph.labels[key].name if key in self.graph.labels else key,
                        probability=probabilities[key],
                        threshold=thresholds[key],
                        listed=key in listed,
                        grounds=sorted(stated, key=lambda reason: -(reason.share or 0.0)),
                        against=reasons,
                        unstated=self._unstated(key, claims) if key in listed else [],
                    )
                )
        return cases

    def _by_kind(self, read: Callable[[list[tuple[str, Sequence[Checked]]]], _ByKey]) -> dict[RationaleKind, _ByKey]:
        return {kind: read([(self.texts[kind], self.claims[kind])]) for kind in RATIONALE_KINDS}

    def _reasons(self, kind: RationaleKind, by_key: _ByKey, key: str) -> Iterator[Reason]:
        """What a rationale states of a diagnosis."""
        shares = {one["evidence"]: one["share"] for one in self.contributions.get(key, ())}
        for claim in by_key.get(key, ()):
            shown = self.as_text(claim)
            parts = [shares[name] for name in _evidence(claim) if name in shares]
            share = sum(parts) if parts else None
            tied = (warrant(concept, key, self.graph) for concept in sorted(_warranting(claim)))
            yield Reason(
                words=self.texts[kind][claim.start : claim.end],
                evidence=shown.evidence,
                target=shown.target,
                share=share,
                bar=charts.weight_bar(abs(share or 0.0), 1.0),
                warrant=next((one for one in tied if one is not None), None),
            )

    def _unstated(self, key: str, stated: Sequence[Checked]) -> list[tuple[str, float]]:
        """The two largest contributions that no ground states."""
        cited = {name for claim in stated for name in _evidence(claim)}
        left = [one for one in self.contributions.get(key, ()) if one["share"] > 0 and one["evidence"] not in cited]
        left.sort(key=lambda one: -one["share"])
        return [(_name(one["evidence"], self.graph), one["share"]) for one in left[:2]]


def _evidence(claim: Checked) -> list[str]:
    """The pieces of evidence that a claim is about, as nodes of the graph."""
    if claim.kind != "series":
        return [claim.about]
    return [f"variable:{name}" for name in claim.about.split(",")]


def _warranting(claim: Checked) -> set[str]:
    """The concepts whose edges allow the claim: of what is denied or normal, those that would speak for it."""
    if claim.kind == "series" and not cited_concepts(claim):
        return {f"finding:{name}:{side}" for name in claim.about.split(",") for side in ("high", "low")}
    return cited_concepts(claim)


def _name(node: str, graph: ConceptGraph) -> str:
    key = node.removeprefix("variable:")
    if key in variables():
        return variables()[key].label
    return graph.name(node) if node in graph.graph else node.partition(":")[2].replace("_", " ")
