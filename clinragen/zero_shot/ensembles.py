"""A label as an ensemble: its names in sentences, its words, and the concepts of the graph that speak for it.

What belongs to the label are the concepts that it lists, that its names are, and (of a label set) the conditions whose
codes lie mostly within its own. What points to one of these in the graph speaks for the label by the edge's weight, and
what points to that again by ``further`` times the product.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from clinragen.chart.note_mentions import standing
from clinragen.chart.support import SUPPORTS
from clinragen.errors import UserError
from clinragen.icd import code_map
from clinragen.knowledge.concepts import CONDITIONS, EVIDENCE_RELATIONS, NodeEntry
from clinragen.knowledge.graph import ConceptGraph
from clinragen.knowledge.linker import LINKED_KINDS, Linker
from clinragen.label_sets import Phenotype
from clinragen.zero_shot.described_labels import DescribedLabel
from clinragen.zero_shot.readings import without_denials
from clinragen.zero_shot.settings import ZeroShotSettings

_VERSIONS = (("ICD9", 9), ("ICD10", 10))
_MOST = 0.5  # of the codes of a condition are the label's, for it to belong to the label


class Tie(NamedTuple):
    """How a concept speaks for a label.

    Attributes:
        strength: 0..1.
        relation: of the graph; ``is`` for what belongs to the label, ``named`` for what its names or description name.
        via: the concept that it is evidence for; itself, if there is no relation of the graph.
    """

    strength: float
    relation: str
    via: str


@dataclass(frozen=True)
class LabelEnsemble:
    """What is looked for in charts.

    Attributes:
        label: as described.
        sentences: its names in the templates, and its description.
        text: its words: names, what the description affirms, titles of its codes, and names of the concepts that speak
            for it.
        as_note: what a note of a stay with it may say: names, description, and the concepts that speak for it, each by
            one name; titles of its codes where there are none.
        ties: by concept.
    """

    label: DescribedLabel
    sentences: tuple[str, ...]
    text: str
    as_note: str
    ties: dict[str, Tie]

    @classmethod
    def of(
        cls, label: DescribedLabel, graph: ConceptGraph, linker: Linker, settings: ZeroShotSettings
    ) -> LabelEnsemble:
        """The ensemble of a label.

        Args:
            label: as described.
            graph: what speaks for what.
            linker: finds the graph's concepts in names and description.
            settings: templates and strengths.

        Raises:
            UserError: a concept is unknown, or nothing is known of the label.
        """
        seeds = _seeds(label, graph, linker, settings.mention)
        titles = list(dict.fromkeys(_titles(label.codes))) if label.codes else []
        if not seeds and not label.description and not titles:
            raise UserError(
                f"label {label.key}: '{label.name}' is no concept of the graph and has no description: add a "
                "description, synonyms or concepts to it"
            )
        ties = _ties(seeds, graph, settings.further)
        signs = [node for node, tie in ties.items() if tie.strength >= SUPPORTS]
        forms = [form for node in signs for form in _forms(graph.nodes[node])]
        sentences = [template.replace("{}", name) for name in label.names for template in settings.templates]
        described = without_denials(label.description, "", linker).split()
        description = [" ".join(described)] if described else []
        return cls(
            label,
            tuple(dict.fromkeys([*sentences, *description])),
            ". ".join([*label.names, *description, *titles, *forms]),
            ". ".join([*label.names, *description, *([graph.name(node) for node in signs] or titles)]),
            ties,
        )


def _seeds(label: DescribedLabel, graph: ConceptGraph, linker: Linker, mention: float) -> dict[str, Tie]:
    """The concepts that a label is made of."""
    made_of = [_listed(label, name, graph) for name in label.concepts]
    made_of += [graph.names[name.casefold()] for name in label.names if name.casefold() in graph.names]
    if label.codes is not None:
        conditions = (node for kind in CONDITIONS for node in graph.of_kind(kind))
        made_of += [node for node in conditions if _share_within(label.codes, graph.nodes[node]) > _MOST]
    seeds = {node: Tie(1.0, "is", node) for node in made_of if graph.nodes[node]["kind"] in LINKED_KINDS}
    for text in (*label.names, label.description):
        for one in linker.link(text):
            if standing(one) == "affirmed":
                seeds.setdefault(one.concept, Tie(mention, "named", one.concept))
    return dict(sorted(seeds.items()))


def _listed(label: DescribedLabel, name: str, graph: ConceptGraph) -> str:
    """A concept that the label lists."""
    try:
        node = graph.find(name)
    except UserError as error:
        raise UserError(f"label {label.key}: concepts: {error}") from None
    if graph.nodes[node]["kind"] not in LINKED_KINDS:
        raise UserError(
            f"label {label.key}: concepts: {node} has no side: write finding:{node.partition(':')[2]}:high or low"
        )
    return node


def _ties(seeds: dict[str, Tie], graph: ConceptGraph, further: float) -> dict[str, Tie]:
    """The strongest tie of each concept, strongest first."""
    ties = dict(seeds)
    for factor in (1.0, further):
        for node, (strength, _, _) in list(ties.items()):
            for link in graph.into(node, EVIDENCE_RELATIONS):
                through = factor * strength * link.weight * EVIDENCE_RELATIONS[link.relation]
                if through > (ties[link.node].strength if link.node in ties else 0.0):
                    ties[link.node] = Tie(through, link.relation, node)
    return dict(sorted(ties.items(), key=lambda pair: (-pair[1].strength, pair[0])))


def _share_within(codes: Phenotype, entry: NodeEntry) -> float:
    """The share of the codes of a condition that are the label's; by its CCS categories, if it has any."""
    categories = [int(number) for number in entry["identifiers"].get("CCS", "").split()]
    if codes.ccs and categories:
        return sum(category in codes.ccs for category in categories) / len(categories)
    inside = []
    for system, version in _VERSIONS:
        mapping = code_map(version)
        assert mapping is not None  # both versions are known
        written = entry["identifiers"].get(system, "").replace(".", "").split()
        for code in written or [code for category in categories for code in mapping.codes_of(category)]:
            inside.append(codes.has_code(code, version) or mapping.ccs(code) in codes.ccs)
    return sum(inside) / len(inside) if inside else 0.0


def _titles(codes: Phenotype) -> Iterator[str]:
    """The official descriptions of a label's codes."""
    for _, version in _VERSIONS:
        mapping = code_map(version)
        assert mapping is not None
        listed = {9: codes.icd9, 10: codes.icd10}[version]
        for code, category in _items(version):
            if category in codes.ccs or (listed and codes.has_code(code, version)):
                yield mapping.name(code) or ""


@cache
def _items(version: int) -> list[tuple[str, int]]:
    mapping = code_map(version)
    assert mapping is not None
    return mapping.items()


def _forms(entry: NodeEntry) -> Sequence[str]:
    return [entry["name"], *(form.lstrip("=") for form in entry["synonyms"])]
