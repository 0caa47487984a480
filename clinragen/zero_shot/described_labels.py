"""Labels that are described, not learned: from a file, or those of a label set."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clinragen import config, label_sets
from clinragen.errors import UserError, near_name, unknown_choice
from clinragen.label_sets import Phenotype

_FIELDS = ("name", "synonyms", "description", "concepts")
_KEY = re.compile(r"[a-z][a-z0-9_]*")
_FILES = (".yaml", ".yml", ".json")
_ROOT, _LABEL_SET = "described_labels", "labels"  # the key at the top of a file, and of one that is a label set


@dataclass(frozen=True)
class DescribedLabel:
    """One label.

    Attributes:
        key: its name in tables.
        name: its name in words.
        synonyms: other names.
        description: free text, as one would describe a patient who has it.
        concepts: names or ids of concepts of the graph that belong to it.
        codes: the diagnosis codes of a label of a label set.
    """

    key: str
    name: str
    synonyms: tuple[str, ...] = ()
    description: str = ""
    concepts: tuple[str, ...] = ()
    codes: Phenotype | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The name and the synonyms, each once."""
        return tuple(dict.fromkeys([self.name, *self.synonyms]))


def read(given: str | Path) -> list[DescribedLabel]:
    """The labels of a file, or of a label set.

    Args:
        given: YAML or JSON file of descriptions, or a label set: a shipped name, or a YAML file.

    Raises:
        UserError: no such set or file, or a malformed label, with its key.
    """
    path = Path(given)
    if path.suffix.lower() not in _FILES:
        names = [label_sets.DEFAULT, *config.names("labels")]
        if str(given) not in names:
            raise unknown_choice("label set", given, [*names, "a YAML or JSON file"])
        return _of_set(str(given))
    content = config.load_yaml(path)
    if list(content) == [_LABEL_SET]:
        return _of_set(str(path))
    if unknown := [key for key in content if key != _ROOT]:
        raise UserError(
            f"{path}: unknown key '{unknown[0]}'; expected '{_ROOT}:' alone, or the '{_LABEL_SET}:' of a set"
        )
    rows = content.get(_ROOT)
    if not isinstance(rows, Mapping) or not rows:
        raise UserError(
            f"{path}: expected '{_ROOT}:' with one entry for each label, such as "
            "pulmonary_embolism: {name: pulmonary embolism, synonyms: [PE]}"
        )
    return [_label(str(key), row, f"{path}: {_ROOT}.{key}") for key, row in rows.items()]


def _of_set(name: str) -> list[DescribedLabel]:
    return [
        DescribedLabel(key, label.name, label.published, codes=label) for key, label in label_sets.load(name).items()
    ]


def _label(key: str, row: Any, where: str) -> DescribedLabel:
    if not _KEY.fullmatch(key):
        raise UserError(f"{where}: a key is made of small letters, digits and underscores")
    if not isinstance(row, Mapping):
        raise UserError(f"{where}: expected a mapping with {', '.join(_FIELDS)}")
    if unknown := [str(field) for field in row if field not in _FIELDS]:
        raise UserError(
            f"{where}.{unknown[0]} is unknown{near_name(unknown[0], _FIELDS) or ';'} valid keys here: "
            f"{', '.join(_FIELDS)}"
        )
    name = row.get("name", key.replace("_", " "))
    if not isinstance(name, str) or not name.strip():
        raise UserError(f"{where}.name: expected the name of the label in words")
    description = row.get("description") or ""
    if not isinstance(description, str):
        raise UserError(f"{where}.description: expected text")
    return DescribedLabel(
        key,
        " ".join(name.split()),
        _texts(row, "synonyms", where),
        " ".join(description.split()),
        _texts(row, "concepts", where),
    )


def _texts(row: Mapping[str, Any], field: str, where: str) -> tuple[str, ...]:
    values = row.get(field) or []
    if not isinstance(values, list) or not all(isinstance(value, str) and value.strip() for value in values):
        raise UserError(f"{where}.{field}: expected a list of names, such as [one, another]")
    return tuple(" ".join(value.split()) for value in values)
