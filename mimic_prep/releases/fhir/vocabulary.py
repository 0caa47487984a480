"""What the codes and units of an export mean: LOINC and UCUM by the catalogue, a site's own by a mapping file."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from clinragen import config
from clinragen.catalog import Variable, loinc_variables, per_catalogue, ucum_spellings, variables
from clinragen.errors import UserError, unknown_choice
from mimic_prep.qualify import companions
from mimic_prep.releases.fhir.elements import codings, text
from mimic_prep.unit_conversion import conversion

LOINC = "http://loinc.org"
#: the tables that measurements are written to; the last has LOINC codes, the others item ids of MIMIC-IV
TABLES = ("chartevents", "labevents", "outputevents", "observations")
UNMAPPED, CONFLICT = "code that no variable has", "codings of different variables"
NO_CODE, NO_UNIT, ODD_UNIT = "no code", "no unit", "unit that is unknown for the variable"
_SAME_SYSTEM = {
    "http://loinc.org/": LOINC, "https://loinc.org": LOINC, "loinc": LOINC, "http://www.loinc.org": LOINC,
    "urn:oid:2.16.840.1.113883.6.1": LOINC, "2.16.840.1.113883.6.1": LOINC, "urn:loinc": LOINC, "ln": LOINC,
}  # fmt: skip
#: canonical units of numbers without a dimension, which records often leave out, and the ways to say that there is none
_BARE, _NOTHING = ("score", "ratio", "units", "flag", "%"), ("", "1", "{}", "unitless", "n/a", "none")
MOST_RANKS = 200  # of the codes of a variable; further ones share the last
_MOST_CODES = 100_000  # distinct codes that are counted


@dataclass
class SiteCode:
    """A code of a site: what it measures, and its unit where values have none."""

    system: str = ""
    code: str = ""
    variable: str | None = None
    unit: str | None = None


@dataclass
class SiteDiagnosis:
    """A code of a site, such as of SNOMED CT, as ICD."""

    system: str = ""
    code: str = ""
    icd9: str | None = None
    icd10: str | None = None


@dataclass
class Mapping:
    """``configs/fhir/*.yaml``."""

    codes: list[SiteCode] = field(default_factory=list)
    units: dict[str, str] = field(default_factory=dict)
    diagnoses: list[SiteDiagnosis] = field(default_factory=list)
    tables: dict[str, str] = field(default_factory=dict)
    icd9: list[str] = field(default_factory=list)
    icd10: list[str] = field(default_factory=list)
    patient_ids: list[str] = field(default_factory=list)
    encounter_ids: list[str] = field(default_factory=list)
    intensive_care: str = ""
    not_intensive_care: str = ""
    notes: dict[str, list[str]] = field(default_factory=dict)
    specimens: dict[str, list[str]] = field(default_factory=dict)
    treatments: dict[str, str] = field(default_factory=dict)
    intravenous: str = ""
    not_infusions: str = ""


@dataclass(frozen=True)
class Meaning:
    """What a code measures: table and item, and unless the item is one of MIMIC-IV, the variable and its usual unit.

    Of several codes of a variable with values of the same minute, that of the lowest ``rank`` counts.
    """

    table: int
    item: int
    variable: Variable | None = None
    unit: str | None = None
    rank: int = 0


def load_mapping(name: str) -> Mapping:
    """The shipped mapping with the user's file added to it.

    Raises:
        UserError: an unknown key, variable or unit.
    """
    shipped = config.load("fhir", "default", Mapping)
    if name == "default":
        return shipped
    mine = config.load("fhir", name, Mapping)
    for site in mine.codes:
        if site.variable is None:
            continue
        if site.variable not in variables():
            raise unknown_choice(f"{name}: variable of code {site.code}:", site.variable, variables())
        if site.unit is not None and not _spelling(variables()[site.variable], site.unit):
            raise UserError(f"{name}: code {site.code}: unit '{site.unit}' is not known for {site.variable}")
    return Mapping(
        [*mine.codes, *shipped.codes], {**shipped.units, **mine.units}, [*mine.diagnoses, *shipped.diagnoses],
        {**shipped.tables, **mine.tables}, [*shipped.icd9, *mine.icd9], [*shipped.icd10, *mine.icd10],
        [*mine.patient_ids, *shipped.patient_ids], [*mine.encounter_ids, *shipped.encounter_ids],
        mine.intensive_care or shipped.intensive_care, mine.not_intensive_care or shipped.not_intensive_care,
        {**shipped.notes, **mine.notes}, {**shipped.specimens, **mine.specimens},
        {**shipped.treatments, **mine.treatments}, mine.intravenous or shipped.intravenous,
        mine.not_infusions or shipped.not_infusions,
    )  # fmt: skip


class Vocabulary:
    """The meaning of codes and units.

    Attributes:
        unmapped: rows by system, code and display, of codes without a meaning.
    """

    def __init__(self, mapping: Mapping) -> None:
        self.mapping = mapping
        self.unmapped: Counter[tuple[str, str, str]] = Counter()
        self._site = _of_site(mapping.codes)
        self._listed = Counter(meaning.item for meaning in self._site.values())  # codes of the site, by variable
        self._units = {unit.casefold(): ucum for unit, ucum in mapping.units.items()}
        self._tables = {
            system: (TABLES.index(table), _items("mimic4", table)) for system, table in mapping.tables.items()
        }
        self._diagnoses = {
            (site.system, site.code): (site.icd10 or site.icd9 or "", 10 if site.icd10 else 9)
            for site in reversed(mapping.diagnoses)
            if site.icd9 or site.icd10
        }
        self._spelt: dict[tuple[str, str], str | None] = {}

    def meaning(self, concept: Any) -> tuple[Meaning | None, str | None, tuple[str, str, str] | None]:
        """What a ``CodeableConcept`` measures, by LOINC, else by the site's own codes.

        Returns:
            The meaning; or why there is none, and the coding to list as unmapped: system, code, display.
        """
        by_loinc: dict[str, str] = {}  # variable -> code
        other: list[Meaning] = []
        unused = first = None
        for system, code, display in codings(concept):
            system = same_system(system)
            first = first or (system, code, display)
            if system == LOINC and (key := loinc_variables().get(code)):
                by_loinc.setdefault(key, code)
            if meant := self._site.get((system, code)):
                other.append(meant)
            if system in self._tables and code.isdecimal():
                table, item_ids = self._tables[system]
                if int(code) in item_ids:
                    other.append(Meaning(table, int(code)))
                else:
                    unused = unused or "item not used"
        if len(by_loinc) > 1:
            return None, CONFLICT, None
        if by_loinc:
            return self._by_loinc(*by_loinc.popitem(), other), None, None
        if other:
            return other[0], None, None
        return None, unused or (NO_CODE if first is None else UNMAPPED), None if unused else first

    def of_site(self, system: str, code: str) -> Variable | None:
        """The variable that the site lists for a code of a system in its usual spelling."""
        meaning = self._site.get((system, code))
        return meaning.variable if meaning else None

    def _by_loinc(self, key: str, code: str, other: list[Meaning]) -> Meaning:
        """A variable by its LOINC code, after the codes that the site lists; unless it lists this one."""
        meaning = _of_variable(key, None)
        if listed := next((one for one in other if one.item == meaning.item), None):
            return replace(meaning, rank=listed.rank)
        variable = variables()[key]
        after = (variable.loinc, *variable.loinc_also).index(code)
        return replace(meaning, rank=min(self._listed[meaning.item] + after, MOST_RANKS))

    def count_unmapped(self, coding: tuple[str, str, str], rows: int = 1) -> None:
        """Count rows with a code without a meaning."""
        self.unmapped[coding if len(self.unmapped) < _MOST_CODES else ("", "(other)", "")] += rows

    def unit(self, meaning: Meaning, code: str | None, unit: str | None) -> tuple[str | None, str | None]:
        """The unit in a spelling of the catalogue; or as it is stated, and why the value cannot be read."""
        if meaning.variable is None:
            return text(unit) or text(code), None
        stated = [name.strip() for name in (code, unit) if name and name.strip().casefold() not in _NOTHING]
        if not stated:
            usual = meaning.unit or (meaning.variable.unit if meaning.variable.unit in _BARE else None)
            return (usual, None) if usual else (None, NO_UNIT)
        for name in stated:
            key = (meaning.variable.key, name)
            if key not in self._spelt:
                self._spelt[key] = _spelling(meaning.variable, self._units.get(name.casefold(), name))
            if spelt := self._spelt[key]:
                return spelt, None
        return stated[0], ODD_UNIT

    def diagnosis(self, concept: Any) -> tuple[str, int] | None:
        """Code and version of a diagnosis: ICD, else what the mapping says of a code of another system."""
        other: list[tuple[str, str, str]] = []
        for system, code, display in codings(concept):
            if (version := self._icd(system)) and re.search(r"\d", code):
                return code.upper(), version
            other.append((system, code, display))
        for system, code, _ in other:
            if (system, code) in self._diagnoses:
                return self._diagnoses[system, code]
        if other:
            self.count_unmapped(other[0])
        return None

    def _icd(self, system: str) -> int | None:
        plain = system.casefold().rstrip("/")
        if plain in (name.casefold() for name in self.mapping.icd10):
            return 10
        return 9 if plain in (name.casefold() for name in self.mapping.icd9) else None


def same_system(system: str) -> str:
    """The usual spelling of a coding system."""
    return _SAME_SYSTEM.get(system.strip().casefold(), system.strip())


def _of_site(codes: list[SiteCode]) -> dict[tuple[str, str], Meaning]:
    """System and code -> meaning, ranked in the order of the list; of a code that is listed twice the first counts."""
    meant: dict[tuple[str, str], Meaning] = {}
    ranks: Counter[int] = Counter()
    for site in codes:
        code = same_system(site.system), site.code
        if site.variable and code not in meant:
            meaning = _of_variable(site.variable, site.unit)
            meant[code] = replace(meaning, rank=min(ranks[meaning.item], MOST_RANKS))
            ranks[meaning.item] += 1
    return meant


def _of_variable(key: str | None, unit: str | None) -> Meaning:
    variable = variables()[key or ""]
    item = next(iter(variable.items["loinc"]["observations"]))
    return Meaning(len(TABLES) - 1, int(item), variable, unit and _spelling(variable, unit))


@per_catalogue
def _items(release: str, table: str) -> frozenset[int]:
    ids = {int(item) for one in variables().values() for item in one.items.get(release, {}).get(table, {})}
    return frozenset(ids | companions(release, table).keys())


@per_catalogue
def _folded() -> dict[str, tuple[str, ...]]:
    return {unit.casefold().replace(" ", ""): spelt for unit, spelt in ucum_spellings().items()}


def _spelling(variable: Variable, unit: str) -> str | None:
    """The spelling under which a unit of UCUM, or a misspelling of it, can be converted for a variable."""
    folded = unit.casefold().replace(" ", "").replace("µ", "u").replace("μ", "u")
    spelt: Iterable[str] = (
        *ucum_spellings().get(unit, ()),
        *_folded().get(folded, ()),
        unit,
        re.sub(r"\{[^}]*\}", "", unit),
    )
    return next((name for name in spelt if name and conversion(variable, name)), None)
