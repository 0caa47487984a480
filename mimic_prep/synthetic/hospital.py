"""Parameters of the synthetic hospital, read from ``configs/synthetic`` and checked once."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from typing import Literal, TypedDict, get_args

import numpy as np

from clinragen.catalog import phenotypes
from clinragen.catalog import variable as catalog_variable
from clinragen.config import CONFIG_ROOT, load_yaml
from clinragen.errors import UserError, unknown_choice

ROOT = CONFIG_ROOT / "synthetic"
FACTORS = ("age", "vascular", "lung", "liver", "frailty")
#: Where a condition is meant to be found; ``together`` only when both are read.
Channel = Literal["series", "note", "both", "together", "none"]
CHANNELS: tuple[Channel, ...] = get_args(Channel)
RELEASE = "mimic4"


@dataclass
class Variant:
    """One form a condition can take: its size of effect per variable, its names and its ICD codes by version."""

    weight: float = 1.0
    effects: dict[str, str] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    codes: dict[int, list[str]] = field(default_factory=dict)


@dataclass
class Condition:
    """A disease, decoy or distractor; the fields are explained at the top of ``conditions.yaml``."""

    key: str
    source: str
    prevalence: float
    given: dict[str, float] = field(default_factory=dict)
    requires: list[str] = field(default_factory=list)
    excludes: list[str] = field(default_factory=list)
    chronic: bool = False
    mimics: dict[str, list[str]] = field(default_factory=dict)
    planted: Channel = "none"
    series: float = 0.0
    note: float = 0.0
    acuity: float = 0.0
    onset: list[float] = field(default_factory=lambda: [-24.0, 6.0])
    rise: float = 6.0
    response: float = 0.0
    effects: dict[str, str] = field(default_factory=dict)
    jitter: dict[str, float] = field(default_factory=dict)
    variants: list[Variant] = field(default_factory=list)
    orders: list[str] = field(default_factory=list)
    vent: float = 0.0
    symptoms: list[str] = field(default_factory=list)
    signs: list[str] = field(default_factory=list)
    history: list[str] = field(default_factory=list)
    home: list[str] = field(default_factory=list)
    treatment: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    codes: dict[int, list[str]] = field(default_factory=dict)

    @property
    def is_phenotype(self) -> bool:
        """Whether it is one of the 25 labels."""
        return self.key in phenotypes()

    @property
    def forms(self) -> list[Variant]:
        """The variants, or the condition itself as its only one."""
        return self.variants or [Variant(effects=self.effects, names=self.names, codes=self.codes)]

    def all_names(self) -> list[str]:
        """Every name of the condition in notes."""
        return [name for form in self.forms for name in form.names]


@dataclass
class MeasuredVariable:
    """How one variable behaves and is measured; explained at the top of ``variables.yaml``."""

    key: str
    bounds: list[float]
    noise: float
    center: float = 0.0
    between: float = 0.0
    drift: float = 0.0
    log: bool = False
    derived: bool = False


@dataclass
class ChartingPlan:
    """Variables charted together at the bedside."""

    every: float
    variables: list[str]
    missing: float
    when: str = "always"
    line: bool = False


@dataclass
class Panel:
    """Laboratory tests drawn together."""

    ordered: float
    sick: float
    every: float
    variables: list[str]


class Sign(TypedDict):
    """A sign on examination: the system it is found in, and its wordings."""

    system: str
    say: list[str]


class BodySystem(TypedDict):
    """A line of an examination: its heading, and wordings when nothing is found."""

    heading: str
    normal: list[str]


@dataclass
class Lexicon:
    """The words of notes; explained in ``lexicon.yaml``. Lists are wordings of which one is drawn."""

    symptoms: dict[str, list[str]]
    general_complaints: list[str]
    denied: list[str]
    signs: dict[str, Sign]
    systems: dict[str, BodySystem]
    opening: list[str]
    background: list[str]
    no_background: list[str]
    duration: list[str]
    further: list[str]
    denial: list[str]
    setting: list[str]
    family: list[str]
    social: list[str]
    smoking: list[str]
    drinking: list[str]
    no_history: list[str]
    no_medicines: list[str]
    other_medicines: list[str]
    allergies: list[str]
    procedures: dict[str, str]
    course: list[str]
    course_chronic: list[str]
    ruled_out: list[str]
    response: dict[Literal["good", "fair", "poor"], str]
    condition: list[str]
    instructions: list[str]


@dataclass
class Substitution:
    """A drug that is ordered in place of another; the fields are explained at the top of ``orders.yaml``."""

    drug: str
    instead: str
    source: str
    conditions: list[str] = field(default_factory=list)
    allergy: str | None = None
    because: Literal["allergy", "kidney"] | None = None


@dataclass(frozen=True)
class Hospital:
    """Everything a worker needs. ``state`` are the variables with a trajectory of their own, in row order."""

    conditions: dict[str, Condition]
    sources: dict[str, str]
    measured: dict[str, MeasuredVariable]
    charts: list[ChartingPlan]
    panels: dict[str, Panel]
    units: dict[str, dict[str, str]]
    lexicon: Lexicon
    routine: list[str]
    substitutions: list[Substitution]
    state: list[str]

    def effect(self, form: Variant) -> np.ndarray:
        """Shift of each state variable at severity 1, shape (state,), logarithmic where the variable is."""
        shift = np.zeros(len(self.state))
        for name, text in form.effects.items():
            shift[self.state.index(name)] = parse_effect(text, self.measured[name])
        return shift

    def items(self, name: str, table: str) -> list[int]:
        """Item ids of a variable in a table, in the catalogue's order of priority."""
        return [int(item) for item in catalog_variable(name).items.get(RELEASE, {}).get(table, {})]


def parse_effect(text: str, measured: MeasuredVariable) -> float:
    """Read "+5", "-5" or "x2" for a variable.

    >>> parse_effect("x2", MeasuredVariable("bun", [0, 9], 0, log=True)) == float(np.log(2))
    True

    Raises:
        UserError: malformed, or "x" for a variable that is not logarithmic, or the reverse.
    """
    match = re.fullmatch(r"([x+-])(\d+(?:\.\d+)?)", text)
    if not match or (match[1] == "x") != measured.log:
        target = "xN" if measured.log else "+N or -N"
        raise UserError(f"{ROOT / 'conditions.yaml'}: effect '{text}' on {measured.key}: expected {target}")
    size = float(match[2])
    return float(np.log(size)) if measured.log else size * (-1 if match[1] == "-" else 1)


def _record[T](kind: type[T], row: Mapping[str, object], where: str) -> T:
    """One row of a file as a dataclass. (OmegaConf's check of each row would dominate a worker's start-up time.)"""
    names = {entry.name: entry for entry in fields(kind)}  # type: ignore[arg-type]
    for key in row:
        if key not in names:
            raise UserError(f"{where}: {unknown_choice('key', key, names)}")
    for name, entry in names.items():
        if name not in row and entry.default is MISSING and entry.default_factory is MISSING:
            raise UserError(f"{where}: key '{name}' is missing")
    return kind(**row)


def _known(names: list[str], choices: Collection[str], what: str, where: str) -> None:
    for name in names:
        if name not in choices:
            raise UserError(f"{ROOT / 'conditions.yaml'}: {where}: {unknown_choice(what, name, choices)}")


@cache
def load() -> Hospital:
    """Read and check the files.

    Raises:
        UserError: unknown key, variable, panel, term or source; an effect on a derived variable; a condition used
            before it is drawn.
    """
    raw = load_yaml(ROOT / "conditions.yaml")
    charts = load_yaml(ROOT / "variables.yaml")
    lexicon = _record(Lexicon, load_yaml(ROOT / "lexicon.yaml"), str(ROOT / "lexicon.yaml"))
    measured = {
        key: _record(MeasuredVariable, {"key": key, **row}, f"{ROOT / 'variables.yaml'}: {key}")
        for key, row in charts["variables"].items()
    }
    panels = {
        key: _record(Panel, row, f"{ROOT / 'variables.yaml'}: panels.{key}") for key, row in charts["panels"].items()
    }
    state = [key for key, row in measured.items() if not row.derived]
    conditions: dict[str, Condition] = {}
    for key, row in raw["conditions"].items():
        where = f"{ROOT / 'conditions.yaml'}: {key}"
        condition = _record(Condition, {"key": key, **row}, where)
        condition.variants = [_record(Variant, form, where) for form in row.get("variants", [])]
        _known([condition.source], raw["sources"], "source", key)
        _known([condition.planted], CHANNELS, "channel", key)
        _known([*condition.given], [*FACTORS, *conditions], "earlier condition or factor", f"{key}.given")
        _known([*condition.requires, *condition.excludes], conditions, "earlier condition", key)
        _known([*condition.mimics], ("series", "note"), "channel", f"{key}.mimics")
        for imitated in condition.mimics.values():
            _known(imitated, phenotypes(), "phenotype", f"{key}.mimics")
        _known(condition.symptoms, lexicon.symptoms, "symptom", key)
        _known(condition.signs, lexicon.signs, "sign", key)
        _known(condition.orders, [*panels, "arterial_line", "cvp", "oxygen"], "panel", key)
        for form in condition.forms:
            _known([*form.effects, *condition.jitter], state, "variable", key)
            for name, text in form.effects.items():
                parse_effect(text, measured[name])
        conditions[key] = condition
    _known([*phenotypes()], conditions, "phenotype without a condition", "conditions")
    orders = load_yaml(ROOT / "orders.yaml")
    rules = [_record(Substitution, row, f"{ROOT / 'orders.yaml'}: rules") for row in orders["rules"]]
    for rule in rules:
        _known([rule.source], orders["sources"], "source", f"orders.yaml: {rule.drug}")
        _known(rule.conditions, conditions, "condition", f"orders.yaml: {rule.drug}")
        _known([rule.allergy] if rule.allergy else [], lexicon.allergies, "allergy", f"orders.yaml: {rule.drug}")
    return Hospital(
        conditions=conditions,
        sources=raw["sources"],
        measured=measured,
        charts=[_record(ChartingPlan, row, f"{ROOT / 'variables.yaml'}: charts") for row in charts["charts"]],
        panels=panels,
        units=charts["units"],
        lexicon=lexicon,
        routine=orders["routine"],
        substitutions=rules,
        state=state,
    )
