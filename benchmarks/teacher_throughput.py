"""How near the client comes to the ideal rate on a server with fixed latency and a fixed number of slots.

    python benchmarks/teacher_throughput.py --requests 50000 --slots 64 --latency 0.2

The server is simulated in another process; requests go over loopback through the pinned client, the SDK, retries and
the journal, as in a run. Prints the rate as part of the ideal (slots / latency), the CPU of the client's process (user
and system) per 100 requests/s, and its memory after each tenth. With ``--cohort``, what a run does beside the client,
too: the CPU of filling a prompt and of checking a rationale.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import re
import tempfile
import time
from collections import deque
from multiprocessing.queues import Queue
from pathlib import Path

from clinragen.teacher import journal
from clinragen.teacher.client import Client
from clinragen.teacher.settings import Parameters, ServerSettings

PROMPT = [{"role": "user", "content": "A note of ordinary length about dyspnea. " * 120}]
PARAMETERS: Parameters = {"temperature": 0.3, "top_p": 1.0, "max_tokens": 400, "seed": 0}


def serve(slots: int, latency: float, told: Queue[int]) -> None:
    """Answer every request after ``latency`` seconds, at most ``slots`` at a time; as little work as can be."""
    body = json.dumps(
        {
            "model": "m",
            "choices": [{"finish_reason": "stop", "message": {"content": "Based on the medical notes, " + "x " * 80}}],
            "usage": {"prompt_tokens": 1500, "completion_tokens": 120},
        }
    ).encode()
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    waiting: deque[asyncio.Transport] = deque()
    length = re.compile(rb"content-length: *(\d+)", re.I)
    free = slots

    def start(transport: asyncio.Transport) -> None:
        nonlocal free
        if free:
            free -= 1
            asyncio.get_running_loop().call_later(latency, respond, transport)
        else:
            waiting.append(transport)

    def respond(transport: asyncio.Transport) -> None:
        nonlocal free
        transport.write(answer)
        free += 1
        if waiting:
            start(waiting.popleft())

    class Protocol(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            self.transport, self.left = transport, 0

        def data_received(self, data: bytes) -> None:
            if not self.left:
                found = length.search(data)
                assert found is not None
                self.left = data.index(b"\r\n\r\n") + 4 + int(found[1])
            self.left -= len(data)
            if not self.left:
                start(self.transport)

    async def go() -> None:
        server = await asyncio.get_running_loop().create_server(Protocol, "127.0.0.1", 0, backlog=1024)
        told.put(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(go())


def memory() -> float:
    """Resident memory of this process in MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


async def run(port: int, count: int, concurrency: int, folder: Path) -> tuple[float, float, list[float]]:
    """Wall seconds, CPU seconds, and memory after each tenth."""
    settings = ServerSettings(base_url=f"http://127.0.0.1:{port}/v1", model="m", concurrency=concurrency, timeout=60)
    numbers, grown = iter(range(count)), []
    with journal.Journal(folder / "journal.jsonl", writable=True) as kept:
        async with Client(settings) as client:

            async def work() -> None:
                for number in numbers:
                    name = journal.key(PROMPT, "m", PARAMETERS, number, "note")
                    answer = await client.ask(PROMPT, PARAMETERS, name)
                    record: journal.Record = {
                        "key": name, "stay_id": number, "kind": "note", "model": "m", "text": answer.text,
                        "finish_reason": answer.finish_reason, "usage": answer.usage,
                    }  # fmt: skip
                    await kept.append(record)
                    if number % (count // 10) == count // 10 - 1:
                        grown.append(memory())

            await asyncio.gather(*(client.ask(PROMPT, PARAMETERS, "0" * 64) for _ in range(concurrency)))  # connect
            used, began = os.times(), time.perf_counter()
            await asyncio.gather(*(work() for _ in range(2 * concurrency)))  # as in a run: see clinragen.teacher.llm
            wall, after = time.perf_counter() - began, os.times()
            cpu = after.user + after.system - used.user - used.system
        assert len(kept) == count
    return wall, cpu, grown


def beside(cohort: Path, count: int = 200) -> None:
    """Print the CPU that prompts and checks of a run take, by the evidence teacher's rationales of a cohort."""
    from itertools import islice

    from clinragen.artifacts import read_table
    from clinragen.knowledge.graph import build
    from clinragen.schema import CohortPaths
    from clinragen.teacher.claim_check import ClaimChecker
    from clinragen.teacher.prompts import Prompts
    from clinragen.teacher.settings import TeacherSettings
    from clinragen.teacher.stays import Stays

    paths, graph = CohortPaths(cohort), build()
    stays = list(islice(Stays(paths), count))
    rows = read_table(paths.rationales("evidence")).to_pylist()
    texts = {(row["stay_id"], row["kind"]): row["text"] for row in rows}
    prompts, checker, took = Prompts(TeacherSettings(), graph), ClaimChecker(graph), [0.0, 0.0]
    for stay in stays:
        for kind in ("note", "series"):
            began = time.process_time()
            prompts.messages(stay, kind, structured=True)
            filled = time.process_time()
            checker.check(texts[stay.stay_id, kind], stay, kind)
            took[0] += filled - began
            took[1] += time.process_time() - filled
    each = [seconds / len(stays) / 2 * 1000 for seconds in took]
    print(f"beside the client, for each rationale: {each[0]:.1f} ms to fill the prompt, {each[1]:.1f} ms to check it")


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=5000)
    parser.add_argument("--slots", type=int, default=64)
    parser.add_argument("--latency", type=float, default=0.2)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--cohort", type=Path, help="a cohort with evidence rationales")
    args = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    told = context.Queue()
    server = context.Process(target=serve, args=(args.slots, args.latency, told), daemon=True)
    server.start()
    with tempfile.TemporaryDirectory() as folder:
        wall, cpu, grown = asyncio.run(run(told.get(timeout=60), args.requests, args.concurrency, Path(folder)))
    server.kill()
    rate, ideal = args.requests / wall, args.slots / args.latency
    print(f"{args.requests} requests in {wall:.1f} s: {rate:.1f}/s, {rate / ideal:.1%} of the ideal {ideal:.0f}/s")
    print(f"client CPU: {cpu:.1f} s, {cpu / args.requests * 100:.1%} of a core per 100 requests/s")
    print(f"client memory after each tenth, MB: {', '.join(f'{size:.0f}' for size in grown)}")
    if args.cohort:
        beside(args.cohort)
    print(f"load average of the machine during the run: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
