"""PrimeKG: phenotypes present in diseases, and indications of drugs, from its one table ``kg.csv``.

The table contains every statement twice, once in each direction; HPO ids are numbers without the prefix.
"""

from __future__ import annotations

from pathlib import Path

from clinragen.artifacts import sha256_file
from clinragen.knowledge.concepts import CONDITIONS, SIGNS, ConceptIndex, Contribution, Edge, Node, drug_node
from clinragen.knowledge.sources.files import rows
from clinragen.knowledge.sources.source import Source

FILES = ("kg.csv",)
LICENCE = "MIT for the resource; each source of it keeps its own terms (https://github.com/mims-harvard/PrimeKG)"
CITE = "Chandak P et al. Building a knowledge graph to enable precision medicine. Sci Data 2023;10:67"
COLUMNS = ("relation", "x_id", "x_type", "x_name", "x_source", "y_id", "y_type", "y_name", "y_source")
# relation -> (kind of the head, our relation, weight, what it says)
_RELATIONS = {
    "disease_phenotype_positive": ("effect/phenotype", "suggests", 0.3, "phenotype present"),
    "indication": ("drug", "treats", 0.6, "indication"),
    "off-label use": ("drug", "treats", 0.35, "off-label use"),
}


def contribute(files: dict[str, Path], index: ConceptIndex) -> Contribution:
    """Edges sign -> disease and drug -> disease; drugs that the core lacks become nodes with their DrugBank code."""
    (path,) = files.values()
    nodes: dict[str, Node] = {}
    edges: dict[tuple[str, str], Edge] = {}
    for row in rows(path, ",", COLUMNS):
        if row["relation"] not in _RELATIONS:
            continue
        kind, relation, weight, phrase = _RELATIONS[row["relation"]]
        if row["x_type"] != kind or row["y_type"] != "disease":
            continue  # the other direction of the same statement
        disease = index.called(row["y_name"], *CONDITIONS)
        if disease is None:
            continue
        if kind == "drug":
            head = index.called(row["x_name"], "drug")
            if head is None:
                codes = {"DrugBank": row["x_id"]}
                fresh = drug_node(row["x_name"], codes, f"a drug that PrimeKG lists for {row['y_name']}")
                head = nodes.setdefault(fresh.id, fresh).id
            heads = (head,)
        else:
            named = index.called(row["x_name"], *SIGNS)
            heads = _term(row["x_id"], index) or ((named,) if named else ())
        for head in heads:
            edge = Edge(head, disease, relation, weight, "primekg", f"{phrase} in {row['y_name']}", "primekg")
            if (head, disease) not in edges or edges[head, disease].weight < weight:
                edges[head, disease] = edge
    return Contribution(
        "primekg", "kg.csv", LICENCE, list(nodes.values()), list(edges.values()), {"primekg": CITE},
        {path.name: sha256_file(path)},
    )  # fmt: skip


def _term(number: str, index: ConceptIndex) -> tuple[str, ...]:
    return index.coded("HPO", f"HP:{int(number):07d}", *SIGNS) if number.isdigit() else ()


SOURCE = Source(
    name="primekg",
    files=FILES,
    licence=LICENCE,
    version="2.1",
    adds="phenotypes and drugs of diseases from twenty resources",
    get="https://doi.org/10.7910/DVN/IXA7BM (kg.csv)",
    read=contribute,
)
