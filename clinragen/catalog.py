"""Variables and phenotypes, read from ``configs/concepts``: the only way code learns an item id, a unit or a label."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from clinragen import label_sets
from clinragen.config import CONFIG_ROOT
from clinragen.errors import UserError, unknown_choice
from clinragen.label_sets import Phenotype


@dataclass(frozen=True)
class Variable:
    """A bedside or laboratory variable. ``low``/``high`` bound the adult reference range in ``unit``."""

    key: str
    label: str
    kind: str
    unit: str
    loinc: str
    low: float | None
    high: float | None
    source: str
    plausible: tuple[float, float]
    decimals: int
    bin: str = "last"
    accepts: dict[str, tuple[float, float]] = field(default_factory=dict, hash=False)
    rescale: tuple[dict[str, Any], ...] = field(default=(), hash=False)
    sum_of: tuple[str, ...] = ()  # other variables whose sum it is
    texts: dict[str, float] = field(default_factory=dict, hash=False)  # lower-case entry in words -> value
    #: release -> table -> {item id: unit or None (canonical)}, in order of priority
    items: dict[str, dict[str, dict[int | str, str | None]]] = field(default_factory=dict, hash=False)

    def direction(self, value: float) -> int:
        """-1 below, 0 within, +1 above the reference range.

        >>> variable("potassium").direction(6.1)
        1
        """
        value = round(value, self.decimals + 3)  # a stored float32 1.2 reads 1.2000000477, which is not above 1.2
        if self.low is not None and value < self.low:
            return -1
        if self.high is not None and value > self.high:
            return 1
        return 0

    def format(self, value: float) -> str:
        """The value with its unit, as written in text.

        >>> variable("creatinine").format(3.24)
        '3.2 mg/dL'
        """
        number = f"{value:.{self.decimals}f}"
        unit = "" if self.unit in ("score", "ratio", "units", "flag") else self.unit
        return f"{number}{unit}" if unit == "%" else f"{number} {unit}".rstrip()


@cache
def variables() -> dict[str, Variable]:
    """All variables by key, in file order."""
    path = CONFIG_ROOT / "concepts" / "variables.yaml"
    raw = _read(path)
    sources = raw["sources"]
    found: dict[str, Variable] = {}
    for key, row in raw["variables"].items():
        if row["source"] not in sources:
            raise UserError(f"{path}: variables.{key}.source '{row['source']}' is not among the sources")
        items = {
            release: {table: _items(ids) for table, ids in tables.items()}
            for release, tables in (row.get("items") or {}).items()
        }
        found[key] = Variable(
            key=key,
            label=row["label"],
            kind=row["kind"],
            unit=row["unit"],
            loinc=row["loinc"],
            low=row["reference"][0],
            high=row["reference"][1],
            source=sources[row["source"]],
            plausible=(row["plausible"][0], row["plausible"][1]),
            decimals=row["decimals"],
            bin=row.get("bin", "last"),
            accepts={unit: (pair[0], pair[1]) for unit, pair in (row.get("accepts") or {}).items()},
            rescale=tuple(row.get("rescale") or ()),
            sum_of=tuple(row.get("sum_of") or ()),
            texts={words.lower(): float(value) for words, value in (row.get("texts") or {}).items()},
            items=items,
        )
    return found


def _read(path: Path) -> dict[str, Any]:
    # ten times as fast as with OmegaConf, which every command would wait for
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load(path.read_text(encoding="utf-8"), loader)  # noqa: S506 (both loaders are safe)


def _items(ids: list[Any]) -> dict[int | str, str | None]:
    return {(i["item"] if isinstance(i, dict) else i): (i["unit"] if isinstance(i, dict) else None) for i in ids}


def phenotypes() -> dict[str, Phenotype]:
    """The labels by key, in file order, which is that of every label vector: the 25, unless others are in force."""
    return label_sets.in_force()


def variable(key: str) -> Variable:
    """One variable; an unknown key lists the valid ones."""
    try:
        return variables()[key]
    except KeyError:
        raise unknown_choice("variable", key, variables()) from None
