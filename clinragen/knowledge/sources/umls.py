"""UMLS Metathesaurus (Rich Release Format): names, codes (SNOMED CT, RxNorm, ...) and relations of known concepts.

Concepts are matched by code (ICD-10-CM, HPO, LOINC) or by exact English name with a suitable semantic type. The files
have gigabytes: they are streamed, and only rows of matched concepts are kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from clinragen.artifacts import sha256_file
from clinragen.knowledge.concepts import ConceptIndex, Contribution, Edge
from clinragen.knowledge.sources.files import opened, spare
from clinragen.knowledge.sources.source import Source

FILES = ("MRCONSO.RRF", "MRREL.RRF", "MRSTY.RRF")
LICENCE = (
    "UMLS Metathesaurus licence (personal, free); SNOMED CT needs a country's licence: do not redistribute the graph"
)
CITE = "Bodenreider O. The Unified Medical Language System (UMLS). Nucleic Acids Res 2004;32:D267-D270"
# Columns of the files: https://www.ncbi.nlm.nih.gov/books/NBK9685/
_CONSO = {"cui": 0, "language": 1, "source": 11, "type": 12, "code": 13, "name": 14, "suppress": 16}
_REL = {"to": 0, "from": 4, "relation": 7, "source": 10, "suppress": 14}  # "from" RELA "to"
_STY = {"cui": 0, "type": 1}
# Vocabulary -> our name, and the kinds of node that its codes may match (other codes are only recorded).
_SYSTEMS = {
    "ICD10CM": "ICD10", "ICD9CM": "ICD9", "HPO": "HPO", "LNC": "LOINC", "SNOMEDCT_US": "SNOMEDCT", "RXNORM": "RxNorm",
}  # fmt: skip
_MEETS = {"ICD10": ("disease",), "HPO": ("symptom", "finding"), "LOINC": ("variable",)}
_SEMANTIC = {
    "phenotype": {"T046", "T047", "T033", "T184"},
    "disease": {"T046", "T047", "T037", "T033", "T019", "T020"},
    "symptom": {"T184", "T033", "T046", "T047"},
    "finding": {"T033", "T034", "T046", "T047", "T184"},
    "drug": {"T109", "T116", "T121", "T125", "T129", "T195", "T197", "T200", "T123", "T131"},
    "procedure": {"T060", "T061", "T058", "T074"},
    "variable": {"T034", "T059", "T201", "T060", "T033"},
}
# RELA -> (our relation, whether "from" is the head, weight)
_RELATIONS = {
    "may_treat": ("treats", True, 0.5),
    "may_be_treated_by": ("treats", False, 0.5),
    "manifestation_of": ("suggests", True, 0.4),
    "has_manifestation": ("suggests", False, 0.4),
    "cause_of": ("causes", True, 0.4),
    "due_to": ("causes", False, 0.4),
    "isa": ("is_a", True, 0.7),
    "inverse_isa": ("is_a", False, 0.7),
}
_ENDS = {  # the kinds of node that a relation may connect
    "treats": (("drug",), ("phenotype", "disease")),
    "suggests": (("symptom", "finding"), ("phenotype", "disease")),
    "causes": (("disease", "phenotype"), ("disease", "phenotype")),
    "is_a": (("disease",), ("disease", "phenotype")),
}


def contribute(files: dict[str, Path], index: ConceptIndex) -> Contribution:
    """Synonyms, codes, and edges between concepts of the core."""
    met = _meet(files, index)
    synonyms, identifiers = _name(files["MRCONSO.RRF"], met, index)
    edges = _relate(files["MRREL.RRF"], met, index)
    hashes = {path.name: sha256_file(path) for path in files.values()}
    return Contribution("umls", "RRF", LICENCE, [], edges, {"umls": CITE}, hashes, synonyms, identifiers)


def _meet(files: dict[str, Path], index: ConceptIndex) -> dict[str, str]:
    """CUI -> node, matched by code, otherwise by name."""
    types: dict[str, set[str]] = {}
    by_code: dict[str, str] = {}
    by_name: dict[str, str] = {}
    for row in _rows(files["MRCONSO.RRF"], _CONSO):
        if row["language"] != "ENG" or row["suppress"] != "N":
            continue
        system = _SYSTEMS.get(row["source"], "")
        if system in _MEETS:
            for node in index.coded(system, row["code"], *_MEETS[system])[:1]:
                by_code.setdefault(row["cui"], node)
        if (node := index.called(row["name"])) is not None:
            by_name.setdefault(row["cui"], node)
    for row in _rows(files["MRSTY.RRF"], _STY):
        if row["cui"] in by_name:
            types.setdefault(row["cui"], set()).add(row["type"])
    fitting = {
        cui: node for cui, node in by_name.items() if types.get(cui, set()) & _SEMANTIC.get(index.kinds[node], set())
    }
    return {**by_code, **fitting}


def _name(
    path: Path, met: dict[str, str], index: ConceptIndex
) -> tuple[dict[str, tuple[str, ...]], dict[str, dict[str, str]]]:
    in_use = set(index.names)
    synonyms: dict[str, tuple[str, ...]] = {}
    identifiers: dict[str, dict[str, str]] = {}
    for row in _rows(path, _CONSO):
        node = met.get(row["cui"])
        if node is None or row["language"] != "ENG" or row["suppress"] != "N":
            continue
        codes = identifiers.setdefault(node, {"UMLS": row["cui"]})
        if (system := _SYSTEMS.get(row["source"])) is not None:
            codes.setdefault(system, row["code"])
        if "," not in row["name"] and (forms := spare([row["name"]], in_use)):  # "Failure, heart" is never written
            synonyms[node] = (*synonyms.get(node, ()), *forms)
    return synonyms, identifiers


def _relate(path: Path, met: dict[str, str], index: ConceptIndex) -> list[Edge]:
    edges: dict[tuple[str, str, str], Edge] = {}
    for row in _rows(path, _REL):
        if row["relation"] not in _RELATIONS or row["suppress"] != "N":
            continue
        relation, forward, weight = _RELATIONS[row["relation"]]
        head, tail = met.get(row["from" if forward else "to"]), met.get(row["to" if forward else "from"])
        if head is None or tail is None or head == tail:
            continue
        heads, tails = _ENDS[relation]
        if index.kinds[head] in heads and index.kinds[tail] in tails:
            evidence = f"{row['relation'].replace('_', ' ')} in {row['source']}"
            edges.setdefault((head, tail, relation), Edge(head, tail, relation, weight, "umls", evidence, "umls"))
    return [edges[key] for key in sorted(edges)]


def _rows(path: Path, columns: dict[str, int]) -> Iterator[dict[str, str]]:
    """Rows of an RRF file: no header, values end with a bar."""
    least = max(columns.values())
    with opened(path) as handle:
        for number, line in enumerate(handle, start=1):
            values = line.rstrip("\n").split("|")
            if len(values) <= least:
                raise ValueError(f"{path.name} line {number}: {len(values)} values, expected more than {least}")
            yield {name: values[position] for name, position in columns.items()}


SOURCE = Source(
    name="umls",
    files=FILES,
    licence=LICENCE,
    version="as released",
    adds="names, SNOMED CT and RxNorm codes, and relations",
    get="https://www.nlm.nih.gov/research/umls (Metathesaurus, Rich Release Format, folder META)",
    read=contribute,
)
