"""Asking a language model again until an answer can be used, with counts of what became of the answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from clinragen.teacher.answer_source import JournaledAsker
from clinragen.teacher.answers import BadAnswerError
from clinragen.teacher.client import NoAnswerError
from clinragen.teacher.journal import Record
from clinragen.teacher.tokens import Messages

CONTINUE = "answers so far are kept: run the same command again for the rest"


@dataclass(kw_only=True)
class AnswerTally:
    """What became of the answers; what is made of them is counted by a class of its own.

    Attributes:
        sent, reused: answers received now, and taken from the journal.
        unusable: items without a usable answer, by the reason of the last.
        missing: items without an answer, by reason; they can be asked again.
        tokens: of the requests sent.
    """

    sent: int = 0
    reused: int = 0
    unusable: Counter[str] = field(default_factory=Counter)
    missing: Counter[str] = field(default_factory=Counter)
    tokens: Counter[str] = field(default_factory=Counter)

    def as_json(self) -> dict[str, object]:
        """The counts as an object of JSON."""
        return {name: dict(value) if isinstance(value, Counter) else value for name, value in vars(self).items()}

    def without(self, what: str, items: str = "", what_follows: str = "") -> list[str]:
        """Lines that tell why items are without what was asked for, or without an answer.

        Args:
            what: that was asked for ("a list").
            items: what they are ("stays").
            what_follows: for them.
        """
        return [
            f"{' '.join(filter(None, (str(count), items)))} without {lacking}{what_follows}: {why}"
            for lacking, counts in ((what, self.unusable), ("an answer", self.missing))
            for why, count in counts.most_common()
        ]


async def until_usable[T](
    asker: JournaledAsker,
    messages: Messages,
    schema: dict[str, Any] | None,
    read: Callable[[Record], T],
    *,
    stay_id: int,
    kind: str,
    attempts: int,
    tally: AnswerTally,
) -> T | None:
    """What is read from the first usable answer; None if none comes, which is counted.

    Args:
        asker: asks, unless the journal has the answer.
        messages: the prompt.
        schema: JSON schema of the answer; None: it is asked for without one.
        read: makes something of the record of an answer, or raises :class:`BadAnswerError`.
        stay_id: what the prompt is about, under which answers are journaled,
        kind: and what is asked of it.
        attempts: at most so many answers are asked for.
        tally: of the answers.

    Raises:
        UserError: the server refuses every request, or the journal cannot be written.
    """
    reason = ""
    for attempt in range(attempts):
        try:
            record, sent = await asker.ask(messages, schema, stay_id=stay_id, kind=kind, attempt=attempt)
        except NoAnswerError as error:
            tally.missing[str(error)] += 1
            return None
        tally.sent, tally.reused = tally.sent + sent, tally.reused + (not sent)
        if sent:
            tally.tokens.update(record["usage"])
        try:
            return read(record)
        except BadAnswerError as error:
            reason = str(error)
    tally.unusable[reason] += 1
    return None
