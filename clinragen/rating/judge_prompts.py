"""Prompts of the language model that judges, and how its answers are read."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from clinragen.config import CONFIG_ROOT
from clinragen.knowledge.readable import readable
from clinragen.rating.criteria import SCALE, WORDINGS, Rated, criteria
from clinragen.rating.items import Argument, Item
from clinragen.rating.rating_file import VERDICTS
from clinragen.teacher.answers import BadAnswerError, json_object
from clinragen.teacher.prompts import SHIPPED as TEACHERS
from clinragen.teacher.prompts import shortened
from clinragen.teacher.sanitize import sanitize
from clinragen.teacher.serialize import serialized
from clinragen.teacher.settings import TeacherSettings
from clinragen.teacher.templates import Templates
from clinragen.teacher.tokens import Messages

SHIPPED = CONFIG_ROOT / "rating" / "prompts"
#: What an answer says of two rationales -> the verdict.
_SAID = {"1": "first", "2": "second", "tie": "tie", "equal": "tie", "both": "tie", "0": "tie"}


@dataclass(frozen=True)
class Question:
    """One question to the judge: to rate the rationales of one author, or to compare those of two in this order."""

    item: Item
    authors: tuple[str, ...]

    @property
    def key(self) -> tuple[str, ...]:
        """Names of the stay and the authors, which tell questions of a pack apart."""
        return (self.item.name, *self.authors)

    @property
    def template(self) -> str:
        """Name of the prompt template."""
        return "score.j2" if len(self.authors) == 1 else "compare.j2"


class JudgePrompts:
    """Fills the templates. The same stay, authors and settings always give the same prompt.

    Args:
        settings: how much of the chart is shown.
        rated: what the authors wrote.
    """

    def __init__(self, settings: TeacherSettings, rated: Rated = "rationales") -> None:
        self._settings = settings
        self._rated: Rated = rated
        self._templates = Templates([SHIPPED, TEACHERS])  # the fence of the chart is the teachers'

    def messages(self, question: Question) -> Messages:
        """System and user message."""
        chart = question.item.chart
        fence = hashlib.sha256(f"{question.item.name}:judge".encode()).hexdigest()[:12]
        sections = [(name, readable(text, name)) for name, text in chart.sections]
        lines = serialized(chart.cells)[: self._settings.series_lines]
        values: dict[str, Any] = {
            "fence": fence,
            "sections": [
                (sanitize(name.replace("_", " "), fence), sanitize(text, fence))
                for name, text in shortened(sections, self._settings.note_words)
            ],
            "series_lines": [line.text for line in lines],
            "arguments": [_safe(question.item.arguments[author], fence) for author in question.authors],
            "criteria": [
                {"key": each.key, "question": each.question, "anchors": each.anchors}
                for each in criteria(self._rated).values()
            ],
            "wording": WORDINGS[self._rated],
        }
        return [
            {"role": "system", "content": self._templates.render("system.j2", values)},
            {"role": "user", "content": self._templates.render(question.template, values)},
        ]

    def schema(self, question: Question) -> dict[str, Any]:
        """JSON schema of an answer."""
        keys = list(criteria(self._rated))
        single = len(question.authors) == 1
        value: dict[str, Any] = {"type": "integer", "enum": list(SCALE)} if single else {"enum": ["1", "2", "tie"]}
        return {
            "type": "object",
            "properties": dict.fromkeys(keys, value if single else {"type": "string", **value}),
            "required": keys,
            "additionalProperties": False,
        }


def _safe(argument: Argument, fence: str) -> dict[str, Any]:
    return {
        "diagnoses": [sanitize(name, fence) for name in argument.diagnoses],
        "note": sanitize(argument.note, fence),
        "series": sanitize(argument.series, fence),
    }


def scores(text: str, rated: Rated = "rationales") -> dict[str, int]:
    """Ratings from an answer.

    Args:
        text: the answer.
        rated: decides the criteria.

    Raises:
        BadAnswerError: no number from 1 to 5 for each criterion.

    >>> sorted(scores('{"correctness": 4, "readability": "5", "soundness": 3, "consistency": 4, "persuasiveness": 2}'))
    ['consistency', 'correctness', 'persuasiveness', 'readability', 'soundness']
    """
    return _read(text, {str(point): point for point in SCALE}, rated)


def verdicts(text: str, rated: Rated = "rationales") -> dict[str, str]:
    """Verdicts of a comparison, each one of :data:`VERDICTS`, from an answer.

    Args:
        text: the answer.
        rated: decides the criteria.

    Raises:
        BadAnswerError: none of 1, 2 and tie for a criterion.
    """
    assert set(_SAID.values()) == set(VERDICTS)
    return _read(text, _SAID, rated)


def _read[T](text: str, meanings: dict[str, T], rated: Rated) -> dict[str, T]:
    answers = json_object(text)
    read = {}
    for criterion in criteria(rated):
        value = answers.get(criterion)
        word = "" if isinstance(value, bool | float | dict | list) or value is None else str(value).strip().lower()
        if word not in meanings:
            raise BadAnswerError("a criterion without a valid answer")
        read[criterion] = meanings[word]
    return read


#: Reads the answer to a question.
Reader = Callable[[str, Rated], dict[str, Any]]


def reader(question: Question) -> Reader:
    """How the answer to a question is read."""
    return scores if len(question.authors) == 1 else verdicts


def questions(items: Sequence[Item]) -> list[Question]:
    """Every question of a pack: each author's rationales alone, then each pair of authors in both orders."""
    asked_alone = [Question(item, (author,)) for item in items for author in item.arguments]
    pairs = [
        Question(item, (first, second))
        for item in items
        for first in item.arguments
        for second in item.arguments
        if first != second
    ]
    return asked_alone + pairs
