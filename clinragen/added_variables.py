"""Variables of one's own, beside those of the catalogue: a user's YAML file, and the same in manifests.

An :class:`AddedVariables` is a value. A cohort stores it in its manifest, a model in its ``clinragen.json``,
predictions in their manifest; whoever opens one of them has its variables (``opened``), so the file is given once.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, cast, get_args

from clinragen import catalog, config
from clinragen.artifacts import sha256_json
from clinragen.catalog import Bin, Variable, VariableKind, variable_of
from clinragen.errors import UserError, unknown_choice

#: Key of the manifests that hold them.
MANIFEST = "added_variables"
FOLDER = "variables"  # of configs: variables that are shipped, but not part of the catalogue
DIRECTIONS = ("high", "low", "rising", "falling")
_KEY = re.compile(r"[a-z][a-z0-9_]{0,59}")
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ,()/'+-]{0,79}")
_UNIT = re.compile(r"\S(.{0,28}\S)?")
_LOINC = re.compile(r"\d{1,5}-\d|\d{6}-\d")
_TOP = ("sources", "ucum", "variables")
_REQUIRED = ("label", "kind", "unit", "loinc", "reference", "source", "plausible", "decimals")
_OPTIONAL = ("loinc_also", "accepts", "rescale", "texts", "sum_of", "weighted_sum_of", "ratio_of", "arterial",
             "untestable", "bin", "items", "findings")  # fmt: skip
_FINDING = ("name", "definition", "synonyms", "hpo", "icd10", "suggests")
_MOST_DECIMALS = 6


@dataclass(frozen=True)
class AddedVariables:
    """Variables beside the catalogue's.

    Attributes:
        rows: their entries by key, in the form of ``configs/concepts/variables.yaml``, and ``findings``.
        sources: the works that they cite, by key.
        ucum: further UCUM units and their spellings in the entries.
    """

    rows: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    ucum: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.rows)

    @cached_property
    def variables(self) -> dict[str, Variable]:
        """The variables by key."""
        first = len(catalog.shipped_variables())
        return {
            key: variable_of(key, row, self.sources[row["source"]], first + position)
            for position, (key, row) in enumerate(self.rows.items())
        }

    @cached_property
    def spellings(self) -> dict[str, tuple[str, ...]]:
        """UCUM unit -> spellings."""
        return {unit: tuple(spelt) for unit, spelt in self.ucum.items()}

    @property
    def findings(self) -> dict[str, Mapping[str, Any]]:
        """What values on either side and trends are called, by variable, for those that say so."""
        return {key: row["findings"] for key, row in self.rows.items() if row.get("findings")}

    def __or__(self, other: AddedVariables) -> AddedVariables:
        """Those of both; of a key in both, this one's."""
        return AddedVariables(
            {**other.rows, **self.rows}, {**other.sources, **self.sources}, {**other.ucum, **self.ucum}
        )

    def to_json(self) -> dict[str, Any]:
        """Their form in a manifest."""
        rows = {key: dict(row) for key, row in self.rows.items()}
        return {"variables": rows, "sources": dict(self.sources), "ucum": {k: list(v) for k, v in self.ucum.items()}}

    def marked(self) -> dict[str, Any]:
        """The entry of a manifest: empty without any, so that other manifests stay as they are."""
        return {MANIFEST: self.to_json()} if self else {}

    @property
    def digest(self) -> str:
        """A hash of them; empty without any."""
        return sha256_json(self.to_json()) if self else ""


NONE = AddedVariables()


def names() -> list[str]:
    """The files that are shipped: ``configs/variables``."""
    return config.names(FOLDER)


def load(given: Iterable[str]) -> AddedVariables:
    """The variables of YAML files, each a path or a shipped name.

    Raises:
        UserError: a file that cannot be read, or an entry that cannot be used, with file and key.
    """
    added = NONE
    for name in given:
        path = Path(name)
        if path.suffix not in (".yaml", ".yml"):
            if path.suffix or len(path.parts) > 1:
                raise UserError(
                    f"--variables {name}: expected a file that ends in .yaml, or one of {', '.join(names())}"
                )
            if name not in names():
                raise unknown_choice("file of variables", name, [*names(), "a YAML file"])
            path = config.CONFIG_ROOT / FOLDER / f"{name}.yaml"
        added = _Reader(config.load_yaml(path), str(path), added).read()
    return added


def of_manifest(manifest: Any, where: str, remedy: str = "prepare the cohort anew") -> AddedVariables:
    """The added variables of a manifest (of a cohort, a model, predictions); none if it has none.

    Args:
        manifest: as read from JSON.
        where: its file, for errors.
        remedy: what to do about a damaged one.

    Raises:
        UserError: the entry is damaged.
    """
    stored = manifest.get(MANIFEST) if isinstance(manifest, dict) else None
    if not stored:
        return NONE
    try:
        return _Reader(stored, f"{where}: {MANIFEST}", NONE).read()
    except UserError as error:
        raise UserError(f"{error}; {remedy}") from None


def opened(manifest: Any, where: str | Path, remedy: str = "prepare the cohort anew") -> AddedVariables:
    """As ``of_manifest``; and this process has them from now on.

    Raises:
        UserError: as there; or a variable of the same name with another meaning was opened before.
    """
    added = of_manifest(manifest, str(where), remedy)
    if added:
        catalog.add(added.variables, added.spellings, str(where))
    return added


class _Reader:
    """Checks one file, entry by entry; the first mistake is the error."""

    def __init__(self, content: Any, where: str, before: AddedVariables) -> None:
        self._content = content
        self._where = where
        self._before = before
        self._others = {**catalog.shipped_variables(), **before.variables}
        self._keys: set[str] = set(self._others)
        self._labels = {variable.label.casefold(): key for key, variable in self._others.items()}
        self._loinc = {
            code: key
            for key, variable in self._others.items()
            for code in (variable.loinc, *variable.loinc_also)
            if code
        }
        self._items = dict(_items_of(self._others))
        self._tables: dict[str, set[str]] = {}
        for (release, table, _), _ in _items_of(catalog.shipped_variables()):
            self._tables.setdefault(release, set()).add(table)
        for release, tables in TREATMENT_TABLES.items():
            self._tables.setdefault(release, set()).update(tables)
        for release, tables in catalog.specimen().items.items():
            for table, ids in tables.items():
                self._items |= {(release, table, item): "the specimen of blood gases" for item in ids}

    def read(self) -> AddedVariables:
        content = self._content
        if not isinstance(content, dict) or not isinstance(content.get("variables"), dict) or not content["variables"]:
            raise UserError(
                f"{self._where}: expected 'variables:' with one entry for each variable, in the form of "
                "configs/concepts/variables.yaml"
            )
        self._unknown(content, _TOP, self._where)
        sources = {**catalog.shipped_sources(), **self._before.sources, **self._texts(content, "sources")}
        ucum = {**self._before.ucum, **self._ucum(content)}
        rows = {str(key): row for key, row in content["variables"].items()}
        self._keys |= set(rows)
        for key, row in rows.items():
            self._row(key, row, f"{self._where}: variables.{key}", sources)
        cited = {row["source"] for row in rows.values()}
        return AddedVariables(
            {**self._before.rows, **rows}, {**self._before.sources, **{key: sources[key] for key in cited}}, ucum
        )

    def _row(self, key: str, row: Any, where: str, sources: Mapping[str, str]) -> None:
        if not _KEY.fullmatch(key):
            raise UserError(f"{where}: a key is made of small letters, digits and underscores, at most 60")
        if key in self._others:
            there = "the catalogue" if key in catalog.shipped_variables() else "another file"
            raise UserError(f"{where}: {there} has a variable of this name: choose another")
        if not isinstance(row, dict):
            raise UserError(f"{where}: expected a mapping with {', '.join(_REQUIRED)}")
        self._unknown(row, (*_REQUIRED, *_OPTIONAL), where)
        if missing := [name for name in _REQUIRED if name not in row]:
            raise UserError(f"{where}.{missing[0]} is missing")
        self._named(key, row, where)
        self._codes(key, row, where)
        if not isinstance(row["source"], str) or row["source"] not in sources:
            raise unknown_choice(f"source of {where}:", row["source"], sources)
        self._ranges(row, where)
        self._units(row, where)
        self._derived(key, row, where)
        self._ids(key, row, where)
        self._findings(row, where)

    def _unknown(self, row: dict[Any, Any], valid: Sequence[str], where: str) -> None:
        if alien := [str(name) for name in row if name not in valid]:
            raise UserError(f"{where}: {unknown_choice('key', alien[0], valid)}")

    def _texts(self, content: dict[Any, Any], name: str) -> dict[str, str]:
        texts = content.get(name) or {}
        if not isinstance(texts, dict) or not all(isinstance(text, str) and text.strip() for text in texts.values()):
            raise UserError(f"{self._where}: {name}: expected a text for each key")
        return {str(key): text for key, text in texts.items()}

    def _ucum(self, content: dict[Any, Any]) -> dict[str, list[str]]:
        units = content.get("ucum") or {}
        if not isinstance(units, dict):
            raise UserError(f"{self._where}: ucum: expected spellings by UCUM unit")
        spelt = {str(unit): one if isinstance(one, list) else [one] for unit, one in units.items()}
        if wrong := [unit for unit, one in spelt.items() if not one or not all(isinstance(s, str) and s for s in one)]:
            raise UserError(f"{self._where}: ucum.{wrong[0]}: expected a spelling, or a list of them")
        return spelt

    def _named(self, key: str, row: dict[str, Any], where: str) -> None:
        label, kind, unit = row["label"], row["kind"], row["unit"]
        if not isinstance(label, str) or not _LABEL.fullmatch(label):
            raise UserError(f"{where}.label: expected letters, digits, blanks and ,()/'+- as it is written in text")
        if other := self._labels.get(label.casefold()):
            raise UserError(f"{where}.label: '{label}' is the label of {other}, too")
        self._labels[label.casefold()] = key
        if kind not in get_args(VariableKind):
            raise UserError(f"{where}.kind: {unknown_choice('kind', kind, get_args(VariableKind))}")
        if not isinstance(unit, str) or not _UNIT.fullmatch(unit):
            raise UserError(f"{where}.unit: expected a unit; score, ratio, units or flag for numbers without one")
        if type(row["decimals"]) is not int or not 0 <= row["decimals"] <= _MOST_DECIMALS:
            raise UserError(f"{where}.decimals: expected a whole number from 0 to {_MOST_DECIMALS}")
        if row.get("bin", "last") not in get_args(Bin):
            raise UserError(f"{where}.bin: {unknown_choice('bin', row['bin'], get_args(Bin))}")
        if "arterial" in row and not isinstance(row["arterial"], bool):
            raise UserError(f"{where}.arterial: expected true or false")

    def _codes(self, key: str, row: dict[str, Any], where: str) -> None:
        also = row.get("loinc_also") or []
        if not isinstance(also, list):
            raise UserError(f"{where}.loinc_also: expected a list of LOINC codes")
        for code in ([row["loinc"]] if row["loinc"] is not None else []) + also:
            if not isinstance(code, str) or not _LOINC.fullmatch(code) or not _check_digit(code):
                raise UserError(f"{where}.loinc: '{code}' is no LOINC code (its check digit does not fit, or its form)")
            if (other := self._loinc.setdefault(code, key)) != key:
                raise UserError(f"{where}.loinc: {code} is a code of {other}, too")

    def _ranges(self, row: dict[str, Any], where: str) -> None:
        plausible, reference = row["plausible"], row["reference"]
        if not _pair(plausible) or plausible[0] >= plausible[1]:
            raise UserError(f"{where}.plausible: expected [low, high], two numbers of which the first is less")
        if not _pair(reference, null=True):
            raise UserError(f"{where}.reference: expected [low, high], null where there is no bound")
        low, high = reference
        if low is not None and high is not None and low > high:
            raise UserError(f"{where}.reference: {low:g} is above {high:g}: the lower bound comes first")
        if outside := [
            bound for bound in (low, high) if bound is not None and not plausible[0] <= bound <= plausible[1]
        ]:
            raise UserError(
                f"{where}.reference: {outside[0]:g} lies outside plausible {plausible[0]:g} to {plausible[1]:g}"
            )

    def _units(self, row: dict[str, Any], where: str) -> None:
        accepts, rescale, texts = row.get("accepts") or {}, row.get("rescale") or [], row.get("texts") or {}
        if not isinstance(accepts, dict):
            raise UserError(f"{where}.accepts: expected [scale, offset] for each unit")
        for unit, pair in accepts.items():
            if not isinstance(unit, str) or not _pair(pair) or pair[0] == 0:
                raise UserError(f"{where}.accepts.{unit}: expected [scale, offset]: canonical = value * scale + offset")
        if not isinstance(rescale, list) or not all(isinstance(rule, dict) for rule in rescale):
            raise UserError(f"{where}.rescale: expected a list of {{min, max, unit}}")
        for rule in rescale:
            if (
                set(rule) != {"min", "max", "unit"}
                or not _pair([rule["min"], rule["max"]])
                or rule["min"] > rule["max"]
            ):
                raise UserError(f"{where}.rescale: expected {{min, max, unit}}, two numbers in order and a unit")
            self._converted(row, rule["unit"], f"{where}.rescale")
        if not isinstance(texts, dict) or not all(isinstance(k, str) and _number(v) for k, v in texts.items()):
            raise UserError(f"{where}.texts: expected a number for each entry in words")
        pattern = row.get("untestable")
        try:
            re.compile(pattern or "")
        except (re.error, TypeError):
            raise UserError(f"{where}.untestable: expected a regular expression") from None

    def _converted(self, row: dict[str, Any], unit: Any, where: str) -> None:
        units = (row["unit"], *(row.get("accepts") or {}))
        if not isinstance(unit, str) or unit.casefold() not in (name.casefold() for name in units):
            raise UserError(
                f"{where}: no conversion from '{unit}' to {row['unit']}: add it to accepts, such as "
                f'"{unit}": [0.001, 0]'
            )

    def _derived(self, key: str, row: dict[str, Any], where: str) -> None:
        parts = row.get("sum_of") or []
        weights = row.get("weighted_sum_of") or {}
        ratio = row.get("ratio_of") or {"of": [key, key], "scale": 1, "hours": 1}
        if not isinstance(parts, list):
            raise UserError(f"{where}.sum_of: expected a list of variables")
        if not isinstance(weights, dict) or not all(_number(weight) for weight in weights.values()):
            raise UserError(f"{where}.weighted_sum_of: expected a weight for each variable")
        sound = isinstance(ratio, dict) and set(ratio) == {"of", "scale", "hours"} and isinstance(ratio["of"], list)
        if not sound or len(ratio["of"]) != 2 or not _number(ratio["scale"]) or not _number(ratio["hours"]):
            raise UserError(f"{where}.ratio_of: expected {{of: [a, b], scale, hours}}")
        for name in (*parts, *weights, *ratio["of"]):
            if not isinstance(name, str) or name not in self._keys:
                raise UserError(f"{where}: {unknown_choice('variable', name, self._keys)}")

    def _ids(self, key: str, row: dict[str, Any], where: str) -> None:
        releases = row.get("items") or {}
        if not isinstance(releases, dict):
            raise UserError(f"{where}.items: expected tables by source: {', '.join(self._tables)}")
        for release, tables in releases.items():
            here = f"{where}.items.{release}"
            if release not in self._tables:
                raise UserError(f"{where}.items: {unknown_choice('source', release, self._tables)}")
            if not isinstance(tables, dict):
                raise UserError(f"{here}: expected item ids by table")
            for table, ids in tables.items():
                if table not in self._tables[release]:
                    raise UserError(f"{here}: {unknown_choice('table', table, self._tables[release])}")
                if not isinstance(ids, list) or not ids:
                    raise UserError(f"{here}.{table}: expected a list of item ids")
                for item in ids:
                    self._item(key, row, (release, table), item, f"{here}.{table}")

    def _item(self, key: str, row: dict[str, Any], table: tuple[str, str], item: Any, where: str) -> None:
        if isinstance(item, dict):
            if set(item) != {"item", "unit"}:
                raise UserError(f"{where}: expected an item id, or {{item, unit}}")
            self._converted(row, item["unit"], where)
            item = item["item"]
        numbered = table[0] in ("mimic3", "mimic4", "omop")
        if not (type(item) is int and item > 0 if numbered else isinstance(item, str) and item):
            raise UserError(
                f"{where}: '{item}' is no item of {table[0]}: expected {'a number' if numbered else 'a name'}"
            )
        if other := self._items.get((*table, item)):
            raise UserError(f"{where}: item {item} is one of {other}, too")
        self._items[(*table, item)] = key

    def _findings(self, row: dict[str, Any], where: str) -> None:
        findings = row.get("findings") or {}
        if not isinstance(findings, dict):
            raise UserError(f"{where}.findings: expected names, {', '.join(DIRECTIONS)}")
        self._unknown(findings, ("names", *DIRECTIONS), f"{where}.findings")
        if not _strings(findings.get("names") or []):
            raise UserError(f"{where}.findings.names: expected a list of names")
        for side in DIRECTIONS:
            if side in findings:
                self._finding(findings[side], f"{where}.findings.{side}")
        for side, bound in (("low", row["reference"][0]), ("high", row["reference"][1])):
            if side in findings and bound is None:
                raise UserError(f"{where}.findings.{side}: reference has no bound on this side")
        if row["unit"] == "flag" and row["reference"][1] is not None and "high" not in findings:
            raise UserError(f"{where}.findings.high is missing: a flag is written by the name of its finding")
        if row["unit"] == "flag" and any(row["label"].casefold() in name.casefold() for name in self._named_sides(row)):
            raise UserError(f"{where}.findings: a flag's finding may not hold its label, or it is read as that alone")

    def _named_sides(self, row: dict[str, Any]) -> list[str]:
        findings = row.get("findings") or {}
        return [findings[side]["name"] for side in ("high", "low") if side in findings]

    def _finding(self, entity: Any, where: str) -> None:
        if not isinstance(entity, dict):
            raise UserError(f"{where}: expected a mapping with {', '.join(_FINDING)}")
        self._unknown(entity, _FINDING, where)
        for name in ("name", "definition"):
            if not isinstance(entity.get(name), str) or not entity[name].strip():
                raise UserError(f"{where}.{name}: expected a text")
        if not _LABEL.fullmatch(entity["name"]):
            raise UserError(f"{where}.name: expected letters, digits, blanks and ,()/'+- as it is written in text")
        if not _strings(entity.get("synonyms") or []):
            raise UserError(f"{where}.synonyms: expected a list of names")
        weights = entity.get("suggests") or {}
        if not isinstance(weights, dict) or not all(_number(weight) and 0 < weight <= 1 for weight in weights.values()):
            raise UserError(f"{where}.suggests: expected a weight above 0 and up to 1 for each diagnosis")


#: Tables of treatments, which only variables of one's own or of ``configs/variables/treatments.yaml`` are read from.
TREATMENT_TABLES: dict[str, tuple[str, ...]] = {
    "mimic4": ("inputevents", "procedureevents"),
    "mimic3": ("inputevents_mv", "inputevents_cv", "procedureevents_mv"),
    "eicu": ("infusiondrug",),
    "clif": ("clif_medication_admin_continuous",),
    "fhir": ("administrations", "procedures"),
    "omop": ("drug_exposure", "procedure_occurrence", "device_exposure"),
}


def _items_of(variables: Mapping[str, Variable]) -> Iterator[tuple[tuple[str, str, int | str], str]]:
    """(source, table, item) -> variable, of each item id, irrigation included."""
    for key, variable in variables.items():
        for release, tables in variable.items.items():
            for table, ids in tables.items() if release != "loinc" else ():
                flows = variable.irrigation.get(release, {}).get(table, {}).values()
                for item in (*ids, *(item for flow in flows for item in flow)):
                    yield (release, table, item), key


def _check_digit(code: str) -> bool:
    """Whether the last digit of a LOINC code is that of the others (modulus 10).

    >>> _check_digit("33959-8"), _check_digit("33959-9")
    (True, False)
    """
    number, _, last = code.partition("-")
    total = 0
    for position, digit in enumerate(reversed(number)):
        value = int(digit) * (2 if position % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return (10 - total % 10) % 10 == int(last)


def _number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(cast(float, value))


def _pair(value: Any, *, null: bool = False) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) == 2
        and all(_number(one) or (null and one is None) for one in value)
    )


def _strings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) and one.strip() for one in value)
