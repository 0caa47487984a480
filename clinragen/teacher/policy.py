"""The privacy policy: which servers may receive patient text: loopback, and hosts that an attestation covers.

`clinragen.teacher.http_client` opens the connection. A host other than loopback must be named in the configuration and
be covered by an attestation: who is responsible, under which agreement, with which retention terms. The address is
checked and pinned before the first byte is sent; redirects, proxies, the environment and unusual spellings of addresses
are not followed.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import asdict, dataclass, field
from typing import TypedDict
from urllib.parse import urlsplit

from clinragen.attestation import Attestation
from clinragen.errors import UserError

_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")


class EndpointRecord(TypedDict):
    """Where prompts went, for manifests: the URL and, unless it is this machine, the attestation."""

    base_url: str
    attestation: dict[str, str] | None


@dataclass(frozen=True)
class Endpoint:
    """A server that may receive patient text: its URL, and the checked addresses to which it is pinned."""

    scheme: str
    host: str
    port: int
    path: str
    addresses: tuple[str, ...]
    attestation: Attestation | None = field(default=None)

    @property
    def base_url(self) -> str:
        """The URL, rebuilt from the checked parts."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.path}"

    def as_json(self) -> EndpointRecord:
        """The entry of a manifest."""
        return {"base_url": self.base_url, "attestation": asdict(self.attestation) if self.attestation else None}


def endpoint(base_url: str, attestation: Attestation | None = None) -> Endpoint:
    """Check a server's base URL.

    Raises:
        UserError: not a plain http(s) URL, a host that is neither loopback nor attested, plain http to another host, or
            a name that does not resolve, or resolves to an address that is not allowed for it.
    """
    scheme, host, port, path = _parts(base_url)
    covered = attestation is not None and attestation.refusal(host, port) is None
    literal = _address(host)
    if literal is None and "." in host and not covered:
        raise _refused(host, attestation, port)  # before a DNS query reveals anything
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
    return parts.scheme, host, port, parts.path.rstrip("/")


def _is_name(host: str) -> bool:
    """Whether it is a host name, not a number that a resolver would read as an address (2130706433, 0x7f.1, 127.1)."""
    labels = host.split(".")
    last = labels[-1]
    return all(map(_LABEL.fullmatch, labels)) and not last.isdigit() and not re.fullmatch(r"0x[0-9a-f]*", last)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    # ::ffff:127.0.0.1 and the like: an IPv4 address within IPv6
    if isinstance(address, ipaddress.IPv6Address) and (address.ipv4_mapped or address.sixtofour or address.scope_id):
        raise UserError(f"base_url host '{host}': write the IPv4 address itself")
    return address


def _resolve(host: str, port: int) -> tuple[str, ...]:
    try:
        answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise UserError(f"base_url host '{host}' is not known: is the name right?") from None
    return tuple(dict.fromkeys(str(_address(str(item[4][0])) or item[4][0]) for item in answers))


def _refused(host: str, attestation: Attestation | None, port: int) -> UserError:
    why = attestation.refusal(host, port) if attestation and attestation.host else None
    return UserError(
        f"base_url host '{host}' is not this machine and is refused: {why or 'no attestation names it'}. Patient text "
        "stays here unless the config of the model holds a signed attestation for that host; see docs/privacy.md"
    )
