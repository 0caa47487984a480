"""Rotmensch's health knowledge graph: disease-symptom weights of a noisy-or model learned from emergency records."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from clinragen.artifacts import sha256_file
from clinragen.knowledge.concepts import Contribution, Edge
from clinragen.knowledge.sources.files import rows

FILES = ("DerivedKnowledgeGraph_final.csv",)
LICENCE = "none stated by its repository: for your own use; do not redistribute"
CITE = "Rotmensch M et al. Learning a Health Knowledge Graph from Electronic Medical Records. Sci Rep 2017;7:5994"
_SYMPTOM = re.compile(r"([^,(]+) \((\d\.\d+)\)")
_LEAST = 0.02


def contribute(files: dict[str, Path], names: Mapping[str, str]) -> Contribution:
    """Edges symptom -> disease between concepts that the core knows, with the model's weight."""
    (path,) = files.values()
    edges: list[Edge] = []
    for row in rows(path, ",", ("Diseases", "Symptoms")):
        disease = names.get(row["Diseases"].casefold(), "")
        if not disease.startswith(("phenotype:", "disease:")):
            continue
        for symptom, weight in _SYMPTOM.findall(row["Symptoms"]):
            head = names.get(symptom.strip().casefold(), "")
            if head.startswith(("symptom:", "finding:")) and float(weight) >= _LEAST:
                edges.append(
                    Edge(head, disease, "suggests", float(weight), "rotmensch", "noisy-or weight", "rotmensch")
                )
    hashes = {path.name: sha256_file(path)}
    return Contribution("rotmensch", "2017", LICENCE, [], edges, {"rotmensch": CITE}, hashes)
