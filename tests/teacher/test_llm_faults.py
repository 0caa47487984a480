"""Faults of a server, over real sockets: no bad record, no lost stay, no answer asked for twice, and a clear word."""

import asyncio
import json
import logging
import os
import socket
import stat
import struct
import traceback
from collections import Counter

import pytest
from fault_server import ABSENT, FaultServer, completion, good_answers, http, write_cohort

from clinragen.artifacts import read_table
from clinragen.errors import UserError
from clinragen.schema import RATIONALES, CohortPaths
from clinragen.teacher.files import Files
from clinragen.teacher.journal import Journal
from clinragen.teacher.llm import TeachingRequest, teach
from clinragen.teacher.settings import ServerSettings, TeacherSettings


def settings(url: str, **changes) -> TeacherSettings:
    server = ServerSettings(
        base_url=url, model="m", concurrency=4, timeout=5.0, tries=4, backoff=0.01, longest_pause=0.05
    )
    for key in [key for key in changes if hasattr(server, key)]:
        setattr(server, key, changes.pop(key))
    return TeacherSettings(**{"structured": "plain", "server": server, **changes})


def table(cohort):
    return read_table(CohortPaths(cohort).rationales("llm"), RATIONALES).to_pylist()


def journaled(cohort):
    with Journal(Files(CohortPaths(cohort), "llm").journal) as journal:
        return list(journal.records())


pytestmark = pytest.mark.usefixtures("one_graph")


@pytest.fixture(scope="module")
def good(tmp_path_factory, graph):
    return good_answers(write_cohort(tmp_path_factory.mktemp("good") / "cohort"), graph)


async def stall(writer):
    await asyncio.sleep(30)


async def half_then_stall(writer):
    writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"id": ')
    await writer.drain()
    await asyncio.sleep(30)


async def drip(writer):
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n")
    for _ in range(300):
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.1)


async def reset(writer):
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def reset_in_body(writer):
    writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"id": "x", "choices": [')
    await writer.drain()
    await reset(writer)


async def close_in_body(writer):
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n{")
    await writer.drain()


async def close_at_once(writer):
    return None


def status(line: str, headers: str = "Content-Type: text/html", body: bytes = b"<h1>sorry</h1>"):
    return lambda request: http(body, line, headers)


PASSING = {
    "429 with Retry-After": status("429 Too Many Requests", "Retry-After: 0.02"),
    "429 with a date": status("429 Too Many Requests", "Retry-After: Wed, 21 Oct 2026 07:28:00 GMT"),
    "429 with nonsense": status("429 Too Many Requests", "Retry-After: soon"),
    "429 with a year": status("429 Too Many Requests", "Retry-After: 31536000"),
    "429 without": status("429 Too Many Requests"),
    "408": status("408 Request Timeout"),
    "409": status("409 Conflict"),
    "500": status("500 Internal Server Error"),
    "502": status("502 Bad Gateway"),
    "503": status("503 Service Unavailable"),
    "504": status("504 Gateway Timeout"),
    "529": status("529 Overloaded"),
    "stall": lambda request: stall,
    "stall in the body": lambda request: half_then_stall,
    "drip": lambda request: drip,
    "reset": lambda request: reset,
    "reset in the body": lambda request: reset_in_body,
    "closed in the body": lambda request: close_in_body,
    "closed at once": lambda request: close_at_once,
    "no HTTP": lambda request: b"\x16\x03\x01 what is this\r\n\r\n",
    "half JSON": lambda request: http(completion(request).split(b"\r\n\r\n", 1)[1][:90]),
    "HTML with 200": status("200 OK"),
    "empty body": lambda request: http(b""),
    "JSON list": lambda request: http(b"[]"),
    "error with 200": lambda request: http(b'{"error": {"message": "overloaded"}}'),
    "empty choices": lambda request: completion(request, choices=[]),
    "choices null": lambda request: completion(request, choices=None),
    "no message": lambda request: completion(request, choices=[{"finish_reason": "stop"}]),
    "event stream": lambda request: http(
        b'data: {"choices": []}\n\ndata: [DONE]\n\n', headers="Content-Type: text/event-stream"
    ),
    "not UTF-8": lambda request: http(b'{"choices": [{"message": {"content": "\xff\xfe'),
    "bad gzip": lambda request: http(b"no gzip", headers="Content-Encoding: gzip"),
}


@pytest.mark.parametrize("kind", PASSING)
def test_a_passing_fault_leaves_no_trace(kind, cohort, good):
    def once(server, request, times):
        return PASSING[kind](request) if times == 0 and request["stay"] in (1, 4) else None

    with FaultServer(good, once) as server:
        slow = kind in ("stall", "stall in the body", "drip")
        summary = teach(TeachingRequest(cohort, None, settings(server.url, timeout=0.6 if slow else 5.0), "llm"))
    assert summary.complete
    assert sum(summary.retried.values()) >= 4
    assert [(row["stay_id"], row["kind"]) for row in table(cohort)] == [
        (stay, kind) for stay in range(1, 7) for kind in ("note", "series")
    ]
    assert {row["text"] for row in table(cohort)} == {text for _, _, text in good.values()}
    assert slow or set(server.served.values()) == {1}  # a slow machine may miss even the short deadline of those


REJECTED = {
    "cut by length": lambda r: completion(r, r["text"][:60], finish="length"),
    "at the limit": lambda r: completion(r, usage={"prompt_tokens": 4000, "completion_tokens": 400}),
    "content filter": lambda r: completion(r, finish="content_filter"),
    "prompt cut": lambda r: completion(r, usage={"prompt_tokens": 20, "completion_tokens": 60}),
    "no usage": lambda r: completion(r, usage=ABSENT),
    "usage null": lambda r: completion(r, usage=None),
    "empty text": lambda r: completion(r, ""),
    "content null": lambda r: completion(
        r, choices=[{"finish_reason": "stop", "message": {"role": "assistant", "content": None, "tool_calls": []}}]
    ),
    "another opening": lambda r: completion(r, f"Sure! {r['text']}"),
    "markup": lambda r: completion(r, r["text"].replace(" ", " **", 1)),
    "fence": lambda r: completion(r, f"{r['text']} END PATIENT DATA"),
    "too long": lambda r: completion(r, r["text"].rstrip(".") + " and more" * 100),
    "control characters": lambda r: completion(r, r["text"] + "\x00\x1b[2J"),
    "opening alone": lambda r: completion(r, "Based on the medical notes" if r["kind"] == "note" else "Lab test shows"),
    "wrong schema": lambda r: completion(r, json.dumps({"answer": r["text"]})),
    "contradicted": lambda r: completion(
        r,
        "Based on the medical notes, the patient denies dyspnea, melena and fever."
        if r["kind"] == "note"
        else "Lab test shows low natriuretic peptide of 3 pg/mL, rising hemoglobin and low temperature.",
    ),
    "instructions": lambda r: completion(
        r, f"{r['text'].rstrip('.').split(',')[0]}, state only what the data says, copy numbers and units."
    ),
    "invented": lambda r: completion(
        r, "Based on the medical notes, jaundice and hemoptysis were present." if r["kind"] == "note" else None
    ),
    "never measured": lambda r: completion(
        r, None if r["kind"] == "note" else "Lab test shows lactate rising from 1.1 to 9.4 mmol/L, high."
    ),
}


@pytest.mark.parametrize("kind", REJECTED)
def test_a_bad_answer_is_asked_for_again(kind, cohort, good):
    def first(server, request, times):
        if request["stay"] not in (1, 4) or request["body"]["seed"] != 0:
            return None
        server.served[request["name"]] += 1
        return REJECTED[kind](request)

    with FaultServer(good, first) as server:
        summary = teach(TeachingRequest(cohort, None, settings(server.url), "llm"))
        ways = [json.loads(row["verdicts"])["way"] for row in table(cohort) if row["stay_id"] in (1, 4)]
        assert summary.complete
        assert {row["text"] for row in table(cohort)} == {text for _, _, text in good.values()}
        assert set(ways) <= {"regenerated", "as written"}
        assert ways.count("regenerated") == (2 if kind in ("never measured", "invented") else 4)
        asked = server.requests.total()
        teach(TeachingRequest(cohort, None, settings(server.url), "llm", overwrite=True))
    assert server.requests.total() == asked  # bad answers were paid for, too
    assert set(server.served.values()) == {1}
    assert len(journaled(cohort)) == asked


def test_what_stays_contradicted_is_edited_or_dropped(cohort, good):
    def always(server, request, times):
        if request["kind"] != "series":
            return None
        if request["stay"] == 1:  # one good clause, one bad
            return completion(request, f"{request['text'].rstrip('.')}; high lactate of 9.9 mmol/L.")
        return completion(request, "Lab test shows high lactate of 9.9 mmol/L.") if request["stay"] == 2 else None

    with FaultServer(good, always) as server:
        summary = teach(TeachingRequest(cohort, None, settings(server.url), "llm"))
    rows = {(row["stay_id"], row["kind"]): row for row in table(cohort)}
    assert summary.ways["series", "edited"] == 1
    assert summary.ways["series", "dropped"] == 1
    assert not [row for row in rows.values() if "lactate" in row["text"]]
    assert rows[1, "series"]["teacher"] == "llm"
    assert rows[2, "series"]["teacher"] == "evidence"
    again = next(body for body in server.bodies if len(body["messages"]) == 4)
    assert "high lactate of 9.9 mmol/L" in again["messages"][3]["content"]
    assert "1 dropped" in "\n".join(summary.lines())
    files = Files(CohortPaths(cohort), "llm")
    taught, card = json.loads(files.manifest.read_text())["taught_claims"], files.card.read_text()
    for kind, counts in taught.items():  # of what the table holds by this teacher: not the drafts, not the stand-in
        own = [json.loads(r["verdicts"])["claims"] for r in table(cohort) if (r["kind"], r["teacher"]) == (kind, "llm")]
        assert counts == Counter(claim["verdict"] for claims in own for claim in claims)
    assert taught["series"].keys() - {"absence"} == {"supported"}
    numbers = f"{taught['note']['supported']} | {taught['series']['supported']}"
    assert f"| claims of what is taught: supported | {numbers} |" in card


def test_dropped_rationales_can_be_left_out(cohort, good):
    def always(server, request, times):
        return completion(request, "I cannot help with that.") if request["stay"] == 2 else None

    with FaultServer(good, always) as server:
        teach(TeachingRequest(cohort, None, settings(server.url, dropped="omit"), "llm"))
    assert {row["stay_id"] for row in table(cohort)} == {1, 3, 4, 5, 6}


def test_one_answer_for_all_stays_is_not_taught(cohort, good):
    texts = {kind: text for stay, kind, text in good.values() if stay == 2}

    def same(server, request, times):
        return completion(request, texts[request["kind"]])

    with FaultServer(good, same) as server:
        teach(TeachingRequest(cohort, None, settings(server.url), "llm"))
    right = {2, 5}  # the stays of whose case it is true
    assert {row["stay_id"] for row in table(cohort) if row["teacher"] == "llm" and row["kind"] == "note"} <= right


SECRETS = ("orthopnea", "hematemesis", "productive cough", "dyspnea", "Bed 3")
ECHOES = {
    "400": lambda r: http(json.dumps({"error": {"message": f"too long: {r['prompt']}"}}).encode(), "400 Bad Request"),
    "401": lambda r: http(json.dumps({"error": {"message": r["prompt"]}}).encode(), "401 Unauthorized"),
    "500": lambda r: http(r["prompt"].encode(), "500 Internal Server Error", "Content-Type: text/plain"),
    "302": lambda r: http(b"", "302 Found", f"Location: /v1?{r['prompt'].split()[-1]}orthopnea"),
    "header": lambda r: http(b"{}", "429 Later", f"Retry-After: dyspnea\r\nX-Prompt: {' '.join(r['prompt'].split())}"),
    "no JSON": lambda r: http(r["prompt"].encode()),
    "no HTTP": lambda r: r["prompt"].encode() + b"\r\n\r\n",
    "answer": lambda r: completion(r, r["prompt"]),
    "finish reason": lambda r: completion(r, finish=r["prompt"]),
    "model name": lambda r: completion(r, model=r["prompt"]),
}


@pytest.mark.parametrize("kind", ECHOES)
def test_a_server_that_sends_the_prompt_back_leaks_it_nowhere(kind, cohort, good, command, caplog, capfd, monkeypatch):
    monkeypatch.setenv("OPENAI_LOG", "debug")
    caplog.set_level(logging.DEBUG)
    for name in ("openai", "aiohttp", "aiohttp.client", "httpx2", "asyncio"):
        logging.getLogger(name).setLevel(logging.DEBUG)
    with FaultServer(good, lambda server, request, times: ECHOES[kind](request)) as server:
        try:
            told = "\n".join(teach(TeachingRequest(cohort, None, settings(server.url, tries=2), "llm")).lines())
        except UserError as error:
            told = "".join(traceback.format_exception(error))
    files = Files(CohortPaths(cohort), "llm")
    told += "".join(path.read_text() for path in (files.card, files.manifest) if path.exists())
    command("clinragen", "teach", "status", "--cohort", cohort, "--teacher", "openai", "--name", "llm")
    printed = capfd.readouterr()
    seen = "\n".join([told, caplog.text, printed.out, printed.err])
    assert told
    assert not [word for word in SECRETS if word in seen]


def test_a_full_disk_ends_the_run_and_loses_nothing(cohort, good, monkeypatch):
    real, room = os.write, [900]

    def write(file, data):
        if not stat.S_ISREG(os.fstat(file).st_mode):
            return real(file, data)  # a socket or pipe
        if room[0] <= 0:
            raise OSError(28, "No space left on device")
        written = real(file, bytes(data)[: room[0]])
        room[0] -= written
        return written

    with FaultServer(good) as server:
        monkeypatch.setattr(os, "write", write)
        with pytest.raises(UserError, match=r"journal\.jsonl: No space left on device.*run the same command again"):
            teach(TeachingRequest(cohort, None, settings(server.url, concurrency=1), "llm"))
        monkeypatch.undo()
        kept = {record["key"]: server.served[record["key"]] for record in journaled(cohort)}
        assert kept
        summary = teach(TeachingRequest(cohort, None, settings(server.url), "llm"))
    assert summary.complete
    assert {key: server.served[key] for key in kept} == kept
    assert len(journaled(cohort)) == 12


LOST = {
    "huge answer": lambda request: http(b'{"choices": "' + b"x" * 5_000_000 + b'"}'),
    "400": status("400 Bad Request"),
    "422": status("422 Unprocessable"),
    "for ever 503": status("503 Service Unavailable"),
    "for ever 429": status("429 Too Many Requests"),
    "for ever half JSON": lambda request: http(b'{"choices": [{"mess'),
    "for ever reset": lambda request: reset,
}


@pytest.mark.parametrize("kind", LOST)
def test_a_stay_without_answer_is_missing_now_and_asked_for_next_time(kind, cohort, good):
    def one(server, request, times):
        return LOST[kind](request) if request["stay"] == 3 else None

    with FaultServer(good, one) as server:
        summary = teach(TeachingRequest(cohort, None, settings(server.url, tries=2), "llm"))
        assert not summary.complete
        assert not CohortPaths(cohort).rationales("llm").exists()
        told = "\n".join(summary.lines())
        assert "2 rationales are still missing" in told
        assert "run the same command again" in told
        server.fault = None
        summary = teach(TeachingRequest(cohort, None, settings(server.url), "llm"))
        assert (summary.requests, summary.reused) == (2, 10)
    assert summary.complete
    assert len(table(cohort)) == 12
    assert set(server.served.values()) == {1}


FATAL = {
    "401": (status("401 Unauthorized"), "refuses the API key"),
    "403": (status("403 Forbidden"), "refuses access"),
    "404": (
        status("404 Not Found", body=b'{"error": {"code": "model_not_found"}}'),
        "does not know the path or the model",
    ),
    "405": (status("405 Method Not Allowed"), "takes no chat completions"),
    "301": (status("301 Moved", "Location: http://203.0.113.9/v1"), "redirects"),
    "302": (status("302 Found", "Location: http://203.0.113.9/v1"), "redirects"),
    "307": (status("307 Temporary", "Location: /elsewhere"), "redirects"),
    "308": (status("308 Permanent", "Location: http://localhost:1/v1"), "redirects"),
}


@pytest.mark.parametrize("kind", FATAL)
def test_what_will_never_work_stops_with_one_line(kind, cohort, good, dialled):
    fault, told = FATAL[kind]
    with FaultServer(good, lambda server, request, times: fault(request)) as server:
        with pytest.raises(UserError, match=told) as raised:
            teach(TeachingRequest(cohort, None, settings(server.url), "llm"))
        assert server.requests.total() <= 4
        assert set(server.requests.values()) == {1}
    assert "\n" not in str(raised.value)
    assert "dyspnea" not in str(raised.value)
    assert set(dialled) == {"127.0.0.1"}


def test_a_server_that_is_down_is_given_up_soon(cohort):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/v1"
        with pytest.raises(UserError, match=r"requests in a row brought no answer.*run the same command again"):
            teach(TeachingRequest(cohort, None, settings(url, tries=2, give_up_after=3), "llm"))
        with pytest.raises(UserError, match="no connection"):
            teach(TeachingRequest(cohort, None, settings(url, tries=2, structured="auto"), "llm"))


@pytest.mark.parametrize("why", ["refuses", "ignores", "honours"])
def test_json_is_asked_for_only_where_the_server_can(why, cohort, good):
    def structured(server, request, times):
        if "response_format" in request["body"]:
            if why == "refuses":
                return http(b'{"error": "response_format is not supported"}', "400 Bad Request")
            if why == "honours" and request["kind"] != "probe":
                return completion(request, json.dumps({"rationale": request["text"]}))
        return completion(request, "ready!") if request["kind"] == "probe" and why == "ignores" else None

    with FaultServer(good, structured) as server:
        summary = teach(TeachingRequest(cohort, None, settings(server.url, structured="auto"), "llm"))
        asked = server.requests.total()
        teach(TeachingRequest(cohort, None, settings(server.url, structured="auto"), "llm", overwrite=True))
    assert summary.complete
    assert server.requests.total() == asked == 13
    assert sum("response_format" in body for body in server.bodies) == (13 if why == "honours" else 1)


def test_a_busy_server_is_pressed_less(cohort, good):
    def busy(server, request, times):
        return status("429 Too Many Requests")(request) if server._now > 2 else None

    with FaultServer(good, busy) as server:
        summary = teach(TeachingRequest(cohort, None, settings(server.url, concurrency=6, tries=12), "llm"))
    assert summary.complete
    assert server.most_at_once <= 6


def test_reasons_are_sampled_until_they_agree(cohort, good):
    gold = {
        0: "congestive heart failure",
        1: "gastrointestinal hemorrhage",
        2: "pneumonia; chronic obstructive pulmonary disease",
    }

    def reason(server, request, times):
        names = gold[request["stay"] % 3] if request["body"]["seed"] == 2 else "none"
        return completion(request, f"Diagnoses: {names}\n{request['text']}")

    with FaultServer(good, reason) as server:
        summary = teach(TeachingRequest(cohort, None, settings(server.url, mode="reason", samples=3), "llm"))
    assert summary.ways == Counter({("note", "regenerated"): 6, ("series", "regenerated"): 6})
    assert summary.rejected["its diagnoses do not agree with the labels"] == 24
    asked = [body["messages"][1]["content"].split("END PATIENT DATA")[1] for body in server.bodies]
    assert not [text for text in asked if "Diagnoses: gastro" in text]


def test_export_shards_and_merge_give_the_same_table(cohort, good, tmp_path):
    with FaultServer(good) as server:
        whole = settings(server.url)
        teach(TeachingRequest(cohort, None, whole, "llm"))
        expected = CohortPaths(cohort).rationales("llm").read_bytes()
        teach(TeachingRequest(cohort, None, whole, "llm", overwrite=True, offline=True))
        assert CohortPaths(cohort).rationales("llm").read_bytes() == expected
        other = write_cohort(tmp_path / "other")
        for part in (0, 1):
            teach(TeachingRequest(other, None, whole, f"part{part}", shard=(part, 2)))
    from clinragen.teacher.journal import merge

    parts = [Files(CohortPaths(other), f"part{part}").journal for part in (0, 1)]
    assert merge(Files(CohortPaths(other), "llm").journal, parts) == 12
    teach(TeachingRequest(other, None, whole, "llm", offline=True))
    assert CohortPaths(other).rationales("llm").read_bytes() == expected


def test_log_probabilities_are_kept_for_what_is_taught_word_for_word(cohort, good):
    def spelt(server, request, times):
        assert request["body"]["logprobs"] is True
        text = json.dumps({"rationale": request["text"]})
        if request["stay"] == 2:  # taught without the line breaks: not the teacher's own tokens
            text = json.dumps({"rationale": request["text"].replace(" ", "\n")})
        tokens = [text[place : place + 5] for place in range(0, len(text), 5)]
        alternatives = [{"token": "x", "logprob": -2.0}]
        steps = [{"token": token, "logprob": -0.25, "top_logprobs": alternatives, "bytes": None} for token in tokens]
        choice = {"finish_reason": "stop", "message": {"content": text}, "logprobs": {"content": steps}}
        return completion(request, choices=[choice])

    chosen = settings("", structured="json_schema")
    chosen.sampling.logprobs, chosen.sampling.top_logprobs = True, 1
    with FaultServer(good, spelt) as server:
        chosen.server.base_url = server.url
        teach(TeachingRequest(cohort, None, chosen, "llm"))
    rows = read_table(Files(CohortPaths(cohort), "llm").logprobs).to_pylist()
    texts = {(row["stay_id"], row["kind"]): row["text"] for row in table(cohort)}
    assert {row["stay_id"] for row in rows} == {1, 3, 4, 5, 6}
    for row in rows:
        spelling = "".join(row["tokens"])
        assert texts[row["stay_id"], row["kind"]] in spelling
        assert len(spelling) < len(texts[row["stay_id"], row["kind"]]) + 10
        assert row["logprobs"] == [-0.25] * len(row["tokens"])
        assert row["top_tokens"][0] == ["x"]


@pytest.mark.parametrize("sent", [None, {"content": None}, {"content": [{"tok": 1}]}, "no", [1]])
def test_log_probabilities_that_do_not_come_are_no_fault(cohort, good, sent):
    def odd(server, request, times):
        message = {"role": "assistant", "content": request["text"]}
        return completion(request, choices=[{"finish_reason": "stop", "message": message, "logprobs": sent}])

    with FaultServer(good, odd) as server:
        assert teach(TeachingRequest(cohort, None, settings(server.url), "llm")).complete
    assert not Files(CohortPaths(cohort), "llm").logprobs.exists()


def test_manifest_and_card_say_where_it_came_from(cohort, good):
    with FaultServer(good) as server:
        teach(TeachingRequest(cohort, None, settings(server.url), "llm"))
    files = Files(CohortPaths(cohort), "llm")
    manifest = json.loads(files.manifest.read_text())
    assert manifest["endpoint"] == {"base_url": server.url, "attestation": None}
    assert manifest["ways"] == {"note": {"as written": 6}, "series": {"as written": 6}}
    card = files.card.read_text()
    assert "| as written | 6 | 6 |" in card
    assert "m (12 answers)" in card
    texts = [row["text"] for row in table(cohort)]
    assert not [text for text in texts if text in card]  # cards are shown around
    examples = files.examples.read_text()
    assert "Derived from patient records" in examples
    assert texts[0] in examples
    assert "nothing left this machine" in card
