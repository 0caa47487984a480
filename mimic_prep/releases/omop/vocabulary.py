"""What concept ids mean: by the catalogue of variables, the settings, and the vocabulary tables if there are any.

The catalogue lists the standard concepts of its variables. A table ``concept`` adds those with a variable's LOINC code,
the ICD codes of source concepts, units and names of drugs; ``concept_relationship`` adds a site's own concepts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import polars as pl

from clinragen.artifacts import sha256_json
from clinragen.catalog import Variable, variables
from mimic_prep.accounting import Ledger, RowFilter
from mimic_prep.drug_names import named
from mimic_prep.ingest import RawTables
from mimic_prep.items import items_of
from mimic_prep.qualify import companions
from mimic_prep.releases.omop.settings import OmopSettings, treatments
from mimic_prep.releases.omop.tables import (
    ADMINISTRATIONS,
    ANCESTORS,
    CONCEPTS,
    DEVICES,
    ITEMS,
    PROCEDURES,
    RELATIONS,
)

OWN = 2_000_000_000  # concepts of sites begin here
_DRUG_CLASSES = ["Ingredient", "Clinical Drug", "Clinical Drug Comp", "Branded Drug", "Prescription Drug"]


@dataclass
class Vocabulary:
    """Look-up tables from concept ids.

    Attributes:
        items: concept -> concept of the catalogue, for each table of values.
        units: unit concept -> spellings; empty for "no unit".
        icd: concept -> (code, version).
        drugs: concept -> name.
        loinc: LOINC code -> concept of the catalogue, for each table of values.
        treatments: concept -> number of its variable, for each table of treatments; empty unless any are in use.
    """

    items: dict[str, dict[int, int]]
    units: dict[int, list[str]]
    loinc: dict[str, dict[str, int]]
    icd: dict[int, tuple[str, int]] = field(default_factory=dict)
    drugs: dict[int, str] = field(default_factory=dict)
    treatments: dict[str, dict[int, int]] = field(default_factory=dict)

    def digest(self) -> str:
        """A hash of what concerns values."""
        content = (self.items, self.units, self.loinc, *([self.treatments] if self.treatments else []))
        return sha256_json([sorted((str(key), str(value)) for key, value in part.items()) for part in content])

    def merge(self, listed: Vocabulary) -> None:
        """Add what a table lists: its ICD codes and names replace others, but not its items and units."""
        for name, items in listed.items.items():
            self.items[name] = items | self.items[name]
        self.units = listed.units | self.units
        self.icd |= listed.icd
        self.drugs |= listed.drugs


def of_catalogue(settings: OmopSettings) -> Vocabulary:
    """What is known without vocabulary tables."""
    items: dict[str, dict[int, int]] = {"measurement": {}, "observation": {}}
    loinc: dict[str, dict[str, int]] = {"measurement": {}, "observation": {}}
    for table in items:
        items[table] |= {item: item for item in companions(ITEMS, table)}
        for variable in variables().values():
            ids = [int(item) for item in items_of(variable, ITEMS, table)]
            items[table] |= {item: item for item in ids}
            if ids:
                loinc[table] |= dict.fromkeys(filter(None, (variable.loinc, *variable.loinc_also)), ids[0])
        for concept, meaning in settings.concepts.items():
            if meaning.variable and (ids := list(items_of(variables()[meaning.variable], ITEMS, table))):
                items[table][concept] = int(ids[0])
    units = dict(settings.units) | {concept: [] for concept in settings.no_unit}
    return Vocabulary(items, units, loinc, treatments=_treatments_of(settings))


def _treatments_of(settings: OmopSettings) -> dict[str, dict[int, int]]:
    """Concepts of treatments in use, as the catalogue and the settings list them."""
    used = treatments()
    listed = {
        table.name: {int(item): number_of(one) for one in used for item in items_of(one, ITEMS, table.name)}
        for table in (ADMINISTRATIONS, PROCEDURES, DEVICES)
    }
    of_site = {
        concept: number_of(one)
        for concept, meaning in settings.concepts.items()
        for one in used
        if one.key == meaning.variable
    }
    return {table: items | of_site for table, items in listed.items()} if used else {}


def number_of(variable: Variable) -> int:
    """The item under which converted tables of treatments hold a variable."""
    return int(next(iter(variable.items["loinc"]["infusions"])))


def read_vocabulary(raw: RawTables, settings: OmopSettings) -> Vocabulary:
    """The vocabulary of an export."""
    vocabulary = of_catalogue(settings)
    for table in CONCEPTS:
        listed = Vocabulary({name: {} for name in vocabulary.items}, {}, vocabulary.loinc)
        for block in raw.stream(table, _used(vocabulary)):
            _add(listed, block)
        vocabulary.merge(listed)
    if vocabulary.treatments:
        _add_drugs(raw, vocabulary, settings)
    for table in RELATIONS:
        maps_to = raw.read(table, _maps_to)
        _follow(vocabulary, maps_to)
    return vocabulary


def _add_drugs(raw: RawTables, vocabulary: Vocabulary, settings: OmopSettings) -> None:
    """Products of the ingredients that the catalogue lists: by ``concept_ancestor``, else by their names."""
    items = vocabulary.treatments[ADMINISTRATIONS.name]
    ingredients = dict(items)

    def rules(row_filter: RowFilter) -> None:
        row_filter.reject_missing("ancestor", "descendant")
        row_filter.skip(~pl.col("ancestor").is_in(list(ingredients)), "ancestor not used")

    for block in raw.stream(ANCESTORS, rules):
        for ancestor, product in block.select("ancestor", "descendant").sort("ancestor", "descendant").iter_rows():
            items.setdefault(product, ingredients[ancestor])
    no_infusion = re.compile("|".join(settings.not_infusions) or r"(?!)", re.IGNORECASE)
    for concept, name in vocabulary.drugs.items():
        if key := named(name, no_infusion):
            items.setdefault(concept, number_of(variables()[key]))


def names_of(raw: RawTables, concepts: set[int]) -> dict[str, str]:
    """Names of concepts: their own, or that of a concept of the site that is mapped to them."""
    with raw.booked_in(Ledger()):  # their rows have been counted before
        relations = pl.concat([raw.read(table, _maps_to).select("source", "target") for table in RELATIONS])
        mapped = dict(
            relations.filter(pl.col("target").is_in(concepts)).sort("source", descending=True).iter_rows()
        )  # source -> target
        concept_ids = concepts | mapped.keys()
        names: dict[int, str] = {}
        for table in CONCEPTS:
            for block in raw.stream(table, lambda rows: rows.skip(~pl.col("concept").is_in(concept_ids), "")):
                names |= dict(block.select("concept", "name").drop_nulls().iter_rows())
    of_site = {target: names[source] for source, target in mapped.items() if source in names}
    return {str(concept): name for concept, name in (of_site | names).items() if concept in concepts}


def _used(vocabulary: Vocabulary):
    codes = sorted({code for by_code in vocabulary.loinc.values() for code in by_code})

    def rules(row_filter: RowFilter) -> None:
        row_filter.reject_missing("concept", "code")
        name, kind = pl.col("vocabulary").str.to_uppercase(), pl.col("class")
        measured = (name == "LOINC") & pl.col("code").is_in(codes)
        coded = name.str.contains(r"^ICD-?(9|10)")
        drug = (pl.col("domain").str.to_lowercase() == "drug") & kind.is_in(_DRUG_CLASSES)
        row_filter.skip(~(measured | coded | drug | (name == "UCUM")), "concept not used")

    return rules


def _add(vocabulary: Vocabulary, block: pl.DataFrame) -> None:
    """Add the rows of a table; of several rows of one concept the first in sorted order counts, in any order."""
    for concept, name, domain, source, code in block.select(
        "concept", "name", "domain", pl.col("vocabulary").str.to_uppercase(), "code"
    ).iter_rows():
        if source == "LOINC":
            for table, by_code in vocabulary.loinc.items():
                if code in by_code:
                    _least(vocabulary.items[table], concept, by_code[code])
        elif source == "UCUM":
            _least(vocabulary.units, concept, [code])
        elif source.startswith("ICD"):
            _least(vocabulary.icd, concept, (code, 9 if "9" in source.replace("10", "") else 10))
        elif str(domain).lower() == "drug" and name:
            _least(vocabulary.drugs, concept, name)


def _least[Meaning: (int, str, list[str], tuple[str, int])](
    meanings: dict[int, Meaning], concept: int, meaning: Meaning
) -> None:
    meanings[concept] = min(meanings.get(concept, meaning), meaning)


def _maps_to(row_filter: RowFilter) -> None:
    row_filter.reject_missing("source", "target")
    of_site = (pl.col("relation").str.to_lowercase() == "maps to") & (pl.col("source") >= OWN)
    row_filter.skip(~of_site, "relation not used")


def _follow(vocabulary: Vocabulary, maps_to: pl.DataFrame) -> None:
    for source, target in maps_to.select("source", "target").sort("source", "target").iter_rows():
        for items in (*vocabulary.items.values(), *vocabulary.treatments.values()):
            if target in items:
                items.setdefault(source, items[target])
        if target in vocabulary.units:
            vocabulary.units.setdefault(source, vocabulary.units[target])
