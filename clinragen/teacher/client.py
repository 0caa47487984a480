"""Client of an OpenAI-compatible server: concurrency adapts to its load; transient failures are retried with backoff.

Transient failures (429, 5xx, timeouts, resets, incomplete JSON) are retried; permanent ones (a wrong key, an unknown
model, a redirect) stop the run with one line. No log line or error contains a prompt or an answer.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from types import TracebackType
from typing import Any, Protocol, Self

import httpx2
import openai
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt
from tenacity.wait import wait_random_exponential

from clinragen.errors import UserError
from clinragen.teacher import completions, http_client, policy, refusals
from clinragen.teacher.completions import Answer
from clinragen.teacher.settings import Parameters, ServerSettings
from clinragen.teacher.tokens import Messages, least_tokens

#: Statuses of transient failures; some servers use 529 for overload.
_LATER = frozenset((408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529))
_BUSY = frozenset((429, 503, 529))
_NEVER = {
    401: "the server refuses the API key: set server.api_key_env to the variable that holds it",
    403: "the server refuses access to this model or account",
    404: "the server does not know the path or the model: check server.base_url (most end in /v1) and server.model",
    405: "the server takes no chat completions at this path: check server.base_url (most end in /v1)",
}


class NoAnswerError(Exception):
    """A request without an answer. ``str(error)`` is a short reason, such as "HTTP 503", for the summary."""


class _PassingError(NoAnswerError):
    """A transient failure. ``pause``: seconds that the server asks to wait."""

    def __init__(self, reason: str, pause: float | None = None, *, busy: bool = False) -> None:
        super().__init__(reason)
        self.pause = pause
        self.busy = busy


class ParameterError(UserError):
    """The server refuses a parameter. ``parameter`` is its name, ``str(error)`` also names the setting."""

    def __init__(self, where: str, code: int, parameter: str) -> None:
        super().__init__(
            f"{where}: HTTP {code}: the server does not take '{parameter}': --set {refusals.REMEDIES[parameter]}"
        )
        self.parameter = parameter


class Asker(Protocol):
    """Anything that answers prompts: a server, an engine in this process, or the journal only."""

    async def ask(self, messages: Messages, parameters: Parameters, name: str) -> Answer:
        """The answer to one request; ``name`` is its journal key."""
        ...


class Slots:
    """Limit of requests in flight: halved when the server is busy, raised by one after each successful round (AIMD)."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.limit = float(most)
        self.busy = 0
        self._waiting: list[asyncio.Future[None]] = []
        self._halved_at = float("-inf")

    async def __aenter__(self) -> None:
        while self.busy >= int(self.limit):
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            await turn
        self.busy += 1

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        self.busy -= 1
        self._wake()

    def succeeded(self) -> None:
        """Count an answer."""
        if self.limit < self.most:
            self.limit = min(self.most, self.limit + 1 / self.limit)
            self._wake()

    def overloaded(self) -> None:
        """Reduce the limit. Several refusals at the same moment count once."""
        now = asyncio.get_running_loop().time()
        if now - self._halved_at > 0.5:
            self._halved_at = now
            self.limit = max(1.0, self.limit / 2)

    def _wake(self) -> None:
        free = int(self.limit) - self.busy
        while free > 0 and self._waiting:
            turn = self._waiting.pop(0)
            if not turn.done():
                turn.set_result(None)
                free -= 1


class Client:
    """A server that the privacy policy allows. Use as an asynchronous context manager.

    Attributes:
        retried: counts of retries by reason.
        failed: counts of abandoned requests by reason.

    Raises:
        UserError: no model named, a base URL that the policy refuses, an API key variable that is not set.
    """

    def __init__(self, settings: ServerSettings) -> None:
        if not settings.model:
            raise UserError("teacher config: server.model is empty: name the model, as in --set server.model=NAME")
        self.settings = settings
        self.endpoint = policy.endpoint(settings.base_url, settings.attestation)
        secret = os.environ.get(settings.api_key_env, "") if settings.api_key_env else "none"
        if not secret:
            raise UserError(f"environment variable {settings.api_key_env} (server.api_key_env) is not set")
        self.slots = Slots(settings.concurrency)
        self.retried: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self._in_a_row = 0
        self._end: UserError | None = None  # once set, no further request is sent
        self._http = http_client.http_client(
            self.endpoint,
            connections=settings.concurrency,
            timeout=settings.timeout,
            most_bytes=settings.largest_answer,
        )
        self._sdk = openai.AsyncOpenAI(
            base_url=self.endpoint.base_url, api_key=secret, max_retries=0, http_client=self._http
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ):
        await self._sdk.close()

    async def ask(self, messages: Messages, parameters: Parameters, name: str) -> Answer:
        """One answer, with as many retries as the settings allow.

        Raises:
            NoAnswerError: no answer to this request; others may succeed.
            UserError: no request can succeed: the key, the model or the path is wrong, or the server is down.
        """
        self._check_length(messages, parameters)
        pause = wait_random_exponential(multiplier=self.settings.backoff, max=self.settings.longest_pause)

        def wait(state: RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            retry_after = error.pause if isinstance(error, _PassingError) else None
            return min(retry_after, self.settings.longest_pause) if retry_after is not None else pause(state)

        retrying = AsyncRetrying(
            retry=retry_if_exception_type(_PassingError),
            stop=stop_after_attempt(self.settings.tries),
            wait=wait,
            reraise=True,
        )
        try:
            answer = await retrying(self._once, messages, parameters, name)
        except NoAnswerError as error:
            self.failed[str(error)] += 1
            self._in_a_row += 1
            if self._in_a_row >= self.settings.give_up_after:
                self._end = UserError(
                    f"{self._in_a_row} requests in a row brought no answer from {self.endpoint.base_url} (the last: "
                    f"{error}). Answers so far are kept; check the server and run the same command again"
                )
                raise self._end from None
            raise
        self._in_a_row = 0
        return answer

    async def _once(self, messages: Messages, parameters: Parameters, name: str) -> Answer:
        async with self.slots:
            if self._end is not None:
                raise self._end
            body = self._body(messages, parameters)
            try:
                async with asyncio.timeout(self.settings.timeout):
                    # the SDK's generic request: its typed method walks through every message, at twice the cost
                    response = await self._sdk.post(
                        "/chat/completions",
                        cast_to=httpx2.Response,
                        body=body,
                        options={"headers": {"Idempotency-Key": name}},
                    )
                answer = completions.read(response.content)
            except (openai.OpenAIError, httpx2.HTTPError, TimeoutError) as error:
                failure = self._explain(error, body)
                if isinstance(failure, _PassingError):
                    self.retried[str(failure)] += 1
                    if failure.busy:
                        self.slots.overloaded()
                elif isinstance(failure, UserError) and getattr(failure, "parameter", "") != "response_format":
                    self._end = failure  # a refused response format may only have been a probe
                raise failure from None
            except completions.UnreadableError as error:
                self.retried[str(error)] += 1
                raise _PassingError(str(error)) from None
            self.slots.succeeded()
            return answer

    def _body(self, messages: Messages, parameters: Parameters) -> dict[str, Any]:
        """The body of a request in the server's dialect, which the journal key ignores: the content is the same."""
        settings = self.settings
        body = {name: value for name, value in parameters.items() if name not in settings.omit}
        if "max_tokens" in body:
            body[settings.max_tokens_name] = body.pop("max_tokens")
        if settings.stream:
            body["stream"] = True
            if "stream_options" not in settings.omit:
                body["stream_options"] = {"include_usage": True}
        if not settings.system_role and messages[0]["role"] == "system":
            question = f"{messages[0]['content']}\n\n{messages[1]['content']}"
            messages = [{**messages[1], "content": question}, *messages[2:]]
        return {"model": settings.model, "messages": messages, **body}

    def _explain(self, error: Exception, sent: dict[str, Any]) -> Exception:
        """A failure on our side, in words that contain nothing from the server or the chart."""
        if isinstance(error, openai.APIStatusError):
            return self._explain_status(error, sent)
        causes = [cause for cause in (error, error.__cause__, error.__context__) if cause is not None]
        for kinds, failure in (
            (
                httpx2.UnsupportedProtocol,
                UserError(f"{self.endpoint.base_url}: refused by the privacy policy"),
            ),
            (http_client.TooLargeError, NoAnswerError("answer larger than server.largest_answer")),
            (TimeoutError | openai.APITimeoutError | httpx2.TimeoutException, _PassingError("timeout", busy=True)),
            (httpx2.ConnectError, _PassingError("no connection")),
        ):
            if any(isinstance(cause, kinds) for cause in causes):
                return failure
        return _PassingError("connection lost")

    def _explain_status(self, error: openai.APIStatusError, sent: dict[str, Any]) -> Exception:
        """The same for a response with an error status."""
        code = error.status_code
        if code in _LATER:
            pause = _seconds(error.response.headers.get("retry-after"))
            return _PassingError(f"HTTP {code}", pause, busy=code in _BUSY)
        if 300 <= code < 400:
            return UserError(f"{self.endpoint.base_url} redirects (HTTP {code}): set server.base_url to the target")
        if code in _NEVER:
            return UserError(f"{self.endpoint.base_url}: HTTP {code}: {_NEVER[code]}")
        parameter = refusals.refused(error.response.content, sent) if code in (400, 422) else None
        if parameter == refusals.CONTEXT:
            return NoAnswerError("prompt longer than the context")
        if parameter:
            return ParameterError(self.endpoint.base_url, code, parameter)
        return NoAnswerError(f"HTTP {code}")

    def _check_length(self, messages: Messages, parameters: Parameters) -> None:
        room = self.settings.context_tokens
        if room and least_tokens(messages) + parameters["max_tokens"] > room:
            self.failed["prompt longer than the context"] += 1
            raise NoAnswerError("prompt longer than the context")


def _seconds(header: str | None) -> float | None:
    """Retry-After in seconds; a date or an invalid value is ignored."""
    try:
        value = float(header) if header else None
    except ValueError:
        return None
    return value if value is not None and 0 <= value < 1e6 else None
