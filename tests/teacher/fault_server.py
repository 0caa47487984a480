"""A small cohort, and a server on a real loopback socket with configurable faults."""

import asyncio
import contextlib
import datetime as dt
import json
import re
import threading
from collections import Counter
from pathlib import Path

import pyarrow as pa

from clinragen.artifacts import write_table
from clinragen.catalog import phenotypes
from clinragen.chart.findings import findings
from clinragen.schema import NOTES, SERIES, STAYS, CohortPaths, labels_schema
from clinragen.teacher.evidence import EvidenceTeacher
from clinragen.teacher.stays import Stays

CASES = [
    (
        "72F with dyspnea and orthopnea. Denies chest pain.",
        "HFrEF",
        ["congestive_heart_failure"],
        {"bnp": [(2.0, 4200.0)], "spo2": [(0.0, 97.0), (6.0, 88.0)]},
    ),
    (
        "55M with melena and hematemesis. No fever.",
        "cirrhosis",
        ["gastrointestinal_hemorrhage"],
        {"hemoglobin": [(1.0, 9.8), (7.0, 6.7)], "heart_rate": [(0.0, 124.0), (9.0, 116.0)]},
    ),
    (
        "68M with fever, productive cough and dyspnea.",
        "COPD",
        ["pneumonia", "copd"],
        {"wbc": [(2.0, 12.4), (20.0, 18.9)], "temperature": [(1.0, 39.2), (8.0, 38.0)]},
    ),
]


def write_cohort(root: Path, count: int = 6) -> Path:
    """``count`` stays made of the cases in turn."""
    paths, keys, start = CohortPaths(root), list(phenotypes()), dt.datetime(2150, 1, 1)
    stays, labels, notes, series = [], [], [], []
    for stay in range(1, count + 1):
        story, history, gold, cells = CASES[stay % len(CASES)]
        end = start + dt.timedelta(days=2)
        stays.append([stay, stay, stay, start, end, end, 70.0, "F", "train"])
        labels.append({"stay_id": stay, **{key: key in gold for key in keys}})
        for section, text in (("history_of_present_illness", story), ("past_medical_history", history)):
            notes.append([stay, f"n{stay}", "discharge", section, start, f"{text} Bed {stay}."])
        for variable, rows in cells.items():
            series += [[stay, hour, variable, value + stay // 3 * 0.1] for hour, value in rows]

    def table(rows, schema):
        return pa.Table.from_pylist([dict(zip(schema.names, row, strict=True)) for row in rows], schema)

    write_table(paths.stays, table(stays, STAYS))
    write_table(paths.notes, table(notes, NOTES))
    write_table(paths.series, table(series, SERIES))
    write_table(paths.labels, pa.Table.from_pylist(labels, labels_schema(keys)))
    return root


def good_answers(cohort: Path, graph) -> dict[str, tuple[int, str, str]]:
    """Fence of the prompt -> stay, kind, and a rationale that the chart bears out."""
    import hashlib

    stays, teacher = Stays(CohortPaths(cohort)), EvidenceTeacher(graph)
    found, good = findings(stays.series), {}
    for stay in stays:
        texts = {
            "note": teacher.note(stay.stay_id, stay.sections, stay.diagnoses).text,
            "series": teacher.series(stay.stay_id, found.get(stay.stay_id), stay.diagnoses).text,
        }
        for kind, text in texts.items():
            fence = hashlib.sha256(f"{stay.stay_id}:{kind}".encode()).hexdigest()[:12]
            good[fence] = (stay.stay_id, kind, text)
    return good


class FaultServer:
    """Serves chat completions. ``fault(server, request, times)`` gives raw bytes or an action in place of an answer.

    ``request``: stay, kind, text (a good rationale), body, prompt and name (its idempotency key). ``times``: how often
    this key was asked before. ``served``: keys for which a whole answer went out.
    """

    def __init__(self, good, fault=None):
        self.good, self.fault = good, fault
        self.requests, self.served = Counter(), Counter()
        self.bodies = []
        self.latency = 0.0
        self.most_at_once = self._now = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self):
        self._thread.start()
        started = asyncio.run_coroutine_threadsafe(asyncio.start_server(self._connection, "127.0.0.1", 0), self._loop)
        self._server = started.result(10)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        return self

    def __exit__(self, *_):
        async def stop():
            self._server.close()
            for task in asyncio.all_tasks():
                if task is not asyncio.current_task():
                    task.cancel()

        asyncio.run_coroutine_threadsafe(stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _connection(self, reader, writer):
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(re.search(rb"content-length: *(\d+)", head, re.I)[1])
                body = json.loads(await reader.readexactly(length))
                self._now += 1
                self.most_at_once = max(self.most_at_once, self._now)
                try:
                    done = await self._answer(head, body, writer)
                finally:
                    self._now -= 1
                if done:
                    break
        writer.close()

    async def _answer(self, head, body, writer):
        name = re.search(rb"idempotency-key: *(\w+)", head, re.I)[1].decode()
        prompt = " ".join(message["content"] for message in body["messages"])
        fence = re.search(r"BEGIN PATIENT DATA (\w{12})", prompt)
        stay, kind, text = self.good.get(fence[1], (0, "", "")) if fence else (0, "probe", '{"ready": true}')
        request = {"stay": stay, "kind": kind, "text": text, "body": body, "name": name, "prompt": prompt}
        times = self.requests[name]
        self.requests[name] += 1
        self.bodies.append(body)
        await asyncio.sleep(self.latency)
        answer = self.fault(self, request, times) if self.fault else None
        if callable(answer):
            await answer(writer)
            return True
        if answer is None:
            self.served[name] += 1
            answer = completion(request)
        writer.write(answer)
        await writer.drain()
        return False


#: Leaves a field of a completion out.
ABSENT = object()


def completion(request, text=None, *, finish="stop", **changes) -> bytes:
    """A whole chat completion as bytes."""
    read = len(request["prompt"].split()) * 2
    message = {"role": "assistant", "content": request["text"] if text is None else text}
    data = {
        "id": "x", "object": "chat.completion", "model": "m",
        "choices": [{"index": 0, "finish_reason": finish, "message": message}],
        "usage": {"prompt_tokens": read, "completion_tokens": 60, "total_tokens": read + 60},
    } | changes  # fmt: skip
    data = {key: value for key, value in data.items() if value is not ABSENT}
    return http(json.dumps(data).encode())


def http(body: bytes, status: str = "200 OK", headers: str = "Content-Type: application/json") -> bytes:
    return f"HTTP/1.1 {status}\r\n{headers}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
