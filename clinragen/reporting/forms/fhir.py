"""A stay as a FHIR R4 Bundle: a preliminary DiagnosticReport, an Observation per label, and the evidence that it cites.

Where the model abstains, no probability stands as a value and no diagnosis as a code: whoever reads values alone reads
none that is not to be relied on. What the model wrote is in the notes, with the reasons.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from clinragen.catalog import Variable, variables
from clinragen.reporting.forms import fhir_codes as codes
from clinragen.reporting.forms.record import USE, Case, Claim, Diagnosis, Measured, StayReport
from clinragen.reporting.visible import visible

_Resource = dict[str, Any]
#: Begins a link, an image or an element in Markdown.
_MARKUP = re.compile(r"[\\<\[]")


def bundle(record: StayReport) -> _Resource:
    """The resources of one stay, as a collection; the same record gives the same ids.

    Args:
        record: what the report states of the stay.
    """
    resources = _Resources(record)
    entries = [{"fullUrl": f"urn:uuid:{one['id']}", "resource": one} for one in resources.all()]
    return {"resourceType": "Bundle", **resources.head("bundle"), "type": "collection", "entry": entries}


@dataclass
class _Resources:
    """The resources of one stay, which refer to each other."""

    record: StayReport
    #: evidence by what it is, each once, in the order in which it is cited
    evidence: dict[tuple[str, ...], _Resource] = field(default_factory=dict)

    def all(self) -> Iterator[_Resource]:
        labels = [self._label(one) for one in self.record["diagnoses"]]
        yield self._report(labels)
        yield self._patient()
        yield self._encounter()
        yield self._device()
        yield from labels
        yield from self.evidence.values()
        if (age := self._age()) is not None:
            yield age

    def head(self, *name: str) -> _Resource:
        """Id and labels of a resource of this stay; the id is one of these predictions."""
        provenance, stay = self.record["provenance"], self.record["stay"]
        return _head(provenance["predictions_sha256"], str(stay["stay_id"]), *name)

    @property
    def _subject(self) -> dict[str, Any]:
        return _reference(self._patient_head["id"])

    @property
    def _visit(self) -> dict[str, Any]:
        return {"subject": self._subject, "encounter": _reference(self._encounter_head["id"])}

    @cached_property
    def _claims(self) -> dict[str, Claim]:
        return {claim["id"]: claim for claim in self.record["claims"]}

    @cached_property
    def _patient_head(self) -> _Resource:
        """The same for all stays of a patient."""
        return _head(self.record["provenance"]["cohort_sha256"], "patient", str(self.record["stay"]["subject_id"]))

    @cached_property
    def _encounter_head(self) -> _Resource:
        return _head(self.record["provenance"]["cohort_sha256"], "stay", str(self.record["stay"]["stay_id"]))

    @cached_property
    def _device_head(self) -> _Resource:
        return _head("model", self.record["provenance"]["model_sha256"])

    def _patient(self) -> _Resource:
        sex = {"F": "female", "M": "male"}.get(self.record["stay"]["sex"] or "")
        resource = {"resourceType": "Patient", **self._patient_head}
        resource["identifier"] = [self._identifier("subject_id", self.record["stay"]["subject_id"])]
        return resource | ({"gender": sex} if sex else {})

    def _encounter(self) -> _Resource:
        stay = self.record["stay"]
        return {
            "resourceType": "Encounter",
            **self._encounter_head,
            "identifier": [self._identifier(name, stay[name]) for name in ("stay_id", "hadm_id")],
            "status": "unknown",  # the model does not see how the stay goes on
            "class": codes.standard("inpatient"),
            "subject": self._subject,
            "period": {"start": _instant(stay["intime"])},
        }

    def _identifier(self, name: str, value: int) -> dict[str, str]:
        return {"system": codes.urn("identifier", self.record["provenance"]["source"] or "", name), "value": str(value)}

    def _device(self) -> _Resource:
        provenance = self.record["provenance"]
        version = provenance["predicted_by"] or provenance["clinragen"]
        return {
            "resourceType": "Device",
            **self._device_head,
            "identifier": [{"system": codes.system("sha256"), "value": provenance["model_sha256"]}],
            "deviceName": [{"name": visible(provenance["model"]) or "model", "type": "user-friendly-name"}],
            "type": codes.concept(f"model of task {provenance['task']}"),
            "version": [{"type": codes.concept("software that predicted"), "value": visible(version)}],
            "note": [{"text": _markdown(f"{USE}. {' '.join(provenance['remarks'])}".strip())}],
        }

    def _report(self, labels: list[_Resource]) -> _Resource:
        record = self.record
        abstains = bool(record["abstains"])
        listed = [] if abstains else [one for one in record["diagnoses"] if one["listed"]]
        listed.sort(key=lambda one: -one["probability"])
        resource = {
            "resourceType": "DiagnosticReport",
            **self.head("report"),
            "status": "partial" if abstains else "preliminary",
            "code": codes.concept(
                f"{record['provenance']['task']}, by a model",
                codes.coding("report", record["provenance"]["task"], f"{record['provenance']['task']}, by a model"),
            ),
            **self._visit,
            "effectiveDateTime": _instant(record["stay"]["prediction_time"]),
            "result": [_reference(one["id"]) for one in labels],
            "conclusion": self._conclusion(),
        }
        if listed:
            resource["conclusionCode"] = [
                codes.concept(one["name"], *codes.label_codings(one["codes"]), self._label_coding(one))
                for one in listed
            ]
        return resource

    def _conclusion(self) -> str:
        """What must be read first, then the rationales."""
        record = self.record
        parts = [f"{USE.capitalize()}."]
        if record["abstains"]:
            parts.append(f"{_ABSTAINS} {'; '.join(record['abstains'])}. What follows is not to be relied on.")
        if not record["parsed"]:
            parts.append("The model's text could not be read in full.")
        parts += [one["text"] for one in record["rationales"] if one["text"].strip()]
        return visible("\n\n".join(parts))

    def _label_coding(self, diagnosis: Diagnosis) -> dict[str, str]:
        name = f"label/{self.record['provenance']['label_set']}"
        return codes.coding(name, diagnosis["key"], diagnosis["name"])

    def _label(self, diagnosis: Diagnosis) -> _Resource:
        """A label with its probability, and the evidence that argues for it."""
        record = self.record
        case = next((one for one in record["cases"] if one["diagnosis"] == diagnosis["key"]), None)
        standing = "called" if diagnosis["listed"] else "possible" if diagnosis["possible"] else "not called"
        resource: _Resource = {
            "resourceType": "Observation",
            **self.head("label", diagnosis["key"]),
            "status": "registered" if record["abstains"] else "preliminary",
            "code": codes.concept(f"Probability of {diagnosis['name']}", self._label_coding(diagnosis)),
            **self._visit,
            "effectiveDateTime": _instant(record["stay"]["prediction_time"]),
            "device": _reference(self._device_head["id"]),
            "component": self._thresholds(diagnosis),
        }
        notes = list(_case_notes(case, diagnosis)) if case else []
        if record["abstains"]:
            notes = [
                f"{_ABSTAINS} {'; '.join(record['abstains'])}. Not to be relied on: it wrote a probability of "
                f"{diagnosis['probability']:.3f} ({standing}).",
                *notes,
            ]
            resource["dataAbsentReason"] = codes.concept(_ABSTAINS.rstrip(":"), codes.standard("abstained"))
        else:
            resource["valueQuantity"] = codes.proportion(diagnosis["probability"])
            resource["interpretation"] = [codes.concept(standing, codes.standard(standing))]
        if notes:
            resource["note"] = [{"text": _markdown(text)} for text in notes]
        if case and (cited := list(self._cited(case))):
            resource["derivedFrom"] = [_reference(identifier) for identifier in dict.fromkeys(cited)]
        return resource

    def _thresholds(self, diagnosis: Diagnosis) -> list[_Resource]:
        """The probabilities from which a label is called, and possible; the interval, where there is a value."""
        low, high = diagnosis["interval"] or (None, None)
        bounds = {"threshold": diagnosis["threshold"], "possible from": self.record["provenance"]["possible_from"]}
        if not self.record["abstains"]:
            bounds |= {"interval low": low, "interval high": high}
        return [
            {
                "code": codes.concept(name, codes.coding("bound", name.replace(" ", "-"), name)),
                "valueQuantity": codes.proportion(value),
            }
            for name, value in bounds.items()
            if value is not None
        ]

    def _cited(self, case: Case) -> Iterator[str]:
        """Ids of the evidence for a diagnosis, which is added to the bundle."""
        for reason in case["grounds"]:
            claim = self._claims[reason["claim"]]
            if claim["measured"]:
                for one in claim["measured"]:
                    yield self._measurement(one)
            else:
                yield self._finding(claim)

    def _measurement(self, measured: Measured) -> str:
        key = ("measured", measured["variable"], f"{measured['hour']:g}")
        if key not in self.evidence:
            variable = variables()[measured["variable"]]
            when = datetime.fromisoformat(self.record["stay"]["intime"]) + timedelta(hours=measured["hour"])
            self.evidence[key] = {
                "resourceType": "Observation",
                **self.head(*key),
                "status": "unknown",  # the cohort does not say whether the charted value is final
                **_category(variable),
                "code": codes.variable_code(variable),
                **self._visit,
                "effectiveDateTime": _instant(when.isoformat(timespec="seconds")),
                "valueQuantity": codes.quantity(measured["value"], measured["unit"]),
                **_judged(variable, measured["value"]),
            }
        return self.evidence[key]["id"]

    def _finding(self, claim: Claim) -> str:
        """What the note affirms or denies; where it stands there, but not its words."""
        key = ("finding", claim["about"], str(claim["negated"]))
        if key not in self.evidence:
            passages = ", ".join(f"{one['section']} {one['start']} to {one['end']}" for one in claim["passages"])
            self.evidence[key] = {
                "resourceType": "Observation",
                **self.head(*key),
                "status": "unknown",
                "code": codes.concept(claim["name"], codes.coding("concept", claim["about"], claim["name"])),
                **self._visit,
                "effectiveDateTime": _instant(self.record["stay"]["prediction_time"]),
                "valueBoolean": not claim["negated"],
                "note": [{"text": _markdown(f"Read in the note, characters of its section: {passages or 'unknown'}")}],
            }
        return self.evidence[key]["id"]

    def _age(self) -> _Resource | None:
        stay = self.record["stay"]
        if stay["age"] is None and not stay["over_89"]:
            return None
        years = {"value": 89, "comparator": ">"} if stay["over_89"] else {"value": stay["age"]}
        return {
            "resourceType": "Observation",
            **self.head("age"),
            "status": "unknown",
            "code": codes.concept("Age", codes.standard("age")),
            **self._visit,
            "effectiveDateTime": _instant(stay["intime"]),
            "valueQuantity": years | {"unit": "years", "system": codes.system("ucum"), "code": "a"},
        }


_ABSTAINS = "The model abstains:"


def _case_notes(case: Case, diagnosis: Diagnosis) -> Iterator[str]:
    """What argues for a diagnosis and against it, with shares and warrants."""
    for title, reasons in (("For it", case["grounds"]), ("Against it", case["against"])):
        for reason in reasons:
            share = "" if reason["share"] is None else f" (share of the estimate: {reason['share']:+.2f})"
            warrant = reason["warrant"]
            why = f" {warrant['text']}. {warrant['source']}".rstrip() if warrant else " No tie in the concept graph."
            yield f"{title}: {reason['words']}{share}.{why}"
    if diagnosis["listed"] and not case["grounds"]:
        yield "No ground in the chart is stated for it."
    if case["unstated"]:
        names = ", ".join(f"{one['name']} ({one['share']:+.2f})" for one in case["unstated"])
        yield f"Not stated, but the estimate rests on it: {names}."


def _category(variable: Variable) -> _Resource:
    name = codes.settings()["categories"].get(variable.kind)
    return {"category": [codes.concept(name, codes.standard(name))]} if name else {}


def _judged(variable: Variable, value: float) -> _Resource:
    """The reference range of adults, and the side on which the value lies; nothing for a variable without one."""
    bounds = {name: bound for name, bound in (("low", variable.low), ("high", variable.high)) if bound is not None}
    if not bounds:
        return {}
    side = {-1: "low", 0: "normal", 1: "high"}[variable.direction(value)]
    return {
        "interpretation": [codes.concept(side, codes.standard(side))],
        "referenceRange": [
            {name: codes.quantity(bound, variable.unit) for name, bound in bounds.items()}
            | {"text": f"adults; {variable.source}"}
        ],
    }


def _head(*name: str) -> _Resource:
    """Id, and the labels that every resource carries: for research, and not for clinical use."""
    return {
        "id": codes.urn(*name).rpartition(":")[2],
        "meta": {
            "security": [codes.standard("research")],
            "tag": [codes.coding("use", "research-use", USE)],
        },
    }


def _reference(identifier: str) -> dict[str, str]:
    return {"reference": f"urn:uuid:{identifier}"}


def _instant(local: str) -> str:
    """FHIR wants a zone beside a time, and cohorts have none: it is written as if it were UTC."""
    return f"{local}+00:00"


def _markdown(text: str) -> str:
    """Text as Markdown without links and elements."""
    return _MARKUP.sub(lambda match: f"\\{match.group()}", visible(text))
