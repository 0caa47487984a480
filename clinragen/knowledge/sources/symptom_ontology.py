"""Symptom Ontology: further names and SYMP codes of symptoms."""

from __future__ import annotations

from pathlib import Path

from clinragen.artifacts import sha256_file
from clinragen.knowledge.concepts import SIGNS, ConceptIndex, Contribution
from clinragen.knowledge.sources.files import obo, spare
from clinragen.knowledge.sources.source import Source

FILES = ("symp.obo",)
LICENCE = "CC0 1.0"
CITE = "Schriml LM et al. Symptom Ontology. Institute for Genome Sciences, University of Maryland"


def contribute(files: dict[str, Path], index: ConceptIndex) -> Contribution:
    """Exact synonyms that are not yet used, of terms whose name or synonym the core knows."""
    version, terms = obo(files["symp.obo"])
    in_use = set(index.names)
    synonyms: dict[str, tuple[str, ...]] = {}
    identifiers: dict[str, dict[str, str]] = {}
    for key, term in sorted(terms.items()):
        node = index.called(term.name, *SIGNS)
        if node is None:
            continue
        identifiers.setdefault(node, {"SYMP": key})
        if forms := spare(term.synonyms, in_use):
            synonyms[node] = (*synonyms.get(node, ()), *forms)
    hashes = {path.name: sha256_file(path) for path in files.values()}
    return Contribution("symptom_ontology", version, LICENCE, [], [], {"symp": CITE}, hashes, synonyms, identifiers)


SOURCE = Source(
    name="symptom_ontology",
    files=FILES,
    licence=LICENCE,
    version="as the file says",
    adds="further synonyms of symptoms",
    get="https://github.com/DiseaseOntology/SymptomOntology (symp.obo)",
    read=contribute,
)
