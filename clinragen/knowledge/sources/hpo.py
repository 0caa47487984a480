"""Human Phenotype Ontology: exact synonyms, lay ones too, of the concepts that carry an HPO identifier."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from clinragen.artifacts import sha256_file
from clinragen.knowledge.concepts import Contribution
from clinragen.knowledge.sources.curated import contribute as curated
from clinragen.knowledge.sources.files import opened

FILES = ("hp.obo",)
LICENCE = "HPO licence: free use with attribution and version, content unaltered (https://hpo.jax.org/app/license)"
CITE = "Gargano MA et al. The Human Phenotype Ontology in 2024. Nucleic Acids Res 2024;52:D1333-D1346"
_SYNONYM = re.compile(r'synonym: "([^"]+)" EXACT')


def contribute(files: dict[str, Path], names: Mapping[str, str]) -> Contribution:
    """Synonyms that no concept has yet; the first concept of an identifier gets them."""
    owner: dict[str, str] = {}
    for node in curated().nodes:
        if "HPO" in node.identifiers:
            owner.setdefault(node.identifiers["HPO"], node.id)
    taken = set(names)
    found: dict[str, tuple[str, ...]] = {}
    version = term = ""
    with opened(files["hp.obo"]) as handle:
        for line in handle:
            if line.startswith("data-version: "):
                version = line.removeprefix("data-version: ").strip()
            elif line.startswith("id: "):
                term = line.removeprefix("id: ").strip()
            elif term in owner and (match := _SYNONYM.match(line)):
                form = match[1].strip().casefold()
                if form not in taken and len(form) > 3:
                    taken.add(form)
                    found[owner[term]] = (*found.get(owner[term], ()), form)
    if not version:
        raise ValueError("hp.obo has no data-version")
    hashes = {path.name: sha256_file(path) for path in files.values()}
    return Contribution("hpo", version, LICENCE, [], [], {"hpo": CITE}, hashes, synonyms=found)
