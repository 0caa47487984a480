"""A language model as the reader of questions: asked from any thread, with a journal of its answers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from clinragen.dialogue.llm_prompts import Prompts
from clinragen.errors import UserError
from clinragen.questions.query import Query
from clinragen.teacher import answers, journal, json_probe
from clinragen.teacher.answer_source import AnswerSource, JournaledAsker
from clinragen.teacher.attempts import AnswerTally, until_usable
from clinragen.teacher.client import Client
from clinragen.teacher.journal import Record

_KIND = "question"
_NO_STAY = 0  # the same question is the same request, whichever stay it is about


@dataclass(kw_only=True)
class Tally(AnswerTally):
    """What became of the questions that a language model was asked.

    Attributes:
        queries: in which it found a query.
        none: in which it found none.
    """

    queries: int = 0
    none: int = 0

    def lines(self) -> list[str]:
        """The counts as text."""
        total = self.queries + self.none + self.unusable.total() + self.missing.total()
        lines = [f"the language model was asked {total} questions and found a query in {self.queries}"]
        return lines + self.without("a usable query")


class LanguageModelReader:
    """Chooses the query that a question means; the router of dialogues in any number of threads, until it is closed.

    Args:
        source: gives the answers.
        client: that of ``source.client()``.
        prompts: what is asked, and how it is read.
        journal_path: file of the answers.
        say: called with a line for each phase.

    Raises:
        UserError: the server, the engine or the journal cannot be used.
    """

    def __init__(
        self,
        source: AnswerSource,
        client: Client | None,
        prompts: Prompts,
        journal_path: Path,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.source, self.prompts, self.tally = source, prompts, Tally()
        self._client, self._journal, self._say = client, journal_path, say
        self._queries: dict[tuple[str, Query | None], asyncio.Task[Query | None]] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="language model", daemon=True)
        self._thread.start()
        self._closing = asyncio.Event()
        self._ready: asyncio.Future[tuple[JournaledAsker, bool]] = self._loop.create_future()
        self._serving = asyncio.run_coroutine_threadsafe(self._serve(), self._loop)
        try:
            self._asker, self._structured = self._run(self._opened())
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __call__(self, question: str, last: Query | None = None) -> Query | None:
        """The query that a question means; None where none is meant, or no usable answer came.

        Args:
            question: without identifiers.
            last: the query that was answered before.

        Raises:
            UserError: the server refuses every request, or the journal cannot be written.
        """
        return self._run(self._once(question, last))

    def close(self) -> None:
        """Close the connection and the journal. Closing twice is allowed."""
        if self._loop.is_closed():
            return
        self._loop.call_soon_threadsafe(self._closing.set)
        with suppress(UserError, OSError):  # it was raised when the reader was made
            self._serving.result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run[T](self, work: Coroutine[Any, Any, T]) -> T:
        try:
            return asyncio.run_coroutine_threadsafe(work, self._loop).result()
        except OSError as error:
            why = error.strerror or "it cannot be written"
            raise UserError(f"{self._journal}: {why}; answers so far are kept") from None

    async def _opened(self) -> tuple[JournaledAsker, bool]:
        return await self._ready

    async def _serve(self) -> None:
        """Hold the source and the journal open until the reader is closed: in one task, as clients require."""
        try:
            async with AsyncExitStack() as stack:
                stored = stack.enter_context(journal.Journal(self._journal, writable=not self.source.offline))
                if self.source.starts_engine:
                    self._say("starting the engine ...")
                asker = await self.source.open(self._client, stack)
                settings, model = self.prompts.settings, self.source.model
                structured = await json_probe.structured(settings, stored, asker, model, self._say)
                self._ready.set_result((JournaledAsker(stored, asker, settings, model), structured))
                await self._closing.wait()
        except BaseException as error:
            if not self._ready.done():
                self._ready.set_exception(error)
            raise

    async def _once(self, question: str, last: Query | None) -> Query | None:
        """The query of a question, which is asked once, however many dialogues hold it."""
        name = question, last
        if name not in self._queries:
            self._queries[name] = asyncio.create_task(self._ask(question, last))
        return await self._queries[name]

    async def _ask(self, question: str, last: Query | None) -> Query | None:
        """Ask until a query can be read, or the settings allow no more attempts."""
        prompts, tally = self.prompts, self.tally
        messages = prompts.messages(question, last)
        server = prompts.settings.server
        limits = {"require_usage": server.require_usage, "counts_prompt": server.counts_prompt}

        def read(record: Record) -> tuple[Query | None]:
            answers.check_whole(record, messages, prompts.settings.sampling.max_tokens, **limits)
            query = prompts.query(record["text"], question, last)
            tally.queries, tally.none = tally.queries + (query is not None), tally.none + (query is None)
            return (query,)  # none that is meant is an answer, too

        answer = await until_usable(
            self._asker,
            messages,
            prompts.schema if self._structured else None,
            read,
            stay_id=_NO_STAY,
            kind=_KIND,
            attempts=1 + prompts.settings.regenerate,
            tally=tally,
        )
        return answer[0] if answer else None
