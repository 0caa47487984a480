"""Treatments that last: MedicationAdministrations with a rate or a dose, and Procedures such as ventilation, as rows.

What is given is recognised by the codes that a site lists, by item ids of MIMIC, by RxNorm, ATC or SNOMED CT, else by
the drug's name; the catalogue lists the last three under ``fhir`` (``administrations``, ``procedures``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import polars as pl

from clinragen.catalog import Variable, per_catalogue, variables
from mimic_prep.drug_names import named
from mimic_prep.releases.fhir.clock import Clock
from mimic_prep.releases.fhir.elements import codings, contained, part, reference, text, words
from mimic_prep.releases.fhir.observations import NO_PATIENT, WITHDRAWN
from mimic_prep.releases.fhir.vocabulary import Vocabulary, same_system

type Row = dict[str, Any]
ADMINISTRATIONS, PROCEDURES = "administrations", "procedures"
#: coding systems -> how the catalogue calls them, before a code: ``ATC C01CA03``
_SYSTEMS = {
    "http://www.nlm.nih.gov/research/umls/rxnorm": "RxNorm",
    "http://www.whocc.no/atc": "ATC",
    "http://fhir.de/CodeSystem/bfarm/atc": "ATC",
    "http://fhir.de/CodeSystem/dimdi/atc": "ATC",
    "http://snomed.info/sct": "SNOMED",
}
#: An administration or procedure; ``medication`` names the resource that says what was given where ``item`` is null.
#: ``code`` is what tells two fluids apart that run at the same time.
TREATMENT = {
    "subject": pl.String, "encounter": pl.String, "medication": pl.String, "code": pl.String, "item": pl.Int64,
    "start": pl.Datetime("ms"), "end": pl.Datetime("ms"), "charted": pl.Boolean, "rate": pl.Float64,
    "rate_unit": pl.String, "amount": pl.Float64, "amount_unit": pl.String, "elsewhere": pl.Int8,
}  # fmt: skip
_NOT_DONE = ("not-done", "entered-in-error", "cancelled", "preparation", "on-hold", "unknown")
_MOST_WORDS = 100_000  # distinct texts whose meaning is remembered
_UNFINISHED = "in-progress"
#: The end of what goes on when the export is written: later than any prediction time.
OPEN_END = datetime(9000, 1, 1)


class TreatmentReader:
    """Reads treatments; there are none unless variables of the kind ``treatment`` are in use."""

    def __init__(self, vocabulary: Vocabulary, clock: Clock) -> None:
        self._vocabulary = vocabulary
        self._clock = clock
        self._by_vein = re.compile(vocabulary.mapping.intravenous, re.IGNORECASE)
        self._no_infusion = re.compile(vocabulary.mapping.not_infusions, re.IGNORECASE)
        self._of_word: dict[str, str | None] = {}

    def reads(self, kind: str) -> bool:
        """Whether resources of a type may be treatments in use."""
        return kind in ("Medication", "MedicationAdministration", "Procedure") and bool(_infused())

    def row(self, resource: Mapping[str, Any]) -> tuple[str, Row]:
        """Table and row of a resource of a type that is read; ``skip`` says why it is no treatment."""
        kind = resource["resourceType"]
        if kind == "Medication":
            return "Given", {"item": self._item(resource.get("code"), ADMINISTRATIONS)}
        if kind == "Procedure":
            return "Procedure", self._procedure(resource)
        return "Administration", self._administration(resource)

    def _procedure(self, resource: Mapping[str, Any]) -> Row:
        item = self._item(resource.get("code"), PROCEDURES)
        if item is None:
            return {"skip": "Procedure: not read"}
        if (status := (text(resource.get("status")) or "").lower()) in _NOT_DONE:
            return {"skip": WITHDRAWN.get(status, "procedure that is not said to be done")}
        row = {**_of(resource), **self._span(resource, "performed", "occurrence"), "item": item}
        return row if row["subject"] or row["encounter"] else {"bad": NO_PATIENT}

    def _administration(self, resource: Mapping[str, Any]) -> Row:
        concept: Any = resource.get("medicationCodeableConcept")
        target = reference(resource.get("medicationReference"), "Medication")
        if inside := contained(resource, target):
            concept, target = inside.get("code"), None
        item = self._item(concept, ADMINISTRATIONS)
        if item is None and target is None:
            return {"skip": "no treatment"}
        dosage = resource.get("dosage")
        row = self._span(resource, "effective")
        rate, rate_unit = _rate(dosage)
        amount, amount_unit = _quantity(part(dosage, "dose"))
        if row["charted"] and rate is None:
            row |= {"end": row["start"], "charted": False}  # a dose at once
        route = words(part(dosage, "route"))
        elsewhere = bool(route) and not any(self._by_vein.search(word) for word in route)
        return {
            **_of(resource), **row, "medication": None if item is not None else target, "item": item,
            "code": next(iter(words(concept)), target), "rate": rate, "rate_unit": rate_unit, "amount": amount,
            "amount_unit": amount_unit, "elsewhere": int(elsewhere),
        }  # fmt: skip

    def _span(self, resource: Mapping[str, Any], *names: str) -> Row:
        """Start and end; ``charted`` if it is of a point in time, where the end is null."""
        for name in names:
            if (period := resource.get(f"{name}Period")) is not None:
                start, end = (self._clock.read(part(period, side))[0] for side in ("start", "end"))
                if part(period, "end") is None and text(resource.get("status")) == _UNFINISHED:
                    end = OPEN_END
                return {"start": start, "end": end, "charted": False}
            if (moment := resource.get(f"{name}DateTime")) is not None:
                return {"start": self._clock.read(moment)[0], "end": None, "charted": True}
        return {"start": None, "end": None, "charted": False}

    def _item(self, concept: Any, table: str) -> int | None:
        key = self._variable(concept, table)
        return None if key is None else int(next(iter(variables()[key].items["loinc"]["infusions"])))

    def _variable(self, concept: Any, table: str) -> str | None:
        elsewhere = False
        for system, code, _ in codings(concept):
            system = same_system(system)
            meant = self._vocabulary.of_site(system, code)
            if meant is not None and meant.kind == "treatment":
                return meant.key
            mimic = self._vocabulary.mapping.treatments.get(system)
            if mimic and (key := _of_mimic(mimic).get(code)):
                return key
            elsewhere |= mimic is not None  # another item of a table whose items are all known
            if key := _listed(table).get(f"{_SYSTEMS.get(system, '')} {code}".casefold()):
                return key
        if elsewhere or table == PROCEDURES:
            return None
        return next((key for word in words(concept) if (key := self._named(word))), None)

    def _named(self, word: str) -> str | None:
        """The variable of the first name in a text, in whole words; none of a flush, or what is no infusion."""
        if word not in self._of_word:
            if len(self._of_word) >= _MOST_WORDS:
                self._of_word.clear()
            self._of_word[word] = named(word, self._no_infusion)
        return self._of_word[word]


def _of(resource: Mapping[str, Any]) -> dict[str, str | None]:
    context = resource.get("context") or resource.get("encounter")
    return {
        "subject": reference(resource.get("subject"), "Patient"),
        "encounter": reference(context, "Encounter"),
    }


def _quantity(value: Any) -> tuple[float | None, str | None]:
    number = part(value, "value")
    is_number = isinstance(number, int | float) and not isinstance(number, bool)
    return float(number) if is_number else None, text(part(value, "code")) or text(part(value, "unit"))


def _rate(dosage: Any) -> tuple[float | None, str | None]:
    """Rate and unit: of ``rateRatio`` the amount of a whole unit of time."""
    if (quantity := part(dosage, "rateQuantity")) is not None:
        return _quantity(quantity)
    amount, unit = _quantity(part(dosage, "rateRatio", "numerator"))
    time, of_time = _quantity(part(dosage, "rateRatio", "denominator"))
    if amount is None:
        return None, None
    time = 1.0 if time is None else time
    return (amount / time if time > 0 else None), f"{unit or ''}/{of_time or ''}"


@per_catalogue
def _infused() -> tuple[Variable, ...]:
    return tuple(one for one in variables().values() if one.kind == "treatment")


@per_catalogue
def _listed(table: str) -> dict[str, str]:
    """What the catalogue lists of a table, in small letters -> variable."""
    return {str(item).casefold(): one.key for one in _infused() for item in one.items.get("fhir", {}).get(table, {})}


@per_catalogue
def _of_mimic(table: str) -> dict[str, str]:
    """Item id of a table of MIMIC-IV -> variable."""
    return {str(item): one.key for one in _infused() for item in one.items.get("mimic4", {}).get(table, {})}
