"""The service under load: good, malformed, huge and slow requests from many clients at once, against a real process.

    python benchmarks/service_load.py --model RUN --cohort COHORT [--clients 200] [--seconds 120]

Of every ten clients five send stays of the cohort, one a FHIR bundle, one malformed bodies, one huge ones, one headers
byte by byte, and one hangs up or asks under a foreign host name. Prints how many answers of each status came back, the
time to good ones, and the memory of the server. Ends with exit code 1 if an answer was neither 200 nor a clear 4xx or
503, if the connection of a well-behaved client broke, or if the memory grew by more than a tenth from the first third
to the end.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
from printed_tables import Console
from rich.table import Table

ALLOWED = {200, 400, 401, 403, 404, 405, 408, 413, 415, 421, 422, 503}
GROWTH = 1.10
KINDS = ("stays", "stays", "stays", "stays", "stays", "fhir", "malformed", "huge", "slow", "rude")


@dataclass
class Tally:
    """What came back."""

    statuses: Counter[tuple[str, str]] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)  # of good requests that were answered

    def add(self, kind: str, status: str, seconds: float) -> None:
        self.statuses[kind, status] += 1
        if kind in ("stays", "fhir") and status == "200":
            self.seconds.append(seconds)


@contextmanager
def server(model: Path) -> Iterator[tuple[int, int]]:
    """Process id and port of a running service."""
    command = [sys.executable, "-m", "clinragen.cli", "serve", "--model", str(model), "--port", "0"]
    command[1:3] = ["-c", "from clinragen.cli import main; main()"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        port = None
        for line in process.stderr:
            if match := re.search(r"http://127\.0\.0\.1:(\d+)/ answers", line):
                port = int(match[1])
                break
        if port is None:
            raise SystemExit("the service did not start")
        log = subprocess.Popen(["cat"], stdin=process.stderr, stdout=subprocess.DEVNULL)
        yield process.pid, port
        process.terminate()
        began = time.monotonic()
        code = process.wait(60)
        log.wait(10)
        print(f"SIGTERM: exit code {code} after {time.monotonic() - began:.1f} s")
    finally:
        if process.poll() is None:
            process.kill()


def memory(process: int) -> float:
    """Resident MiB of a process."""
    status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]


def requests_of(cohort: Path, most: int = 20) -> list[bytes]:
    """Stays of the test split as bodies of one stay each."""
    stays = pl.read_parquet(cohort / "stays.parquet").filter(pl.col("split") == "test").head(most)
    tables = {name: pl.read_parquet(cohort / f"{name}.parquet") for name in ("series", "notes")}
    bodies = []
    for stay in stays["stay_id"].to_list():
        content = {"stays": json.loads(stays.filter(pl.col("stay_id") == stay).write_json())}
        for name, table in tables.items():
            content[name] = json.loads(table.filter(pl.col("stay_id") == stay).write_json())
        bodies.append(json.dumps(content).encode())
    return bodies


def bundle() -> bytes:
    """A FHIR bundle of an invented patient."""
    patient = {"resourceType": "Patient", "id": "p", "gender": "female", "birthDate": "1950-02-01"}
    subject = {"reference": "Patient/p"}
    stay = {"resourceType": "Encounter", "id": "e", "subject": subject, "period": {"start": "2020-05-01T08:00:00Z"}}
    code = {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]}
    beats = {
        "resourceType": "Observation",
        "status": "final",
        "code": code,
        "subject": subject,
        "effectiveDateTime": "2020-05-01T09:00:00Z",
        "valueQuantity": {"value": 118, "code": "/min"},
    }
    entries = [{"resource": one} for one in (patient, stay, beats)]
    return json.dumps({"resourceType": "Bundle", "type": "collection", "entry": entries}).encode()


def malformed(body: bytes, draw: random.Random) -> bytes:
    """A body with a random damage."""
    damage = draw.randrange(4)
    if damage == 0:
        return body[: draw.randrange(len(body))]
    if damage == 1:
        at = draw.randrange(len(body))
        return body[:at] + bytes(draw.randrange(256) for _ in range(20)) + body[at + 20 :]
    if damage == 2:
        return b"[" * draw.randrange(1, 200_000)
    return body.replace(b'"age"', b'"years"', 1)


class Client:
    """One client, which asks again and again until the time is over."""

    def __init__(self, number: int, port: int, bodies: list[bytes], tally: Tally) -> None:
        self.kind = KINDS[number % len(KINDS)]
        self.port = port
        self.bodies = bodies
        self.tally = tally
        self.draw = random.Random(number)

    async def ask_until(self, end: float) -> None:
        while time.monotonic() < end:
            began = time.monotonic()
            status = await self.ask()
            self.tally.add(self.kind, status, time.monotonic() - began)
            await asyncio.sleep(self.draw.uniform(0.1, 1.0) if status == "200" else self.draw.uniform(0.5, 2.0))

    async def ask(self) -> str:
        body = self.draw.choice(self.bodies)
        path, host, pause = "/v1/stays", "localhost", 0.0
        match self.kind:
            case "fhir":
                path, body = "/v1/fhir", bundle()
            case "malformed":
                path, body = self.draw.choice(("/v1/stays", "/v1/fhir")), malformed(body, self.draw)
            case "huge":
                body = b'{"stays": "' + b"x" * (self.draw.choice((9, 12, 30)) << 20)
            case "slow":
                pause = 1.0
            case "rude":
                host = self.draw.choice(("localhost", "evil.example"))
        head = f"POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n"
        head += f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        try:
            return await self._send(head.encode() + body, pause, leave=self.kind == "rude" and host == "localhost")
        except (ConnectionError, asyncio.IncompleteReadError):
            return "connection ended"
        except TimeoutError:
            return "no answer"

    async def _send(self, content: bytes, pause: float, *, leave: bool) -> str:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            async with asyncio.timeout(180):
                if pause:
                    for byte in content[:60]:
                        writer.write(bytes([byte]))
                        await writer.drain()
                        await asyncio.sleep(pause)
                else:
                    with suppress(ConnectionError):  # an early answer may still be there to read
                        writer.write(content)
                        await writer.drain()
                if leave:
                    return "left"
                line = await reader.readline()
                while await reader.read(1 << 16):
                    pass
                return line.split(b" ")[1].decode() if line.count(b" ") >= 2 else "connection ended"
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


async def load(process: int, port: int, bodies: list[bytes], clients: int, seconds: float) -> tuple[Tally, list[float]]:
    """Run all clients; what came back, and the memory every second."""
    tally, used = Tally(), []
    end = time.monotonic() + seconds
    tasks = [asyncio.create_task(Client(n, port, bodies, tally).ask_until(end)) for n in range(clients)]
    while time.monotonic() < end:
        used.append(memory(process))
        await asyncio.sleep(1)
    await asyncio.gather(*tasks)
    used.append(memory(process))
    return tally, used


def troubles(tally: Tally, used: list[float]) -> list[str]:
    """What must not be."""
    rude = ("slow", "rude", "huge")  # whose connections may be cut
    wrong = [
        f"{count} x {status} for {kind}"
        for (kind, status), count in tally.statuses.items()
        if not (status.isdecimal() and int(status) in ALLOWED) and kind not in rude
    ]
    wrong += [f"{kind}: {status}" for kind, status in tally.statuses if status.startswith("5") and status != "503"]
    early = max(used[: len(used) // 3])
    if used[-1] > GROWTH * early:
        wrong.append(f"memory grew from {early:.0f} to {used[-1]:.0f} MiB")
    if not tally.seconds:
        wrong.append("no good request was answered")
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="run folder")
    parser.add_argument("--cohort", type=Path, required=True)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=120)
    args = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    bodies = requests_of(args.cohort)
    with server(args.model) as (process, port):
        before = memory(process)
        tally, used = asyncio.run(load(process, port, bodies, args.clients, args.seconds))
    table = Table(title=f"clinragen serve: {args.clients} clients for {args.seconds:g} s")
    for column in ("clients", "answer", "count"):
        table.add_column(column, justify="right" if column == "count" else "left")
    for (kind, status), count in sorted(tally.statuses.items()):
        table.add_row(kind, status, f"{count:,}")
    Console().print(table)
    times = sorted(tally.seconds) or [float("nan")]
    print(
        f"good requests: {len(tally.seconds)} answered, p50 {times[len(times) // 2]:.1f} s, "
        f"p99 {times[int(0.99 * (len(times) - 1))]:.1f} s"
    )
    print(
        f"memory of the server: {before:.0f} MiB before, {max(used[: len(used) // 3]):.0f} in the first third, "
        f"{used[len(used) // 2]:.0f} in the middle, {used[-1]:.0f} at the end, at most {max(used):.0f}"
    )
    if wrong := troubles(tally, used):
        raise SystemExit("; ".join(wrong))


if __name__ == "__main__":
    main()
