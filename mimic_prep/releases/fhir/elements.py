"""Elements of FHIR resources read from plain JSON of any shape: references, codings, texts. Nothing here raises.

Source: HL7 FHIR R4 (4.0.1), https://hl7.org/fhir/R4/.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

_TYPED = re.compile(r"([A-Z][A-Za-z]+)/([A-Za-z0-9\-.]{1,256})(?:/_history/[^/]+)?(?:[|#].*)?$")


def items(value: Any) -> list[dict[str, Any]]:
    """The objects of a repeated element; a lone object counts as a list of one."""
    if isinstance(value, dict):
        return [value]
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def part(value: Any, *path: str) -> Any:
    """The value at a path of names; None where an object is missing. Of a list, its first object."""
    for name in path:
        if isinstance(value, list):
            value = next((entry for entry in value if isinstance(entry, dict)), None)
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value


def text(value: Any) -> str | None:
    """A text that is not empty."""
    return value.strip() or None if isinstance(value, str) else None


def key_of(reference: str) -> str:
    """One spelling of a reference: ``Type/id`` of relative and absolute ones, without version; others unchanged.

    >>> key_of("https://ehr.example.org/fhir/Patient/7/_history/2"), key_of(" Patient/7 ")
    ('Patient/7', 'Patient/7')
    >>> key_of("urn:uuid:5c0F")
    'urn:uuid:5c0f'
    """
    reference = reference.strip()
    if reference.lower().startswith("urn:"):
        return reference.lower()
    match = _TYPED.search(reference)
    return f"{match[1]}/{match[2]}" if match else reference


def reference(value: Any, kind: str = "") -> str | None:
    """The key of a ``Reference``; by its identifier if it has no other, as ``Type?system|value``."""
    one = next(iter(items(value)), None)
    if one is None:
        return None
    if target := text(one.get("reference")):
        return key_of(target)
    if (identifier := part(one, "identifier")) and (number := text(part(identifier, "value"))):
        return f"{text(one.get('type')) or kind}?{text(part(identifier, 'system')) or ''}|{number}"
    return None


def identifiers(resource: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """System and value of each identifier."""
    for one in items(resource.get("identifier")):
        if value := text(str(one["value"])) if isinstance(one.get("value"), str | int) else None:
            yield text(one.get("system")) or "", value


def codings(concept: Any) -> Iterator[tuple[str, str, str]]:
    """System, code and display of each coding of ``CodeableConcept``s, or of a ``Coding``."""
    for one in items(concept):
        for coding in items(one.get("coding")) if "coding" in one else [one]:
            code = coding.get("code")
            if isinstance(code, int) and not isinstance(code, bool):
                code = str(code)
            if code := text(code):
                yield text(coding.get("system")) or "", code, text(coding.get("display")) or ""


def words(concept: Any) -> list[str]:
    """Every code, display and text of concepts or references."""
    spoken: list[str] = []
    for one in items(concept):
        spoken += [word for word in (text(one.get("text")), text(one.get("display"))) if word]
        spoken += [word for _, code, display in codings(one) for word in (display, code) if word]
    return spoken


def contained(resource: Mapping[str, Any], target: str | None) -> dict[str, Any] | None:
    """The resource within another one that a reference ``#id`` means."""
    if not target or not target.startswith("#"):
        return None
    inside = items(resource.get("contained"))
    return next((one for one in inside if one.get("id") in (target, target[1:])), None)
