"""Kill ``clinragen teach`` at random moments, restart it, and count duplicate requests and lost responses.

    python benchmarks/teacher_kill.py --cohort COHORT --out FOLDER [--stays 400] [--kills 30]

COHORT needs evidence rationales: a server on loopback answers with them after a fixed latency and counts the answers
that it gave for each request (by its idempotency key). At each kill the journal on the disk says which answers were
kept: none of these may ever be asked for again (duplicate), none may be absent at the end (loss), and the last run must
fill the table. Answers that were under way at a kill were never received; they are asked for again and counted apart.
"""

import argparse
import asyncio
import hashlib
import json
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

from teacher_real_llm import sample


class PayingServer:
    """Chat completions with a bill: ``paid`` counts the answers given for each idempotency key."""

    def __init__(self, answers: dict[str, str], latency: float) -> None:
        self._answers, self._latency = answers, latency
        self.paid: Counter[str] = Counter()
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        started = asyncio.run_coroutine_threadsafe(asyncio.start_server(self._serve, "127.0.0.1", 0), self._loop)
        self.url = f"http://127.0.0.1:{started.result(10).sockets[0].getsockname()[1]}/v1"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                asked = json.loads(await reader.readexactly(int(head.partition("content-length:")[2].split()[0])))
                await asyncio.sleep(self._latency)
                self.paid[head.partition("idempotency-key:")[2].split()[0]] += 1
                prompt = asked["messages"][1]["content"]
                fence = re.search(r"BEGIN PATIENT DATA (\w+)", prompt)
                assert fence is not None
                text, read = self._answers[fence[1]], 2 * len(prompt.split())
                choice = {"finish_reason": "stop", "message": {"role": "assistant", "content": text}}
                usage = {"prompt_tokens": read, "completion_tokens": 60}
                body = json.dumps({"model": "m", "choices": [choice], "usage": usage}).encode()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


def journaled(path: Path) -> set[str]:
    """Keys of the whole lines on the disk."""
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    return {json.loads(line)["key"] for line in lines if line.endswith(b"\n")}


def main() -> None:
    """Print the counts; exit code 1 if anything was lost or paid for twice."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cohort", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder for the sample and its rationales")
    parser.add_argument("--stays", type=int, default=400)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--latency", type=float, default=0.1)
    parser.add_argument("--concurrency", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    from clinragen.artifacts import read_table
    from clinragen.schema import CohortPaths

    sample(args.cohort, args.out, args.stays)
    answers = {
        hashlib.sha256(f"{row['stay_id']}:{row['kind']}".encode()).hexdigest()[:12]: row["text"]
        for row in read_table(CohortPaths(args.cohort).rationales("evidence")).to_pylist()
    }
    server, rng = PayingServer(answers, args.latency), random.Random(args.seed)
    paths = CohortPaths(args.out)
    journal = paths.rationales("openai").with_suffix(".journal.jsonl")
    sets = [f"server.base_url={server.url}", "server.model=m", "structured=plain", "regenerate=0", "least_supported=0"]
    sets += [f"server.concurrency={args.concurrency}"]
    command = [sys.executable, "-c", "from clinragen.cli import main; main()", "teach", "--cohort", str(args.out)]
    command += ["--teacher", "openai", *(part for change in sets for part in ("--set", change))]

    kept: dict[str, int] = {}  # journaled key -> answers paid for when a kill first found it there
    torn = early = 0
    for number in range(args.kills):
        before = server.paid.total()
        run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if number % 6 == 5:  # some while it starts or reads the journal
            time.sleep(rng.uniform(0, 3))
        else:
            while server.paid.total() == before and run.poll() is None:
                time.sleep(0.005)
            time.sleep(rng.uniform(0, 0.8))
        assert run.poll() is None, "a run ended before it could be killed: raise --stays"
        run.send_signal(signal.SIGKILL)
        run.wait()
        time.sleep(2 * args.latency)  # what was under way is paid for by now
        early += server.paid.total() == before
        torn += journal.exists() and journal.stat().st_size > 0 and not journal.read_bytes().endswith(b"\n")
        for key in journaled(journal):
            kept.setdefault(key, server.paid[key])
    last = subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode
    lines = journal.read_text().splitlines()
    keys = [json.loads(line)["key"] for line in lines]
    rows = read_table(paths.rationales("openai")).num_rows
    again = sum(server.paid[key] > count for key, count in kept.items())
    lost = len(kept.keys() - set(keys))
    under_way = server.paid.total() - len(keys)
    twice = len(keys) - len(set(keys))
    print(f"{args.kills} kills ({early} before the first request, {torn} with a torn last line), last exit code {last}")
    print(f"journal: {len(keys)} answers, {twice} of them twice; table: {rows} rows of {2 * args.stays}")
    print(f"answers kept at a kill: {len(kept)}; of these asked for again: {again}; lost: {lost}")
    print(f"answers under way at a kill, never received and asked for again: {under_way}")
    sys.exit(bool(again or lost or last or twice or rows != 2 * args.stays))


if __name__ == "__main__":
    main()
