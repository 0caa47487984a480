"""Human Phenotype Ontology: exact synonyms, lay ones too, and UMLS codes of concepts with an HPO identifier."""

from __future__ import annotations

from pathlib import Path

from clinragen.artifacts import sha256_file
from clinragen.knowledge.concepts import SIGNS, ConceptIndex, Contribution
from clinragen.knowledge.sources.files import obo, spare
from clinragen.knowledge.sources.source import Source

FILES = ("hp.obo",)
LICENCE = "HPO licence: free use with attribution and version, content unaltered (https://hpo.jax.org/app/license)"
CITE = "Gargano MA et al. The Human Phenotype Ontology in 2024. Nucleic Acids Res 2024;52:D1333-D1346"


def contribute(files: dict[str, Path], index: ConceptIndex) -> Contribution:
    """Synonyms that are not yet used; the first concept of an identifier gets them."""
    version, terms = obo(files["hp.obo"])
    in_use = set(index.names)
    synonyms: dict[str, tuple[str, ...]] = {}
    identifiers: dict[str, dict[str, str]] = {}
    for key, term in terms.items():
        for node in index.coded("HPO", key, *SIGNS)[:1]:
            if forms := spare(term.synonyms, in_use):
                synonyms[node] = (*synonyms.get(node, ()), *forms)
            if codes := [xref.removeprefix("UMLS:") for xref in term.xrefs if xref.startswith("UMLS:")]:
                identifiers[node] = {"UMLS": codes[0]}
    hashes = {path.name: sha256_file(path) for path in files.values()}
    return Contribution(
        "hpo", version, LICENCE, [], [], {"hpo": CITE}, hashes, synonyms=synonyms, identifiers=identifiers
    )


SOURCE = Source(
    name="hpo",
    files=FILES,
    licence=LICENCE,
    version="as the file says (data-version)",
    adds="lay and other synonyms of symptoms and findings",
    get="https://hpo.jax.org/data/ontology (hp.obo)",
    read=contribute,
)
