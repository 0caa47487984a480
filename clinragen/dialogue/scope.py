"""Whether a question may be answered: by the bounds of ``configs/questions/scope.yaml``, without a language model."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal

from clinragen.dialogue import cues
from clinragen.dialogue.names import Names
from clinragen.dialogue.reading import Reading, read, tidied
from clinragen.questions.query import Window

Class = Literal[
    "in_field", "out_of_field", "other_patient", "after_prediction_time", "dosing_or_order", "not_a_question"
]
CLASSES: tuple[Class, ...] = (
    "in_field", "out_of_field", "other_patient", "after_prediction_time", "dosing_or_order", "not_a_question"
)  # fmt: skip
_INSTRUCTION = "instruction"
_SENTENCES = re.compile(r"(?<=[.?!;])\s+|\n+")
_OF_CHART = re.compile(r"\b(?:labs?|values?|measurements?|measured|variables?|results?|chart|findings?)\b", re.I)
_FEW = 3  # unusual words that do not change what a clear question asks
_FEW_OF_GROUNDS = 2  # where grounds are asked for
_ASKING = re.compile(
    r"\?|^(?:what|when|where|which|who|whom|whose|why|how|is|are|was|were|do|does|did|has|have|had|can|could|may|tell|show|"
    r"give|list|find|any|compare|write|make|sing|help|please|explain|describe|name|count|calculate|summari[sz]e)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Judgement:
    """Whether a question is answered.

    Attributes:
        name: its class; only what is ``in_field`` is answered.
        reading: what was read of it, without sentences that speak to the program.
        instructed: whether there were such sentences.
    """

    name: Class
    reading: Reading
    instructed: bool = False


@dataclass(frozen=True)
class Scope:
    """Judges questions about one stay.

    Attributes:
        names: finds names.
        own: identifiers that mean this stay.
        end: its prediction time in hours from intime.
    """

    names: Names
    own: frozenset[str]
    end: float

    def judge(self, question: str, *, follows: bool = False, around: Window | None = None) -> Judgement:
        """The class of a question.

        Args:
            question: as it was asked.
            follows: whether a question was answered before, from which it may go on.
            around: the hours of that question, from which "the following 12 hours" counts.
        """
        sentences = [part for part in _SENTENCES.split(question[:4000]) if part.strip()]
        plain = [part for part in sentences if not self._instructs(part)]
        reading = read(" ".join(plain), self.names, around)
        instructed = len(plain) < len(sentences)
        if instructed and not plain:
            return Judgement("out_of_field", reading, True)
        return replace(self._class(reading, follows), instructed=instructed)

    def _class(self, reading: Reading, follows: bool) -> Judgement:
        for bound in cues.bounds():
            if bound.name != _INSTRUCTION and self._matches(bound, reading.masked):
                return Judgement(_of(bound.name), reading)
        if self._too_late(reading):
            return Judgement("after_prediction_time", reading)
        if _understood(reading, follows):
            return Judgement("in_field", reading)
        seems = next((name for name, pattern in cues.hints() if pattern.search(reading.masked)), "out_of_field")
        return Judgement(_of(seems) if _ASKING.search(reading.masked) else "not_a_question", reading)

    def _matches(self, bound: cues.Bound, masked: str) -> bool:
        """Whether a bound matches, at another place than an identifier of this stay."""
        return any(match.groupdict().get("id") not in self.own for match in bound.matches(masked))

    def _instructs(self, sentence: str) -> bool:
        """Whether a sentence tells the program what to do: in its own words, and with its names replaced."""
        texts = (tidied(sentence), read(sentence, self.names).masked)
        return any(bool(bound.matches(text)) for bound in cues.bounds() if bound.name == _INSTRUCTION for text in texts)

    def _too_late(self, reading: Reading) -> bool:
        """Whether it asks for hours from the prediction time on."""
        if reading.hour is not None and reading.hour > self.end:
            return True
        return any(window.start >= self.end for window in reading.windows)


def _understood(reading: Reading, follows: bool) -> bool:
    """Whether a question names something of a chart, or goes on from one that did, and its other words are usual ones.

    A few words that are not may stand in a question whose variable and kind are clear, or which asks about the note, or
    for grounds.
    """
    variable = any(name.group == "variable" for name in reading.names)
    if reading.kind == "note" or (variable and reading.asks and reading.kind != "why"):
        return reading.strange <= _FEW
    if reading.names:
        return reading.strange <= (_FEW_OF_GROUNDS if reading.kind == "why" and not variable else 0)
    if (reading.grouped or _OF_CHART.search(reading.masked)) and not reading.strange:
        return True
    return follows and (reading.asks or reading.follows) and not reading.strange


def _of(name: str) -> Class:
    return next(each for each in CLASSES if each == name)
