"""The privacy gate: the only place that opens a connection, and only to loopback or to a host that is attested.

Patient text leaves this machine by no other door. A host other than loopback must be named in the configuration and be
covered by an attestation: who answers for it, under which agreement, with which retention terms. The address is checked
and pinned before the first byte is sent; redirects, proxies, the environment and odd spellings count for nothing.
"""

from __future__ import annotations

import ipaddress
import logging
import re
import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field
from datetime import date
from itertools import cycle
from urllib.parse import urlsplit

import httpx2

from clinragen.errors import UserError

#: An answer larger than this is no rationale; reading stops there.
MOST_BYTES = 4_000_000
_POOL = 4
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
#: What a request may carry. Anything that the environment or a library adds besides is left out.
_HEADERS = frozenset(
    ("accept", "api-key", "authorization", "connection", "content-length", "content-type", "idempotency-key")
)
#: Loggers that write request bodies, and so patient text, when the environment turns them up.
_LOGGERS = ("openai", "httpx2", "httpcore2")


@dataclass
class Attestation:
    """A person's signed word that a host may receive the data. ``signature`` repeats ``who``; all fields are needed."""

    host: str = ""  # host or host:port, as in base_url
    who: str = ""  # full name and role
    agreement: str = ""  # data use agreement and contract with the host, with numbers
    retention: str = ""  # what the host keeps, and for how long
    signed_on: str = ""  # YYYY-MM-DD
    signature: str = ""  # who, typed again

    def refusal(self, host: str, port: int) -> str | None:
        """Why this attestation does not cover a host, or None."""
        for name, value in asdict(self).items():
            if len(value.strip()) < 3:
                return f"attestation.{name} is empty"
        if self.host.lower() not in (host, f"{host}:{port}"):
            return f"attestation.host is '{self.host}'"
        if self.signature.split() != self.who.split():
            return "attestation.signature must repeat attestation.who word for word"
        try:
            signed = date.fromisoformat(self.signed_on)
        except ValueError:
            return f"attestation.signed_on '{self.signed_on}' is no date (YYYY-MM-DD)"
        return "attestation.signed_on lies in the future" if signed > date.today() else None


@dataclass(frozen=True)
class Endpoint:
    """A server that may receive patient text: where, and the checked addresses that it is pinned to."""

    scheme: str
    host: str
    port: int
    path: str
    addresses: tuple[str, ...]
    attestation: Attestation | None = field(default=None)

    @property
    def base_url(self) -> str:
        """The URL, put together anew from the checked parts."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.path}"

    def as_json(self) -> dict[str, object]:
        """For manifests: the URL and, for a host that is not loopback, the attestation."""
        return {"base_url": self.base_url, "attestation": asdict(self.attestation) if self.attestation else None}


def endpoint(base_url: str, attestation: Attestation | None = None) -> Endpoint:
    """Check a server's base URL.

    Raises:
        UserError: not a plain http(s) URL, a host that is neither loopback nor attested, plain http to another host, or
            a name that resolves to nothing or to an address that its standing does not allow.
    """
    scheme, host, port, path = _parts(base_url)
    covered = attestation is not None and attestation.refusal(host, port) is None
    literal = _address(host)
    if literal is None and "." in host and not covered:
        raise _refused(host, attestation, port)  # before a look-up tells a name server anything
    addresses = (str(literal),) if literal else _resolve(host, port)
    loopback = [ipaddress.ip_address(address).is_loopback for address in addresses]
    if all(loopback):
        return Endpoint(scheme, host, port, path, addresses)
    if any(loopback) or host == "localhost":
        raise UserError(f"base_url host '{host}' resolves to {', '.join(addresses)}: expected only loopback addresses")
    if not covered:
        raise _refused(host, attestation, port)
    if scheme != "https":
        raise UserError(f"base_url: patient text goes to '{host}' by https only; or reach it through an ssh tunnel")
    for address in map(ipaddress.ip_address, addresses):
        if address.is_link_local or address.is_multicast or address.is_unspecified or address.is_reserved:
            raise UserError(f"base_url host '{host}' resolves to {address}, which is no server's address")
    return Endpoint(scheme, host, port, path, addresses, attestation)


def client(target: Endpoint, *, connections: int, timeout: float) -> httpx2.AsyncClient:
    """The HTTP client that reaches ``target`` and nothing else. ``timeout``: seconds between bytes."""
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        logger.setLevel(max(logger.getEffectiveLevel(), logging.WARNING))
        logger.propagate = False
    return httpx2.AsyncClient(
        transport=Gate(target, connections), timeout=timeout, follow_redirects=False, trust_env=False
    )


class Gate(httpx2.AsyncBaseTransport):
    """Passes requests for one endpoint on to its pinned addresses; refuses every other."""

    def __init__(self, target: Endpoint, connections: int) -> None:
        self._target = target
        self._addresses = list(target.addresses)
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
        tls = _tls(target)
        # A pool looks at each of its connections for each request: many small pools cost less than a large one.
        pools = [
            httpx2.AsyncHTTPTransport(verify=tls, trust_env=False, limits=limits)
            for _ in range(max(1, connections // _POOL))
        ]
        self._pools = pools
        self._turns = cycle(pools)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        target, url = self._target, request.url
        port = url.port or (443 if url.scheme == "https" else 80)
        if (url.scheme, url.host.strip("[]"), port) != (target.scheme, target.host, target.port) or url.userinfo:
            raise httpx2.UnsupportedProtocol("the privacy gate allows the configured server only", request=request)
        named = f"[{target.host}]" if ":" in target.host else target.host
        kept = [(key, value) for key, value in request.headers.raw if key.lower().decode("latin-1") in _HEADERS]
        # a compressed answer could unfold to any size
        headers = [(b"Host", f"{named}:{target.port}".encode()), (b"Accept-Encoding", b"identity"), *kept]
        for last, address in enumerate(tuple(self._addresses), start=1 - len(self._addresses)):
            pinned = httpx2.Request(
                request.method,
                url.copy_with(host=address),
                headers=headers,
                stream=request.stream,
                extensions={**request.extensions, "sni_hostname": target.host},
            )
            try:
                response = await next(self._turns).handle_async_request(pinned)
            except httpx2.ConnectError:
                if not last:
                    raise
                continue
            if self._addresses[0] != address:
                self._addresses.remove(address)
                self._addresses.insert(0, address)
            assert isinstance(response.stream, httpx2.AsyncByteStream)
            response.stream = _Bounded(response.stream)
            return response
        raise AssertionError("an endpoint has at least one address")

    async def aclose(self) -> None:
        for pool in self._pools:
            await pool.aclose()


class TooLargeError(httpx2.DecodingError):
    """A response body beyond ``MOST_BYTES``."""


class _Bounded(httpx2.AsyncByteStream):
    """A response body that ends in an error once it is larger than any rationale."""

    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        read = 0
        async for part in self._stream:
            read += len(part)
            if read > MOST_BYTES:
                raise TooLargeError(f"answer larger than {MOST_BYTES} bytes")
            yield part

    async def aclose(self) -> None:
        await self._stream.aclose()


def _parts(url: str) -> tuple[str, str, int, str]:
    """Scheme, lower-case host without brackets, port and path of a base URL written in the plain way."""
    wrong = UserError(
        "base_url is not a plain URL such as http://127.0.0.1:8000/v1 (no user name, query, fragment, escape or space)"
    )
    if not re.fullmatch(r"https?://(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?", url):
        raise wrong
    parts = urlsplit(url)
    try:
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        raise wrong from None
    port = port if port is not None else 443 if parts.scheme == "https" else 80
    if not host or not port or ".." in parts.path:
        raise wrong
    if _address(host) is None and not _is_name(host):
        raise UserError(f"base_url host '{host}' is neither a plain host name nor an address in its usual form")
    if httpx2.URL(url).host.strip("[]") != host:  # two readers of one URL must agree on where it leads
        raise wrong
    return parts.scheme, host, port, parts.path.rstrip("/")


def _is_name(host: str) -> bool:
    """A host name, and no number that a resolver would take for an address (2130706433, 0x7f.1, 127.1)."""
    labels = host.split(".")
    last = labels[-1]
    return all(map(_LABEL.fullmatch, labels)) and not last.isdigit() and not re.fullmatch(r"0x[0-9a-f]*", last)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    # ::ffff:127.0.0.1 and the like: an IPv4 address in disguise
    if isinstance(address, ipaddress.IPv6Address) and (address.ipv4_mapped or address.sixtofour or address.scope_id):
        raise UserError(f"base_url host '{host}': write the IPv4 address itself")
    return address


def _resolve(host: str, port: int) -> tuple[str, ...]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise UserError(f"base_url host '{host}' is not known: is the name right?") from None
    return tuple(dict.fromkeys(str(_address(str(item[4][0])) or item[4][0]) for item in found))


def _refused(host: str, attestation: Attestation | None, port: int) -> UserError:
    why = attestation.refusal(host, port) if attestation and attestation.host else None
    return UserError(
        f"base_url host '{host}' is not this machine and is refused: {why or 'no attestation names it'}. Patient text "
        "stays here unless the teacher config holds a signed attestation for that host; see docs/privacy.md"
    )


def _tls(target: Endpoint) -> ssl.SSLContext | bool:
    if target.scheme != "https":
        return False  # nothing to verify, and no certificates to load
    context = ssl.create_default_context()
    context.keylog_filename = None  # type: ignore[assignment]  # SSLKEYLOGFILE would lay the session keys bare
    return context
