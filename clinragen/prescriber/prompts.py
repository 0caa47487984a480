"""Prompts of a language model that prescribes: its chart, fenced as data, and what was retrieved for it.

What all stays share, the list of classes, comes first, and what is retrieved last, so that a server with a prefix cache
reads each once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from clinragen.artifacts import sha256_file, sha256_json
from clinragen.choices import PrescriptionPrompt
from clinragen.config import CONFIG_ROOT
from clinragen.prescriber.retrieval import Retrieved
from clinragen.prescriber.settings import PrescriberSettings
from clinragen.prescription.charts import PatientChart
from clinragen.safety.cautions import DrugOrder
from clinragen.safety.context import PatientContext
from clinragen.teacher.prompts import shortened
from clinragen.teacher.sanitize import sanitize
from clinragen.teacher.serialize import serialized
from clinragen.teacher.templates import Templates, folders_of
from clinragen.teacher.tokens import Messages

SHIPPED = CONFIG_ROOT / "prescription" / "prompts"
#: What the list of classes to start is called in the answer to each prompt.
LISTS: dict[PrescriptionPrompt, str] = {"free": "start", "keep_add_stop": "add"}
_SEXES = {"F": "woman", "M": "man"}
_SHAPING = ("note_words", "series_lines", "listed", "reasons", "similar", "treatments", "cautions")


@dataclass(frozen=True)
class Prompts:
    """Fills the templates. The same chart, retrieved lines and settings always give the same prompt.

    Attributes:
        settings: what is shown, and how much of it.
        prompt: free: classes to start; keep_add_stop: the drugs in force are gone through first.
        names: readable name of each class.
    """

    settings: PrescriberSettings
    prompt: PrescriptionPrompt
    names: Mapping[str, str]

    @cached_property
    def folders(self) -> list[Path]:
        """Folders of templates, the user's before the shipped one.

        Raises:
            UserError: the user's is none.
        """
        return folders_of(self.settings.prompts, SHIPPED, "prescription")

    @cached_property
    def _templates(self) -> Templates:
        return Templates(self.folders)

    @cached_property
    def version(self) -> str:
        """Hash of everything that affects a prompt, except the patient and what is retrieved."""
        files = {path.name: sha256_file(path) for folder in reversed(self.folders) for path in folder.glob("*.j2")}
        shaping = {name: getattr(self.settings, name) for name in _SHAPING}
        return sha256_json({"templates": files, "prompt": self.prompt, "settings": shaping, "names": dict(self.names)})

    def messages(self, stay_id: int, chart: PatientChart, retrieved: Retrieved) -> Messages:
        """System and user message for one stay.

        Raises:
            UserError: a template is missing or fails.
        """
        fence = hashlib.sha256(f"{stay_id}:prescription".encode()).hexdigest()[:12]
        values: dict[str, Any] = {
            "names": list(self.names.values()),
            "listed": self.settings.listed,
            "reasons": self.settings.reasons,
            "chart": self._chart(chart, fence),
            "cases": _safe(retrieved.cases, fence),
            "treatments": _safe(retrieved.treatments, fence),
            "cautions": _safe(retrieved.cautions, fence),
        }
        return [
            {"role": "system", "content": self._templates.render("system.j2", values)},
            {"role": "user", "content": self._templates.render(f"{self.prompt}.j2", values)},
        ]

    def schema(self, ordered: Collection[str]) -> dict[str, Any]:
        """JSON schema of an answer.

        Args:
            ordered: classes that have been ordered, which may be kept or stopped, and not be started.
        """
        open_ = {"type": "string", "enum": [name for key, name in self.names.items() if key not in ordered]}
        entry: dict[str, Any] = open_
        if self.settings.reasons:
            entry = _object({"drug_class": open_, "because": {"type": "string"}})
        lists: dict[str, Any] = {}
        if self.prompt == "keep_add_stop":
            had = [name for key, name in self.names.items() if key in ordered]
            some = {"type": "string", "enum": had} if had else {"type": "string"}
            lists = {key: {"type": "array", "items": some, "maxItems": len(had)} for key in ("keep", "stop")}
        lists[LISTS[self.prompt]] = {"type": "array", "items": entry, "maxItems": self.settings.listed}
        return _object(lists)

    def _chart(self, chart: PatientChart, fence: str) -> dict[str, Any]:
        context = chart.context
        written = [(name, " ".join(text.split())) for name, text in chart.sections]
        sections = shortened(written, self.settings.note_words)
        lines = serialized(chart.cells)[: self.settings.series_lines]
        hospital = [order for order in context.earlier if order.kind != "home"]
        had = {order.drug_class for order in context.in_force}
        return {
            "fence": fence,
            "patient": _patient(context),
            "sections": [(sanitize(name.replace("_", " "), fence), sanitize(text, fence)) for name, text in sections],
            "series_lines": [line.text for line in lines],
            "home": _safe(self._drugs([order for order in context.earlier if order.kind == "home"]), fence),
            "in_force": _safe(self._drugs(context.in_force), fence),
            "ended": _safe(self._drugs([order for order in hospital if order.drug_class not in had]), fence),
        }

    def _drugs(self, orders: Collection[DrugOrder]) -> list[str]:
        """A line for each class that treats: its name and the ingredients."""
        by_class: dict[str, dict[str, None]] = {}
        for order in orders:
            if order.drug_class in self.names:
                by_class.setdefault(order.drug_class, {})[order.ingredient] = None
        return [f"{self.names[key]}: {', '.join(by_class[key])}" for key in self.names if key in by_class]


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _patient(context: PatientContext) -> str:
    return f"a {_SEXES.get(context.sex or '', 'patient')} of {context.age:.0f} years"


def _safe(lines: Collection[str], fence: str) -> list[str]:
    return [sanitize(line, fence) for line in lines]
