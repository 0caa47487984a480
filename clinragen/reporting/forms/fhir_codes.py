"""Code systems, codes and units of FHIR resources, from ``configs/report/fhir.yaml``."""

from __future__ import annotations

import re
from functools import cache
from typing import Any
from uuid import UUID, uuid5

from clinragen.catalog import Variable, read_data_file
from clinragen.config import CONFIG_ROOT
from clinragen.reporting.forms.record import Codes
from clinragen.reporting.visible import visible

#: Of identifiers and code systems that have no other home; a random number, never changed.
_NAMESPACE = UUID("5f0c7b0e-6d0a-4c39-9d2a-6f1f3a6b7f21")
_SINGLE_CODE = {"icd9": re.compile(r"\d{3}\d{0,2}|V\d{2}\d{0,2}"), "icd10": re.compile(r"[A-Z]\d[A-Z0-9]{1,5}")}


@cache
def settings() -> dict[str, Any]:
    """The shipped table of systems, codes and units."""
    return read_data_file(CONFIG_ROOT / "report" / "fhir.yaml")


@cache
def system(name: str) -> str:
    """The URI of a code system or identifier; a name-based UUID for clinragen's own, such as ``concept``.

    >>> system("loinc"), system("concept")
    ('http://loinc.org', 'urn:uuid:a202f06e-387c-5840-9735-fe6ca2c5622d')
    """
    if name in settings()["systems"]:
        return settings()["systems"][name]
    assert name in settings()["own"] or name.startswith("label/"), name
    return urn("system", name)


def urn(*parts: str) -> str:
    """The URI of something that has no other; the same parts give the same one."""
    return f"urn:uuid:{uuid5(_NAMESPACE, '/'.join(parts))}"


def coding(name: str, code: str, display: str | None = None) -> dict[str, str]:
    """A code of a system."""
    return {"system": system(name), "code": code} | ({"display": visible(display)} if display else {})


def concept(text: str, *codings: dict[str, str]) -> dict[str, Any]:
    """A CodeableConcept: codes with a text."""
    return ({"coding": list(codings)} if codings else {}) | {"text": visible(text)}


def standard(name: str) -> dict[str, str]:
    """One of the codes of standard systems that the table lists, such as ``called`` or ``laboratory``."""
    row = settings()["codes"][name]
    return coding(row["system"], row["code"], row["display"])


def quantity(value: float, unit: str) -> dict[str, Any]:
    """A quantity in a unit of the catalogue, with its UCUM code."""
    return {"value": value, "unit": unit, "system": system("ucum"), "code": settings()["units"][unit]}


def proportion(value: float) -> dict[str, Any]:
    """A number between 0 and 1."""
    return {"value": round(value, 6), "unit": "1", "system": system("ucum"), "code": "1"}


def variable_code(variable: Variable) -> dict[str, Any]:
    """A variable by its LOINC code, where the catalogue has one."""
    key = coding("variable", variable.key, variable.label)
    loinc = [coding("loinc", variable.loinc)] if variable.loinc else []
    return concept(variable.label, *loinc, key)


def label_codings(codes: Codes) -> list[dict[str, str]]:
    """What the label set knows: where one code of a system is the whole label.

    Several codes of one system, or a range, are no coding: each of them means less than the label.
    """
    given = [("ccs", str(code)) for code in codes["ccs"]] if len(codes["ccs"]) == 1 else []
    for name, alternatives in (("icd9", codes["icd9"]), ("icd10", codes["icd10"])):
        if not codes["ccs"] and len(alternatives) == 1 and _SINGLE_CODE[name].fullmatch(alternatives[0]):
            code = alternatives[0]
            given.append((name, code if len(code) <= 3 else f"{code[:3]}.{code[3:]}"))
    return [coding(name, code) for name, code in given]
