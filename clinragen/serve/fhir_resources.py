"""The parts of FHIR R4 resources that the service reads; other elements are passed over.

Source: HL7 FHIR R4 (4.0.1), https://hl7.org/fhir/R4/.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict
from pydantic import Field as Described

LOINC = "http://loinc.org"
_PARTIAL = re.compile(r"\d{4}(-\d{2}(-\d{2})?)?")
MOST_LETTERS = 400  # of a code, a reference or a unit


def _whole(value: Any) -> Any:
    """A ``dateTime`` of FHIR may be a year, a month or a day: it says nothing of the hour, and reads as no time."""
    return None if isinstance(value, str) and _PARTIAL.fullmatch(value) else value


Text = Annotated[str, Described(max_length=MOST_LETTERS)]
Time = Annotated[datetime | None, BeforeValidator(_whole)]


class Element(BaseModel):
    """A part of a resource."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)


class Reference(Element):
    """A reference to another resource of the bundle."""

    reference: Text | None = None


class Coding(Element):
    """A code of a coding system."""

    system: Text | None = None
    code: Text | None = None


class Concept(Element):
    """``CodeableConcept``."""

    coding: list[Coding] = []

    def codes(self) -> list[str]:
        """Its LOINC codes."""
        return [one.code for one in self.coding if one.code and one.system == LOINC]


class Period(Element):
    """Start and end."""

    start: Time = None
    end: Time = None


class Quantity(Element):
    """A number with a unit."""

    value: float | None = None
    comparator: Text | None = None
    unit: Text | None = None
    code: Text | None = None


class Patient(Element):
    """Who the stays are of."""

    id: Text | None = None
    gender: Text | None = None
    birthDate: Annotated[str, Described(pattern=r"^\d{4}(-\d{2}(-\d{2})?)?$")]  # noqa: N815


class Encounter(Element):
    """A stay, or the admission that it is a part of."""

    id: Text | None = None
    subject: Reference = Reference()
    partOf: Reference = Reference()  # noqa: N815
    period: Period = Period()


class Component(Element):
    """One of several values of an observation, such as the systolic of a blood pressure."""

    code: Concept = Concept()
    valueQuantity: Quantity | None = None  # noqa: N815


class Observation(Element):
    """A measurement."""

    status: Text | None = None
    code: Concept = Concept()
    subject: Reference = Reference()
    encounter: Reference = Reference()
    effectiveDateTime: Time = None  # noqa: N815
    effectivePeriod: Period = Period()  # noqa: N815
    effectiveInstant: Time = None  # noqa: N815
    issued: Time = None
    valueQuantity: Quantity | None = None  # noqa: N815
    component: list[Component] = []

    @property
    def time(self) -> datetime | None:
        """When it was measured."""
        return self.effectiveDateTime or self.effectiveInstant or self.effectivePeriod.start

    def parts(self) -> list[tuple[list[str], Quantity | None]]:
        """Codes and value of the observation and of its components; a panel has no value of its own."""
        whole = [(self.code.codes(), self.valueQuantity)] if self.valueQuantity or not self.component else []
        return whole + [(part.code.codes(), part.valueQuantity) for part in self.component]


class Attachment(Element):
    """Text of a document. It is never fetched from a ``url``."""

    contentType: Text | None = None  # noqa: N815
    data: str | None = None


class Content(Element):
    """Content of a document."""

    attachment: Attachment = Attachment()


class Context(Element):
    """The encounters of a document."""

    encounter: list[Reference] = []


class DocumentReference(Element):
    """A note."""

    id: Text | None = None
    status: Text | None = None
    subject: Reference = Reference()
    date: Time = None
    content: list[Content] = []
    context: Context = Context()


class DiagnosticReport(Element):
    """A report, such as of radiology."""

    id: Text | None = None
    status: Text | None = None
    category: list[Concept] = []
    subject: Reference = Reference()
    encounter: Reference = Reference()
    effectiveDateTime: Time = None  # noqa: N815
    issued: Time = None
    conclusion: str | None = None
    presentedForm: list[Attachment] = []  # noqa: N815


class Entry(Element):
    """An entry of a bundle."""

    fullUrl: Text | None = None  # noqa: N815
    resource: dict[str, Any]


class Bundle(Element):
    """A bundle with Patient, Encounter, Observation, DocumentReference and DiagnosticReport."""

    resourceType: Literal["Bundle"]  # noqa: N815
    entry: Annotated[list[Entry], Described(min_length=1)]


#: Resource types that are read.
READ: dict[str, type[Element]] = {
    "Patient": Patient,
    "Encounter": Encounter,
    "Observation": Observation,
    "DocumentReference": DocumentReference,
    "DiagnosticReport": DiagnosticReport,
}
