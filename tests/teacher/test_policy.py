"""The privacy policy: no socket opens to a host that is not allowed."""

import asyncio
import datetime as dt
import logging
import socket
from dataclasses import replace

import httpx2
import openai
import pytest

from clinragen.attestation import Attestation
from clinragen.errors import UserError
from clinragen.teacher import http_client, policy
from clinragen.teacher.http_client import http_client as client
from clinragen.teacher.policy import Endpoint, endpoint

SIGNED = Attestation(
    host="llm.example.org",
    who="Dr Ada Example, data steward",
    agreement="PhysioNet Credentialed Health Data Use Agreement 1.5.0; contract 12-345",
    retention="zero retention, confirmed in writing",
    signed_on="2026-01-15",
    signature="Dr Ada Example, data steward",
)

TRICKS = [
    "http://example.com/v1",
    "https://example.com",
    "http://8.8.8.8/v1",
    "http://10.0.0.5:8000/v1",
    "http://192.168.1.10:11434/v1",
    "http://169.254.169.254/latest/meta-data",
    "http://0.0.0.0:8000/v1",
    "http://[::]:8000/v1",
    "http://[2001:db8::1]/v1",
    "http://[::ffff:8.8.8.8]/v1",
    "http://[::ffff:127.0.0.1]/v1",
    "http://[2002:7f00:1::]/v1",
    "http://[fe80::1%25eth0]/v1",
    "http://2130706433/v1",
    "http://134744072/v1",
    "http://0x7f000001/v1",
    "http://0x08.8.8.8/v1",
    "http://127.1/v1",
    "http://8.8.2056/v1",
    "http://0177.0.0.1/v1",
    "http://127.0.0.01/v1",
    "http://localhost@example.com/v1",
    "http://127.0.0.1@8.8.8.8/v1",
    "http://127.0.0.1:8000@example.com/v1",
    "http://user:secret@localhost/v1",
    "http://localhost.example.com/v1",
    "http://127.0.0.1.example.com/v1",
    "http://127.0.0.1.nip.io/v1",
    "http://localhost./v1",
    "http://localhost%2eexample.com/v1",
    "http://localhost%00.example.com/v1",
    "http://localhost\\@example.com/v1",
    "http://example.com\\@localhost/v1",
    "http://localhost#@example.com/v1",
    "http://localhost?@example.com/v1",
    "http://localhost;@example.com/v1",
    "http://localhost /v1",
    " http://localhost/v1",
    "http://local\thost/v1",
    "http://localhost\r\nHost: example.com/v1",
    "http://ⓛocalhost/v1",
    "http://127。0。0。1/v1",
    "http://１２７.0.0.1/v1",
    "http://exаmple.com/v1",
    "http:///example.com/v1",
    "http://localhost:99999/v1",
    "http://localhost:0/v1",
    "http://localhost:8000:80/v1",
    "http://localhost/v1?proxy=http://example.com",
    "http://localhost/../v1",
    "http+unix://%2Fvar%2Frun%2Fdocker.sock/v1",
    "unix:///var/run/docker.sock",
    "file:///etc/passwd",
    "ftp://localhost/v1",
    "ws://localhost/v1",
    "HTTP://example.com/v1",
    "//example.com/v1",
    "localhost:8000/v1",
    "",
]


@pytest.mark.parametrize("url", TRICKS)
def test_a_tricky_url_is_refused_before_any_socket(url, dialled, monkeypatch):
    looked_up = []
    monkeypatch.setattr(policy.socket, "getaddrinfo", lambda *args, **kwargs: looked_up.append(args) or [])
    with pytest.raises(UserError, match="base_url"):
        endpoint(url)
    assert dialled == []
    assert looked_up == []


@pytest.mark.parametrize("url", TRICKS)
def test_an_attestation_for_another_host_opens_nothing(url, dialled):
    with pytest.raises(UserError, match="base_url"):
        endpoint(url, SIGNED)
    assert dialled == []


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8000/v1"),
        ("http://127.8.9.10/v1/", "http://127.8.9.10:80/v1"),
        ("http://[::1]:8080/v1", "http://[::1]:8080/v1"),
        ("http://LOCALHOST:11434/v1", "http://localhost:11434/v1"),
        ("https://localhost", "https://localhost:443"),
    ],
)
def test_loopback_is_allowed(url, base):
    assert endpoint(url).base_url == base


def names(*addresses):
    def lookup(host, port, **kwargs):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    return lookup


@pytest.mark.parametrize("addresses", [("203.0.113.7",), ("127.0.0.1", "203.0.113.7")])
@pytest.mark.parametrize("host", ["localhost", "gpu-box"])
def test_a_name_that_resolves_elsewhere_is_refused(host, addresses, monkeypatch, dialled):
    monkeypatch.setattr(policy.socket, "getaddrinfo", names(*addresses))
    with pytest.raises(UserError, match=host):
        endpoint(f"http://{host}:8000/v1")
    assert dialled == []


def test_an_attested_host_is_allowed_by_https_only(monkeypatch):
    monkeypatch.setattr(policy.socket, "getaddrinfo", names("203.0.113.7"))
    target = endpoint("https://llm.example.org/v1", SIGNED)
    assert target.addresses == ("203.0.113.7",)
    assert target.as_json()["attestation"]["who"] == SIGNED.who
    with pytest.raises(UserError, match="https only"):
        endpoint("http://llm.example.org/v1", SIGNED)


@pytest.mark.parametrize(
    "addresses", [("::ffff:10.0.0.1",), ("169.254.169.254",), ("0.0.0.0",), ("224.0.0.1",), ("127.0.0.1", "1.1.1.1")]
)
def test_an_attested_name_may_not_point_to_odd_addresses(addresses, monkeypatch):
    monkeypatch.setattr(policy.socket, "getaddrinfo", names(*addresses))
    with pytest.raises(UserError, match="base_url host"):
        endpoint("https://llm.example.org/v1", SIGNED)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"who": ""}, "attestation.who is empty"),
        ({"agreement": " "}, "attestation.agreement is empty"),
        ({"retention": ""}, "attestation.retention is empty"),
        ({"signature": "A. Example"}, "signature must repeat"),
        ({"signed_on": "yesterday"}, "no date"),
        ({"signed_on": str(dt.date.today() + dt.timedelta(days=2))}, "future"),
        ({"host": "example.org"}, "attestation.host is 'example.org'"),
        ({"host": "llm.example.org:8443"}, "attestation.host"),
        ({"host": "*"}, "empty"),
    ],
)
def test_an_incomplete_attestation_opens_nothing(change, told, dialled):
    with pytest.raises(UserError, match=told):
        endpoint("https://llm.example.org/v1", replace(SIGNED, **change))
    assert dialled == []


async def serve(answer):
    """A loopback server that gives every request the same bytes; returns it, its port and what it was sent."""
    requests: list[bytes] = []

    async def handle(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        requests.append(head)
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()[1], requests


def fetch(answer: bytes, path: str = "/v1/models", **request):
    async def go():
        server, port, requests = await serve(answer)
        async with server, client(endpoint(f"http://localhost:{port}/v1"), connections=2, timeout=5) as http:
            response = await http.get(f"http://localhost:{port}{path}", **request)
            return response, requests

    return asyncio.run(go())


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@pytest.mark.parametrize(
    "variable",
    ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy", "OPENAI_BASE_URL"],
)
def test_the_environment_names_no_other_host(variable, monkeypatch, dialled):
    monkeypatch.setenv(variable, "http://203.0.113.9:3128")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    response, _ = fetch(OK)
    assert response.status_code == 200
    assert set(dialled) <= {"127.0.0.1", "::1"}


def test_a_netrc_gives_no_password_away(monkeypatch, tmp_path):
    (tmp_path / "netrc").write_text("machine localhost login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    _, requests = fetch(OK)
    assert b"uthorization" not in requests[0]


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(code, dialled):
    answer = f"HTTP/1.1 {code} Moved\r\nLocation: http://203.0.113.9/v1\r\nContent-Length: 0\r\n\r\n".encode()
    response, requests = fetch(answer)
    assert response.status_code == code
    assert len(requests) == 1
    with pytest.raises(httpx2.UnsupportedProtocol):
        fetch(answer, follow_redirects=True)
    assert set(dialled) <= {"127.0.0.1", "::1"}


def test_headers_of_an_answer_lead_nowhere(dialled):
    """Cookies, alternative services, refreshes: what a server asks of a browser."""
    answer = (
        b'HTTP/1.1 200 OK\r\nSet-Cookie: id=1; Domain=203.0.113.9\r\nAlt-Svc: h2="203.0.113.9:443"\r\n'
        b"Refresh: 0; url=http://203.0.113.9/\r\nLink: <http://203.0.113.9/>; rel=preload\r\n"
        b"Content-Length: 2\r\n\r\n{}"
    )

    async def go():
        server, port, requests = await serve(answer)
        target = endpoint(f"http://localhost:{port}/v1")
        async with server, client(target, connections=2, timeout=5) as http:
            for _ in range(2):
                await http.get(f"{target.base_url}/models")
        return requests

    heads = asyncio.run(go())
    assert len(heads) == 2
    assert not [head for head in heads if b"ookie" in head]
    assert set(dialled) <= {"127.0.0.1", "::1"}


@pytest.mark.parametrize(
    "url",
    ["http://203.0.113.9/v1", "http://localhost:1/v1", "https://localhost/v1", "http://u:p@localhost/v1", "http://l/"],
)
def test_the_client_refuses_requests_for_other_servers(url, dialled):
    async def go():
        async with client(Endpoint("http", "localhost", 80, "/v1", ("127.0.0.1",)), connections=1, timeout=1) as http:
            with pytest.raises(httpx2.UnsupportedProtocol, match="only the configured server"):
                await http.get(url)

    asyncio.run(go())
    assert dialled == []


def test_a_name_is_pinned_to_the_addresses_that_were_checked(monkeypatch, dialled):
    """DNS rebinding: the second look-up would say something else, but there is none."""

    async def go():
        server, port, requests = await serve(OK)
        monkeypatch.setattr(policy.socket, "getaddrinfo", names("127.0.0.1"))
        target = endpoint(f"http://gpu-box:{port}/v1")
        monkeypatch.setattr(policy.socket, "getaddrinfo", names("203.0.113.9"))
        async with server, client(target, connections=1, timeout=5) as http:
            await http.get(f"{target.base_url}/models")
        return requests

    requests = asyncio.run(go())
    assert b"Host: gpu-box:" in requests[0]
    assert set(dialled) == {"127.0.0.1"}


def test_headers_from_the_environment_do_not_travel(monkeypatch, dialled):
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "Host: 203.0.113.9\nX-Forward-To: http://203.0.113.9")
    monkeypatch.setenv("OPENAI_ORG_ID", "org")

    async def go():
        server, port, requests = await serve(OK)
        target = endpoint(f"http://127.0.0.1:{port}/v1")
        async with server, client(target, connections=1, timeout=5) as http:
            sdk = openai.AsyncOpenAI(base_url=target.base_url, api_key="none", http_client=http, max_retries=0)
            await sdk.models.with_raw_response.list()
        return requests

    head = asyncio.run(go())[0].lower()
    assert b"203.0.113.9" not in head
    assert b"organization" not in head


def test_debug_logging_stays_off(monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    logging.getLogger("openai").setLevel(logging.DEBUG)
    fetch(OK)
    assert not [record for record in caplog.records if record.name.split(".")[0] in http_client._LOGGERS]


def test_an_endless_answer_is_cut():
    body = b"x" * (http_client.MOST_BYTES + 10)
    with pytest.raises(httpx2.DecodingError, match="larger"):
        fetch(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


def test_tls_keys_are_not_logged(monkeypatch, tmp_path):
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    target = Endpoint("https", "llm.example.org", 443, "/v1", ("203.0.113.7",), SIGNED)
    context = http_client._tls(target)
    assert not isinstance(context, bool)
    assert context.keylog_filename is None
    assert context.check_hostname
