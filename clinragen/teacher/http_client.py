"""The HTTP client of teachers: the only outbound network path, and only to the addresses that the policy has checked.

Redirects, proxies, cookies, compression, `.netrc`, and anything else that the environment or a library would add, are
switched off.
"""

from __future__ import annotations

import logging
import socket
import ssl

import aiohttp
import aiohttp.abc
import httpx2
import yarl

from clinragen.errors import UserError
from clinragen.teacher.policy import Endpoint
from clinragen.teacher.settings import MOST_BYTES

#: Headers that a request may have. Any others, from the environment or a library, are removed.
_HEADERS = frozenset(
    ("accept", "api-key", "authorization", "connection", "content-length", "content-type", "idempotency-key")
)
#: Loggers that would write request bodies, and so patient text, if the environment raises their level.
_LOGGERS = ("openai", "httpx2", "aiohttp")


def http_client(
    target: Endpoint, *, connections: int, timeout: float, most_bytes: int = MOST_BYTES
) -> httpx2.AsyncClient:
    """An HTTP client that can reach only ``target``.

    Args:
        target: an endpoint checked by the policy, with its pinned addresses.
        connections: most connections at a time.
        timeout: seconds between bytes.
        most_bytes: a larger response is rejected; reading stops there.
    """
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        logger.setLevel(max(logger.getEffectiveLevel(), logging.WARNING))
        logger.propagate = False
    if httpx2.URL(target.base_url).host.strip("[]") != target.host:  # both URL parsers must agree
        raise UserError(f"base_url host '{target.host}' is read in two ways: write it plainly")
    transport = PinnedTransport(target, connections, timeout, most_bytes)
    return httpx2.AsyncClient(transport=transport, timeout=timeout, follow_redirects=False, trust_env=False)


class TooLargeError(httpx2.DecodingError):
    """A response body beyond the limit."""


class PinnedTransport(httpx2.AsyncBaseTransport):
    """Sends requests for one endpoint to its pinned addresses; refuses all others.

    Connections are aiohttp's, at half the processor time of httpx2's own pool. Its handling of cookies, proxies,
    redirects, compression and the environment is switched off.
    """

    def __init__(self, target: Endpoint, connections: int, timeout: float, most_bytes: int) -> None:
        self._target, self._connections, self._most_bytes = target, connections, most_bytes
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=timeout, sock_read=timeout)
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """The whole response to one request.

        Raises:
            httpx2.TransportError: the request is for another server, or the connection fails.
            httpx2.DecodingError: a compressed or too large response.
        """
        target, url = self._target, request.url
        port = url.port or (443 if url.scheme == "https" else 80)
        if (url.scheme, url.host.strip("[]"), port) != (target.scheme, target.host, target.port) or url.userinfo:
            raise httpx2.UnsupportedProtocol("only the configured server may be reached", request=request)
        pairs = [(key.decode("latin-1"), value.decode("latin-1")) for key, value in request.headers.raw]
        headers = [(key, value) for key, value in pairs if key.lower() in _HEADERS]
        if self._session is None:
            self._session = self._open()
        try:
            async with self._session.request(
                request.method,
                yarl.URL(str(url), encoded=True),
                data=await request.aread(),
                headers=[*headers, ("Accept-Encoding", "identity")],
                allow_redirects=False,
            ) as answer:
                if answer.headers.get("Content-Encoding", "identity") != "identity":
                    raise httpx2.DecodingError("compressed answer", request=request)  # it could decompress to any size
                body = bytearray()
                async for part in answer.content.iter_any():
                    body += part
                    if len(body) > self._most_bytes:
                        raise TooLargeError(f"answer larger than {self._most_bytes} bytes", request=request)
                return httpx2.Response(answer.status, headers=answer.raw_headers, content=bytes(body), request=request)
        except TimeoutError:
            raise httpx2.ReadTimeout("timeout", request=request) from None
        except aiohttp.ClientConnectorError:
            raise httpx2.ConnectError("no connection", request=request) from None
        except (aiohttp.ClientError, OSError):
            raise httpx2.ReadError("connection lost", request=request) from None

    def _open(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            ssl=_tls(self._target), resolver=_Pinned(self._target.addresses), limit=self._connections
        )
        return aiohttp.ClientSession(
            connector=connector,
            timeout=self._timeout,
            trust_env=False,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("Accept", "Content-Type", "User-Agent"),
        )

    async def aclose(self) -> None:
        """Close the connections; the transport opens new ones if it is used again."""
        if self._session is not None:
            await self._session.close()


class _Pinned(aiohttp.abc.AbstractResolver):
    """A resolver that returns the checked addresses without a DNS query."""

    def __init__(self, addresses: tuple[str, ...]) -> None:
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[aiohttp.abc.ResolveResult]:
        """The pinned addresses, for any host."""
        return [
            {
                "hostname": host,
                "host": address,
                "port": port,
                "family": socket.AF_INET6 if ":" in address else socket.AF_INET,
                "proto": socket.IPPROTO_TCP,
                "flags": socket.AI_NUMERICHOST,
            }
            for address in self._addresses
        ]

    async def close(self) -> None:
        """Nothing to close."""


def _tls(target: Endpoint) -> ssl.SSLContext | bool:
    if target.scheme != "https":
        return False  # no TLS: nothing to verify, no certificates to load
    context = ssl.create_default_context()
    context.keylog_filename = None  # type: ignore[assignment]  # SSLKEYLOGFILE would lay the session keys bare
    return context
