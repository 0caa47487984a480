"""Meaning of the codes of a MEDS dataset: regular expressions in ``configs/meds``, tried in order."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal, NotRequired, TypedDict, cast, get_args

import polars as pl

from clinragen import config
from clinragen.catalog import Variable, variables
from clinragen.errors import UserError
from mimic_prep.qualify import companions
from mimic_prep.releases.meds.tables import EVENTS, INFUSIONS, MEDS, OBSERVATIONS, PROCEDURES, by_code
from mimic_prep.tables import EventTable
from mimic_prep.unit_conversion import conversion
from mimic_prep.unit_screen import variable_of

_NOTHING = "UNK"  # MIMIC-IV's conversion writes this for an empty cell


@dataclass
class Codes:
    """``configs/meds/default.yaml``: regular expressions by what they find."""

    stay_start: list[str] = field(default_factory=list)
    stay_end: list[str] = field(default_factory=list)
    admission_start: list[str] = field(default_factory=list)
    admission_end: list[str] = field(default_factory=list)
    death: list[str] = field(default_factory=list)
    birth: list[str] = field(default_factory=list)
    sex: list[str] = field(default_factory=list)
    diagnosis: list[str] = field(default_factory=list)
    specimen: list[str] = field(default_factory=list)
    result: list[str] = field(default_factory=list)
    measurement: list[str] = field(default_factory=list)
    not_given: list[str] = field(default_factory=list)
    drug: list[str] = field(default_factory=list)
    infusion_start: list[str] = field(default_factory=list)
    infusion_end: list[str] = field(default_factory=list)
    infusion_weight: list[str] = field(default_factory=list)
    procedure_start: list[str] = field(default_factory=list)
    procedure_end: list[str] = field(default_factory=list)
    stay_columns: list[str] = field(default_factory=list)
    admission_columns: list[str] = field(default_factory=list)
    known_columns: list[str] = field(default_factory=list)
    order_columns: list[str] = field(default_factory=list)
    status_columns: list[str] = field(default_factory=list)


#: Kinds of events, in the order in which their patterns are tried.
Kind = Literal[
    "stay_start", "stay_end", "admission_start", "admission_end", "death", "birth", "sex", "diagnosis", "specimen",
    "result", "measurement", "not_given", "drug", "infusion_start", "infusion_end", "infusion_weight",
    "procedure_start", "procedure_end",
]  # fmt: skip
KINDS: tuple[Kind, ...] = get_args(Kind)
_MEASURED = ("specimen", "result", "measurement")
_LASTING: dict[Kind, EventTable] = {
    "infusion_start": INFUSIONS, "infusion_end": INFUSIONS, "infusion_weight": INFUSIONS,
    "procedure_start": PROCEDURES, "procedure_end": PROCEDURES,
}  # fmt: skip


def load_codes(name: str) -> Codes:
    """The shipped patterns (``default``), or the user's YAML file."""
    return config.load("meds", name, Codes)


def head(code: str) -> str:
    """The leading parts of a code, for messages: at most two, without numbers and free text.

    >>> head("LAB//OUTCOME//50912//mg/dL"), head("LAB//220045//bpm"), head("Blood pressure (sitting)")
    ('LAB//OUTCOME', 'LAB', 'Blood')
    """
    words = [re.match(r"[A-Za-z][A-Za-z0-9_]{0,30}", part) for part in code.split("//")[:2]]
    return "//".join(word[0] for word in words if word) or "(other)"


class Meaning(TypedDict):
    """What a code holds, beside its kind (None for unknown codes): a measurement's table, item and unit, and others."""

    kind: Kind | None
    table: NotRequired[str]
    item: NotRequired[int]
    unit: NotRequired[str | None]
    version: NotRequired[str]
    code: NotRequired[str]
    type: NotRequired[str]
    place: NotRequired[str]
    disposition: NotRequired[str]
    sex: NotRequired[str]
    drug: NotRequired[str]


class Vocabulary:
    """Meanings of codes.

    Raises:
        UserError: a pattern is no regular expression.
    """

    def __init__(self, codes: Codes) -> None:
        self.codes = codes
        self._patterns: list[tuple[Kind, re.Pattern[str]]] = []
        for kind in KINDS:
            for pattern in getattr(codes, kind):
                try:
                    self._patterns.append((kind, re.compile(pattern)))
                except re.error as error:
                    raise UserError(f"codes of MEDS: {kind}: '{pattern}' is no regular expression ({error})") from None
        self._items: dict[int, str] = {}
        self._home: dict[str, tuple[str, int]] = {}  # variable -> its table and item
        self._loinc: dict[str, str] = {}
        for key, variable in variables().items():
            for table, items in variable.items.get(MEDS.items, {}).items():
                for item in items if table not in (INFUSIONS.table.name, PROCEDURES.table.name) else ():
                    self._items[int(item)] = table
                    self._home.setdefault(key, (table, int(item)))
            if key in by_code():
                self._home[key] = OBSERVATIONS.table.name, by_code()[key]
            if key in self._home and variable.loinc:
                self._loinc.setdefault(variable.loinc, key)

        for source in EVENTS:
            self._items |= dict.fromkeys(companions(MEDS.items, source.table.name), source.table.name)

    def read(self, code: str) -> Meaning:
        """What a code means."""
        for kind, pattern in self._patterns:
            match = pattern.match(code)
            if match:
                named = {name: value for name, value in match.groupdict().items() if value not in (None, _NOTHING)}
                if kind in _MEASURED:
                    return self._measured(kind, named)
                if kind in _LASTING:
                    return self._lasts(kind, named)
                if kind == "drug" and "drug" not in named:
                    return {"kind": None}
                return cast(Meaning, {"kind": kind, **named})  # the groups of a pattern bear the names of the keys
        return {"kind": None}

    def _lasts(self, kind: Kind, named: dict[str, str]) -> Meaning:
        """The start or end of a treatment that a variable in use is read from; the weight is of no item."""
        table = _LASTING[kind].table.name
        items = variable_of(MEDS.items, table)
        if kind == "infusion_weight":
            return {"kind": kind if items else None}
        item = int(named["item"]) if named.get("item", "").isdecimal() else None
        if item is None or item not in items:
            return {"kind": None}
        return {"kind": kind, "table": table, "item": item, "unit": named.get("unit")}

    def _measured(self, kind: Kind, named: dict[str, str]) -> Meaning:
        unit = named.get("unit")
        if "item" in named:
            item = int(named["item"])
            table = self._items.get(item)
            return {"kind": kind, "table": table, "item": item, "unit": unit} if table else {"kind": None}
        key = self._loinc.get(named["loinc"]) if "loinc" in named else named.get("key")
        if key not in self._home:
            return {"kind": None}
        table, item = self._home[key]
        return {"kind": kind, "table": table, "item": item, "unit": _unit(variables()[key], unit)}

    def table(self, codes: list[str]) -> pl.DataFrame:
        """code, kind and content, one row for each of the distinct ``codes``."""
        rows = [{**self.read(code), "event": code} for code in codes]
        columns = ("event", "kind", "table", "unit", "version", "code", "type", "place", "disposition", "sex", "drug")
        table = pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String) | {"item": pl.Int64})
        return table.rename({"code": "icd"}).rename({"event": "code"})


def _unit(variable: Variable, unit: str | None) -> str:
    """The unit; the variable's canonical one if the code names no known unit."""
    return unit if unit and conversion(variable, unit) else variable.unit
