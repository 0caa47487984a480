"""Variables and phenotypes from ``configs/concepts``, the only source of item ids, units and labels.

A user may add variables of one's own (``clinragen.added_variables``). A process then also has those of every cohort and
model that it opened; a name has one meaning in it. A preparation has exactly those that it was asked for (``only``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypedDict, cast

import yaml

from clinragen import label_sets
from clinragen.config import CONFIG_ROOT
from clinragen.errors import UserError, unknown_choice
from clinragen.label_sets import LabelSet, Phenotype

#: What a variable is. Sizes of the ``body`` alone make no series of a stay.
VariableKind = Literal["body", "coma", "gas", "lab", "output", "treatment", "ventilation", "vital"]
#: How several values of an hour become one.
Bin = Literal["last", "sum"]

#: Item ids of ``observations`` for variables without a LOINC code begin here, above all codes.
_WITHOUT_LOINC = 10_000_000
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
    weighted_sum_of: dict[str, float] = field(default_factory=dict, hash=False)  # others, where any of them is there
    ratio_of: Ratio | None = None
    arterial: bool = False  # of arterial blood only
    loinc_also: tuple[str, ...] = ()  # further codes of the same quantity
    untestable: re.Pattern[str] | None = field(default=None, hash=False)  # entries that say it could not be tested
    #: release -> table -> what flowed in with, and out again: {"in": item ids, "out": item ids}
    irrigation: dict[str, dict[str, dict[str, tuple[int, ...]]]] = field(default_factory=dict, hash=False)
    texts: dict[str, float] = field(default_factory=dict, hash=False)  # lower-case entry in words -> value
    #: release -> table -> {item id: unit or None (canonical)}, by priority; ``loinc``: of ``loinc_item``
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
def shipped_variables() -> dict[str, Variable]:
    """The variables of ``configs/concepts/variables.yaml`` by key, in file order."""
    sources = shipped_sources()
    by_key: dict[str, Variable] = {}
    for key, row in _catalogue()["variables"].items():
        if row["source"] not in sources:
            raise UserError(f"{_CATALOGUE}: variables.{key}.source '{row['source']}' is not among the sources")
        by_key[key] = variable_of(key, row, sources[row["source"]], len(by_key))
    return by_key


@cache
def shipped_sources() -> dict[str, str]:
    """The works that the catalogue takes reference ranges from, by key."""
    return _catalogue()["sources"]


def variable_of(key: str, row: Mapping[str, Any], source: str, position: int) -> Variable:
    """A variable from its entry in the form of ``variables.yaml``, which is not checked.

    Args:
        key: its key.
        row: its entry.
        source: the work that its reference range is from, in full.
        position: its place in the catalogue, which makes an item id for a variable without a LOINC code.
    """
    items = {
        release: {table: _items(ids) for table, ids in tables.items()}
        for release, tables in (row.get("items") or {}).items()
    }
    also = tuple(row.get("loinc_also") or ())
    codes = [code for code in (row["loinc"], *also) if code]
    ids = [loinc_item(code) for code in codes] or [_WITHOUT_LOINC + position]
    items["loinc"] = {"observations": dict.fromkeys(ids)}
    if row["kind"] == "treatment":  # tables that are written while an export is read
        items["loinc"]["infusions"] = dict.fromkeys(ids[:1])
        if row["unit"] != "flag" and row.get("bin") != "sum":
            items["loinc"]["rates"] = dict.fromkeys(ids[:1])
    return Variable(
        key=key,
        label=row["label"],
        kind=row["kind"],
        unit=row["unit"],
        loinc=row["loinc"] or "",
        loinc_also=also,
        low=row["reference"][0],
        high=row["reference"][1],
        source=source,
        plausible=(row["plausible"][0], row["plausible"][1]),
        decimals=row["decimals"],
        bin=row.get("bin") or "last",
        accepts={unit: (pair[0], pair[1]) for unit, pair in (row.get("accepts") or {}).items()},
        rescale=tuple(row.get("rescale") or ()),
        sum_of=tuple(row.get("sum_of") or ()),
        weighted_sum_of=dict(row.get("weighted_sum_of") or {}),
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


#: What a variable means wherever it is read; item ids and conversions matter only where it is prepared.
_MEANING = ("label", "kind", "unit", "low", "high", "plausible", "decimals", "bin")


@dataclass
class _Added:
    """The variables that this process has beside the shipped ones, and spellings of units."""

    variables: dict[str, Variable] = field(default_factory=dict)
    ucum: dict[str, tuple[str, ...]] = field(default_factory=dict)
    origin: dict[str, str] = field(default_factory=dict)  # variable -> where it was read first
    digest: str = ""  # of what a preparation was asked for


_in_use = _Added()
_forget: list[Callable[[], None]] = []


def per_catalogue[**P, R](function: Callable[P, R]) -> Callable[P, R]:
    """As ``functools.cache``, of a function that depends on the variables: it forgets when any are added."""
    cached = cache(function)
    _forget.append(cached.cache_clear)
    return cast(Callable[P, R], cached)


def add(added: Mapping[str, Variable], ucum: Mapping[str, tuple[str, ...]], origin: str) -> None:
    """Add variables to those of this process; those that are there with the same meaning stay.

    Args:
        added: by key.
        ucum: further spellings of units, as ``ucum_spellings``.
        origin: where they were read, for errors.

    Raises:
        UserError: a key has another meaning in this process.
    """
    for key, variable in added.items():
        there = variables().get(key)
        if there is not None and (
            differs := [name for name in _MEANING if getattr(there, name) != getattr(variable, name)]
        ):
            raise UserError(
                f"{origin}: its variable {key} is not that of {_in_use.origin.get(key, 'the catalogue')} (differs in: "
                f"{', '.join(differs)}): prepare the cohort with the definition that the model was trained with"
            )
    fresh = {key: variable for key, variable in added.items() if key not in variables()}
    if not fresh and not set(ucum) - set(_in_use.ucum):
        return
    _use(
        _Added(
            {**_in_use.variables, **fresh}, {**ucum, **_in_use.ucum}, {**dict.fromkeys(fresh, origin), **_in_use.origin}
        )
    )


@contextmanager
def only(added: Mapping[str, Variable], ucum: Mapping[str, tuple[str, ...]], digest: str) -> Iterator[None]:
    """Within it, the process has the shipped variables and exactly these; afterwards those that it had before.

    Args:
        added: by key.
        ucum: further spellings of units, as ``ucum_spellings``.
        digest: of their definitions; empty for none.
    """
    before = _in_use
    _use(_Added(dict(added), dict(ucum), dict.fromkeys(added, "--variables"), digest))
    try:
        yield
    finally:
        _use(before)


def _use(added: _Added) -> None:
    global _in_use
    before, _in_use = _in_use, added
    if (before.variables, before.ucum) != (added.variables, added.ucum):
        for forget in _forget:
            forget()


def added_digest() -> str:
    """The digest of the variables that a preparation was asked for; empty for none."""
    return _in_use.digest


@per_catalogue
def variables() -> dict[str, Variable]:
    """All variables by key: the shipped ones in file order, then those added."""
    return {**shipped_variables(), **_in_use.variables}


def loinc_item(code: str) -> int:
    """A LOINC code as an item id of the table ``observations``: its digits.

    >>> loinc_item("8867-4")
    88674
    """
    return int(code.replace("-", ""))


@per_catalogue
def loinc_variables() -> dict[str, str]:
    """LOINC code -> variable.

    Raises:
        UserError: a code of two variables.
    """
    by_code: dict[str, str] = {}
    for key, variable in variables().items():
        for code in (variable.loinc, *variable.loinc_also):
            if code and by_code.setdefault(code, key) != key:
                raise UserError(f"{_CATALOGUE}: variables.{key}: the code {code} is that of {by_code[code]}, too")
    return by_code


@per_catalogue
def ucum_spellings() -> dict[str, tuple[str, ...]]:
    """UCUM unit, or a usual misspelling of it -> its spellings in the catalogue."""
    shipped = {
        unit: tuple(spelt) if isinstance(spelt, list) else (spelt,) for unit, spelt in _catalogue()["ucum"].items()
    }
    return {unit: (*shipped.get(unit, ()), *_in_use.ucum.get(unit, ())) for unit in {**shipped, **_in_use.ucum}}


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
