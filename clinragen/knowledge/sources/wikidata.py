"""Wikidata: symptoms, causes and treatments of diseases; entered by its users, so with low weight."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from clinragen.artifacts import sha256_file
from clinragen.knowledge.concepts import CONDITIONS, SIGNS, ConceptIndex, Contribution, Edge
from clinragen.knowledge.sources.files import opened
from clinragen.knowledge.sources.source import Source

FILES = ("WikiDiseaseData.jl", "WikiMedicineData.jl")
LICENCE = "CC0 1.0"
CITE = "Wikidata, items of diseases (P780, P828, P2176) and of medicines (P2175), https://www.wikidata.org"
_WEIGHTS = {"suggests": 0.25, "causes": 0.25, "treats": 0.3}

_DISEASE: dict[str, type] = {"DiseaseURI": str, "Disease": str, "TreatmentDrugs": list, "Cause": list, "Symptons": list}
_MEDICINE: dict[str, type] = {"MedicineURI": str, "Medicine": str, "ConditionsTreated": list}


def contribute(files: dict[str, Path], index: ConceptIndex) -> Contribution:
    """Edges between concepts that the core knows by name; Wikidata item numbers of diseases and drugs."""
    links = _Links(index)
    for row in _records(files[FILES[0]], _DISEASE):
        links.add_disease(row)
    for row in _records(files[FILES[1]], _MEDICINE):
        links.add_medicine(row)
    hashes = {path.name: sha256_file(path) for path in files.values()}
    return Contribution(
        "wikidata",
        "extract",
        LICENCE,
        [],
        list(links.edges.values()),
        {"wikidata": CITE},
        hashes,
        identifiers=links.identifiers,
    )


class _Links:
    """Edges and item numbers of the records read so far; an edge cites its first record."""

    def __init__(self, index: ConceptIndex) -> None:
        self._index = index
        self.edges: dict[tuple[str, str, str], Edge] = {}
        self.identifiers: dict[str, dict[str, str]] = {}

    def add_disease(self, row: dict[str, Any]) -> None:
        """Symptoms, causes and drugs of a disease that the core knows by name."""
        disease = self._index.called(row["Disease"], *CONDITIONS)
        if disease is None:
            return
        self._number(disease, row["DiseaseURI"])
        for name in row["Symptons"]:
            self._link(
                self._index.called(name, *SIGNS), disease, "suggests", f"{name} is a symptom of {row['Disease']}"
            )
        for name in row["Cause"]:
            self._link(
                self._index.called(name, *CONDITIONS), disease, "causes", f"{name} is a cause of {row['Disease']}"
            )
        for name in row["TreatmentDrugs"]:
            self._link(self._index.called(name, "drug"), disease, "treats", f"{name} treats {row['Disease']}")

    def add_medicine(self, row: dict[str, Any]) -> None:
        """Diseases that a drug of the core treats."""
        drug = self._index.called(row["Medicine"], "drug")
        if drug is None:
            return
        self._number(drug, row["MedicineURI"])
        for name in row["ConditionsTreated"]:
            self._link(drug, self._index.called(name, *CONDITIONS), "treats", f"{row['Medicine']} treats {name}")

    def _number(self, node: str, address: str) -> None:
        self.identifiers.setdefault(node, {"Wikidata": address.rpartition("/")[2]})

    def _link(self, head: str | None, tail: str | None, relation: str, statement: str) -> None:
        if head and tail and head != tail:
            edge = Edge(head, tail, relation, _WEIGHTS[relation], "wikidata", statement, "wikidata")
            self.edges.setdefault((head, tail, relation), edge)


_KINDS = {str: "text", list: "a list of texts"}


def _records(path: Path, needed: dict[str, type]) -> Iterator[dict[str, Any]]:
    """Records of a JSON Lines file, with the types of the needed fields checked.

    Raises:
        ValueError: a line is no valid record.
    """
    with opened(path) as handle:
        for number, line in enumerate(handle, start=1):
            record = json.loads(line)
            for key, kind in needed.items():
                value: Any = record.get(key) if isinstance(record, dict) else None
                if not isinstance(value, kind) or not all(isinstance(item, str) for item in value):
                    raise ValueError(f"{path.name} line {number}: '{key}' is missing, or not {_KINDS[kind]}")
            yield record


SOURCE = Source(
    name="wikidata",
    files=FILES,
    licence=LICENCE,
    version="as extracted",
    adds="symptoms, causes and drugs of diseases, entered by anybody",
    get="https://query.wikidata.org (one JSON object per line: disease or medicine)",
    read=contribute,
)
