"""PharmacotherapyDB: which drugs treat a disease (disease-modifying or symptomatic), as physicians curated it."""

from __future__ import annotations

from pathlib import Path

from clinragen.artifacts import sha256_file
from clinragen.knowledge.concepts import CONDITIONS, ConceptIndex, Contribution, Edge, Node, drug_node
from clinragen.knowledge.sources.files import rows
from clinragen.knowledge.sources.source import Source

FILES = ("indications.tsv",)
LICENCE = "CC0 1.0"
CITE = "Himmelstein DS et al. PharmacotherapyDB 1.0: the open catalog of drug therapies for disease. figshare 2016"
_WEIGHTS = {"DM": (0.6, "disease-modifying"), "SYM": (0.4, "symptomatic")}


def contribute(files: dict[str, Path], index: ConceptIndex) -> Contribution:
    """Edges drug -> disease; drugs that the core lacks become nodes. Non-indications add none."""
    (path,) = files.values()
    nodes: dict[str, Node] = {}
    edges: list[Edge] = []
    identifiers: dict[str, dict[str, str]] = {}
    for row in rows(path, "\t", ("doid_id", "drugbank_id", "disease", "drug", "category")):
        named = index.called(row["disease"], *CONDITIONS)
        diseases = index.coded("DOID", row["doid_id"], *CONDITIONS) or ((named,) if named else ())
        if not diseases or row["category"] not in _WEIGHTS:
            continue
        weight, how = _WEIGHTS[row["category"]]
        drug = index.called(row["drug"], "drug")
        codes = {"DrugBank": row["drugbank_id"]}
        if drug is None:
            fresh = drug_node(row["drug"], codes, f"a drug that PharmacotherapyDB lists for {row['disease']}")
            drug = nodes.setdefault(fresh.id, fresh).id
        else:
            identifiers.setdefault(drug, codes)
        evidence = f"{how} treatment of {row['disease']}"
        edges += [
            Edge(drug, node, "treats", weight, "pharmacotherapydb", evidence, "pharmacotherapydb") for node in diseases
        ]
    return Contribution(
        "pharmacotherapydb", "1.0", LICENCE, list(nodes.values()), edges, {"pharmacotherapydb": CITE},
        {path.name: sha256_file(path)}, identifiers=identifiers,
    )  # fmt: skip


SOURCE = Source(
    name="pharmacotherapydb",
    files=FILES,
    licence=LICENCE,
    version="1.0",
    adds="drugs of diseases, curated by physicians",
    get="https://github.com/dhimmel/indications (catalog/indications.tsv)",
    read=contribute,
)
