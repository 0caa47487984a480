"""The concept graph: typed nodes and cited, weighted, directed edges, in networkx; Parquet and a manifest on disk.

Edges point from observation to interpretation: finding -> phenotype (``suggests``), drug -> phenotype (``treats``),
variable -> finding (``measures``), phenotype -> phenotype (``causes``). The same sources give the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from operator import itemgetter
from pathlib import Path
from typing import Any, cast

import networkx as nx
import pyarrow as pa

from clinragen.artifacts import read_json, read_table, sha256_file, write_json, write_table
from clinragen.errors import UserError, unknown_choice
from clinragen.knowledge.concepts import (
    EVIDENCE_RELATIONS,
    NODE_KINDS,
    RELATIONS,
    ConceptIndex,
    Contribution,
    Edge,
    Node,
    NodeEntry,
)
from clinragen.knowledge.sources import curated
from clinragen.label_sets import LabelSet, of_manifest, plain, shipped
from clinragen.manifests import GraphManifest
from clinragen.outputs import GRAPH, output_folder

_LABELS = "label_set"  # key of a saved manifest, if the labels are not the 25 phenotypes
_LONGEST_NAME = 200  # most characters of a name
NODES = pa.schema(
    [
        ("id", pa.string()),
        ("kind", pa.string()),
        ("name", pa.string()),
        ("synonyms", pa.list_(pa.string())),
        ("definition", pa.string()),
        ("identifiers", pa.string()),  # JSON: coding system -> code
        ("variable", pa.string()),
        ("direction", pa.string()),
    ]
)
EDGES = pa.schema(
    [
        ("head", pa.string()),
        ("tail", pa.string()),
        ("relation", pa.string()),
        ("weight", pa.float64()),
        ("source", pa.string()),  # citation key, see manifest.json
        ("evidence", pa.string()),
        ("origin", pa.string()),  # knowledge source: curated, hpo, ...
    ]
)


@dataclass(frozen=True)
class Link:
    """A neighbour seen from a node: the other end, and the edge that leads there."""

    node: str
    relation: str
    weight: float
    source: str
    evidence: str


class ConceptGraph:
    """A checked concept graph.

    Args:
        graph: the networkx MultiDiGraph; node attributes are those of ``Node``.
        manifest: sources, citations and counts; without what is said of files when it is saved.
        labels: label set; the nodes of kind phenotype are exactly its labels. See ``relabel`` for a graph of other
            labels.
    """

    def __init__(self, graph: nx.MultiDiGraph[str], manifest: GraphManifest, labels: LabelSet | None = None) -> None:
        self.graph = graph
        self.manifest = manifest
        self.labels = labels or shipped()

    @property
    def nodes(self) -> Mapping[str, NodeEntry]:
        """What is known of each concept: ``graph.nodes["finding:lactate:high"]["name"]``."""
        return cast("Mapping[str, NodeEntry]", self.graph.nodes)

    def of_kind(self, kind: str) -> list[str]:
        """Ids of all nodes of a kind, sorted."""
        return sorted(node for node, entry in self.graph.nodes.items() if entry["kind"] == kind)

    def name(self, node: str) -> str:
        """The name of a node."""
        return self.graph.nodes[node]["name"]

    def into(self, node: str, relations: Iterable[str] | None = None) -> list[Link]:
        """Edges that point to a node, highest weight first."""
        edges = self.graph.in_edges(node, data=True)
        return _links(((head, data) for head, _, data in edges), relations)

    def out_of(self, node: str, relations: Iterable[str] | None = None) -> list[Link]:
        """Edges that leave a node, highest weight first."""
        edges = self.graph.out_edges(node, data=True)
        return _links(((tail, data) for _, tail, data in edges), relations)

    def between(self, head: str, tail: str, relations: Iterable[str] | None = None) -> list[Link]:
        """Edges from one node to another, highest weight first."""
        edges = self.graph.get_edge_data(head, tail, default={})
        return _links(((tail, data) for data in edges.values()), relations)

    def findings_of(self, phenotype: str) -> list[Link]:
        """High/low findings that suggest a phenotype (a key such as ``shock``), highest weight first."""
        return [
            link for link in self.into(self._phenotype(phenotype), ("suggests",)) if link.node.startswith("finding:")
        ]

    def symptoms_of(self, phenotype: str) -> list[Link]:
        """Symptoms and signs that suggest a phenotype, highest weight first."""
        return [
            link for link in self.into(self._phenotype(phenotype), ("suggests",)) if link.node.startswith("symptom:")
        ]

    @cached_property
    def evidence(self) -> dict[str, dict[str, tuple[float, str]]]:
        """phenotype key -> concept id -> (strength 0..1, relation): evidence of a mention for the phenotype.

        The phenotype's own name counts 1. Diseases that belong to it count through ``is_a``.
        """
        by_label: dict[str, dict[str, tuple[float, str]]] = {}
        for node in self.of_kind("phenotype"):
            best: dict[str, tuple[float, str]] = {node: (1.0, "is_a")}
            for link in self.into(node, EVIDENCE_RELATIONS):
                strength = link.weight * EVIDENCE_RELATIONS[link.relation]
                if strength > best.get(link.node, (0.0, ""))[0]:
                    best[link.node] = (strength, link.relation)
            by_label[node.removeprefix("phenotype:")] = best
        return by_label

    def strength(self, concept: str, key: str) -> float:
        """Strength of a mention of a concept as evidence for a phenotype, 0..1."""
        return self.evidence[key].get(concept, (0.0, ""))[0]

    def find(self, name: str) -> str:
        """The node with this id, name, published name or synonym (any case), phenotypes first.

        Raises:
            UserError: no such node; the error lists the nearest names.
        """
        if name in self.graph:
            return name
        query = name[:_LONGEST_NAME].casefold().replace("_", " ").strip()
        if query not in self.names:
            if published := self._published(name):
                return published
            near = [form for form in self.names if query and query in form][:8]
            published = (form.casefold() for label in shipped().values() for form in label.published)
            near = near or get_close_matches(query, [*published, *self.names], n=8, cutoff=0.5)
            raise unknown_choice("concept", name[:_LONGEST_NAME], near or ["any name in clinragen graph stats"])
        return self.names[query]

    def _published(self, name: str) -> str | None:
        """The phenotype with this published name; a disease node if it is not among the labels."""
        labels = {**shipped(), **self.labels}
        called = [key for key, label in labels.items() if plain(name) in map(plain, label.published)]
        nodes = (f"{kind}:{key}" for key in called for kind in ("phenotype", "disease"))
        return next((node for node in nodes if node in self.graph), None)

    @cached_property
    def names(self) -> dict[str, str]:
        """Lower-case names, keys and synonyms -> node; those of phenotypes take precedence."""
        names: dict[str, str] = {}
        for kind in NODE_KINDS:
            for node in self.of_kind(kind):
                data = self.graph.nodes[node]
                key = node.partition(":")[2].replace("_", " ").replace(":", " ")
                for form in (data["name"], key, *(synonym.lstrip("=") for synonym in data["synonyms"])):
                    names.setdefault(form.casefold(), node)
        return names

    @cached_property
    def index(self) -> ConceptIndex:
        """The concepts that further sources may refer to."""
        codes: dict[tuple[str, str], list[str]] = {}
        for node, data in sorted(self.nodes.items(), key=itemgetter(0)):
            for system, listed in data["identifiers"].items():
                for code in listed.split():
                    codes.setdefault((system, code), []).append(node)
        kinds = {node: data["kind"] for node, data in self.nodes.items()}
        return ConceptIndex(
            self.names,
            {code: tuple(nodes) for code, nodes in codes.items()},
            kinds,
            frozenset((head, tail) for head, tail in self.graph.edges()),
        )

    @cached_property
    def _simple(self) -> nx.DiGraph[str]:
        return nx.DiGraph(self.graph)

    def paths(self, head: str, tail: str, hops: int = 2) -> list[list[str]]:
        """Directed paths of at most ``hops`` edges, shortest first."""
        simple = nx.all_simple_paths(self._simple, head, tail, cutoff=hops)
        return sorted((list(path) for path in simple), key=lambda path: (len(path), path))

    def save(self, folder: Path, *, overwrite: bool = False) -> None:
        """Write ``nodes.parquet``, ``edges.parquet`` and ``manifest.json`` into a new folder, atomically.

        Raises:
            UserError: the folder exists and is no graph.
        """
        nodes = [
            {"id": node, **data, "identifiers": _json(data["identifiers"])}
            for node, data in self.graph.nodes(data=True)
        ]
        edges = [{"head": head, "tail": tail, **data} for head, tail, data in self.graph.edges(data=True)]
        edges.sort(key=lambda row: (row["head"], row["tail"], row["relation"], row["origin"], row["source"]))
        with output_folder(folder, GRAPH, overwrite=overwrite) as temporary:
            write_table(temporary / "nodes.parquet", pa.Table.from_pylist(nodes, NODES))
            write_table(temporary / "edges.parquet", pa.Table.from_pylist(edges, EDGES))
            files = {name: sha256_file(temporary / name) for name in ("nodes.parquet", "edges.parquet")}
            labels = {} if self.labels == shipped() else {_LABELS: self.labels.to_json()}
            write_json(temporary / "manifest.json", {**self.manifest.to_json(), **labels, "files": files})

    @classmethod
    def load(cls, folder: Path) -> ConceptGraph:
        """Read a saved graph and check it against its manifest.

        Raises:
            UserError: no graph folder, another version, or files that differ from the manifest.
        """
        path = folder / "manifest.json"
        stored = read_json(path, GraphManifest.DESCRIBED)
        manifest = GraphManifest.of_json({k: v for k, v in stored.items() if k not in ("files", "kind", _LABELS)}, path)
        tables = {}
        for name, schema in (("nodes.parquet", NODES), ("edges.parquet", EDGES)):
            tables[name] = read_table(folder / name, schema).to_pylist()
            if stored.get("files", {}).get(name) != sha256_file(folder / name):
                raise UserError(f"{folder / name} differs from its manifest: build the graph anew")
        graph = nx.MultiDiGraph()
        for row in tables["nodes.parquet"]:
            graph.add_node(row.pop("id"), **{**row, "identifiers": json.loads(row["identifiers"])})
        for row in tables["edges.parquet"]:
            graph.add_edge(row.pop("head"), row.pop("tail"), **row)
        return cls(graph, manifest, of_manifest(stored, "build the graph anew with clinragen graph build"))

    def _phenotype(self, key: str) -> str:
        node = key if key.startswith("phenotype:") else f"phenotype:{key}"
        if node not in self.graph:
            raise unknown_choice("phenotype", key, (n.removeprefix("phenotype:") for n in self.of_kind("phenotype")))
        return node


def build(contributions: Iterable[Contribution] | None = None) -> ConceptGraph:
    """Merge sources into one graph, the core first and the others by name, so that their order does not matter.

    An existing node is kept and gets the new synonyms and codes.

    Without an argument the graph is the curated core.

    Raises:
        UserError: an edge whose end no source defines, an unknown node kind or relation.
    """
    parts = [curated.contribute()] if contributions is None else list(contributions)
    parts.sort(key=lambda part: (part.name != "curated", part.name))
    nodes = _merged_nodes(parts)
    edges = _merged_edges(parts, nodes)
    graph = nx.MultiDiGraph()
    for node in sorted(nodes):
        graph.add_node(node, **nodes[node])
    for key in sorted(edges):
        edge = edges[key]
        graph.add_edge(
            edge.head,
            edge.tail,
            relation=edge.relation,
            weight=round(float(edge.weight), 4),
            source=edge.source,
            evidence=edge.evidence,
            origin=edge.origin,
        )
    cited = {edge.source for edge in edges.values()}
    manifest = GraphManifest(
        sources={part.name: {"version": part.version, "licence": part.licence, "files": part.files} for part in parts},
        citations={key: cite for part in parts for key, cite in part.citations.items() if key in cited},
        nodes=len(nodes),
        edges=len(edges),
    )
    return ConceptGraph(graph, manifest)


def _merged_nodes(parts: Iterable[Contribution]) -> dict[str, NodeEntry]:
    nodes: dict[str, NodeEntry] = {}
    for part in parts:
        for node in part.nodes:
            _merge(nodes, node)
    for part in parts:
        for node, synonyms in part.synonyms.items():
            nodes[node]["synonyms"] = list(dict.fromkeys([*nodes[node]["synonyms"], *synonyms]))
        for node, identifiers in part.identifiers.items():
            nodes[node]["identifiers"] = {**identifiers, **nodes[node]["identifiers"]}
    return nodes


def _merged_edges(parts: Iterable[Contribution], nodes: Collection[str]) -> dict[tuple[str, str, str, str, str], Edge]:
    """The edges of all sources; if one source states an edge twice, the one with the higher weight."""
    edges: dict[tuple[str, str, str, str, str], Edge] = {}
    for part in parts:
        for edge in part.edges:
            if edge.relation not in RELATIONS:
                raise unknown_choice(f"relation in source {part.name}", edge.relation, RELATIONS)
            for end in (edge.head, edge.tail):
                if end not in nodes:
                    raise UserError(f"knowledge source {part.name}: an edge names {end}, which no source defines")
            key = (edge.head, edge.tail, edge.relation, edge.origin, edge.source)
            if key not in edges or edges[key].weight < edge.weight:
                edges[key] = edge
    return edges


def _merge(nodes: dict[str, NodeEntry], node: Node) -> None:
    if node.kind not in NODE_KINDS:
        raise unknown_choice("node kind", node.kind, NODE_KINDS)
    fresh: NodeEntry = {
        "kind": node.kind,
        "name": node.name,
        "synonyms": list(node.synonyms),
        "definition": node.definition,
        "identifiers": dict(node.identifiers),
        "variable": node.variable,
        "direction": node.direction,
    }
    if node.id not in nodes:
        nodes[node.id] = fresh
        return
    existing = nodes[node.id]
    existing["synonyms"] = list(dict.fromkeys([*existing["synonyms"], *fresh["synonyms"]]))
    existing["identifiers"] = {**fresh["identifiers"], **existing["identifiers"]}


def _links(ends: Iterable[tuple[str, dict[str, Any]]], relations: Iterable[str] | None) -> list[Link]:
    allowed = None if relations is None else set(relations)
    links = [
        Link(node, data["relation"], data["weight"], data["source"], data["evidence"])
        for node, data in ends
        if allowed is None or data["relation"] in allowed
    ]
    return sorted(links, key=lambda link: (-link.weight, link.node, link.relation, link.source))


def _json(value: dict[str, str]) -> str:
    return json.dumps(value, sort_keys=True)
