"""Many questions to a language model at once, behind one journal: what answers are made of is left to the caller."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from clinragen.errors import UserError
from clinragen.teacher import journal, json_probe
from clinragen.teacher.answer_source import AnswerSource, JournaledAsker
from clinragen.teacher.client import Client

#: Asks about one item: whether answers are requested as JSON is the last argument.
type Ask[T] = Callable[[T, JournaledAsker, bool], Awaitable[None]]


def ask_all[T](
    source: AnswerSource,
    client: Client | None,
    journal_path: Path,
    items: Sequence[T],
    ask: Ask[T],
    *,
    progress: Callable[[int], None] = lambda done: None,
    say: Callable[[str], None] = lambda line: None,
) -> None:
    """Ask about all items, several at a time; answers that are in the journal are not asked for again.

    Args:
        source: gives the answers.
        client: that of ``source.client()``.
        journal_path: file of the answers.
        items: to ask about.
        ask: asks about one, with an asker that journals, and takes in what comes of it.
        progress: called with the number of finished items.
        say: called with a line for each phase.

    Raises:
        UserError: settings, server or journal that cannot be used.
    """
    try:
        asyncio.run(_all(source, client, journal_path, items, ask, progress, say))
    except OSError as error:
        why = error.strerror or "it cannot be written"
        raise UserError(f"{journal_path}: {why}; answers so far are kept") from None


async def _all[T](
    source: AnswerSource,
    client: Client | None,
    journal_path: Path,
    items: Sequence[T],
    ask: Ask[T],
    progress: Callable[[int], None],
    say: Callable[[str], None],
) -> None:
    waiting = iter(items)
    done = 0

    async def work(rows: Iterator[T], asker: JournaledAsker, structured: bool) -> None:
        nonlocal done
        for item in rows:
            await ask(item, asker, structured)
            done += 1
            progress(done)

    async with AsyncExitStack() as stack:
        stored = stack.enter_context(journal.Journal(journal_path, writable=not source.offline))
        if source.starts_engine:
            say("starting the engine ...")
        asker = await source.open(client, stack)
        structured = await json_probe.structured(source.settings, stored, asker, source.model, say)
        journaled = JournaledAsker(stored, asker, source.settings, source.model)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(source.workers, len(items))):
                    group.create_task(work(waiting, journaled, structured))
        except* (UserError, OSError) as errors:
            raise errors.exceptions[0] from None
