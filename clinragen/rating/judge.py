"""A language model rates and compares the rationales of a pack, through the gate that teachers use.

The server is held to the privacy policy of teachers, and every answer is journaled, so a stopped run asks only for the
rest. Each author's rationales are rated alone, where no position can matter; each pair of authors is compared in both
orders.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clinragen.errors import UserError
from clinragen.rating.judge_prompts import JudgePrompts, Question, questions, reader
from clinragen.rating.key import JUDGE, RatingPack
from clinragen.rating.rating_file import Preference, Rating, write_judged
from clinragen.teacher import answers, journal, json_probe
from clinragen.teacher.answer_source import JournaledAsker
from clinragen.teacher.answers import BadAnswerError
from clinragen.teacher.client import Client, NoAnswerError
from clinragen.teacher.journal import Journal
from clinragen.teacher.settings import TeacherSettings

FOLDER = "judges"


@dataclass
class Judgement:
    """What the language model said of a pack.

    Attributes:
        ratings: of each author's rationales alone, as far as there is a usable answer.
        preferences: of each pair in each order, likewise.
        missing: questions without a usable answer, by reason.
    """

    ratings: list[Rating] = field(default_factory=list)
    preferences: list[Preference] = field(default_factory=list)
    missing: Counter[str] = field(default_factory=Counter)


def judge(
    pack: RatingPack,
    settings: TeacherSettings,
    name: str,
    *,
    progress: Callable[[int], None] = lambda done: None,
    say: Callable[[str], None] = lambda line: None,
) -> tuple[Path, Judgement]:
    """Ask a server about every rationale and pair of a pack, and write its rating file into the pack's folder.

    Args:
        pack: what is judged.
        settings: of the server, as for teachers.
        name: of the judge, by which its journal and rating file are named.
        progress: called with the number of answered questions.
        say: called with a line for each phase.

    Raises:
        UserError: settings, server or journal that cannot be used, or no usable answer at all.
    """
    settings.check()
    client = Client(settings.server)
    run = _Run(pack, settings, JudgePrompts(settings, pack.key.rated or "rationales"), progress, say)
    folder = pack.root / FOLDER
    path = folder / f"{name}.journal.jsonl"
    try:
        judgement = asyncio.run(run.judgement(client, path))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or 'it cannot be written'}; answers so far are kept") from None
    if not judgement.ratings and not judgement.preferences:
        reasons = ", ".join(f"{count} {reason}" for reason, count in judgement.missing.most_common(3))
        raise UserError(f"{settings.server.model} gave no usable answer ({reasons}): is it a model for this task?")
    rater = pack.key.rater(JUDGE)
    assert rater is not None  # every pack has one
    file = folder / f"ratings-{pack.key.pack}-{name}.json"
    write_judged(file, pack.key, rater, settings.server.model, judgement.ratings, judgement.preferences)
    return file, judgement


@dataclass(frozen=True)
class _Run:
    """One run over the questions of a pack."""

    pack: RatingPack
    settings: TeacherSettings
    prompts: JudgePrompts
    progress: Callable[[int], None]
    say: Callable[[str], None]

    async def judgement(self, client: Client, path: Path) -> Judgement:
        """All answers, in the order of the questions."""
        settings = self.settings
        with Journal(path, writable=True) as stored:
            async with client:
                structured = await json_probe.structured(settings, stored, client, settings.server.model, self.say)
                every = questions(self.pack.items)
                self.say(f"asking {len(every)} questions about {len(self.pack.items)} stays ...")
                desk = _Desk(self, JournaledAsker(stored, client, settings, settings.server.model), structured)
                await self._all(desk, every)
        judgement = Judgement()
        for question in every:
            value = desk.answered.get(question.key)
            if value is None:
                continue
            if len(question.authors) == 1:
                judgement.ratings.append(Rating(question.item.name, question.authors[0], value))
            else:
                first, second = question.authors
                judgement.preferences.append(Preference(question.item.name, first, second, value))
        judgement.missing.update(desk.missing)
        return judgement

    async def _all(self, desk: _Desk, every: list[Question]) -> None:
        waiting = iter(every)

        async def work(rows: Iterator[Question]) -> None:
            for question in rows:
                await desk.ask(question)
                self.progress(desk.done)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self.settings.server.concurrency):
                    group.create_task(work(waiting))
        except* UserError as errors:
            raise errors.exceptions[0] from None
        except* OSError as errors:
            raise errors.exceptions[0] from None


class _Desk:
    """Asks questions and keeps what was answered.

    Attributes:
        answered: usable answers by the key of the question.
        missing: reasons of the others.
        done: number of finished questions.
    """

    def __init__(self, run: _Run, asker: JournaledAsker, structured: bool) -> None:
        self._run, self._asker, self._structured = run, asker, structured
        self.answered: dict[tuple[str, ...], dict[str, Any]] = {}
        self.missing: Counter[str] = Counter()
        self.done = 0

    async def ask(self, question: Question) -> None:
        """Ask until an answer can be used, or the settings allow no more attempts."""
        messages = self._run.prompts.messages(question)
        reason = ""
        for attempt in range(1 + self._run.settings.regenerate):
            try:
                record = await self._answer(question, messages, attempt)
                self._check(record, messages)
                self.answered[question.key] = reader(question)(record["text"], self._run.pack.key.rated or "rationales")
                break
            except (BadAnswerError, NoAnswerError) as error:
                reason = str(error)
        else:
            self.missing[reason] += 1
        self.done += 1

    def _check(self, record: journal.Record, messages: list[dict[str, str]]) -> None:
        server = self._run.settings.server
        answers.check_whole(
            record,
            messages,
            self._run.settings.sampling.max_tokens,
            require_usage=server.require_usage,
            counts_prompt=server.counts_prompt,
        )

    async def _answer(self, question: Question, messages: list[dict[str, str]], attempt: int) -> journal.Record:
        """An answer from the journal, or else from the server; it is stored before it is parsed."""
        schema = self._run.prompts.schema(question) if self._structured else None
        kind = "judge " + " ".join(question.authors)
        stay_id = question.item.stay_id
        return (await self._asker.ask(messages, schema, stay_id=stay_id, kind=kind, attempt=attempt)).record
