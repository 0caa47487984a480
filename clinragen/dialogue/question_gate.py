"""What counts of a question that a language model wrote: nothing that the rules and the chart do not bear out.

Its query must be one of the grammar, about what the question names and in the hours that it names; the question must be
one that may be asked; and the answer that the model gives must be that of the chart, which is what is written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from clinragen.catalog import variables
from clinragen.dialogue.llm_prompts import Prompts
from clinragen.dialogue.names import Name, Names
from clinragen.dialogue.reading import Reading, tidied
from clinragen.dialogue.scope import Scope
from clinragen.questions.answer import Answer, answer
from clinragen.questions.generate import Question, part_of
from clinragen.questions.outline import Outliner
from clinragen.questions.query import Query
from clinragen.questions.stay_chart import StayChart
from clinragen.teacher.answers import BadAnswerError
from clinragen.teacher.unwrap import NoAnswerFoundError, unwrap

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_ABSENT = re.compile(r"\bnot\s+(?:in|shown|measured|recorded|documented|mentioned|charted|named|listed|available)\b")
#: Words that are answers; one of them excludes the others.
_WORDS = {
    "rising", "falling", "stable", "higher", "lower", "equal", "yes", "no", "never", "affirmed", "denied", "open",
}  # fmt: skip


def entries(text: str) -> list[dict[str, Any]]:
    """The questions of an answer, as the model wrote them: what is whole of a list that was cut, too.

    Raises:
        BadAnswerError: there is none.

    >>> entries('{"questions": [{"question": "Last K?", "ask": "value last"}, {"question": "An')
    [{'question': 'Last K?', 'ask': 'value last'}]
    """
    try:
        text = unwrap(text, ("{", "["))
    except NoAnswerFoundError:
        raise BadAnswerError("reasoning without an answer") from None
    objects: list[dict[str, Any]] = []
    decoder, position = json.JSONDecoder(), text.find("{")
    while position >= 0:
        try:
            value, end = decoder.raw_decode(text, position)
        except (ValueError, RecursionError):
            value, end = None, position + 1
        listed = value.get("questions") if isinstance(value, dict) else None
        objects += [one for one in (listed if isinstance(listed, list) else [value]) if isinstance(one, dict)]
        position = text.find("{", end)
    if not (written := [one for one in objects if isinstance(one.get("question"), str)]):
        raise BadAnswerError("no question")
    return written


@dataclass(frozen=True)
class QuestionGate:
    """Holds the questions of a language model to the rules and to the chart.

    Attributes:
        names: finds names.
        prompts: reads the query of an entry.
        author: what the template of a question is called.
    """

    names: Names
    prompts: Prompts
    author: str

    def question(self, entry: Mapping[str, Any], chart: StayChart, split: str) -> Question:
        """The question of an entry, with the answer of the chart.

        Raises:
            BadAnswerError: why it does not count.
        """
        text = tidied(str(entry["question"]))
        judged = Scope(self.names, frozenset({str(chart.stay_id)}), chart.end).judge(text)
        if judged.instructed or judged.name != "in_field":
            raise BadAnswerError("a question that is not answered")
        query = self.prompts.entry(entry, text)
        if query is None or query.kind == "why":
            raise BadAnswerError("no query")
        _hold_names(query, judged.reading.names, chart)
        _hold_hours(query, judged.reading)
        reply = answer(query, chart)
        if not agrees(str(entry.get("answer", "")), query, reply):
            raise BadAnswerError("an answer that is not the chart's")
        return Question(chart.stay_id, split, text, f"{query.head}/{part_of(split)}/{self.author}", query, reply)


def agrees(claimed: str, query: Query, reply: Answer) -> bool:
    """Whether an answer in words is that of the chart.

    Args:
        claimed: by the model.
        query: what was asked.
        reply: the chart's answer.
    """
    claimed = " ".join(claimed.lower().split())
    if reply.value is None or _ABSENT.search(claimed):
        return reply.value is None and _ABSENT.search(claimed) is not None
    if isinstance(reply.value, str):
        return set(re.findall(r"[a-z]+", claimed)) & _WORDS == {reply.value}
    number = _NUMBER.search(claimed)
    exact = query.kind in ("time", "count")
    slack = 1e-9 if exact else 0.5 * 10.0 ** -variables()[query.subject].decimals + 1e-9
    return number is not None and abs(float(number[0]) - reply.value) <= slack


def _hold_names(query: Query, names: Iterable[Name], chart: StayChart) -> None:
    """A question names what its query is about, and nothing else."""
    subjects = [_means(name, query, chart) for name in names]
    if not any(subjects):
        raise BadAnswerError("a question that does not name what its query is about")
    if not all(subjects):
        raise BadAnswerError("a question about several things")


def _means(name: Name, query: Query, chart: StayChart) -> bool:
    """Whether the rules take a name for the subject of a query."""
    if query.kind == "note":
        return name.concept == query.subject or query.subject in {
            f"finding:{key}:{side}" for key in name.variables for side in ("high", "low")
        }
    measured = [key for key in name.variables if key in chart.series] or list(name.variables)
    return measured[:1] == [query.subject]


def _hold_hours(query: Query, reading: Reading) -> None:
    """The hours that a question names are those of its query, as far as the rules read any."""
    windows = [window for window in (query.window, query.other) if window is not None]
    alone = reading.hour is not None and query.hour is None and not reading.windows
    if alone or any(window not in windows for window in reading.windows):
        raise BadAnswerError("hours that its query does not have")


def without_shared_wordings(questions: Iterable[Question], outliner: Outliner) -> tuple[list[Question], int]:
    """The questions without those about other stays in the words of one about a test stay, and how many these were.

    Names and numbers are no words.
    """
    listed = list(questions)
    worded = [(question, outliner.of(question.text).text) for question in listed]
    tested = {wording for question, wording in worded if question.split == "test"}
    apart = [question for question, wording in worded if question.split == "test" or wording not in tested]
    return apart, len(listed) - len(apart)
