"""Human Disease Ontology: codes of diseases, and the narrower diseases one step below those of the core."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from clinragen.artifacts import sha256_file
from clinragen.knowledge.concepts import CONDITIONS, ConceptIndex, Contribution, Edge, Node
from clinragen.knowledge.sources.files import Term, obo, rows, spare
from clinragen.knowledge.sources.source import Source

#: Either the ontology itself, or its two tables: labels with parents, and cross-references.
FILES = ("doid.obo",)
TABLES = ("HumanDO.tsv", "allXREFinDO.tsv")
LICENCE = "CC0 1.0"
CITE = "Schriml LM et al. The Human Disease Ontology 2022 update. Nucleic Acids Res 2022;50:D1255-D1261"
_SYSTEMS = {"UMLS_CUI": "UMLS", "MESH": "MESH", "SNOMEDCT_US": "SNOMEDCT", "MIM": "OMIM"}


def contribute(files: dict[str, Path], index: ConceptIndex) -> Contribution:
    """Codes and synonyms of diseases with a DOID in the core; one right below becomes a node with ``is_a``."""
    version, terms = obo(files["doid.obo"]) if "doid.obo" in files else ("tables", _from_tables(files))
    in_use = set(index.names)
    homes = {key: same for key in terms if (same := index.coded("DOID", key, *CONDITIONS))}
    synonyms: dict[str, tuple[str, ...]] = {}
    identifiers: dict[str, dict[str, str]] = {}
    nodes: list[Node] = []
    edges: list[Edge] = []
    for key, term in sorted(terms.items()):
        for node in homes.get(key, ()):
            if forms := spare(term.synonyms, in_use):
                synonyms[node] = (*synonyms.get(node, ()), *forms)
            identifiers.setdefault(node, {"DOID": key, **_codes(term)})
        above = sorted({node for parent in term.parents for node in homes.get(parent, ())})
        if key in homes or not above or not (name := spare([term.name], in_use)):
            continue
        fresh = f"disease:{key.replace(':', '_').lower()}"
        broader = " and ".join(terms[parent].name for parent in term.parents if parent in homes)
        evidence = f"{term.name} is a kind of {broader}"
        definition = term.definition or f"{evidence}."
        nodes.append(
            Node(fresh, "disease", name[0], spare(term.synonyms, in_use), definition, {"DOID": key, **_codes(term)})
        )
        edges += [Edge(fresh, node, "is_a", 0.8, "doid", evidence, "disease_ontology") for node in above]
    hashes = {path.name: sha256_file(path) for path in files.values()}
    return Contribution(
        "disease_ontology", version, LICENCE, nodes, edges, {"doid": CITE}, hashes, synonyms, identifiers
    )


def _codes(term: Term) -> dict[str, str]:
    codes: dict[str, str] = {}
    for xref in sorted(term.xrefs):
        system, _, code = xref.partition(":")
        system = _SYSTEMS.get(system.partition("_20")[0] if system.startswith("SNOMED") else system, "")
        if system:
            codes.setdefault(system, code)
    return codes


def _from_tables(files: dict[str, Path]) -> dict[str, Term]:
    labels, xrefs = (files[name] for name in TABLES)
    table = list(rows(labels, "\t", ("id", "label", "subClassOf")))
    ids = {row["label"]: row["id"] for row in table}
    terms = {row["id"]: Term(row["id"], row["label"]) for row in table}
    for child, parent in _pairs(table, ids):
        terms[child].parents.append(parent)
    for row in rows(xrefs, "\t", ("id", "xref")):
        if row["id"] in terms:
            terms[row["id"]].xrefs.append(row["xref"])
    return terms


def _pairs(table: list[dict[str, str]], ids: dict[str, str]) -> Iterator[tuple[str, str]]:
    for row in table:
        if row["subClassOf"] in ids:
            yield row["id"], ids[row["subClassOf"]]


SOURCE = Source(
    name="disease_ontology",
    files=FILES,
    licence=LICENCE,
    version="as the file says",
    adds="codes of diseases, synonyms, and narrower diseases",
    get="https://github.com/DiseaseOntology/HumanDiseaseOntology (doid.obo)",
    read=contribute,
    instead=TABLES,
)
