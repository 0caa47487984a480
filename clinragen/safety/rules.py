"""The rules of ``configs/safety``: read once, and checked, so that a rule that is added wrongly is an error."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from clinragen.catalog import read_data_file, variable
from clinragen.config import CONFIG_ROOT
from clinragen.drugs import drug_classes, drug_of
from clinragen.errors import UserError, unknown_choice
from clinragen.safety.cautions import SEVERITIES, Kind, Severity

FOLDER = CONFIG_ROOT / "safety"
#: What an allergy list says of a reaction, the gravest first.
Reaction = Literal["severe", "allergic", "intolerance"]
EGFR = "egfr"  # stands for the estimated GFR among the variables of limits


@dataclass(frozen=True)
class Group:
    """Drugs that rules name together; ``words`` are their names in allergy lists."""

    name: str
    classes: frozenset[str]
    drugs: frozenset[str]
    groups: tuple[str, ...]
    excepted: frozenset[str]
    words: tuple[str, ...]


@dataclass(frozen=True)
class CrossReaction:
    """Drugs ``to`` share an allergy to ``from_``; a reaction without a severity is no caution."""

    from_: str
    to: str
    severity: Mapping[str, Severity]
    because: str
    source: str


@dataclass(frozen=True)
class Duplicate:
    """Two different drugs of ``group`` at a time; ``unless`` are pairs that are meant, told at severity ``then``."""

    group: str
    severity: Severity
    because: str
    source: str
    unless: tuple[frozenset[str], ...]
    then: Severity


@dataclass(frozen=True)
class Limit:
    """A limit of a variable for drugs: ``levels`` are (bound, severity beyond it), the most extreme first."""

    kind: Kind
    drugs: frozenset[str]
    variable: str
    side: Literal["below", "above"]
    levels: tuple[tuple[float, Severity], ...]
    because: str
    source: str

    def crossed(self, value: float) -> tuple[float, Severity] | None:
        """The most extreme bound that a value is beyond, if any.

        A value on a bound is not beyond it.
        """
        for bound, severity in self.levels:
            if value < bound if self.side == "below" else value > bound:
                return bound, severity
        return None


@dataclass(frozen=True)
class Pair:
    """Two drugs that interact, in either order."""

    a: frozenset[str]
    b: frozenset[str]
    severity: Severity
    because: str
    source: str


@dataclass(frozen=True)
class AllergyWords:
    """The phrases by which allergy lists are read; see ``allergies.yaml``."""

    none: tuple[str, ...]
    except_: tuple[str, ...]
    elsewhere: tuple[str, ...]
    filler: tuple[str, ...]
    tolerated: tuple[str, ...]
    denied: tuple[str, ...]
    treatment: tuple[str, ...]
    drug_names: tuple[str, ...]
    not_drugs: tuple[str, ...]
    reactions: Mapping[Reaction, tuple[str, ...]]


@dataclass(frozen=True)
class Rules:
    """All rules."""

    groups: Mapping[str, Group]
    local_classes: frozenset[str]
    repeated_classes: frozenset[str]
    lasting: frozenset[str]
    allergy_words: AllergyWords
    same_allergy: Mapping[str, Severity]
    same_allergy_source: str
    cross_reactions: tuple[CrossReaction, ...]
    same_order: Duplicate
    duplicates: tuple[Duplicate, ...]
    limits: tuple[Limit, ...]
    pairs: tuple[Pair, ...]


@cache
def rules() -> Rules:
    """The rules of ``configs/safety``.

    Raises:
        UserError: a rule names a drug, group, class, variable, unit, severity or source that is not there.
    """
    groups_file, allergies, duplicates, measured, pairs = (
        read_data_file(FOLDER / f"{name}.yaml")
        for name in ("groups", "allergies", "duplicates", "measurements", "interactions")
    )
    groups = {key: _group(row) for key, row in groups_file["groups"].items()}
    checked = Rules(
        groups=groups,
        local_classes=frozenset(groups_file["local_classes"]),
        repeated_classes=frozenset(duplicates["repeated_classes"]),
        lasting=frozenset(name for row in groups_file["lasting"] for name in row["drugs"]),
        allergy_words=_allergy_words(allergies),
        same_allergy=allergies["same"]["severity"],
        same_allergy_source=allergies["same"]["source"],
        cross_reactions=tuple(
            CrossReaction(row["from"], row["to"], row["severity"], row["because"], row["source"])
            for row in allergies["cross_reactions"]
        ),
        same_order=_duplicate({"group": "", **duplicates["same"]}),
        duplicates=tuple(_duplicate(row) for row in duplicates["within"]),
        limits=tuple(_limits(measured)),
        pairs=tuple(
            Pair(frozenset(row["a"]), frozenset(row["b"]), row["severity"], row["because"], row["source"])
            for row in pairs["pairs"]
        ),
    )
    _check_units(measured["units"], checked)
    _check_drugs(checked)
    _check_severities_and_sources(checked, [row["source"] for row in groups_file["lasting"]])
    return checked


def citation(source: str) -> str:
    """The work behind the source of a caution, in full.

    Raises:
        UserError: an unknown source.

    >>> citation("fda:metformin")
    'Prescribing information of metformin, U.S. Food and Drug Administration (DailyMed), as of 2024'
    """
    labels, works = _sources()
    agency, _, drug = source.partition(":")
    if drug and agency in labels:
        return labels[agency].format(drug=drug)
    if source not in works:
        raise unknown_choice("source of a safety rule", source, [*works, *(f"{label}:DRUG" for label in labels)])
    return works[source]


@cache
def _sources() -> tuple[dict[str, str], dict[str, str]]:
    file = read_data_file(FOLDER / "sources.yaml")
    return file["labels"], file["works"]


def _group(row: dict[str, Any]) -> Group:
    return Group(
        row["name"],
        frozenset(row.get("classes") or ()),
        frozenset(row.get("drugs") or ()),
        tuple(row.get("groups") or ()),
        frozenset(row.get("except") or ()),
        tuple(map(str, row.get("words") or ())),
    )


def _allergy_words(file: dict[str, Any]) -> AllergyWords:
    lists = {
        key: tuple(map(str, file[key]))
        for key in ("none", "elsewhere", "filler", "tolerated", "denied", "treatment", "drug_names", "not_drugs")
    }
    reactions: dict[Reaction, tuple[str, ...]] = {kind: tuple(words) for kind, words in file["reactions"].items()}
    return AllergyWords(**lists, except_=tuple(file["except"]), reactions=reactions)


def _duplicate(row: dict[str, Any]) -> Duplicate:
    unless = tuple(frozenset(pair) for pair in row.get("unless") or ())
    return Duplicate(row["group"], row["severity"], row["because"], row["source"], unless, row.get("then") or "caution")


def _limits(file: dict[str, Any]) -> Iterator[Limit]:
    kinds: tuple[Kind, ...] = ("renal", "hepatic", "measurement")
    for kind in kinds:
        for row in file[kind]:
            key = EGFR if kind == "renal" else row["variable"]
            sides: tuple[Literal["below", "above"], ...] = ("below", "above")
            for side in sides:
                if side in row:
                    levels = sorted(
                        ((float(bound), severity) for bound, severity in row[side].items()), reverse=side == "above"
                    )
                    yield Limit(kind, frozenset(row["drugs"]), key, side, tuple(levels), row["because"], row["source"])


def _check_units(units: dict[str, str], checked: Rules) -> None:
    """The limits are in the catalogue's units."""
    path = FOLDER / "measurements.yaml"
    for key, unit in units.items():
        if variable(key).unit != unit:
            raise UserError(f"{path}: the unit of {key} is {variable(key).unit} in the catalogue, not {unit}")
    for limit in checked.limits:
        if limit.variable not in units and limit.variable != EGFR:
            raise UserError(f"{path}: no unit is stated for {limit.variable}: add it to units")


def _check_drugs(checked: Rules) -> None:
    """Every drug, group and class that a rule names is one."""
    groups = FOLDER / "groups.yaml"
    for key, group in checked.groups.items():
        _check_names(groups, group.drugs | group.excepted, set())
        _check_names(groups, set(group.groups), set(checked.groups))
        if unknown := group.classes - set(drug_classes()):
            raise unknown_choice(f"class of drugs of group {key} in {groups}", min(unknown), drug_classes())
        if _is_drug(key):
            raise UserError(f"{groups}: {key} is a drug, and no name for a group")
    keys = set(checked.groups)
    _check_names(groups, checked.lasting, keys)
    _check_names(
        FOLDER / "allergies.yaml", {name for rule in checked.cross_reactions for name in (rule.from_, rule.to)}, keys
    )
    _check_names(FOLDER / "duplicates.yaml", {rule.group for rule in checked.duplicates}, keys)
    pairs = {name for rule in checked.duplicates for pair in rule.unless for name in pair}
    _check_names(FOLDER / "duplicates.yaml", pairs, keys)
    _check_names(FOLDER / "measurements.yaml", {name for rule in checked.limits for name in rule.drugs}, keys)
    _check_names(FOLDER / "interactions.yaml", {name for rule in checked.pairs for name in rule.a | rule.b}, keys)


def _check_names(path: Path, names: set[str] | frozenset[str], groups: set[str]) -> None:
    for name in sorted(names):
        if name not in groups and not _is_drug(name):
            raise UserError(f"{path}: '{name}' is neither a group of groups.yaml nor an ingredient of clinragen.drugs")


def _is_drug(name: str) -> bool:
    drug = drug_of(name)
    return drug is not None and drug.ingredient == name


def _check_severities_and_sources(checked: Rules, more: list[str]) -> None:
    stated = [*checked.same_allergy.values(), checked.same_order.severity]
    sources = [*more, checked.same_allergy_source, checked.same_order.source]
    for cross in checked.cross_reactions:
        stated += cross.severity.values()
        sources.append(cross.source)
    for limit in checked.limits:
        stated += [severity for _, severity in limit.levels]
        sources.append(limit.source)
    for rule in (*checked.duplicates, *checked.pairs):
        stated.append(rule.severity)
        sources.append(rule.source)
    if unknown := set(stated) - set(SEVERITIES):
        raise unknown_choice(f"severity in {FOLDER}", min(unknown), SEVERITIES)
    for source in sources:
        citation(source)
