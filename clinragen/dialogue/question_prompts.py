"""What a language model that writes questions is shown: the note and the series in words, fenced, and examples.

It is shown no diagnosis, no prediction and no identifier, and of other patients only example questions with their
answers, about training stays.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from clinragen.artifacts import sha256_file, sha256_json
from clinragen.config import CONFIG_ROOT
from clinragen.dialogue.llm_prompts import MEANINGS
from clinragen.questions.generate import Question
from clinragen.questions.query import HEADS, Query
from clinragen.questions.stay_chart import StayChart
from clinragen.teacher.prompts import shortened
from clinragen.teacher.sanitize import sanitize
from clinragen.teacher.serialize import serialized
from clinragen.teacher.settings import ModelSettings
from clinragen.teacher.templates import Templates, folders_of
from clinragen.teacher.tokens import Messages

SHIPPED = CONFIG_ROOT / "question_teacher" / "prompts"
#: What an answer says where the chart does not show it.
NOT_IN_CHART = "not in the chart"
#: Kinds that the model may ask: it is shown no diagnosis.
ASKED = tuple(head for head in HEADS if head != "why")
_SHAPING = ("note_words", "series_lines", "similar", "exemplars")


@dataclass
class QuestionTeacherSettings(ModelSettings):
    """Settings of a language model that writes questions: ``configs/question_teacher/*.yaml``."""

    config: ClassVar[str] = "question_teacher"
    answer: ClassVar[str] = "questions"
    least: ClassVar[dict[str, int]] = {"similar": 0, "exemplars": 0}

    note_words: int = 400
    series_lines: int = 16
    similar: int = 3  # similar training stays, about which the example questions are
    exemplars: int = 6  # example questions


@dataclass(frozen=True)
class QuestionPrompts:
    """Fills the templates. The same chart, examples and settings give the same prompt.

    Attributes:
        settings: of the language model.
        count: questions that are asked for.
    """

    settings: QuestionTeacherSettings
    count: int

    @cached_property
    def folders(self) -> list[Path]:
        """Folders of templates, the user's before the shipped one.

        Raises:
            UserError: the user's is none.
        """
        return folders_of(self.settings.prompts, SHIPPED, self.settings.config)

    @cached_property
    def _templates(self) -> Templates:
        return Templates(self.folders)

    @cached_property
    def version(self) -> str:
        """Hash of everything that affects a prompt, except chart and examples."""
        files = {path.name: sha256_file(path) for folder in reversed(self.folders) for path in folder.glob("*.j2")}
        shaping = {name: getattr(self.settings, name) for name in _SHAPING}
        return sha256_json({"templates": files, "settings": shaping, "count": self.count, "kinds": MEANINGS})

    def messages(self, chart: StayChart, examples: Sequence[Question]) -> Messages:
        """System and user message for one stay.

        Raises:
            UserError: a template is missing or fails.
        """
        fence = hashlib.sha256(f"{chart.stay_id}:questions".encode()).hexdigest()[:12]
        sections = [(name, " ".join(text.split())) for name, text in chart.sections]
        cells = {
            key: list(zip(measured.hours.tolist(), measured.values.tolist(), strict=True))
            for key, measured in chart.series.items()
        }
        lines = serialized(cells)[: self.settings.series_lines]
        values = {
            "fence": fence,
            "count": self.count,
            "sections": [
                (sanitize(name.replace("_", " "), fence), sanitize(text, fence))
                for name, text in shortened(sections, self.settings.note_words)
            ],
            "series": [(line.variable, sanitize(line.text, fence)) for line in lines],
            "examples": [sanitize(_example(example), fence) for example in examples],
        }
        kinds = [{"head": head, "meaning": MEANINGS[head]} for head in ASKED]
        return [
            {"role": "system", "content": self._templates.render("system.j2", {"kinds": kinds})},
            {"role": "user", "content": self._templates.render("questions.j2", values)},
        ]

    @cached_property
    def schema(self) -> dict[str, Any]:
        """JSON schema of an answer."""
        text = {"type": "string"}
        properties = {
            "question": text,
            "ask": {"type": "string", "enum": list(ASKED)},
            "about": text,
            "hours": {"type": "array", "items": text, "maxItems": 2},
            "answer": text,
        }
        entry = _object(properties)
        return _object({"questions": {"type": "array", "items": entry, "maxItems": self.count}})


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _example(question: Question) -> str:
    """An example question as an entry of an answer."""
    query, value = question.query, question.answer.value
    written = {
        "question": question.text,
        "ask": query.head,
        "about": query.subject.partition(":")[2].replace("_", " ") if query.kind == "note" else query.subject,
        "hours": _hours(query),
        "answer": NOT_IN_CHART if value is None else f"{value:g}" if isinstance(value, float) else str(value),
    }
    return json.dumps(written)


def _hours(query: Query) -> list[str]:
    if query.hour is not None:
        return [f"{query.hour:g}"]
    if query.other is not None:
        return [str(query.window) or "0-", str(query.other) or "0-"]
    return [str(query.window)] if not query.window.whole else []
