"""Variables and phenotypes from ``configs/concepts``, the only source of item ids, units and labels."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypedDict

import yaml

from clinragen import label_sets
from clinragen.config import CONFIG_ROOT
from clinragen.errors import UserError, unknown_choice
from clinragen.label_sets import LabelSet, Phenotype

#: What a variable is. Sizes of the ``body`` alone make no series of a stay.
VariableKind = Literal["body", "coma", "gas", "lab", "output", "ventilation", "vital"]
#: How several values of an hour become one.
Bin = Literal["last", "sum"]

_CATALOGUE = CONFIG_ROOT / "concepts" / "variables.yaml"


class Rescale(TypedDict):
    """Values from ``min`` to ``max`` are taken to be in ``unit``, even if the row states another."""

    min: float
    max: float
    unit: str


@dataclass(frozen=True)
class Ratio:
    """One variable over another: the last value of ``of[1]`` at or up to ``hours`` before each one of ``of[0]``."""

    of: tuple[str, str]
    scale: float
    hours: float


@dataclass(frozen=True)
class Specimen:
    """What sample a blood gas analyser was given: rows of ``items`` say it about the rows of ``analyser``."""

    items: dict[str, dict[str, tuple[int, ...]]]  # release -> table -> item ids
    analyser: dict[str, dict[str, tuple[int, ...]]]
    arterial: re.Pattern[str]
    unknown: re.Pattern[str]
    fluid: re.Pattern[str]

    def level(self, text: str | None) -> int:
        """0 arterial blood or unknown, 1 other blood, 2 no blood.

        >>> [specimen().level(text) for text in ("ART.", None, "CENTRAL VENOUS.", "PLEURAL")]
        [0, 0, 1, 2]
        """
        if text is None or self.arterial.match(text) or self.unknown.match(text):
            return 0
        return 2 if self.fluid.search(text) else 1


@dataclass(frozen=True)
class Variable:
    """A bedside or laboratory variable. ``low``/``high`` bound the adult reference range in ``unit``."""

    key: str
    label: str
    kind: VariableKind
    unit: str
    loinc: str
    low: float | None
    high: float | None
    source: str
    plausible: tuple[float, float]
    decimals: int
    bin: Bin = "last"
    accepts: dict[str, tuple[float, float]] = field(default_factory=dict, hash=False)
    rescale: tuple[Rescale, ...] = field(default=(), hash=False)
    sum_of: tuple[str, ...] = ()  # other variables whose sum it is
    ratio_of: Ratio | None = None
    arterial: bool = False  # of arterial blood only
    untestable: re.Pattern[str] | None = field(default=None, hash=False)  # entries that say it could not be tested
    #: release -> table -> what flowed in with, and out again: {"in": item ids, "out": item ids}
    irrigation: dict[str, dict[str, dict[str, tuple[int, ...]]]] = field(default_factory=dict, hash=False)
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

    def written(self, value: float) -> float:
        """The number that ``format`` writes: rounded to the variable's decimals, a tie to the even digit.

        >>> variable("inr").written(1.25), variable("inr").written(1.75)
        (1.2, 1.8)
        """
        return round(value, self.decimals)

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
    path = _CATALOGUE
    raw = _catalogue()
    sources = raw["sources"]
    by_key: dict[str, Variable] = {}
    for key, row in raw["variables"].items():
        if row["source"] not in sources:
            raise UserError(f"{path}: variables.{key}.source '{row['source']}' is not among the sources")
        items = {
            release: {table: _items(ids) for table, ids in tables.items()}
            for release, tables in (row.get("items") or {}).items()
        }
        by_key[key] = Variable(
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
            ratio_of=_ratio(row.get("ratio_of")),
            arterial=bool(row.get("arterial")),
            untestable=re.compile(row["untestable"], re.IGNORECASE) if row.get("untestable") else None,
            irrigation={
                release: {table: {way: tuple(ids) for way, ids in ways.items()} for table, ways in tables.items()}
                for release, tables in (row.get("irrigation") or {}).items()
            },
            texts={words.lower(): float(value) for words, value in (row.get("texts") or {}).items()},
            items=items,
        )
    return by_key


@cache
def specimen() -> Specimen:
    """How the specimen of a blood gas is recognised."""
    raw = _catalogue()["specimen"]
    items, analyser = (
        {release: {table: tuple(ids) for table, ids in tables.items()} for release, tables in raw[key].items()}
        for key in ("items", "analyser")
    )
    words = {key: re.compile(raw[key], re.IGNORECASE) for key in ("arterial", "unknown", "fluid")}
    return Specimen(items, analyser, **words)


@cache
def _catalogue() -> dict[str, Any]:
    return read_data_file(_CATALOGUE)


def _ratio(row: dict[str, Any] | None) -> Ratio | None:
    return None if row is None else Ratio((row["of"][0], row["of"][1]), float(row["scale"]), float(row["hours"]))


def read_data_file(path: Path) -> dict[str, Any]:
    """One of the project's own YAML files: ten times as fast as ``config.load_yaml``, without its checks."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load(path.read_text(encoding="utf-8"), loader)  # noqa: S506 (both loaders are safe)


def _items(ids: list[Any]) -> dict[int | str, str | None]:
    return {(i["item"] if isinstance(i, dict) else i): (i["unit"] if isinstance(i, dict) else None) for i in ids}


def phenotypes() -> LabelSet:
    """The default label set, the 25 phenotypes; a cohort, graph or model may have other labels."""
    return label_sets.shipped()


def phenotype(name: str) -> Phenotype:
    """The one of the 25 phenotypes that is meant by a key, name, published name or synonym; see ``LabelSet.find``."""
    return phenotypes().find(name)


def variable(key: str) -> Variable:
    """One variable; an unknown key lists the valid ones."""
    try:
        return variables()[key]
    except KeyError:
        raise unknown_choice("variable", key, variables()) from None
