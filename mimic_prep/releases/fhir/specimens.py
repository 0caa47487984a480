"""What a Specimen says about a value: whether it is of arterial blood, of other blood, or of no blood at all.

As for MIMIC (``specimen`` of ``configs/concepts/variables.yaml``), pressures of oxygen and carbon dioxide count of
arterial blood and of specimens that do not say; what is measured in another fluid is no value of blood.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from clinragen.catalog import specimen, variables
from clinragen.errors import unknown_choice
from mimic_prep.releases.fhir.elements import words
from mimic_prep.releases.fhir.vocabulary import TABLES

ARTERIAL, OTHER_BLOOD, FLUID = 0, 1, 2
OTHER_SPECIMEN = "of another specimen than the variable is of"
#: begins the key of a specimen whose type the Observation itself says; its level follows
SAID = "specimen of level "
_KINDS = {"arterial": ARTERIAL, "other_blood": OTHER_BLOOD, "fluid": FLUID}
#: kinds of variables that are measured in a sample
_SAMPLED = ("gas", "lab")


class SpecimenTypes:
    """Recognises types of specimens by patterns of their codes and names: kind -> patterns, tried in this order.

    Raises:
        UserError: an unknown kind.
    """

    def __init__(self, patterns: Mapping[str, list[str]]) -> None:
        if alien := [kind for kind in patterns if kind not in _KINDS]:
            raise unknown_choice("kind of specimens", alien[0], _KINDS)
        compiled = [
            (_KINDS[kind], re.compile("|".join(f"(?:{pattern})" for pattern in listed), re.IGNORECASE))
            for kind, listed in patterns.items()
            if listed
        ]
        self._patterns = [*compiled, (FLUID, specimen().fluid)]

    def level(self, concept: Any) -> int:
        """0 arterial blood or unknown, 1 other blood, 2 no blood; by all words of ``Specimen.type``.

        >>> types = SpecimenTypes({"arterial": ["arterial"], "other_blood": ["venous"]})
        >>> [types.level({"text": text}) for text in ("Arterial", "Blood specimen", "Mixed venous", "Pleural fluid")]
        [0, 0, 1, 2]
        """
        spoken = words(concept)
        return next((level for level, pattern in self._patterns if any(map(pattern.search, spoken))), ARTERIAL)


def least_excluded() -> dict[tuple[int, int], int]:
    """Table and item -> the least level of a specimen of which its values do not count."""
    levels: dict[tuple[int, int], int] = {}
    analyser = specimen().analyser.get("mimic4", {})
    for variable in variables().values():
        level = OTHER_BLOOD if variable.arterial else FLUID
        if variable.kind in _SAMPLED:
            levels |= {(len(TABLES) - 1, int(item)): level for item in variable.items["loinc"]["observations"]}
        for number, table in enumerate(TABLES[:-1]):
            items = set(variable.items.get("mimic4", {}).get(table, {})) & set(analyser.get(table, ()))
            levels |= {(number, int(item)): level for item in items}
    return levels
