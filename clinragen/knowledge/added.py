"""Added variables in the concept graph: a node for each, its findings, and the diagnoses that they speak for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, cast

import networkx as nx

from clinragen.added_variables import DIRECTIONS, AddedVariables
from clinragen.errors import UserError, unknown_choice
from clinragen.knowledge.concepts import Edge, Node, finding_id
from clinragen.knowledge.graph import ConceptGraph
from clinragen.knowledge.sources import curated
from clinragen.knowledge.sources.curated_files import FindingSides
from clinragen.label_sets import LabelSet

_ORIGIN = "variables"


def with_variables(graph: ConceptGraph, added: AddedVariables) -> ConceptGraph:
    """The graph with added variables; itself if it has all of them.

    An edge to a diagnosis that the graph lacks is left out; ``check`` tells of these.
    """
    nodes = [node for node in _nodes(added) if node.id not in graph.graph]
    ids = {node.id for node in nodes} | set(graph.graph)
    edges = [edge for edge in _edges(added, ids) if not _stated(graph, edge)]
    if not nodes and not edges:
        return graph
    built: nx.MultiDiGraph[str] = graph.graph.copy()
    for node in nodes:
        built.add_node(
            node.id, kind=node.kind, name=node.name, synonyms=list(node.synonyms), definition=node.definition,
            identifiers=dict(node.identifiers), variable=node.variable, direction=node.direction,
        )  # fmt: skip
    for edge in edges:
        built.add_edge(
            edge.head, edge.tail, relation=edge.relation, weight=round(float(edge.weight), 4), source=edge.source,
            evidence=edge.evidence, origin=edge.origin,
        )  # fmt: skip
    cited = {edge.source for edge in edges}
    manifest = replace(
        graph.manifest,
        nodes=built.number_of_nodes(),
        edges=built.number_of_edges(),
        citations={**{key: added.sources[key] for key in sorted(cited)}, **graph.manifest.citations},
    )
    return ConceptGraph(built, manifest, graph.labels)


def check(added: AddedVariables, graph: ConceptGraph, labels: LabelSet) -> None:
    """Check what a file says against the concepts of the graph.

    Args:
        added: the variables.
        graph: the graph without them.
        labels: the labels of the cohort, which findings may suggest, too.

    Raises:
        UserError: a name is that of another concept, or a finding suggests what is no diagnosis.
    """
    diagnoses = {node.partition(":")[2] for kind in ("phenotype", "disease") for node in graph.of_kind(kind)}
    for key, sides in added.findings.items():
        for direction in DIRECTIONS:
            for name in sides.get(direction, {}).get("suggests") or {}:
                if name not in diagnoses and name not in labels:
                    where = f"diagnosis of variables.{key}.findings.{direction}.suggests:"
                    raise unknown_choice(where, name, [*labels, *graph.of_kind("disease")][:40])
    names: dict[str, str] = dict(graph.names)
    for node in _nodes(added):
        for form in (node.name, *node.synonyms):
            if (other := names.setdefault(form.casefold().lstrip("="), node.id)) != node.id:
                raise UserError(
                    f"variables.{node.id.split(':')[1]}: '{form}' is a name of {other}, too: choose another"
                )


def _nodes(added: AddedVariables) -> Iterator[Node]:
    yield from curated.variable_nodes(added.variables, _sides(added))
    for key, sides in _sides(added).items():
        yield from curated.finding_nodes(key, sides)


def _edges(added: AddedVariables, ids: set[str]) -> Iterator[Edge]:
    for key, sides in _sides(added).items():
        source, variable = added.rows[key]["source"], added.variables[key]
        yield from curated.measures({key: variable}, {key: sides}, source, _ORIGIN)
        for direction in DIRECTIONS:
            entity: Mapping[str, Any] = cast("Mapping[str, Any]", sides.get(direction) or {})
            for name, weight in (entity.get("suggests") or {}).items():
                tail = next((node for node in (f"phenotype:{name}", f"disease:{name}") if node in ids), None)
                if tail is not None:
                    evidence = curated.sentence(variable, direction)
                    yield Edge(finding_id(key, direction), tail, "suggests", weight, source, evidence, _ORIGIN)


def _sides(added: AddedVariables) -> dict[str, FindingSides]:
    return cast("dict[str, FindingSides]", added.findings)


def _stated(graph: ConceptGraph, edge: Edge) -> bool:
    stated = graph.graph.get_edge_data(edge.head, edge.tail, default={}).values()
    return any(data["relation"] == edge.relation and data["origin"] == edge.origin for data in stated)
