"""What a language model that reads questions is shown, and the query in its answer.

It is shown a question and the query before it, and nothing of a chart: no value, no note, no identifier. What it writes
counts only as a query of the grammar, whose subject the concept graph has and whose hours the question names.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from clinragen.artifacts import sha256_file, sha256_json
from clinragen.catalog import variables
from clinragen.config import CONFIG_ROOT
from clinragen.dialogue.names import Names
from clinragen.dialogue.reading import MOST_CHARACTERS
from clinragen.errors import UserError
from clinragen.knowledge.graph import ConceptGraph
from clinragen.questions.query import FORMS, HEADS, Query
from clinragen.teacher.answers import BadAnswerError, json_object
from clinragen.teacher.sanitize import sanitize
from clinragen.teacher.settings import ModelSettings
from clinragen.teacher.templates import Templates, folders_of
from clinragen.teacher.tokens import Messages
from clinragen.verification.numerals import spoken

SHIPPED = CONFIG_ROOT / "ask" / "prompts"
#: What an answer says where no query is meant.
NONE = "none"
_DAY = 24.0
_MOST_HOURS = 2  # windows of a query
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh")
#: Words that may stand around a name.
_AROUND = re.compile(
    r"(?:\W|\b(?:the|an?|of|patient'?s?|levels?|values?|measurements?|symptoms?|diagnos[ie]s)\b)*", re.I
)
#: What each kind of query asks for, in words.
MEANINGS = {
    "value first": "the first measurement",
    "value last": "the last measurement",
    "value at": "the measurement nearest to one hour",
    "highest": "the highest value",
    "lowest": "the lowest value",
    "mean": "the mean",
    "trend": "whether it rises, falls or is stable",
    "time first": "the hour of the first measurement",
    "time last": "the hour of the last measurement",
    "time highest": "the hour of the highest value",
    "time lowest": "the hour of the lowest value",
    "time first_above": "the hour of the first value above the reference range",
    "time first_below": "the hour of the first value below the reference range",
    "count": "how many measurements there are",
    "compare": "the mean of one span of hours against that of another",
    "range above": "whether any value is above the reference range",
    "range below": "whether any value is below the reference range",
    "note": "whether the note names a symptom, finding, disease, drug or procedure",
    "why": "what in the chart speaks for a diagnosis",
}


@dataclass
class ReaderSettings(ModelSettings):
    """Settings of a language model that reads questions: ``configs/ask/*.yaml``."""

    config: ClassVar[str] = "ask"
    answer: ClassVar[str] = "query"


@dataclass(frozen=True)
class Prompts:
    """Fills the templates, and reads the answers. The same question and query before it give the same prompt.

    Attributes:
        settings: of the language model.
        graph: concepts and labels that can be asked about.
        names: finds names in what the model writes.
    """

    settings: ReaderSettings
    graph: ConceptGraph
    names: Names

    @cached_property
    def folders(self) -> list[Path]:
        """Folders of templates, the user's before the shipped one.

        Raises:
            UserError: the user's is none.
        """
        return folders_of(self.settings.prompts, SHIPPED, "ask")

    @cached_property
    def _templates(self) -> Templates:
        return Templates(self.folders)

    @cached_property
    def _grammar(self) -> dict[str, Any]:
        return {
            "kinds": [{"head": head, "meaning": MEANINGS[head]} for head in HEADS],
            "variables": [{"key": key, "label": spec.label} for key, spec in variables().items()],
            "labels": [{"key": key, "label": label.name} for key, label in self.graph.labels.items()],
        }

    @cached_property
    def version(self) -> str:
        """Hash of everything that affects a prompt, except the question."""
        files = {path.name: sha256_file(path) for folder in reversed(self.folders) for path in folder.glob("*.j2")}
        return sha256_json({"templates": files, "grammar": self._grammar})

    def messages(self, question: str, last: Query | None) -> Messages:
        """System and user message for one question.

        Args:
            question: without identifiers.
            last: the query that was answered before.

        Raises:
            UserError: a template is missing or fails.
        """
        text = " ".join(question[:MOST_CHARACTERS].split())
        fence = hashlib.sha256(f"{text}:question".encode("utf-8", "surrogatepass")).hexdigest()[:12]
        values = {"fence": fence, "question": sanitize(text, fence), "last": "" if last is None else last.text()}
        return [
            {"role": "system", "content": self._templates.render("system.j2", self._grammar)},
            {"role": "user", "content": self._templates.render("question.j2", values)},
        ]

    @cached_property
    def schema(self) -> dict[str, Any]:
        """JSON schema of an answer."""
        properties = {
            "ask": {"type": "string", "enum": [*HEADS, NONE]},
            "about": {"type": "string"},
            "hours": {"type": "array", "items": {"type": "string"}, "maxItems": _MOST_HOURS},
        }
        return {
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        }

    def query(self, text: str, question: str, last: Query | None) -> Query | None:
        """The query of an answer; None where it says that none is meant.

        Args:
            text: the answer.
            question: that was asked, whose numbers its hours must be.
            last: the query before, whose hours they may be, too.

        Raises:
            BadAnswerError: it is no query, or about what does not exist, or at hours that the question does not name.
        """
        return self.entry(json_object(text), question, last)

    def entry(self, answer: Mapping[str, Any], question: str, last: Query | None = None) -> Query | None:
        """The query of an answer that was read as JSON: its keys ``ask``, ``about`` and ``hours``.

        Raises:
            BadAnswerError: as ``query``.
        """
        head = " ".join(str(answer.get("ask", "")).split()).lower()
        if head == NONE:
            return None
        if head not in HEADS:
            raise BadAnswerError("no query")
        subject = self._subject(head.partition(" ")[0], answer.get("about"))
        try:
            query = _query(head, subject, _hours(answer.get("hours")))
        except UserError:
            raise BadAnswerError("no query of the grammar") from None
        if not _bounds(query) <= _named_hours(question, last):
            raise BadAnswerError("hours that the question does not name")
        return query

    def _subject(self, kind: str, about: object) -> str:
        """The key of a variable or label, or the concept, that is meant by a key or name.

        Raises:
            BadAnswerError: there is none.
        """
        name = " ".join(about.split())[:MOST_CHARACTERS] if isinstance(about, str) else ""
        what = FORMS[kind].subject  # type: ignore[index]
        key = name.lower().replace(" ", "_")
        if what == "variable" and key in variables():
            return key
        if what == "concept" and name in self.graph.nodes and not name.startswith("variable:"):
            return name
        if what == "label" and key in self.graph.labels:
            return key
        for one in self.names.find(name):
            if not _AROUND.fullmatch(name[: one.start] + name[one.end :]):
                continue  # it is about more than what is named, such as another stay
            label = one.concept.removeprefix("phenotype:")
            if what == "variable" and one.group == "variable" and one.variables:
                return one.variables[0]
            if what == "concept" and one.concept in self.graph.nodes:
                return one.concept
            if what == "label" and label != one.concept and label in self.graph.labels:
                return label
        raise BadAnswerError(f"no {what} of this name")


def _hours(hours: object) -> list[str]:
    """The windows, or the hour, of an answer."""
    if hours is None or hours == "":
        return []
    spans = hours if isinstance(hours, list) else [hours]
    if len(spans) > _MOST_HOURS or not all(isinstance(span, str | int | float) for span in spans):
        raise BadAnswerError("no hours")
    written = [re.sub(r"\s|h(?:ours?)?\b", "", str(span)).replace("–", "-") for span in spans]
    return [span for span in written if span]


def _query(head: str, subject: str, hours: list[str]) -> Query:
    """The query of an answer's parts.

    Raises:
        UserError: there is none.
    """
    if head == "value at":
        return Query.parse(f"{head} {' '.join(hours[:1])} {subject}")
    kind = head.partition(" ")[0]
    return Query.parse(" ".join([head, subject, *(hours if FORMS[kind].windows else ())]))  # type: ignore[index]


def _bounds(query: Query) -> set[float]:
    """The hours that a query names; 0 and the prediction time need no name."""
    windows = [query.window, *(() if query.other is None else (query.other,))]
    hours = {abs(bound) for window in windows for bound in (window.start, window.end) if bound is not None}
    return (hours | ({query.hour} if query.hour is not None else set())) - {0.0}


def _named_hours(question: str, last: Query | None) -> set[float]:
    """The hours that a question may mean: its numbers, days, and hours that count from those of the query before.

    >>> sorted(_named_hours("between hour 6 and eighteen", None)), sorted(_named_hours("on the second day", None))
    ([0.0, 6.0, 18.0], [0.0, 2.0, 24.0, 48.0])
    """
    words = re.findall(r"\d{1,5}(?:\.\d+)?|[a-z]+", question.lower())
    numbers = {number for word in words if (number := spoken(word)) is not None}
    numbers |= {float(_ORDINALS.index(word) + 1) for word in words if word in _ORDINALS}
    if "twenty" in words:
        numbers |= {20.0 + number for number in numbers if number < 10}  # twenty-four
    before: set[float] = set() if last is None else _bounds(last)
    hours = numbers | before | {0.0} | {abs(hour + number) for hour in before for number in numbers}
    hours |= {abs(hour - number) for hour in before for number in numbers}
    if any(word in ("day", "days", "d") for word in words):
        days = {number for number in numbers if number.is_integer()} or {1.0}
        hours |= {_DAY * (day - 1) for day in days} | {_DAY * day for day in days}
    return hours
