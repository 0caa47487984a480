"""The server process: its socket, slow clients, and how it ends."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from clinragen.errors import UserError
from clinragen.serve.app import Service, build_app
from clinragen.serve.gate import LOG

_BACKLOG = 256
_IDLE = 5  # seconds that a connection without a request is kept
_LONGEST_HEADERS = 16 << 10  # bytes


class PatientProtocol(H11Protocol):
    """HTTP/1.1 whose clients must send their headers, and take their answer, within a time.

    uvicorn itself waits for ever for headers that arrive byte by byte, and for a client that reads nothing.
    """

    seconds = 15.0
    connections_allowed = 512

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected."""
        self._slow: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        super().connection_made(transport)
        if len(self.connections) > self.connections_allowed:
            transport.abort()
            return
        self._expect_headers()

    def data_received(self, data: bytes) -> None:
        """Bytes of a client."""
        super().data_received(data)
        self._expect_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended."""
        for timer in (self._slow, self._unread):
            if timer:
                timer.cancel()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The client does not take its answer."""
        super().pause_writing()
        self._unread = self.loop.call_later(self.seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """The client takes it again."""
        super().resume_writing()
        if self._unread:
            self._unread.cancel()
            self._unread = None

    @property
    def _between_requests(self) -> bool:
        return getattr(self.cycle, "response_complete", True)  # there is no cycle before the first request

    def _expect_headers(self) -> None:
        """Give the client its time, once, until a request is complete up to its body."""
        waiting = self._between_requests
        if waiting and self._slow is None:
            self._slow = self.loop.call_later(self.seconds, self._give_up)
        elif not waiting and self._slow:
            self._slow.cancel()
            self._slow = None

    def _give_up(self) -> None:
        self._slow = None
        if self._between_requests:
            self.transport.abort()


class Server(uvicorn.Server):
    """uvicorn that finishes the request that runs, and refuses those that wait, when it is stopped."""

    def __init__(self, config: uvicorn.Config, service: Service, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._service = service
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets)
        if self.started:
            self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End."""
        self._service.close()
        await super().shutdown(sockets)


def listen(host: str, port: int) -> socket.socket:
    """A socket on an address.

    Args:
        host: a name or an address of this machine.
        port: 0 takes a free one.

    Raises:
        UserError: it cannot be had.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        opened = socket.socket(family, kind, protocol)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
        opened.listen(_BACKLOG)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"--host {host} --port {port}: {reason}: choose another address") from None
    return opened


def address_of(opened: socket.socket, secure: bool) -> str:
    """The URL of a listening socket."""
    host, port = opened.getsockname()[:2]
    return f"http{'s' if secure else ''}://{f'[{host}]' if ':' in host else host}:{port}/"


def make_server(
    service: Service,
    ready: Callable[[], None] = lambda: None,
    *,
    certificate: Path | None = None,
    key: Path | None = None,
) -> Server:
    """A server that is not yet started.

    Args:
        service: the model and its limits.
        ready: called when requests are answered.
        certificate: of TLS, in PEM.
        key: of the certificate.

    Raises:
        UserError: the certificate cannot be read.
    """
    limits = service.limits
    times = {"seconds": limits.read_seconds, "connections_allowed": limits.connections}
    config = uvicorn.Config(
        build_app(service),
        http=type("Protocol", (PatientProtocol,), times),
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="critical",  # its messages may hold tracebacks, which quote patient text
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_IDLE,
        timeout_graceful_shutdown=int(limits.seconds) + 1,
        h11_max_incomplete_event_size=_LONGEST_HEADERS,
        **_secure(certificate, key),
    )
    try:
        config.load()
    except OSError as error:  # those of ssl are OSErrors
        raise UserError(f"--certificate {certificate}: {error.strerror or error}: expected PEM files") from None
    return Server(config, service, ready)


def serve(server: Server, opened: socket.socket) -> None:
    """Answer requests until SIGTERM or Ctrl-C, which let the request that runs be finished.

    Args:
        server: of the service.
        opened: a socket that listens.
    """
    _log()
    try:
        server.run([opened])
    except KeyboardInterrupt:
        LOG.info("stopped")


def _secure(certificate: Path | None, key: Path | None) -> dict[str, Any]:
    if certificate is None:
        return {}
    return {"ssl_certfile": str(certificate), "ssl_keyfile": str(key) if key else None}


def _log() -> None:
    """One line for each request on standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    LOG.handlers[:] = [handler]
    LOG.setLevel(logging.INFO)
    LOG.propagate = False
