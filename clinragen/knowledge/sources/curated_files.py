"""The files of ``configs/knowledge``, as types: what an entry of each must hold, checked when it is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NotRequired, TypedDict, cast

from clinragen.config import load_yaml
from clinragen.errors import UserError
from clinragen.shape import differs, of


class Entity(TypedDict):
    """A concept: its name, what else it is called, what it is, and its codes."""

    name: str
    definition: str
    synonyms: NotRequired[list[Any]]
    hpo: NotRequired[str]
    icd10: NotRequired[Any]


class FindingEntity(Entity):
    """What a value on one side of the reference range is called; ``source`` where it is not that of the file."""

    source: NotRequired[str]


class FindingSides(TypedDict):
    """The findings of one variable, by direction; ``names`` are those of the variable, ``none`` says what is absent."""

    names: NotRequired[list[str]]
    high: NotRequired[FindingEntity]
    low: NotRequired[FindingEntity]
    rising: NotRequired[FindingEntity]
    falling: NotRequired[FindingEntity]
    none: NotRequired[dict[str, str]]


class DrugClass(Entity):
    """A class of drugs: its members with their brand names, and the weight of each phenotype that it treats."""

    members: NotRequired[dict[str, list[Any] | None]]
    treats: dict[str, float]
    source: str


class Disease(Entity):
    """A disease, and the phenotypes that it is, leads to or follows from."""

    is_a: NotRequired[list[str]]
    causes: NotRequired[list[str]]
    complicates: NotRequired[list[str]]
    source: str


class Procedure(Entity):
    """A procedure, and the weight of each phenotype that it is done for."""

    indicates: dict[str, float]
    source: str


class Circumstance(Entity):
    """A circumstance of an admission, and the phenotypes that it suggests, by citation, with weights."""

    suggests: dict[str, dict[str, float]]


class PhenotypeEntry(TypedDict):
    """A phenotype; what suggests it and what it leads to, by citation and then by concept, with weights."""

    synonyms: list[str]
    definition: str
    suggested_by: dict[str, dict[str, float]]
    causes: NotRequired[dict[str, dict[str, float]]]


class Citation(TypedDict):
    """A work that edges cite."""

    cite: str


class FindingsFile(TypedDict):
    """``findings.yaml``, by variable."""

    source: str
    findings: dict[str, FindingSides]


class SymptomsFile(TypedDict):
    """``symptoms.yaml``."""

    symptoms: dict[str, Entity]


class DrugsFile(TypedDict):
    """``drugs.yaml``."""

    classes: dict[str, DrugClass]


class DiseasesFile(TypedDict):
    """``diseases.yaml``."""

    diseases: dict[str, Disease]


class ProceduresFile(TypedDict):
    """``procedures.yaml``."""

    procedures: dict[str, Procedure]


class CircumstancesFile(TypedDict):
    """``circumstances.yaml``."""

    circumstances: dict[str, Circumstance]


class PhenotypesFile(TypedDict):
    """``phenotypes.yaml``."""

    phenotypes: dict[str, PhenotypeEntry]


class IdentifiersFile(TypedDict):
    """``identifiers.yaml``: node -> coding system -> code."""

    identifiers: dict[str, dict[str, Any]]


class SourcesFile(TypedDict):
    """``sources.yaml``."""

    licence: str
    version: Any
    sources: dict[str, Citation]


def read[T](kind: type[T], path: Path) -> T:
    """One of the files.

    Raises:
        UserError: missing, not YAML, or an entry is missing or of another type: with file and key.
    """
    content = load_yaml(path)
    if trouble := differs(content, of(kind)):
        raise UserError(f"{path}: {trouble}")
    return cast(T, content)
