"""The journal keeps every answer through kills, torn lines and full disks, and never twice."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from clinragen.errors import UserError
from clinragen.teacher.journal import Journal, key, merge


def record(number: int, text: str = "Based on …") -> dict:
    name = key([{"role": "user", "content": str(number)}], "m", {"seed": 1}, number, "note")
    return {
        "key": name, "stay_id": number, "kind": "note", "model": "m", "text": text, "finish_reason": "stop",
        "usage": {"prompt_tokens": 1, "completion_tokens": 2},
    }  # fmt: skip


def write(path, *records):
    async def go():
        with Journal(path, writable=True) as journal:
            await asyncio.gather(*(journal.append(item) for item in records))

    asyncio.run(go())


def test_answers_come_back_in_order_and_once(tmp_path):
    path = tmp_path / "j.jsonl"
    write(path, *(record(n) for n in range(50)), record(3, "another answer"))
    write(path, record(7, "again"), record(50))
    with Journal(path) as journal:
        assert [row["stay_id"] for row in journal.records()] == list(range(51))
        assert journal.get(record(3)["key"]) == record(3)
        assert journal.get(record(99)["key"]) is None
    assert path.stat().st_mode & 0o077 == 0


def test_a_key_names_everything_that_was_asked():
    asked = ([{"role": "user", "content": "a"}], "m", {"seed": 1, "temperature": 0.2}, 5, "note")
    assert key(*asked) == key(asked[0], "m", {"temperature": 0.2, "seed": 1}, 5, "note")
    for place, other in enumerate(([{"role": "user", "content": "b"}], "n", {"seed": 2}, 6, "series")):
        changed = list(asked)
        changed[place] = other
        assert key(*changed) != key(*asked)


@pytest.mark.parametrize("cut", [1, 5, 60, 150])
def test_a_torn_last_line_is_cut_off(tmp_path, cut):
    path = tmp_path / "j.jsonl"
    write(path, record(1), record(2))
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    with Journal(path) as journal:
        assert len(journal) == 1
    write(path, record(2), record(3))
    with Journal(path) as journal:
        assert [row["stay_id"] for row in journal.records()] == [1, 2, 3]


def test_a_damaged_line_in_the_middle_is_named(tmp_path):
    path = tmp_path / "j.jsonl"
    write(path, record(1), record(2))
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], '{"key": "half', lines[1]]) + "\n")
    with pytest.raises(UserError, match="line 2: not a journal record"):
        Journal(path)


def test_two_runs_never_write_one_journal(tmp_path):
    path = tmp_path / "j.jsonl"
    with Journal(path, writable=True), pytest.raises(UserError, match="use by another"):
        Journal(path, writable=True)
    Journal(path, writable=True).close()


def test_a_missing_journal_is_named(tmp_path):
    with pytest.raises(UserError, match="not found"):
        Journal(tmp_path / "none.jsonl")


def test_a_full_disk_leaves_no_half_line(tmp_path, monkeypatch):
    path = tmp_path / "j.jsonl"
    real = os.write

    async def go():
        with Journal(path, writable=True) as journal:
            await journal.append(record(1))
            monkeypatch.setattr(os, "fsync", lambda file: (_ for _ in ()).throw(OSError(28, "No space left on device")))
            monkeypatch.setattr(os, "write", lambda file, data: real(file, data[:40]))
            with pytest.raises(OSError, match="No space"):
                await journal.append(record(2))
            monkeypatch.undo()
            await journal.append(record(3))

    asyncio.run(go())
    with Journal(path) as journal:
        assert [row["stay_id"] for row in journal.records()] == [1, 3]


def test_merge_takes_each_answer_once(tmp_path):
    write(tmp_path / "a.jsonl", record(1), record(2))
    write(tmp_path / "b.jsonl", record(2, "another"), record(3))
    assert merge(tmp_path / "a.jsonl", [tmp_path / "b.jsonl"]) == 1
    with Journal(tmp_path / "a.jsonl") as journal:
        assert [(row["stay_id"], row["text"]) for row in journal.records()][1:] == [
            (2, "Based on …"),
            (3, "Based on …"),
        ]


WRITER = """
import asyncio, sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from test_journal import record
from clinragen.teacher.journal import Journal
async def go():
    with Journal(Path(sys.argv[1]), writable=True) as journal:
        async def work(start):
            for number in range(start, 100000, 8):
                if journal.get(record(number)["key"]) is None:
                    await journal.append(record(number))
                    print(number, flush=True)
        await asyncio.gather(*(work(start) for start in range(8)))
asyncio.run(go())
"""


def test_killed_at_random_moments_nothing_acknowledged_is_lost(tmp_path):
    path, rng, acknowledged = tmp_path / "j.jsonl", random.Random(5), set()
    for _ in range(5):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(Path(__file__).parent)], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        acknowledged.add(int(writer.stdout.readline()))
        time.sleep(rng.random() * 0.1)
        writer.send_signal(signal.SIGKILL)
        acknowledged |= {int(line) for line in writer.stdout.read().splitlines(keepends=True) if line.endswith("\n")}
        writer.wait()
    write(path)  # opens, mends, closes
    stays = [json.loads(line)["stay_id"] for line in path.read_text().splitlines()]
    assert len(stays) == len(set(stays))
    assert acknowledged <= set(stays)
