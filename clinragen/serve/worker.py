"""One thread that runs the model, and a bounded number of requests that wait for it: the event loop never waits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from time import monotonic
from typing import Any

from clinragen.serve.refusals import busy

_USUAL = 2.0  # seconds of a job, before any was measured


class ClientLeftError(Exception):
    """The client has left before its answer was ready."""


class Worker:
    """Runs jobs one after the other.

    Args:
        waiting: most jobs that wait while one runs.
        seconds: within which a job must be done, waiting included.
    """

    def __init__(self, waiting: int, seconds: float) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._most = waiting + 1
        self._seconds = seconds
        self._jobs: set[Future[Any]] = set()
        self._usual = _USUAL
        self._closed = False

    @property
    def pending(self) -> int:
        """Jobs that run or wait."""
        return len(self._jobs)

    async def run[T](self, job: Callable[[], T], disconnected: Callable[[], Awaitable[None]]) -> T:
        """The result of a job.

        Args:
            job: called in the thread.
            disconnected: returns when the client has left; its job is then not begun.

        Raises:
            RefusalError: 503 if too many wait, if it takes too long, or if the service ends.
            ClientLeftError: the client has left.
        """
        if self._closed:
            raise busy("the service is ending", self._usual)
        if self.pending >= self._most:
            raise busy("too many requests wait for the model: try again later", self._usual * self.pending)
        future = self._submit(job)
        result, left = asyncio.wrap_future(future), asyncio.ensure_future(disconnected())
        try:
            await asyncio.wait({result, left}, timeout=self._seconds, return_when=asyncio.FIRST_COMPLETED)
            if result.done():
                with suppress(asyncio.CancelledError):
                    return result.result()
                raise busy("the service is ending", self._usual)
            if left.done():
                raise ClientLeftError
            raise busy(f"no answer within {self._seconds:g} seconds: send fewer stays, or later", self._usual)
        finally:
            left.cancel()
            result.cancel()  # a job that waits is not begun; one that runs ends, and its result is dropped

    def close(self) -> None:
        """Finish the job that runs, refuse those that wait, and take no more."""
        self._closed = True
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _submit[T](self, job: Callable[[], T]) -> Future[T]:
        loop = asyncio.get_running_loop()

        def timed() -> T:
            began = monotonic()
            try:
                return job()
            finally:
                self._usual = 0.8 * self._usual + 0.2 * (monotonic() - began)

        future = self._thread.submit(timed)
        self._jobs.add(future)

        def done(finished: Future[T]) -> None:
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._jobs.discard, finished)

        future.add_done_callback(done)
        return future
