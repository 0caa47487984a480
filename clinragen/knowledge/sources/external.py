"""Knowledge sources that the user downloads: what each is, its licence, where to get it, and how it is read.

They add to the curated core: synonyms, drugs, and edges between concepts that the core knows. None is shipped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from clinragen.errors import UserError, unknown_choice
from clinragen.knowledge.concepts import Contribution
from clinragen.knowledge.sources import edges_csv, hetionet, hpo, rotmensch

#: Lower-case names and synonyms of the core -> node id.
Names = Mapping[str, str]


@dataclass(frozen=True)
class Source:
    """One external source. ``files`` are the names looked for in the user's folder, plain or with ``.gz``."""

    files: tuple[str, ...]
    licence: str
    adds: str
    get: str
    read: Callable[[dict[str, Path], Names], Contribution]


SOURCES = {
    "hpo": Source(
        hpo.FILES, hpo.LICENCE, "synonyms of symptoms and findings",
        "https://hpo.jax.org/data/ontology (hp.obo)", hpo.contribute,
    ),
    "hetionet": Source(
        hetionet.FILES, hetionet.LICENCE, "symptom and drug edges of diseases",
        "https://github.com/hetio/hetionet (edges and nodes, TSV)", hetionet.contribute,
    ),
    "rotmensch": Source(
        rotmensch.FILES, rotmensch.LICENCE, "weighted symptom edges learned from records",
        "https://github.com/clinicalml/HealthKnowledgeGraph", rotmensch.contribute,
    ),
    "edges": Source(
        edges_csv.FILES, edges_csv.LICENCE, "your own edges",
        "a CSV with head, relation, tail, weight, source, evidence", edges_csv.contribute,
    ),
}  # fmt: skip


def contribute(name: str, folder: Path, names: Names) -> Contribution:
    """Read one source from a folder that the user names.

    Raises:
        UserError: unknown source, a file missing or malformed.
    """
    if name not in SOURCES:
        raise unknown_choice("knowledge source", name, SOURCES)
    source = SOURCES[name]
    found = {file: _locate(folder, file, name, source.get) for file in source.files}
    try:
        return source.read(found, names)
    except (OSError, EOFError, UnicodeDecodeError, ValueError, IndexError, KeyError) as error:
        raise UserError(
            f"knowledge source {name} in {folder} cannot be read ({error}); get it from {source.get}"
        ) from None


def _locate(folder: Path, file: str, name: str, get: str) -> Path:
    for candidate in (folder / file, folder / f"{file}.gz"):
        if candidate.is_file():
            return candidate
    raise UserError(f"{folder / file} not found (nor {file}.gz): knowledge source {name} comes from {get}")
