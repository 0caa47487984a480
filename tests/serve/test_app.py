"""Over HTTP: who may ask, how much, and that nothing of a patient gets into errors or the log."""

import asyncio
import json
import socket
import threading
import time

import httpx2
import pytest
from serve.server_thread import served, until
from serve.stand_in import JSON, SECRET, one_stay

from clinragen.cli import dispatch
from clinragen.errors import UserError
from clinragen.serve.access import Access
from clinragen.serve.app import Service, build_app
from clinragen.serve.limits import Limits

TOKEN = "a-token-of-enough-letters"


@pytest.fixture
def access(tmp_path):
    """Loopback with a token."""
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    return Access.decide("127.0.0.1", tmp_path / "token")


def test_stays_are_answered_and_counted(client):
    opened = client()
    answer = opened.post("/v1/stays", json=one_stay())
    assert answer.status_code == 200
    assert answer.json()["stays"][0]["stay_id"] == 7
    assert opened.get("/health").json() == {"status": "ok"}
    counts = opened.get("/metrics").text
    assert 'clinragen_requests_total{route="/v1/stays",status="200"} 1.0' in counts
    assert "clinragen_stays_total 1.0" in counts


@pytest.mark.parametrize(
    "header", [None, "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer \xe9"]
)
@pytest.mark.parametrize("path", ["/v1/stays", "/v1/fhir", "/v1/ask", "/v1/model", "/metrics"])
def test_without_the_token_nothing_is_answered(client, access, waiting, path, header):
    opened = client(access)
    headers = {**JSON, **({"authorization": header.encode("latin-1")} if header else {})}
    method = "POST" if path in ("/v1/stays", "/v1/fhir", "/v1/ask") else "GET"
    answer = opened.request(method, path, headers=headers, content=json.dumps(one_stay()))
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert waiting.answered == 0


def test_with_the_token_it_is(client, access):
    opened = client(access)
    answer = opened.post("/v1/stays", json=one_stay(), headers={"authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 200
    form = {"request": json.dumps(one_stay()), "kind": "stays", "number": "1"}
    assert opened.post("/page", data=form).status_code == 401
    assert opened.post("/page", data=form | {"token": TOKEN}).text == "<p>page"


def test_another_address_than_loopback_needs_a_token(tmp_path, monkeypatch):
    monkeypatch.delenv("CLINRAGEN_SERVE_TOKEN", raising=False)
    for host in ("0.0.0.0", "::", "192.168.1.4", "example.org"):
        with pytest.raises(UserError, match="no token is set"):
            dispatch(["serve", "--model", str(tmp_path), "--host", host])
    monkeypatch.setenv("CLINRAGEN_SERVE_TOKEN", "short")
    with pytest.raises(UserError, match="at least 16"):
        dispatch(["serve", "--model", str(tmp_path), "--host", "0.0.0.0"])
    monkeypatch.setenv("CLINRAGEN_SERVE_TOKEN", TOKEN)
    with pytest.raises(UserError, match="manifest"):  # the next thing that is wrong
        dispatch(["serve", "--model", str(tmp_path), "--host", "0.0.0.0"])


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8765", "localhost.evil.example", "192.168.0.4", ""])
def test_on_loopback_another_host_name_is_refused(client, host):
    assert client().get("/health", headers={"host": host}).status_code == 421
    assert client(Access(b"x" * 32, loopback=False)).get("/health", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("host", ["localhost", "localhost:8765", "127.0.0.1:1", "[::1]:8765", "LOCALHOST"])
def test_on_loopback_its_own_names_are_answered(client, host):
    assert client().get("/health", headers={"host": host}).status_code == 200


def test_pages_of_other_origins_are_refused(client, waiting):
    opened = client()
    for origin in ("https://evil.example", "null", "http://localhost:81"):
        answer = opened.post("/v1/stays", json=one_stay(), headers={"origin": origin})
        assert answer.status_code == 403
        assert "access-control-allow-origin" not in answer.headers
    assert opened.post("/v1/stays", json=one_stay(), headers={"origin": "http://localhost"}).status_code == 200
    plain = opened.post("/v1/stays", content=json.dumps(one_stay()), headers={"content-type": "text/plain"})
    assert plain.status_code == 415  # what a page may send without asking
    assert waiting.answered == 1


def test_a_large_body_is_counted_while_it_arrives(client):
    opened = client(limits=Limits(body=2000))
    sent = []

    def chunks():
        for _ in range(100):
            sent.append(1000)
            yield b"x" * 1000

    for content in (b"x" * 2001, chunks()):
        assert opened.post("/v1/stays", content=content, headers=JSON).status_code == 413
    lied = opened.post("/v1/stays", content=b"x" * 3000, headers={**JSON, "content-length": "10"})
    assert lied.status_code == 413
    assert opened.post("/v1/stays", content=json.dumps(one_stay()), headers=JSON).status_code == 200


def asked(app, **how):
    """A client of an app in this event loop."""
    transport = httpx2.ASGITransport(app=app)
    return httpx2.AsyncClient(transport=transport, base_url="http://localhost", timeout=30, **how)


def test_too_many_requests_are_told_when_to_come_again(waiting):
    """One runs, one waits; the others are refused at once, and the two are answered."""
    waiting.free.clear()

    async def ask():
        service = Service(waiting, Access(None), Limits(waiting=1))
        async with asked(build_app(service)) as client:
            posts = [asyncio.create_task(client.post("/v1/stays", json=one_stay())) for _ in range(6)]
            await asyncio.wait(posts, timeout=10, return_when=asyncio.FIRST_COMPLETED)
            healthy = await client.get("/health")
            while sum(post.done() for post in posts) < 4:
                await asyncio.sleep(0.01)
            waiting.free.set()
            return healthy, [await post for post in posts]

    healthy, answers = asyncio.run(ask())
    assert healthy.status_code == 200
    assert sorted(answer.status_code for answer in answers) == [200, 200, 503, 503, 503, 503]
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in answers if answer.status_code == 503)


def test_more_requests_than_allowed_are_refused_unread(waiting):
    waiting.free.clear()

    async def ask():
        service = Service(waiting, Access(None), Limits(requests=2))
        async with asked(build_app(service)) as client:
            first = [asyncio.create_task(client.post("/v1/stays", json=one_stay())) for _ in range(2)]
            while not waiting.begun.is_set():
                await asyncio.sleep(0.01)
            third = await client.post("/v1/stays", json=one_stay())
            waiting.free.set()
            return third, [await post for post in first]

    third, first = asyncio.run(ask())
    assert third.status_code == 503
    assert [answer.status_code for answer in first] == [200, 200]


def test_a_request_that_takes_too_long_is_refused(waiting):
    waiting.free.clear()

    async def ask():
        service = Service(waiting, Access(None), Limits(seconds=1))
        async with asked(build_app(service)) as client:
            answers = await asyncio.gather(*(client.post("/v1/stays", json=one_stay()) for _ in range(2)))
            waiting.free.set()
            while service.worker.pending:
                await asyncio.sleep(0.01)
            return answers

    assert [answer.status_code for answer in asyncio.run(ask())] == [503, 503]
    assert waiting.answered == 1  # the one that ran; the other was not begun


def test_what_a_client_no_longer_waits_for_is_not_begun(waiting):
    """Over a real socket: a client sends a request, which waits for another one, and hangs up."""
    waiting.free.clear()
    service = Service(waiting, Access(None), Limits())
    with served(service) as port:
        body = json.dumps(one_stay()).encode()
        lines = ("POST /v1/stays HTTP/1.1", "host: localhost", "content-type: application/json")
        head = "\r\n".join([*lines, f"content-length: {len(body)}", "", ""])
        first, second = (socket.create_connection(("127.0.0.1", port)) for _ in range(2))
        first.sendall(head.encode() + body)
        assert waiting.begun.wait(10)
        second.sendall(head.encode() + body)
        until(lambda: service.worker.pending == 2)
        second.close()
        until(lambda: service.worker.pending == 1)
        waiting.free.set()
        assert first.recv(1000).startswith(b"HTTP/1.1 200")
        first.close()
    assert waiting.answered == 1


def test_slow_headers_and_bodies_are_cut_off(waiting):
    service = Service(waiting, Access(None), Limits(read_seconds=1))
    with served(service) as port:
        slow = socket.create_connection(("127.0.0.1", port))
        began = time.monotonic()
        try:
            for _ in range(100):
                slow.sendall(b"X")
                time.sleep(0.1)
        except OSError:
            pass
        assert 0.5 < time.monotonic() - began < 5
        body = socket.create_connection(("127.0.0.1", port))
        lines = ("POST /v1/stays HTTP/1.1", "host: localhost", "content-type: application/json", "content-length: 99")
        body.sendall("\r\n".join([*lines, "", "{"]).encode())
        body.settimeout(5)
        assert body.recv(1000).startswith(b"HTTP/1.1 408")
        body.close()
        quick = socket.create_connection(("127.0.0.1", port))
        quick.sendall(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert quick.recv(1000).startswith(b"HTTP/1.1 200")
        quick.close()


@pytest.mark.parametrize("host", ["evil.example", "localhost"])
def test_a_client_that_sends_everything_first_sees_why_it_is_refused(waiting, host):
    """The server reads on: if it closed the connection over unread bytes, the answer would be lost."""
    body = b"x" * (20 << 20)
    with served(Service(waiting, Access(None), Limits())) as port:
        lines = ("POST /v1/stays HTTP/1.1", f"host: {host}", "content-type: application/json", "connection: close")
        with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
            client.sendall("\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode() + body)
            answer = client.recv(1000)
    assert answer.split()[1] == (b"413" if host == "localhost" else b"421")


def test_when_it_ends_the_request_that_runs_is_finished_and_those_that_wait_are_refused(waiting):
    waiting.free.clear()
    service = Service(waiting, Access(None), Limits())
    running = served(service)
    answers = []

    def ask(port):
        answers.append(httpx2.post(f"http://127.0.0.1:{port}/v1/stays", json=one_stay(), timeout=30).status_code)

    with running as port:
        threads = []
        for count in (1, 2):
            threads.append(threading.Thread(target=ask, args=(port,)))
            threads[-1].start()
            until(lambda count=count: service.worker.pending == count)
        assert waiting.begun.wait(10)
        running.server.should_exit = True
        until(lambda: answers == [503])
        waiting.free.set()
        for thread in threads:
            thread.join(20)
    assert answers == [503, 200]


@pytest.mark.parametrize("path", ["/v1/stays", "/v1/fhir", "/page", "/nothing/" + SECRET.split()[0]])
@pytest.mark.parametrize(
    "body",
    [
        json.dumps(one_stay(age=SECRET)),
        json.dumps(one_stay(**{SECRET: SECRET})),
        json.dumps({"resourceType": "Bundle", "entry": [{"resource": {"resourceType": SECRET, SECRET: 1}}]}),
        json.dumps(
            {"resourceType": "Bundle", "entry": [{"resource": {"resourceType": "Patient", "birthDate": SECRET}}]}
        ),
        f'{{"stays": "{SECRET}',
    ],
)
@pytest.mark.parametrize("query", ["", f"?pages={SECRET}"])
def test_nothing_of_a_patient_is_in_errors_and_log(client, log, path, body, query):
    opened = client()
    kinds = {"/page": {"content-type": "application/x-www-form-urlencoded"}}
    content = httpx2.QueryParams({"request": body, "kind": "stays"}) if path == "/page" else body
    answer = opened.post(path + query, content=str(content), headers=kinds.get(path, JSON))
    assert 400 <= answer.status_code < 500
    assert SECRET.split()[0] not in answer.text
    assert SECRET.split()[0] not in log.text
    assert "POST" in log.text


def test_a_fault_is_logged_without_its_message(client, waiting, log, capfd):
    waiting.fault = ValueError(f"cannot read {SECRET}")
    answer = client().post("/v1/stays", json=one_stay())
    assert answer.status_code == 500
    assert "fault: ValueError in stand_in.py:" in log.text
    assert SECRET not in answer.text + log.text + "".join(capfd.readouterr())


def test_what_the_model_cannot_read_is_refused_without_its_paths(client, waiting):
    waiting.fault = UserError(f"/scratch/{SECRET} holds the first 72 hours")
    answer = client().post("/v1/stays", json=one_stay())
    assert answer.status_code == 422
    assert SECRET not in answer.text


def test_every_answer_says_what_a_browser_must_not_do_with_it(client):
    opened = client()
    for path in ("/", "/docs", "/openapi.json", "/health", "/nothing"):
        headers = opened.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"


def test_the_pages_name_nothing_of_another_machine(client):
    opened = client()
    for path in ("/", "/docs"):
        text = opened.get(path).text
        assert "http://" not in text
        assert "https://" not in text


def test_the_schema_lists_what_is_read(client):
    opened = client()
    schema = opened.get("/openapi.json").json()
    assert {"/v1/stays", "/v1/fhir", "/v1/ask", "/health", "/metrics", "/v1/model"} == set(schema["paths"])
    page = opened.get("/docs").text
    for name in ("StaysRequest", "SeriesRow", "prediction_time", "DiagnosticReport", "AssessedStay", "503"):
        assert name in page
