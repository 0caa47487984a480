"""Hetionet: which symptoms diseases present with, and which drugs treat them, for the diseases that the core knows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from clinragen.artifacts import sha256_file
from clinragen.knowledge.concepts import Contribution, Edge, Node, slug
from clinragen.knowledge.sources.files import rows

FILES = ("hetionet_v1.0_clinical_edges.tsv",)
LICENCE = "CC0 1.0"
CITE = "Himmelstein DS et al. Systematic integration of biomedical knowledge (Hetionet). eLife 2017;6:e26726"
_PRESENTS, _TREATS = "DpS", "CtD"
# Hetionet gives no strength: its symptom edges are co-occurrences in abstracts, its treatments are curated.
_WEIGHTS = {_PRESENTS: 0.3, _TREATS: 0.5}


def contribute(files: dict[str, Path], names: Mapping[str, str]) -> Contribution:
    """Edges symptom -> disease and drug -> disease; drugs that the core lacks become nodes with their DrugBank code."""
    (path,) = files.values()
    nodes: dict[str, Node] = {}
    edges: list[Edge] = []
    for row in rows(path, "\t", ("source", "metaedge", "target", "source_name", "target_name")):
        kind = row["metaedge"]
        if kind not in _WEIGHTS:
            continue
        disease = names.get(row["source_name" if kind == _PRESENTS else "target_name"].casefold(), "")
        other_name = row["target_name" if kind == _PRESENTS else "source_name"]
        other = names.get(other_name.casefold(), "")
        if not disease.startswith(("phenotype:", "disease:")):
            continue
        if kind == _PRESENTS and other.startswith(("symptom:", "finding:")):
            edges.append(Edge(other, disease, "suggests", _WEIGHTS[kind], "hetionet", "presents", "hetionet"))
        elif kind == _TREATS:
            if not other:
                other = f"drug:{slug(other_name)}"
                code = {"DrugBank": row["source"].rpartition("::")[2]}
                text = f"{other_name}, a drug that Hetionet lists as a treatment of {row['target_name']}."
                nodes.setdefault(other, Node(other, "drug", other_name.lower(), (), text, code))
            if other.startswith("drug:"):
                edges.append(Edge(other, disease, "treats", _WEIGHTS[kind], "hetionet", "treats", "hetionet"))
    hashes = {path.name: sha256_file(path)}
    return Contribution("hetionet", "1.0", LICENCE, list(nodes.values()), edges, {"hetionet": CITE}, hashes)
