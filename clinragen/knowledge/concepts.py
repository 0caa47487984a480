"""Contributions of knowledge sources: nodes, edges, citations. Sources return these; the graph merges them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypedDict, get_args

#: Kinds of node, in the order of lists and drawings.
NODE_KINDS = ("phenotype", "disease", "finding", "symptom", "variable", "drug", "procedure", "circumstance")

#: Kinds that are concepts of a model. A circumstance (age, place of treatment) is not: of it a model reads the words.
MODEL_KINDS = tuple(kind for kind in NODE_KINDS if kind != "circumstance")

#: Directions of a finding. Trends are relative to the patient's earlier values, not to the reference range.
Direction = Literal["high", "low", "rising", "falling"]
DIRECTIONS: tuple[Direction, ...] = get_args(Direction)
OPPOSITE: dict[str, Direction] = {"high": "low", "low": "high", "rising": "falling", "falling": "rising"}

#: relation -> its wording between head and tail.
RELATIONS = {
    "suggests": "suggests",
    "measures": "measures",
    "treats": "treats",
    "indicates": "is done for",
    "is_a": "is a",
    "causes": "leads to",
    "complicates": "is a complication of",
    "associated_with": "occurs with",
}

#: Relations by which a mention of the head is evidence for the phenotype at the tail, with a factor for its weight.
EVIDENCE_RELATIONS = {"suggests": 1.0, "is_a": 1.0, "treats": 0.9, "indicates": 0.9, "causes": 0.5, "complicates": 0.4}


@dataclass(frozen=True)
class Node:
    """A concept. ``id`` is ``<kind>:<key>``; ``identifiers`` maps a coding system (HPO, LOINC, ICD10) to a code."""

    id: str
    kind: str
    name: str
    synonyms: tuple[str, ...] = ()
    definition: str = ""
    identifiers: dict[str, str] = field(default_factory=dict, hash=False)
    variable: str | None = None  # findings: the catalogue's variable
    direction: str | None = None  # findings: one of DIRECTIONS


class NodeEntry(TypedDict):
    """What a graph holds of a concept, under its id: the attributes of its :class:`Node`."""

    kind: str
    name: str
    synonyms: list[str]
    definition: str
    identifiers: dict[str, str]
    variable: str | None
    direction: str | None


@dataclass(frozen=True)
class Edge:
    """A directed statement. ``source`` is a citation key, ``origin`` the knowledge source that states it."""

    head: str
    tail: str
    relation: str
    weight: float  # 0..1
    source: str
    evidence: str = ""
    origin: str = "curated"


@dataclass(frozen=True)
class Contribution:
    """All that one knowledge source adds to the graph."""

    name: str
    version: str
    licence: str
    nodes: list[Node]
    edges: list[Edge]
    citations: dict[str, str]  # key -> full citation
    files: dict[str, str]  # file name -> sha256
    synonyms: dict[str, tuple[str, ...]] = field(default_factory=dict)  # additional synonyms of nodes of other sources
    identifiers: dict[str, dict[str, str]] = field(default_factory=dict)  # additional identifiers of such nodes


@dataclass(frozen=True)
class ConceptIndex:
    """The concepts that further sources may refer to: those of the curated core."""

    names: Mapping[str, str]  # lower-case names and synonyms -> node id
    codes: Mapping[tuple[str, str], tuple[str, ...]]  # (coding system, code) -> node ids
    kinds: Mapping[str, str]  # node id -> kind
    edges: frozenset[tuple[str, str]]  # (head, tail) of every edge

    def called(self, name: str, *kinds: str) -> str | None:
        """The node of one of the kinds with this name or synonym, in any case."""
        node = self.names.get(name.strip().casefold())
        return node if node is not None and (not kinds or self.kinds[node] in kinds) else None

    def coded(self, system: str, code: str, *kinds: str) -> tuple[str, ...]:
        """Nodes of one of the kinds with this code."""
        return tuple(node for node in self.codes.get((system, code), ()) if not kinds or self.kinds[node] in kinds)

    def contradicts(self, edge: Edge) -> bool:
        """Whether the core has the opposite finding of the edge, and not this one."""
        kind, _, key = edge.head.partition(":")
        variable, _, direction = key.rpartition(":")
        if kind != "finding" or direction not in OPPOSITE or (edge.head, edge.tail) in self.edges:
            return False
        return (finding_id(variable, OPPOSITE[direction]), edge.tail) in self.edges


#: Kinds at the ends of the edges that sources add.
CONDITIONS = ("phenotype", "disease")
SIGNS = ("symptom", "finding")


def drug_node(name: str, codes: dict[str, str], description: str) -> Node:
    """A drug that the core lacks; ``description`` ends the sentence that defines it."""
    return Node(f"drug:{slug(name)}", "drug", name.lower(), (), f"{name[:1].upper()}{name[1:]}, {description}.", codes)


def slug(name: str) -> str:
    """The key of a name: lower case, words joined by underscores.

    >>> slug("Omega-3 fatty acids")
    'omega_3_fatty_acids'
    """
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def finding_id(variable: str, direction: str) -> str:
    """The node of a variable's finding.

    >>> finding_id("creatinine", "high")
    'finding:creatinine:high'
    """
    return f"finding:{variable}:{direction}"
