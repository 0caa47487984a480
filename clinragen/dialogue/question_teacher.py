"""A language model writes questions about stays, asked through the teachers' gate and journal and held to the chart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from clinragen.dialogue.question_gate import QuestionGate, entries, without_shared_wordings
from clinragen.dialogue.question_prompts import QuestionPrompts
from clinragen.questions.generate import Question
from clinragen.questions.outline import Outliner
from clinragen.questions.stay_chart import StayChart
from clinragen.teacher import answers
from clinragen.teacher.answer_source import AnswerSource, JournaledAsker
from clinragen.teacher.answers import BadAnswerError
from clinragen.teacher.asking import ask_all
from clinragen.teacher.attempts import CONTINUE, AnswerTally, until_usable
from clinragen.teacher.client import Client
from clinragen.teacher.journal import Record

_KIND = "questions"
_REPEATED = "a question asked before"
_OF_EXAMPLE = "the words of an example"
_OF_TEST = "the words of a question about a test stay"


@dataclass(kw_only=True)
class Tally(AnswerTally):
    """What became of the questions that a language model wrote.

    Attributes:
        stays: that it was asked about.
        read: questions in its answers.
        passed: of them, that were written.
        dropped: the others, by reason.
    """

    stays: int = 0
    read: int = 0
    passed: int = 0
    dropped: Counter[str] = field(default_factory=Counter)

    def lines(self) -> list[str]:
        """The counts as text."""
        lines = [
            f"{self.stays} stays; {self.sent} answers received, {self.reused} taken from the journal",
            f"{self.passed} of {self.read} questions passed",
        ]
        lines += [f"{count} dropped: {why}" for why, count in self.dropped.most_common()]
        return [*lines, *self.without("a question", "stays"), *[CONTINUE] * bool(self.missing)]


class AskedStay(NamedTuple):
    """A stay that a language model writes questions about, and the examples that it is shown."""

    chart: StayChart
    split: str
    examples: tuple[Question, ...]


@dataclass(frozen=True)
class QuestionTeacher:
    """A language model that writes questions.

    Attributes:
        source: gives its answers.
        prompts: what it is asked.
        gate: what of its answers counts.
        outliner: tells the words of a question from names and numbers.
        journal: file of its answers.
    """

    source: AnswerSource
    prompts: QuestionPrompts
    gate: QuestionGate
    outliner: Outliner
    journal: Path

    def write(
        self,
        stays: Sequence[AskedStay],
        client: Client | None,
        *,
        progress: Callable[[int], None] = lambda done: None,
        say: Callable[[str], None] = lambda line: None,
    ) -> tuple[list[Question], Tally]:
        """Questions about stays, in their order, with what became of all.

        Args:
            stays: to ask about.
            client: that of ``source.client()``.
            progress: called with the number of finished stays.
            say: called with a line for each phase.

        Raises:
            UserError: settings, server or journal that cannot be used.
        """
        tally = Tally(stays=len(stays))
        written: dict[int, list[Question]] = {}

        async def ask(stay: AskedStay, asker: JournaledAsker, structured: bool) -> None:
            written[stay.chart.stay_id] = await self._ask(stay, asker, structured, tally)

        ask_all(self.source, client, self.journal, stays, ask, progress=progress, say=say)
        every = [question for stay in stays for question in written[stay.chart.stay_id]]
        apart, shared = without_shared_wordings(every, self.outliner)
        tally.dropped[_OF_TEST] += shared
        tally.dropped, tally.passed = +tally.dropped, len(apart)
        return apart, tally

    async def _ask(self, stay: AskedStay, asker: JournaledAsker, structured: bool, tally: Tally) -> list[Question]:
        """Ask until a question passes, or the settings allow no more attempts."""
        settings = self.prompts.settings
        messages = self.prompts.messages(stay.chart, stay.examples)

        def read(record: Record) -> list[Question]:
            answers.is_cut(record, messages, settings)  # what is whole of a list that was cut counts
            if questions := self._passed(record["text"], stay, tally):
                return questions
            raise BadAnswerError("no question passed")

        questions = await until_usable(
            asker,
            messages,
            self.prompts.schema if structured else None,
            read,
            stay_id=stay.chart.stay_id,
            kind=_KIND,
            attempts=1 + settings.regenerate,
            tally=tally,
        )
        return questions or []

    def _passed(self, text: str, stay: AskedStay, tally: Tally) -> list[Question]:
        """The questions of an answer that count; why others do not is counted."""
        of_examples = {self.outliner.of(example.text).text for example in stay.examples}
        questions: dict[str, Question] = {}
        for entry in entries(text)[: self.prompts.count]:
            tally.read += 1
            try:
                question = self.gate.question(entry, stay.chart, stay.split)
                if question.query.text() in questions or question.text in {one.text for one in questions.values()}:
                    raise BadAnswerError(_REPEATED)
                if self.outliner.of(question.text).text in of_examples:
                    raise BadAnswerError(_OF_EXAMPLE)
            except BadAnswerError as error:
                tally.dropped[str(error)] += 1
                continue
            questions[question.query.text()] = question
        return list(questions.values())
