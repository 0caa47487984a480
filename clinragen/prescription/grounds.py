"""What in the chart of a stay speaks for a class of drugs: what it treats, and what was taken at home.

A class treats phenotypes by an edge of the concept graph, whose source is cited; the note or the series shows a sign of
the phenotype by another. Everything that is named can be looked up: a phrase by its place in the note, a measurement by
its hour, a drug by its order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal

from clinragen.chart.signs import Signs
from clinragen.knowledge.graph import ConceptGraph

#: Phenotypes of a class that are named, at most, and signs of each.
_MOST_TREATED, _MOST_SIGNS = 2, 2
_SOURCE_OF_ORDERS = "orders of the cohort"


@dataclass(frozen=True)
class Ground:
    """One reason to start a class of drugs.

    Attributes:
        kind: ``treats``: the class treats a phenotype that the chart shows signs of; ``home``: taken before admission;
            ``cases``: similar stays were started on it; ``stated``: the words of a language model, which the chart
            bears out.
        text: the reason in one sentence.
        source: what states it: a citation of the graph, or where in the cohort it is.
        evidence: places in the chart: section, start and end of a phrase; or variable, hour and value.
    """

    kind: Literal["treats", "home", "cases", "stated"]
    text: str
    source: str
    evidence: tuple[dict[str, object], ...] = field(default=(), hash=False)

    def as_json(self) -> dict[str, object]:
        """The ground as an object of JSON."""
        return {**asdict(self), "evidence": list(self.evidence)}


@dataclass(frozen=True)
class Indication:
    """A phenotype that a class of drugs treats and the chart shows signs of.

    Attributes:
        phenotype: its name.
        strength: of the edge times that of the strongest sign, 0..1.
        signs: the strongest signs, in words.
        evidence: where each is in the chart.
        source: citation key of the edge.
    """

    phenotype: str
    strength: float
    signs: tuple[str, ...]
    evidence: tuple[dict[str, object], ...] = field(hash=False)
    source: str


def indications(key: str, signs: Signs, graph: ConceptGraph) -> list[Indication]:
    """The phenotypes that a class treats and the chart shows signs of, those with the strongest signs first."""
    concept = f"drug:{key}"
    if concept not in graph.graph:
        return []
    ordered: list[Indication] = []
    for phenotype in graph.labels:
        links = graph.between(concept, f"phenotype:{phenotype}", ("treats",))
        # no drug is a sign of what it is given for
        ranked = signs.of(phenotype, graph, most=_MOST_SIGNS, indirect=False) if links else []
        if ranked:
            link, name = links[0], graph.labels[phenotype].name
            words, evidence = tuple(sign.words for sign in ranked), tuple(sign.evidence for sign in ranked)
            ordered.append(Indication(name, link.weight * ranked[0].strength, words, evidence, link.source))
    return sorted(ordered, key=lambda one: -one.strength)


def treated(key: str, signs: Signs, graph: ConceptGraph) -> list[Ground]:
    """The grounds of a class that its strongest indications are."""
    grounds = []
    for one in indications(key, signs, graph)[:_MOST_TREATED]:
        text = f"{graph.name(f'drug:{key}')} treats {one.phenotype}; the chart shows {', '.join(one.signs)}"
        source = graph.manifest.citations.get(one.source, one.source)
        grounds.append(Ground("treats", text, source, one.evidence))
    return grounds


def from_home(ingredients: Sequence[str]) -> list[Ground]:
    """That members of a class were taken before admission."""
    if not ingredients:
        return []
    return [Ground("home", f"{', '.join(ingredients)} was taken before admission", _SOURCE_OF_ORDERS)]


def from_cases(started: int, could: int) -> list[Ground]:
    """That similar stays were started on a class; nothing where none was."""
    if not started:
        return []
    text = f"{started} of {could} similar stays of the training split that had not had it were started on it"
    return [Ground("cases", text, "training split of the cohort")]
