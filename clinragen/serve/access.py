"""Who may ask: the token, and on loopback only requests that were sent to this machine by name.

On loopback a web page of someone else, open in a browser on this machine, could reach the service under its own host
name (DNS rebinding); therefore the host of a request must be a name of this machine. No page of another origin may send
anything, and none may read an answer, as no CORS header is ever sent.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request

from clinragen.errors import UserError
from clinragen.serve.refusals import RefusalError

TOKEN = "CLINRAGEN_SERVE_TOKEN"
_SHORTEST = 16  # characters of a token
_LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Access:
    """Who may ask.

    Attributes:
        digest: SHA-256 of the token; None if none is needed, which only loopback allows.
        loopback: whether the service is reached from this machine alone.
    """

    digest: bytes | None
    loopback: bool = True

    @classmethod
    def decide(cls, host: str, token_file: Path | None) -> Access:
        """By the address and the token, which is in a file or in the environment, never on the command line.

        Args:
            host: address that the service listens on.
            token_file: of the token; otherwise the variable ``CLINRAGEN_SERVE_TOKEN``.

        Raises:
            UserError: another address than loopback without a token, or a token that is too short.
        """
        token = _of_file(token_file) if token_file else os.environ.get(TOKEN, "")
        loopback = is_loopback(host)
        if not token and not loopback:
            raise UserError(
                f"--host {host} is reached from other machines, and no token is set: put one into a file and pass "
                f"--token-file, or into the variable {TOKEN}"
            )
        if token and (len(token) < _SHORTEST or not token.isascii() or any(letter.isspace() for letter in token)):
            where = f"--token-file {token_file}" if token_file else TOKEN
            raise UserError(f"{where}: expected at least {_SHORTEST} ASCII characters without blanks")
        return cls(_digest(token) if token else None, loopback)

    def check_host(self, headers: Mapping[str, str]) -> None:
        """Raise a RefusalError if a request was sent to another name than this machine's, or by a foreign page."""
        host = headers.get("host", "")
        if self.loopback and _name(host) not in _LOCAL_NAMES:
            raise RefusalError(421, "this address answers only to localhost, 127.0.0.1 and [::1]")
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2] != host:
            raise RefusalError(403, "requests from pages of another origin are refused")

    def check_token(self, token: str | None) -> None:
        """Raise a RefusalError unless it is the token, in constant time."""
        if self.digest is not None and not hmac.compare_digest(_digest(token or ""), self.digest):
            raise RefusalError(
                401, "a token is needed: Authorization: Bearer TOKEN", headers={"www-authenticate": "Bearer"}
            )

    def check(self, request: Request) -> None:
        """Raise a RefusalError unless a request has the token in its header ``Authorization``."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        self.check_token(token.strip() if scheme.lower() == "bearer" else None)


def is_loopback(host: str) -> bool:
    """
    >>> is_loopback("127.0.0.1"), is_loopback("0.0.0.0"), is_loopback("localhost")
    (True, False, True)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _name(host: str) -> str:
    """The host of a header ``Host`` without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def _of_file(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        raise UserError(f"--token-file {path} not found") from None
    except UnicodeDecodeError:
        raise UserError(f"--token-file {path} is no text") from None
