"""The whole suite runs with every connection but loopback blocked, at the level of the interpreter's sockets."""

import ipaddress
import sys

import pytest

#: Addresses that something tried to connect to or send to, loopback included; cleared by the ``dialled`` fixture.
_DIALLED: list[str] = []


class BlockedConnection(OSError):
    """A test reached for the network."""


def _watch(event: str, args: tuple) -> None:
    if event not in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        return
    address = args[1]
    if not isinstance(address, tuple):  # a Unix socket, or a datagram to the connected peer
        return
    host = str(address[0]).partition("%")[0]
    _DIALLED.append(host)
    try:
        local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = host == "localhost"
    if not local:
        raise BlockedConnection(f"tests may not connect to {host}")


sys.addaudithook(_watch)


@pytest.fixture
def dialled() -> list[str]:
    """Hosts that sockets of this process connected to since the test began."""
    _DIALLED.clear()
    return _DIALLED
