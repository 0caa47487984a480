"""Around every request: its host, the number of requests, headers of the answer, a line in the log, faults.

The log has the method, the route, the status and the time. A fault is logged by its type and the line of code, without
its message, which may quote patient text.
"""

from __future__ import annotations

import asyncio
import logging
import os
import traceback
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from time import monotonic

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from clinragen.errors import DEBUG
from clinragen.serve import pages
from clinragen.serve.access import Access
from clinragen.serve.refusals import RefusalError, busy
from clinragen.serve.worker import ClientLeftError

LOG = logging.getLogger("clinragen.serve")
PAGE = "/page"  # what answers a form, errors included
#: Allows nothing; pages say in their own headers what they need.
NOTHING = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",  # without any, a browser would not say that a form is of this origin
    "cache-control": "no-store",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}
_CLOSED = 499  # in the log: the client has left
_RETRY = 2.0  # seconds
_DRAIN_SECONDS, _DRAIN_BYTES = 10.0, 64 << 20


class Gate:
    """The outermost part of the service.

    Args:
        app: what answers.
        access: who may ask.
        most: requests that are answered at the same time.
        record: called with route, status and seconds of each request.
    """

    def __init__(self, app: ASGIApp, access: Access, most: int, record: Callable[[str, int, float], None]) -> None:
        self._app = app
        self._access = access
        self._most = most
        self._record = record
        self._requests = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; whatever fails, with a status."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = monotonic(), 0
        body = _Body(receive)

        async def answered(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _harden(message)
                if _drained(status, scope):
                    await body.drain()
            await send(message)

        self._requests += 1
        try:
            self._admit(scope)
            await self._app(scope, body.receive, answered)
        except RefusalError as refusal:
            shown = pages.refusal_page(refusal).response(refusal.status, refusal.headers)
            response = shown if scope["path"] == PAGE else refused(refusal)
            await response(scope, body.receive, answered)
        except (ClientLeftError, ClientDisconnect):
            status = status or _CLOSED
        except Exception as error:  # noqa: BLE001 (whatever it is, its message stays here)
            status = await self._fault(error, status, scope, body.receive, answered)
        finally:
            self._requests -= 1
            route, seconds = _route(scope), monotonic() - began
            self._record(route, status, seconds)
            LOG.info("%s %s %d %.0f ms", _method(scope), route, status, 1000 * seconds)

    def _admit(self, scope: Scope) -> None:
        self._access.check_host(Headers(scope=scope))
        if self._requests > self._most and scope["path"] != "/health":
            raise busy("too many requests: try again later", _RETRY)

    async def _fault(self, error: Exception, status: int, scope: Scope, receive: Receive, send: Send) -> int:
        if os.environ.get(DEBUG) == "1":
            traceback.print_exception(error)
        frame = traceback.extract_tb(error.__traceback__)[-1]
        LOG.error("fault: %s in %s:%d", type(error).__name__, os.path.basename(frame.filename), frame.lineno)  # noqa: PTH119
        if not status:
            body = {"error": "a fault of the service; its log names the line of code", "fields": []}
            await JSONResponse(body, 500)(scope, receive, send)
        return status or HTTPStatus.INTERNAL_SERVER_ERROR.value


class _Body:
    """The body of a request, of which the gate throws away what nobody has read."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._complete = False

    async def receive(self) -> Message:
        """A part of it."""
        message = await self._receive()
        self._complete = self._complete or not message.get("more_body", False)
        return message

    async def drain(self) -> None:
        """Read on before a refusal is sent: most clients read an answer only after they have sent everything."""
        size = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_SECONDS):
                while not self._complete and size < _DRAIN_BYTES:
                    size += len((await self.receive()).get("body", b""))


def _drained(status: int, scope: Scope) -> bool:
    """Whether the rest of a body is awaited: not of one that was too slow, or whose client asks before it sends it."""
    return (
        status >= HTTPStatus.BAD_REQUEST
        and status != HTTPStatus.REQUEST_TIMEOUT
        and "expect" not in Headers(scope=scope)
    )


def refused(refusal: RefusalError) -> JSONResponse:
    """The response of a refusal."""
    return JSONResponse(refusal.body(), refusal.status, headers=refusal.headers)


def _harden(message: Message) -> None:
    headers = MutableHeaders(scope=message)
    for name, value in _HEADERS.items():
        headers.setdefault(name, value)
    headers.setdefault("content-security-policy", NOTHING)


def _route(scope: Scope) -> str:
    """The path as the service names it, so that no text of a client gets into the log or the counts."""
    app = scope.get("app")
    for route in getattr(app, "routes", ()):
        if isinstance(route, Route) and route.matches(scope)[0] is not Match.NONE:
            return route.path
    return "other"


def _method(scope: Scope) -> str:
    method = scope["method"]
    return method if method in ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS") else "other"
