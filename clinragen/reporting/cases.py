"""The case for each diagnosis: what the rationales state for it and against it, each with its weight and warrant."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from clinragen.catalog import variables
from clinragen.evaluation.prediction_columns import Contribution
from clinragen.knowledge.graph import ConceptGraph
from clinragen.knowledge.warrants import Warrant, warrant
from clinragen.reporting.verdicts import ClaimText, Marked, marked
from clinragen.schema import RATIONALE_KINDS, RationaleKind
from clinragen.verification.claims import Checked
from clinragen.verification.grounds import cited_concepts, clauses, grounded_diagnoses
from clinragen.verification.rebuttals import rebutted_diagnoses

#: Most pieces of evidence that are named beside the stated ones.
_MOST = 3
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
        warrant: the edge of the graph; None where the graph has none.
        number: of the citation.
    """

    words: str
    evidence: str
    target: str
    share: float | None
    warrant: Warrant | None
    number: int = 0


@dataclass(frozen=True)
class Case:
    """A diagnosis that is listed, nearly, or only argued against.

    Attributes:
        key, name: of the diagnosis.
        probability, threshold: calibrated.
        listed: whether the output lists it.
        clauses: the parts of the rationales that argue for it, or against it, split at their claims.
        grounds: what is stated for it; none where no ground is stated.
        against: what is stated against it.
        unstated: what the estimate rests on most and no ground states, as (name, share).
        lowers: what lowers the estimate most, as (name, share), the shares negative.
    """

    key: str
    name: str
    probability: float
    threshold: float
    listed: bool
    clauses: list[list[Marked]]
    grounds: list[Reason]
    against: list[Reason]
    unstated: list[tuple[str, float]]
    lowers: list[tuple[str, float]]

    @property
    def told(self) -> bool:
        """Whether anything is to be said of it."""
        return bool(self.grounds or self.against or self.unstated or self.lowers)


@dataclass(frozen=True)
class CaseFile:
    """What the cases of a stay are made of.

    Attributes:
        texts: the rationales.
        claims: of each rationale.
        as_text: a claim of a rationale as text, with evidence and target.
        contributions: by diagnosis; empty where the predictions do not hold them.
        graph: gives the warrants.
    """

    texts: Mapping[RationaleKind, str]
    claims: Mapping[RationaleKind, Sequence[Checked]]
    as_text: Callable[[RationaleKind, Checked], ClaimText]
    contributions: Mapping[str, Sequence[Contribution]]
    graph: ConceptGraph
    _marked: dict[tuple[RationaleKind, tuple[int, int]], list[Marked]] = field(default_factory=dict, init=False)

    def cases(
        self,
        probabilities: Mapping[str, float],
        thresholds: Mapping[str, float],
        listed: Sequence[str],
        nearly: Sequence[str] = (),
    ) -> list[Case]:
        """The listed diagnoses, the most probable first, then those that are nearly listed or argued against.

        Args:
            probabilities: of all diagnoses, by key.
            thresholds: likewise.
            listed: keys of the listed diagnoses.
            nearly: keys of others that are of interest.
        """
        grounds, against = self._by_kind(grounded_diagnoses), self._by_kind(rebutted_diagnoses)
        rebutted = {key for stated in against.values() for key in stated} & probabilities.keys()
        cases = []
        for keys in (listed, sorted((rebutted | set(nearly)) - set(listed))):
            for key in sorted(keys, key=lambda key: -probabilities[key]):
                shares = {one["evidence"]: one["share"] for one in self.contributions.get(key, ())}
                stated = list(self._reasons(grounds, key, shares))
                claims = [claim for by_key in grounds.values() for claim in by_key.get(key, ())]
                cases.append(
                    Case(
                        key=key,
                        name=self.graph.labels[key].name if key in self.graph.labels else key,
                        probability=probabilities[key],
                        threshold=thresholds[key],
                        listed=key in listed,
                        clauses=self._clauses(grounds if key in listed else against, key),
                        grounds=sorted(stated, key=lambda reason: -(reason.share or 0.0)),
                        against=list(self._reasons(against, key, shares)),
                        unstated=self._unstated(shares, claims),
                        lowers=self._lowering(shares),
                    )
                )
        return cases

    def _by_kind(self, read: Callable[[list[tuple[str, Sequence[Checked]]]], _ByKey]) -> dict[RationaleKind, _ByKey]:
        return {kind: read([(self.texts[kind], self.claims[kind])]) for kind in RATIONALE_KINDS}

    def _reasons(
        self, by_kind: Mapping[RationaleKind, _ByKey], key: str, shares: Mapping[str, float]
    ) -> Iterator[Reason]:
        """What the rationales state of a diagnosis."""
        for kind, by_key in by_kind.items():
            for claim in by_key.get(key, ()):
                shown = self.as_text(kind, claim)
                parts = [shares[name] for name in _evidence(claim) if name in shares]
                tied = (warrant(concept, key, self.graph) for concept in sorted(_warranting(claim)))
                yield Reason(
                    words=self.texts[kind][claim.start : claim.end],
                    evidence=shown.evidence,
                    target=shown.target,
                    share=sum(parts) if parts else None,
                    warrant=next((one for one in tied if one is not None), None),
                    number=shown.number,
                )

    def _clauses(self, by_kind: Mapping[RationaleKind, _ByKey], key: str) -> list[list[Marked]]:
        """The clauses that hold the claims for a diagnosis."""
        return [
            self._marked_clause(kind, span)
            for kind, by_key in by_kind.items()
            if (starts := [claim.start for claim in by_key.get(key, ())])
            for span in self._spans[kind]
            if any(span[0] <= at < span[1] for at in starts)
        ]

    @cached_property
    def _spans(self) -> dict[RationaleKind, list[tuple[int, int]]]:
        """Of the clauses."""
        return {kind: list(clauses(text)) for kind, text in self.texts.items()}

    def _marked_clause(self, kind: RationaleKind, span: tuple[int, int]) -> list[Marked]:
        """A clause split at its claims, of which most are named for several diagnoses."""
        if (kind, span) not in self._marked:
            start, end = span
            text = self.texts[kind][start:end]
            start += len(text) - len(text.lstrip())
            within = [self.as_text(kind, one) for one in self.claims[kind] if start <= one.start < end]
            moved = [replace(one, start=one.start - start, end=one.end - start) for one in within]
            self._marked[kind, span] = marked(text.lstrip(), moved)
        return self._marked[kind, span]

    def _unstated(self, shares: Mapping[str, float], stated: Sequence[Checked]) -> list[tuple[str, float]]:
        """The largest contributions that no ground states."""
        cited = {name for claim in stated for name in _evidence(claim)}
        left = [(name, share) for name, share in shares.items() if share > 0 and name not in cited]
        left.sort(key=lambda one: -one[1])
        return [(_name(name, self.graph), share) for name, share in left[:_MOST]]

    def _lowering(self, shares: Mapping[str, float]) -> list[tuple[str, float]]:
        """What lowers the estimate most."""
        low = sorted(((name, share) for name, share in shares.items() if share < 0), key=lambda one: one[1])
        return [(_name(name, self.graph), share) for name, share in low[:_MOST]]


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
