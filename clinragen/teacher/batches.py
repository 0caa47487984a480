"""Batches requests for engines that take many prompts at a time, and returns each answer separately.

An engine has one method, ``run``: it takes a list of requests and yields (index, answer) pairs in any order, as they
finish, so that each is journaled at once.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

from clinragen.errors import UserError
from clinragen.teacher.client import NoAnswerError
from clinragen.teacher.completions import Answer
from clinragen.teacher.settings import Parameters
from clinragen.teacher.tokens import Messages

#: Seconds without a new request after which an incomplete batch is sent.
_QUIET = 0.2


@dataclass(frozen=True)
class PromptRequest:
    """One prompt with its parameters from ``TeacherSettings.parameters``."""

    messages: Messages
    parameters: Parameters

    @property
    def schema(self) -> dict[str, Any] | None:
        """The JSON schema of the answer, if one is requested."""
        form = self.parameters.get("response_format")
        return form["json_schema"]["schema"] if form else None

    @property
    def sampling(self) -> dict[str, float]:
        """Parameters that ``vllm.SamplingParams`` accepts under the same names."""
        given = self.parameters
        return {
            "temperature": given["temperature"],
            "top_p": given["top_p"],
            "max_tokens": given["max_tokens"],
            "seed": given["seed"],
        }

    @property
    def most_logprobs(self) -> int | None:
        """Number of alternatives to report for each token; None without log-probabilities."""
        return self.parameters.get("top_logprobs", 0) if self.parameters.get("logprobs") else None


class BulkEngine(Protocol):
    """Answers lists of requests, in a thread of its own."""

    def run(self, requests: list[PromptRequest]) -> Iterable[tuple[int, Answer | NoAnswerError]]:
        """Pairs of index and answer. An exception, other than those returned as answers, ends the run."""
        ...


class Batches:
    """Gathers up to ``most`` requests at a time. Use as an asynchronous context manager."""

    def __init__(self, engine: BulkEngine, most: int) -> None:
        self._engine, self._most = engine, most
        self._waiting: list[tuple[PromptRequest, asyncio.Future[Answer]]] = []
        self._batch: list[tuple[PromptRequest, asyncio.Future[Answer]]] = []
        self._arrival = asyncio.Event()
        self._serving: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._serving = asyncio.create_task(self._serve())
        self._serving.add_done_callback(self._stopped)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._serving is not None:
            self._serving.cancel()

    async def ask(self, messages: Messages, parameters: Parameters, name: str) -> Answer:
        """One answer, from the batch that includes the request.

        Raises:
            NoAnswerError: the engine returned none for this request.
            UserError: the engine stopped.
        """
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((PromptRequest(messages, parameters), answer))
        self._arrival.set()
        return await answer

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._arrival.wait()
            while len(self._waiting) < self._most:
                count = len(self._waiting)
                await asyncio.sleep(_QUIET)
                if len(self._waiting) == count:
                    break
            self._batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
            if not self._waiting:
                self._arrival.clear()
            await self._in_thread([request for request, _ in self._batch], loop)
            await asyncio.sleep(0)  # answers that arrived last
            for _, waiting in self._batch:
                _resolve(waiting, NoAnswerError("engine gave no answer"))

    async def _in_thread(self, requests: list[PromptRequest], loop: asyncio.AbstractEventLoop) -> None:
        """Run a batch in a daemon thread, so that a stopped run need not wait for the rest of its batch."""
        done: asyncio.Future[None] = loop.create_future()

        def work() -> None:
            failure: BaseException | None = None
            try:
                self._work(requests, loop)
            except BaseException as error:  # noqa: BLE001 (handed to the waiting task)
                failure = error
            with suppress(RuntimeError):  # the event loop is closed: nothing is waiting any more
                loop.call_soon_threadsafe(_finish, done, failure)

        threading.Thread(target=work, name="engine", daemon=True).start()
        await done

    def _work(self, requests: list[PromptRequest], loop: asyncio.AbstractEventLoop) -> None:
        for index, answer in self._engine.run(requests):
            loop.call_soon_threadsafe(_resolve, self._batch[index][1], answer)

    def _stopped(self, serving: asyncio.Task[None]) -> None:
        """Fail all waiting requests when the engine has stopped."""
        if serving.cancelled() or (error := serving.exception()) is None:
            return
        failure = UserError(f"the engine stopped ({type(error).__name__}); its messages above say why")
        for _, waiting in [*self._batch, *self._waiting]:
            _resolve(waiting, failure)


def _finish(done: asyncio.Future[None], failure: BaseException | None) -> None:
    if done.done():
        return
    if failure is None:
        done.set_result(None)
    else:
        done.set_exception(failure)


def _resolve(waiting: asyncio.Future[Answer], answer: Answer | Exception) -> None:
    if waiting.done():
        return
    if isinstance(answer, Exception):
        waiting.set_exception(answer)
    else:
        waiting.set_result(answer)
