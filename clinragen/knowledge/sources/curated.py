"""The curated core, read from ``configs/knowledge``: needs no download; each edge cites a guideline or textbook."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from clinragen.artifacts import sha256_file
from clinragen.catalog import Variable, shipped_variables
from clinragen.config import CONFIG_ROOT
from clinragen.errors import UserError, unknown_choice
from clinragen.knowledge.concepts import DIRECTIONS, Contribution, Edge, Node, finding_id, slug
from clinragen.knowledge.sources.curated_files import (
    Circumstance,
    CircumstancesFile,
    Disease,
    DiseasesFile,
    DrugClass,
    DrugsFile,
    Entity,
    FindingsFile,
    FindingSides,
    IdentifiersFile,
    PhenotypeEntry,
    PhenotypesFile,
    Procedure,
    ProceduresFile,
    SourcesFile,
    SymptomsFile,
    read,
)
from clinragen.label_sets import shipped

FOLDER = CONFIG_ROOT / "knowledge"
_FILES = (
    "sources", "findings", "symptoms", "drugs", "diseases", "procedures", "circumstances", "phenotypes", "identifiers",
)  # fmt: skip
# A disease that causes or follows from a phenotype is weaker evidence of it than membership.
_CAUSAL_WEIGHT = 0.5


@cache
def contribute(folder: Path = FOLDER) -> Contribution:
    """Read the nine files of the curated core and check every reference among them.

    Raises:
        UserError: a missing file, or an unknown variable, phenotype, symptom or citation, with file and key.
    """
    finding_file = read(FindingsFile, folder / "findings.yaml")
    symptoms = read(SymptomsFile, folder / "symptoms.yaml")["symptoms"]
    drugs = read(DrugsFile, folder / "drugs.yaml")["classes"]
    diseases = read(DiseasesFile, folder / "diseases.yaml")["diseases"]
    procedures = read(ProceduresFile, folder / "procedures.yaml")["procedures"]
    circumstances = read(CircumstancesFile, folder / "circumstances.yaml")["circumstances"]
    phenotypes = read(PhenotypesFile, folder / "phenotypes.yaml")["phenotypes"]
    identifiers = read(IdentifiersFile, folder / "identifiers.yaml")["identifiers"]
    sources = read(SourcesFile, folder / "sources.yaml")
    nodes = [
        *variable_nodes(shipped_variables(), finding_file["findings"]),
        *_findings(finding_file["findings"], folder),
        *_entities("symptom", symptoms),
        *_drug_nodes(drugs),
        *_entities("disease", diseases),
        *_entities("procedure", procedures),
        *_entities("circumstance", circumstances),
        *_phenotypes(phenotypes, folder),
    ]
    nodes = _identified(nodes, identifiers, folder)
    edges = [
        *measures(shipped_variables(), finding_file["findings"], finding_file["source"]),
        *_drug_edges(drugs),
        *_disease_edges(diseases),
        *_procedure_edges(procedures),
        *_circumstance_edges(circumstances, folder),
        *_phenotype_edges(phenotypes, folder),
    ]
    citations = {key: row["cite"] for key, row in sources["sources"].items()}
    _check(nodes, edges, citations, folder)
    return Contribution(
        name="curated",
        version=str(sources["version"]),
        licence=sources["licence"],
        nodes=nodes,
        edges=edges,
        citations=citations,
        files={f"{name}.yaml": sha256_file(folder / f"{name}.yaml") for name in _FILES},
    )


def findings(folder: Path = FOLDER) -> dict[str, FindingSides]:
    """The finding on either side of each variable's reference range, or the reason why there is none."""
    return read(FindingsFile, folder / "findings.yaml")["findings"]


def variable_nodes(variables: Mapping[str, Variable], findings: Mapping[str, FindingSides]) -> Iterator[Node]:
    """The node of each variable."""
    for variable in variables.values():
        unit = f" in {variable.unit}" if variable.unit not in ("score", "ratio", "units", "flag") else ""
        yield Node(
            f"variable:{variable.key}",
            "variable",
            variable.label,
            tuple(findings[variable.key].get("names", ()) if variable.key in findings else ()),
            definition=f"The {variable.kind} variable {variable.label}{unit}.",
            identifiers={"LOINC": variable.loinc} if variable.loinc else {},
        )


def _findings(findings: dict[str, FindingSides], folder: Path) -> Iterator[Node]:
    for key, sides in findings.items():
        if key not in shipped_variables():
            raise UserError(f"{folder / 'findings.yaml'}: {unknown_choice('variable', key, shipped_variables())}")
        yield from finding_nodes(key, sides)


def finding_nodes(variable: str, sides: FindingSides) -> Iterator[Node]:
    """The nodes of a variable's findings."""
    for direction in DIRECTIONS:
        if entity := sides.get(direction):
            yield _node(finding_id(variable, direction), "finding", entity, variable, direction)


def _entities(kind: str, rows: Mapping[str, Entity]) -> Iterator[Node]:
    for key, row in rows.items():
        yield _node(f"{kind}:{key}", kind, row)


def _node(node_id: str, kind: str, row: Entity, variable: str | None = None, side: str | None = None) -> Node:
    identifiers = {key.upper(): str(row.get(key)) for key in ("hpo", "icd10") if key in row}
    synonyms = tuple(str(synonym) for synonym in row.get("synonyms") or ())
    return Node(node_id, kind, row["name"], synonyms, row["definition"], identifiers, variable, side)


def _drug_nodes(classes: dict[str, DrugClass]) -> Iterator[Node]:
    for key, row in classes.items():
        yield _node(f"drug:{key}", "drug", row)
        for member, brands in (row.get("members") or {}).items():
            if slug(member) != key:
                yield Node(
                    f"drug:{slug(member)}",
                    "drug",
                    member,
                    tuple(str(brand) for brand in brands or ()),
                    f"{member[0].upper()}{member[1:]}, {row['name']}. {row['definition']}",
                )


def _phenotypes(rows: dict[str, PhenotypeEntry], folder: Path) -> Iterator[Node]:
    missing = set(shipped()) - set(rows)
    if missing:
        raise UserError(f"{folder / 'phenotypes.yaml'}: no entry for {', '.join(sorted(missing))}")
    for key, row in rows.items():
        if key not in shipped():
            raise UserError(f"{folder / 'phenotypes.yaml'}: {unknown_choice('phenotype', key, shipped())}")
        phenotype = shipped()[key]
        codes = {"CCS": " ".join(str(code) for code in phenotype.ccs)}
        yield Node(f"phenotype:{key}", "phenotype", phenotype.name, tuple(row["synonyms"]), row["definition"], codes)


def _identified(nodes: list[Node], codes: dict[str, dict[str, Any]], folder: Path) -> list[Node]:
    """Nodes with the codes of identifiers.yaml, and findings with the LOINC code of their variable."""
    ids = {node.id for node in nodes}
    unknown = next((node for node in codes if node not in ids), None)
    if unknown is not None:
        raise UserError(f"{folder / 'identifiers.yaml'}: {_unknown(unknown, ids)}")
    coded = []
    for node in nodes:
        more = {system.upper(): str(code) for system, code in codes.get(node.id, {}).items()}
        if node.kind == "finding" and node.variable:
            more["LOINC"] = shipped_variables()[node.variable].loinc
        coded.append(replace(node, identifiers={**node.identifiers, **more}))
    return coded


def measures(
    variables: Mapping[str, Variable], findings: Mapping[str, FindingSides], source: str, origin: str = "curated"
) -> Iterator[Edge]:
    """The edge from each variable to each of its findings; ``source`` is cited where a finding cites none."""
    for key, sides in findings.items():
        for direction in DIRECTIONS:
            if entity := sides.get(direction):
                cited, evidence = entity.get("source", source), sentence(variables[key], direction)
                yield Edge(f"variable:{key}", finding_id(key, direction), "measures", 1.0, cited, evidence, origin)


def sentence(variable: Variable, direction: str) -> str:
    """What a finding says of its variable."""
    if direction in ("rising", "falling"):
        return f"{variable.label} {direction} against the patient's own earlier values"
    bound, word = (variable.high, "above") if direction == "high" else (variable.low, "below")
    return f"{variable.label} {word} {'the reference range' if bound is None else variable.format(bound)}"


def _drug_edges(classes: dict[str, DrugClass]) -> Iterator[Edge]:
    for key, row in classes.items():
        members = [slug(member) for member in row.get("members") or {}]
        for member in members:
            if member != key:
                yield Edge(f"drug:{member}", f"drug:{key}", "is_a", 1.0, "gg", row["definition"])
        for drug in dict.fromkeys([key, *members]):
            for phenotype, weight in row["treats"].items():
                yield Edge(f"drug:{drug}", f"phenotype:{phenotype}", "treats", weight, row["source"], row["definition"])


def _disease_edges(rows: dict[str, Disease]) -> Iterator[Edge]:
    for key, row in rows.items():
        for relation, weight in (("is_a", 1.0), ("causes", _CAUSAL_WEIGHT), ("complicates", _CAUSAL_WEIGHT)):
            for phenotype in row.get(relation) or ():
                tail = f"phenotype:{phenotype}"
                yield Edge(f"disease:{key}", tail, relation, weight, row["source"], row["definition"])


def _procedure_edges(rows: dict[str, Procedure]) -> Iterator[Edge]:
    for key, row in rows.items():
        for phenotype, weight in row["indicates"].items():
            tail = f"phenotype:{phenotype}"
            yield Edge(f"procedure:{key}", tail, "indicates", weight, row["source"], row["definition"])


def _circumstance_edges(rows: dict[str, Circumstance], folder: Path) -> Iterator[Edge]:
    for key, row in rows.items():
        for group, members in row["suggests"].items():
            source, evidence = _citation(group, key, folder / "circumstances.yaml")
            for phenotype, weight in members.items():
                yield Edge(f"circumstance:{key}", f"phenotype:{phenotype}", "suggests", weight, source, evidence)


def _phenotype_edges(rows: dict[str, PhenotypeEntry], folder: Path) -> Iterator[Edge]:
    for key, row in rows.items():
        for group, members in row["suggested_by"].items():
            source, evidence = _citation(group, key, folder / "phenotypes.yaml")
            for concept, weight in members.items():
                variable, _, direction = concept.rpartition(" ")
                head = finding_id(variable, direction) if direction in DIRECTIONS else f"symptom:{concept}"
                yield Edge(head, f"phenotype:{key}", "suggests", weight, source, evidence)
        for group, members in (row.get("causes") or {}).items():
            source, evidence = _citation(group, key, folder / "phenotypes.yaml")
            for phenotype, weight in members.items():
                yield Edge(f"phenotype:{key}", f"phenotype:{phenotype}", "causes", weight, source, evidence)


def _citation(group: str, key: str, path: Path) -> tuple[str, str]:
    source, separator, evidence = group.partition(" | ")
    if not separator:
        raise UserError(f"{path}: {key}: '{group}' should read '<source key> | <what it says>'")
    return source.strip(), evidence.strip()


def _unknown(name: str, names: set[str]) -> UserError:
    near = get_close_matches(name, sorted(names), n=5, cutoff=0.4)
    return unknown_choice("concept", name, near or [f"the {len(names)} concepts of the other files"])


def _check(nodes: list[Node], edges: list[Edge], citations: dict[str, str], folder: Path) -> None:
    ids = {node.id for node in nodes}
    for edge in edges:
        for end in (edge.head, edge.tail):
            if end not in ids:
                raise UserError(f"{folder}: {edge.head} {edge.relation} {edge.tail}: {_unknown(end, ids)}")
        if edge.source not in citations:
            raise UserError(
                f"{folder}: {edge.head} {edge.relation} {edge.tail}: source '{edge.source}' is not in sources.yaml"
            )
        if not 0 < edge.weight <= 1:
            raise UserError(f"{folder}: {edge.head} {edge.relation} {edge.tail}: weight {edge.weight} is not in (0, 1]")
