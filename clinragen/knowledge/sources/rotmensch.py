"""Rotmensch's health knowledge graph: disease-symptom weights of a noisy-or model learned from emergency records."""

from __future__ import annotations

import re
from pathlib import Path

from clinragen.artifacts import sha256_file
from clinragen.knowledge.concepts import CONDITIONS, SIGNS, ConceptIndex, Contribution, Edge
from clinragen.knowledge.sources.files import rows
from clinragen.knowledge.sources.source import Source

FILES = ("DerivedKnowledgeGraph_final.csv",)
LICENCE = "none stated by its repository: for your own use; do not redistribute"
CITE = "Rotmensch M et al. Learning a Health Knowledge Graph from Electronic Medical Records. Sci Rep 2017;7:5994"
_SYMPTOM = re.compile(r"([^,(]+) \((\d\.\d+)\)")
_LEAST = 0.02


def contribute(files: dict[str, Path], index: ConceptIndex) -> Contribution:
    """Edges symptom -> disease between concepts that the core knows, with the model's weight."""
    (path,) = files.values()
    edges: list[Edge] = []
    for row in rows(path, ",", ("Diseases", "Symptoms")):
        disease = index.called(row["Diseases"], *CONDITIONS)
        if disease is None:
            continue
        for symptom, weight in _SYMPTOM.findall(row["Symptoms"]):
            head = index.called(symptom, *SIGNS)
            if head is not None and float(weight) >= _LEAST:
                evidence = f"{symptom.strip()} in {row['Diseases']}, weight of a noisy-or model"
                edges.append(Edge(head, disease, "suggests", float(weight), "rotmensch", evidence, "rotmensch"))
    hashes = {path.name: sha256_file(path)}
    return Contribution("rotmensch", "2017", LICENCE, [], edges, {"rotmensch": CITE}, hashes)


SOURCE = Source(
    name="rotmensch",
    files=FILES,
    licence=LICENCE,
    version="2017",
    adds="weighted symptom edges learned from emergency records",
    get="https://github.com/clinicalml/HealthKnowledgeGraph",
    read=contribute,
)
