"""Hetionet: which symptoms diseases present with, and which drugs treat them, for the diseases that the core knows."""

from __future__ import annotations

from pathlib import Path

from clinragen.artifacts import sha256_file
from clinragen.knowledge.concepts import CONDITIONS, SIGNS, ConceptIndex, Contribution, Edge, Node, drug_node
from clinragen.knowledge.sources.files import rows
from clinragen.knowledge.sources.source import Source

FILES = ("hetionet_v1.0_clinical_edges.tsv",)
LICENCE = "CC0 1.0"
CITE = "Himmelstein DS et al. Systematic integration of biomedical knowledge (Hetionet). eLife 2017;6:e26726"
_PRESENTS, _TREATS = "DpS", "CtD"
# Hetionet has no weights: its symptom edges are co-occurrences in abstracts, its treatments are curated.
_WEIGHTS = {_PRESENTS: 0.3, _TREATS: 0.5}


def contribute(files: dict[str, Path], index: ConceptIndex) -> Contribution:
    """Edges symptom -> disease and drug -> disease; drugs that the core lacks become nodes with their DrugBank code."""
    (path,) = files.values()
    nodes: dict[str, Node] = {}
    edges: list[Edge] = []
    for row in rows(path, "\t", ("source", "metaedge", "target", "source_name", "target_name")):
        kind = row["metaedge"]
        if kind not in _WEIGHTS:
            continue
        side, other = ("source", "target") if kind == _PRESENTS else ("target", "source")
        named = index.called(row[f"{side}_name"], *CONDITIONS)
        diseases = index.coded("DOID", row[side].partition("::")[2], *CONDITIONS) or ((named,) if named else ())
        if not diseases:
            continue
        name = row[f"{other}_name"]
        head = index.called(name, *(SIGNS if kind == _PRESENTS else ("drug",)))
        if head is None and kind == _TREATS:
            codes = {"DrugBank": row["source"].rpartition("::")[2]}
            fresh = drug_node(name, codes, f"a drug that Hetionet lists as a treatment of {row['target_name']}")
            head = nodes.setdefault(fresh.id, fresh).id
        if head is not None:
            relation, evidence = ("suggests", "presents with") if kind == _PRESENTS else ("treats", "is treated with")
            evidence = f"{row[f'{side}_name']} {evidence} {name}"
            edges += [Edge(head, node, relation, _WEIGHTS[kind], "hetionet", evidence, "hetionet") for node in diseases]
    hashes = {path.name: sha256_file(path)}
    return Contribution("hetionet", "1.0", LICENCE, list(nodes.values()), edges, {"hetionet": CITE}, hashes)


SOURCE = Source(
    name="hetionet",
    files=FILES,
    licence=LICENCE,
    version="1.0",
    adds="symptom and drug edges of diseases",
    get="https://github.com/hetio/hetionet (edges with the names of their ends, TSV)",
    read=contribute,
)
