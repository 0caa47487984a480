"""How near the client comes to the ideal rate on a server with fixed latency and a fixed number of slots.

    python benchmarks/teacher_throughput.py --requests 50000 --slots 64 --latency 0.2

The server is simulated in another process; requests go over loopback through the privacy gate, the SDK, retries and the
journal, as in a run. Prints the rate as part of the ideal (slots / latency), the CPU per 100 requests/s, and the memory
of the client after the first tenth and at the end.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import resource
import tempfile
import time
from pathlib import Path

from clinragen.teacher import journal
from clinragen.teacher.client import Client
from clinragen.teacher.settings import Server

PROMPT = [{"role": "user", "content": "A note of ordinary length about dyspnea. " * 120}]
PARAMETERS = {"temperature": 0.3, "top_p": 1.0, "max_tokens": 400, "seed": 0}


def serve(slots: int, latency: float, told) -> None:
    """Answer every request after ``latency`` seconds, at most ``slots`` at a time."""
    body = json.dumps(
        {
            "model": "m",
            "choices": [{"finish_reason": "stop", "message": {"content": "Based on the medical notes, " + "x " * 80}}],
            "usage": {"prompt_tokens": 1500, "completion_tokens": 120},
        }
    ).encode()
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body

    class Protocol(asyncio.Protocol):
        def connection_made(self, transport) -> None:
            self.transport, self.seen, self.wanted = transport, 0, 0

        def data_received(self, data: bytes) -> None:
            if not self.wanted:
                head, _, _ = data.partition(b"\r\n\r\n")
                length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
                self.wanted, self.seen = len(head) + 4 + int(length.split(b":")[1]), 0
            self.seen += len(data)
            if self.seen >= self.wanted:
                self.wanted = 0
                asyncio.get_running_loop().create_task(self.respond())

        async def respond(self) -> None:
            async with free:
                await asyncio.sleep(latency)
            self.transport.write(answer)

    free = asyncio.Semaphore(slots)

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
    settings = Server(base_url=f"http://127.0.0.1:{port}/v1", model="m", concurrency=concurrency, timeout=60)
    numbers, grown = iter(range(count)), []
    with journal.Journal(folder / "journal.jsonl", writable=True) as kept:
        async with Client(settings) as client:

            async def work() -> None:
                for number in numbers:
                    name = journal.key(PROMPT, "m", PARAMETERS, number, "note")
                    answer = await client.ask(PROMPT, PARAMETERS, name)
                    fields = {"stay_id": number, "kind": "note", "model": "m", "finish_reason": answer.finish_reason}
                    await kept.append({"key": name, "text": answer.text, "usage": answer.usage, **fields})
                    if number % (count // 10) == count // 10 - 1:
                        grown.append(memory())

            await asyncio.gather(*(client.ask(PROMPT, PARAMETERS, "0" * 64) for _ in range(concurrency)))  # connect
            used, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
            await asyncio.gather(*(work() for _ in range(concurrency)))
            wall = time.perf_counter() - began
            after = resource.getrusage(resource.RUSAGE_SELF)
            cpu = after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime
        assert len(kept) == count
    return wall, cpu, grown


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=5000)
    parser.add_argument("--slots", type=int, default=64)
    parser.add_argument("--latency", type=float, default=0.2)
    parser.add_argument("--concurrency", type=int, default=64)
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
    print(f"client memory: {grown[0]:.0f} MB after a tenth, {grown[-1]:.0f} MB at the end")
    print(f"load average of the machine during the run: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
