"""Adapt the concept graph to another label set: its phenotypes are then exactly those labels.

A phenotype of the catalogue that is no label becomes a disease. A label that is not in the graph inherits the evidence
of the phenotypes that it covers: evidence for pneumonia is evidence for a disease of the respiratory system.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import networkx as nx

from clinragen.added_variables import NONE, AddedVariables
from clinragen.artifacts import sha256_json
from clinragen.knowledge.added import with_variables
from clinragen.knowledge.concepts import EVIDENCE_RELATIONS, NodeEntry
from clinragen.knowledge.graph import ConceptGraph, build
from clinragen.label_sets import LabelSet, Phenotype

_ORIGIN = "labels"
_CITATION = "The label set of the cohort: a label holds most of the codes of the phenotype"


def open_graph(folder: Path | None, labels: LabelSet, added: AddedVariables = NONE) -> ConceptGraph:
    """The graph of a folder, or the curated core without one, with the labels and variables of a cohort or model."""
    graph = with_variables(ConceptGraph.load(folder) if folder else build(), added)
    return with_variables(relabel(graph, labels), added)  # again: a finding may suggest a label that was not there


def open_known_graph(folder: Path | None, labels: LabelSet, added: AddedVariables = NONE) -> ConceptGraph:
    """The same, for labels that may have no concepts: if the graph knows none of them, they are not added to it."""
    graph = with_variables(ConceptGraph.load(folder) if folder else build(), added)
    concepts = {f"{kind}:{key}" for kind in ("phenotype", "disease") for key in labels}
    covered = any(label.covers for label in labels.values())
    if not covered and concepts.isdisjoint(graph.graph):
        return graph
    return with_variables(relabel(graph, labels), added)


def relabel(graph: ConceptGraph, labels: LabelSet) -> ConceptGraph:
    """``graph`` itself if it already has these labels, otherwise a new graph."""
    keys = {node.removeprefix("phenotype:") for node in graph.of_kind("phenotype")}
    if keys == set(labels):
        return graph if graph.labels == labels else ConceptGraph(graph.graph, graph.manifest, labels)
    demoted = {f"phenotype:{key}": f"disease:{key}" for key in sorted(keys - set(labels))}
    built: nx.MultiDiGraph[str] = nx.relabel_nodes(graph.graph, demoted, copy=True)
    for node in demoted.values():
        built.nodes[node]["kind"] = "disease"
    for key, label in labels.items():
        if key not in keys:
            built.add_node(f"phenotype:{key}", **_node(label))
            for part in label.covers:
                here = f"disease:{part}" if f"disease:{part}" in built else f"phenotype:{part}"
                if here in built:
                    _take_over(built, here, f"phenotype:{key}")
    manifest = replace(
        graph.manifest,
        nodes=built.number_of_nodes(),
        edges=built.number_of_edges(),
        citations={**graph.manifest.citations, _ORIGIN: _CITATION},
        labels=sha256_json([asdict(label) for label in labels.values()]),
    )
    return ConceptGraph(built, manifest, labels)


def unknown(graph: ConceptGraph) -> list[str]:
    """Labels without evidence in the graph, apart from their own name."""
    return [key for key, evidence in graph.evidence.items() if len(evidence) < 2]


def _node(label: Phenotype) -> NodeEntry:
    codes = {"CCS": label.ccs, "ICD9": label.icd9, "ICD10": label.icd10}
    identifiers = {system: " ".join(map(str, values)) for system, values in codes.items() if values}
    listing = "; ".join(f"{system} {values}" for system, values in identifiers.items())
    return {
        "kind": "phenotype", "name": label.name, "synonyms": [], "definition": f"Diagnoses of {listing}.",
        "identifiers": identifiers, "variable": None, "direction": None,
    }  # fmt: skip


def _take_over(graph: nx.MultiDiGraph[str], part: str, label: str) -> None:
    """Make ``part`` a kind of ``label``, which inherits its evidence."""
    whole = {"relation": "is_a", "weight": 1.0, "source": _ORIGIN, "evidence": "", "origin": _ORIGIN}
    for head, _, data in [*graph.in_edges(part, data=True), (part, label, whole)]:
        if data["relation"] in EVIDENCE_RELATIONS and head != label:
            graph.add_edge(head, label, **{**data, "origin": _ORIGIN})
