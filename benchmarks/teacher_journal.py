"""The teacher's journal compared with SQLite (WAL): appends per second, size, time to resume, and loss by kills.

    python benchmarks/teacher_journal.py --folder DIR --answers 100000

Both report an answer as stored only once it is flushed: ours after one fsync for all waiting answers, SQLite after one
commit for all waiting ones, with ``synchronous=FULL``.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from clinragen.teacher.journal import Journal, Record

SENTENCE = "Based on the medical notes, orthopnea, leg swelling and treatment with furosemide point to heart failure. "
COLUMNS = "key, stay_id, kind, model, text, finish_reason, usage, served_by, attempt, seed"
ATTEMPTS = 10  # kills


def record(number: int) -> Record:
    """An answer of the usual length."""
    return Record(
        key=hashlib.sha256(str(number).encode()).hexdigest(),
        stay_id=number,
        kind="note",
        model="m",
        text=f"{4 * SENTENCE}{number}",
        finish_reason="stop",
        usage={"prompt_tokens": 1800, "completion_tokens": 90},
        served_by="m",
        attempt=0,
        seed=0,
    )


class SqliteJournal:
    """The same interface over one table of SQLite."""

    def __init__(self, path: Path) -> None:
        self._database = sqlite3.connect(path, check_same_thread=False, timeout=30, isolation_level=None)
        self._database.execute("pragma journal_mode=wal")
        self._database.execute("pragma synchronous=full")
        columns = COLUMNS.replace("key", "key blob primary key")
        self._database.execute(f"create table if not exists answers ({columns}) without rowid")
        self._pending: list[tuple[tuple[object, ...], asyncio.Future[None]]] = []
        self._flusher: asyncio.Task[None] | None = None
        self._writer = ThreadPoolExecutor(1)

    def get(self, name: str) -> object:
        """The row with this key."""
        return self._database.execute("select * from answers where key = ?", (bytes.fromhex(name),)).fetchone()

    async def append(self, answer: Record) -> None:
        """Keep an answer; those that arrive while the disk is busy share one commit."""
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        values = {**answer, "key": bytes.fromhex(answer["key"]), "usage": json.dumps(answer["usage"])}
        self._pending.append((tuple(values.values()), stored))
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.create_task(self._flush())
        await stored

    def close(self) -> None:
        """Move the log into the table."""
        self._database.execute("pragma wal_checkpoint(truncate)")
        self._database.close()

    async def _flush(self) -> None:
        while self._pending:
            batch, self._pending = self._pending, []
            await asyncio.get_running_loop().run_in_executor(self._writer, self._store, [row for row, _ in batch])
            for _, stored in batch:
                stored.set_result(None)

    def _store(self, rows: list[tuple[object, ...]]) -> None:
        self._database.execute("begin immediate")
        marks = ", ".join("?" * len(COLUMNS.split()))
        self._database.executemany(f"insert or ignore into answers values ({marks})", rows)
        self._database.execute("commit")


def journal(kind: str, path: Path) -> Journal | SqliteJournal:
    """An open journal of either kind."""
    return Journal(path, writable=True) if kind == "jsonl" else SqliteJournal(path)


def fill(kind: str, path: Path, numbers: range, slots: int, *, acknowledge: bool = False) -> float:
    """Append answers, so many in flight; returns the seconds that took."""

    async def go() -> float:
        target, waiting = journal(kind, path), iter(numbers)

        async def work() -> None:
            for number in waiting:
                await target.append(record(number))
                if acknowledge:
                    os.write(1, f"{number}\n".encode())

        began = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(slots)))
        seconds = time.perf_counter() - began
        target.close()
        return seconds

    return asyncio.run(go())


def kills(kind: str, path: Path) -> tuple[int, int]:
    """How many answers were reported as kept by writers that were killed, and how many of those are not there."""
    chance, acknowledged = random.Random(1), set[int]()
    for attempt in range(ATTEMPTS):
        command = [sys.executable, __file__, "--write", kind, str(path), str(attempt * 1_000_000)]
        writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        acknowledged.add(int(writer.stdout.readline()))
        time.sleep(chance.random() / 2)
        writer.send_signal(signal.SIGKILL)
        acknowledged |= {int(line) for line in writer.stdout.read().splitlines(keepends=True) if line.endswith("\n")}
        writer.wait()
    target = journal(kind, path)
    return len(acknowledged), sum(target.get(record(number)["key"]) is None for number in acknowledged)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("outputs/journals"))
    parser.add_argument("--answers", type=int, default=100_000)
    parser.add_argument("--write", nargs=3, help=argparse.SUPPRESS)  # what is killed
    args = parser.parse_args()
    if args.write:
        kind, path, start = args.write
        fill(kind, Path(path), range(int(start), int(start) + 900_000), 32, acknowledge=True)
        return
    args.folder.mkdir(parents=True)
    for kind in ("jsonl", "sqlite"):
        for slots, count in ((1, 400), (32, 6_000), (256, 20_000)):
            seconds = fill(kind, args.folder / f"{kind}-{slots}", range(count), slots)
            print(f"{kind:6}  {slots:3} in flight: {count / seconds:6.0f} appends/s")
        path = args.folder / f"{kind}-all"
        fill(kind, path, range(args.answers), 2_000)
        began = time.perf_counter()
        target = journal(kind, path)
        opened = time.perf_counter() - began
        present = sum(target.get(record(number)["key"]) is not None for number in range(args.answers))
        seconds = time.perf_counter() - began
        size = path.stat().st_size / 1e6
        print(f"{kind:6}  {present:,} answers: {size:.1f} MB, opened in {opened:.2f} s, looked up in {seconds:.2f} s")
        kept, lost = kills(kind, args.folder / f"{kind}-killed")
        print(f"{kind:6}  {ATTEMPTS} kills: {kept:,} reported as kept, {lost} lost")


if __name__ == "__main__":
    main()
