"""The journal stores every answer once, through kills, partial lines and full disks."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from clinragen import versions
from clinragen.errors import UserError
from clinragen.teacher.journal import Journal, key, merge

pytestmark = pytest.mark.usefixtures("disk")


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


def test_every_line_says_its_version(tmp_path):
    write(tmp_path / "j.jsonl", record(1), record(2))
    lines = [json.loads(line) for line in (tmp_path / "j.jsonl").read_text().splitlines()]
    assert lines == [record(number) | {"journal_version": 1} for number in (1, 2)]


def test_answers_come_back_in_order_and_once(tmp_path):
    path = tmp_path / "j.jsonl"
    write(path, *(record(n) for n in range(50)), record(3, "another answer"))
    write(path, record(7, "again"), record(50))
    with Journal(path) as journal:
        assert [row["stay_id"] for row in journal.records()] == list(range(51))
        assert journal.get(record(3)["key"]) == record(3)
        assert journal.get(record(99)["key"]) is None
    assert path.stat().st_mode & 0o077 == 0


def test_answers_of_one_batch_are_found_while_the_journal_is_open(tmp_path):
    async def go() -> None:
        with Journal(tmp_path / "j.jsonl", writable=True) as journal:
            await asyncio.gather(*(journal.append(record(n, "x" * n)) for n in range(5)))
            assert [journal.get(record(n)["key"])["text"] for n in range(5)] == ["x" * n for n in range(5)]

    asyncio.run(go())


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
    with (
        Journal(path, writable=True),
        pytest.raises(UserError, match=r"use by another run: wait for it, or choose another --name$"),
    ):
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


def watched(monkeypatch) -> list[tuple[str, bytes]]:
    """What happens to the disk from here on: (write, data) and (fsync, b"")."""
    events: list[tuple[str, bytes]] = []
    write, fsync = os.write, os.fsync

    def written(file: int, data: bytes) -> int:
        events.append(("write", bytes(data)))
        return write(file, data)

    def flushed(file: int) -> None:
        fsync(file)
        events.append(("fsync", b""))

    monkeypatch.setattr(os, "write", written)
    monkeypatch.setattr(os, "fsync", flushed)
    return events


def test_an_answer_is_reported_as_kept_only_after_its_bytes_were_flushed(tmp_path, monkeypatch):
    async def go():
        with Journal(tmp_path / "j.jsonl", writable=True) as journal:
            events = watched(monkeypatch)

            async def keep(number: int) -> None:
                await journal.append(record(number))
                events.append(("kept", record(number)["key"].encode()))

            await asyncio.gather(*(keep(number) for number in range(40)))
            return events

    events = asyncio.run(go())
    kept = [place for place, (what, _) in enumerate(events) if what == "kept"]
    assert len(kept) == 40
    for place in kept:
        name = events[place][1]
        written = next(at for at, (what, data) in enumerate(events) if what == "write" and name in data)
        assert ("fsync", b"") in events[written:place]
    assert 0 < events.count(("fsync", b"")) < 40  # those that wait together share one


def test_an_answer_that_is_not_yet_flushed_is_not_there(tmp_path, monkeypatch):
    flush, real = threading.Event(), os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: (flush.wait(10), real(file)))

    async def go():
        with Journal(tmp_path / "j.jsonl", writable=True) as journal:
            task = asyncio.create_task(journal.append(record(1)))
            await asyncio.sleep(0.05)
            assert not task.done()
            assert journal.get(record(1)["key"]) is None
            flush.set()
            await asyncio.wait_for(task, 10)
            assert journal.get(record(1)["key"]) == record(1)

    flush.set()  # for the folder of a new journal
    Journal(tmp_path / "j.jsonl", writable=True).close()
    flush.clear()
    asyncio.run(go())


def test_a_new_journal_is_in_its_folder_before_anything_is_kept(tmp_path, monkeypatch):
    """Or a failing machine could lose the file's name, and with it what was flushed to it."""
    synced: list[int] = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: (synced.append(os.fstat(file).st_ino), real(file)))
    Journal(tmp_path / "new" / "j.jsonl", writable=True).close()
    assert (tmp_path / "new").stat().st_ino in synced


def test_what_still_waits_is_flushed_when_the_journal_is_closed(tmp_path):
    async def go():
        journal = Journal(tmp_path / "j.jsonl", writable=True)
        task = asyncio.create_task(journal.append(record(1)))
        await asyncio.sleep(0)  # handed over, not yet written
        journal.close()
        task.cancel()

    asyncio.run(go())
    with Journal(tmp_path / "j.jsonl") as journal:
        assert [row["stay_id"] for row in journal.records()] == [1]


def answers(path: Path) -> list[tuple[int, str]]:
    with Journal(path) as journal:
        return [(row["stay_id"], row["text"]) for row in journal.records()]


def test_merge_loses_nothing_and_keeps_the_answer_that_was_there_first(tmp_path):
    into, b, c = (tmp_path / f"{name}.jsonl" for name in "abc")
    write(into, record(1, "a"), record(2, "a"))
    write(b, record(2, "b"), record(3, "b"))
    write(c, record(3, "c"), record(1, "c"), record(4, "c"))
    sources = b.read_bytes(), c.read_bytes()
    assert merge(into, [b, c]) == 2
    assert answers(into) == [(1, "a"), (2, "a"), (3, "b"), (4, "c")]
    assert merge(into, [c, b]) == 0
    assert answers(into) == [(1, "a"), (2, "a"), (3, "b"), (4, "c")]
    assert (b.read_bytes(), c.read_bytes()) == sources
    with Journal(into) as journal, Journal(b) as other:  # every field, to the last
        assert journal.get(record(3)["key"]) == other.get(record(3)["key"])


def test_merge_begins_a_journal_that_is_not_there(tmp_path):
    write(tmp_path / "a.jsonl", *(record(n) for n in range(100)))
    write(tmp_path / "b.jsonl", *(record(n) for n in range(50, 150)))
    assert merge(tmp_path / "new" / "all.jsonl", [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]) == 150
    assert [stay for stay, _ in answers(tmp_path / "new" / "all.jsonl")] == list(range(150))


def test_merge_passes_over_a_torn_tail_and_leaves_the_file_as_it_is(tmp_path):
    into, torn = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    write(into, record(1), record(2))
    into.write_bytes(into.read_bytes()[:-30])  # its own torn tail is mended
    write(torn, record(3), record(4), record(5))
    torn.write_bytes(torn.read_bytes()[:-20])
    before = torn.read_bytes()
    assert merge(into, [torn]) == 2
    assert [stay for stay, _ in answers(into)] == [1, 3, 4]
    assert torn.read_bytes() == before


def test_merge_stops_at_a_damaged_journal_and_keeps_what_came_before_it(tmp_path):
    into, sound, damaged = (tmp_path / f"{name}.jsonl" for name in "abc")
    write(into, record(1))
    write(sound, record(2))
    write(damaged, record(3), record(4))
    lines = damaged.read_text().splitlines()
    damaged.write_text(f"{lines[0]}\nnonsense\n{lines[1]}\n")
    with pytest.raises(UserError, match=r"c\.jsonl, line 2: not a journal record"):
        merge(into, [sound, damaged])
    assert [stay for stay, _ in answers(into)] == [1, 2]
    with pytest.raises(UserError, match=r"none\.jsonl not found"):
        merge(into, [tmp_path / "none.jsonl"])
    with Journal(into, writable=True), pytest.raises(UserError, match="in use by another run"):
        merge(into, [sound])


def test_what_merge_reports_as_added_was_flushed(tmp_path, monkeypatch):
    write(tmp_path / "a.jsonl", record(1))
    write(tmp_path / "b.jsonl", record(2), record(3))
    events = watched(monkeypatch)
    assert merge(tmp_path / "a.jsonl", [tmp_path / "b.jsonl"]) == 2
    assert [what for what, _ in events][-2:] == ["write", "fsync"]
    assert b"".join(data for what, data in events if what == "write").count(b"\n") == 2


def test_a_line_is_plain_ascii_json_and_what_was_read_comes_back(tmp_path):
    path, texts = tmp_path / "j.jsonl", ["hypoxaemia …", "a", "Übelkeit " * 30]

    async def go():
        with Journal(path, writable=True) as journal:
            for number, text in enumerate(texts):
                await journal.append(record(number, text))
                assert [row["text"] for row in journal.records()] == texts[: number + 1]
                assert len(journal) == number + 1
            await journal.append(record(0, "again"))
            assert journal.get(record(0)["key"]) == record(0, texts[0])

    asyncio.run(go())
    rows = [record(number, text) | versions.JOURNAL.mark for number, text in enumerate(texts)]
    lines = [json.dumps(row, separators=(",", ":")) for row in rows]
    assert path.read_text() == "".join(f"{line}\n" for line in lines)
    assert path.read_bytes().isascii()


def test_of_two_answers_in_one_file_the_first_counts(tmp_path):
    path = tmp_path / "j.jsonl"
    write(path, record(1, "first"), record(2))
    write(tmp_path / "other.jsonl", record(1, "second"))
    path.write_bytes(path.read_bytes() + (tmp_path / "other.jsonl").read_bytes())
    assert answers(path) == [(1, "first"), (2, "Based on …")]


def test_an_answer_that_lacks_only_its_line_end_is_mended_and_what_follows_is_found(tmp_path):
    path = tmp_path / "j.jsonl"
    write(path, record(1), record(2))
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert answers(path) == [(1, "Based on …")]  # a reader cannot know that it is all
    assert path.read_bytes() == whole[:-1]

    async def go():
        with Journal(path, writable=True) as journal:
            assert len(journal) == 2
            await journal.append(record(3, "new"))
            assert journal.get(record(3)["key"]) == record(3, "new")
            assert journal.get(record(2)["key"]) == record(2)

    asyncio.run(go())
    assert path.read_bytes().startswith(whole)
    assert [stay for stay, _ in answers(path)] == [1, 2, 3]


def test_a_journal_of_nothing_but_a_torn_line_is_empty(tmp_path):
    path = tmp_path / "j.jsonl"
    path.write_bytes(b'{"key":"ab')
    with Journal(path) as journal:
        assert len(journal) == 0
    write(path, record(1))
    assert answers(path) == [(1, "Based on …")]


def test_after_an_error_in_the_middle_no_handle_and_no_lock_is_left(tmp_path):
    path = tmp_path / "j.jsonl"
    path.write_text("nonsense\n")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for writable in (False, True):
        with pytest.raises(UserError, match="line 1: not a journal record"):
            Journal(path, writable=writable)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    path.unlink()
    write(path, record(1))
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_who_reads_a_journal_neither_waits_for_its_writer_nor_changes_it(tmp_path):
    path = tmp_path / "j.jsonl"
    with Journal(path, writable=True), Journal(path) as reader:
        assert len(reader) == 0
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.write(reader._file.handle, b"x")
    with pytest.raises(UserError, match=r"none\.jsonl not found"):
        Journal(tmp_path / "deep" / "none.jsonl")
    assert not (tmp_path / "deep").exists()


def test_journals_and_their_folders_are_their_owners_alone(tmp_path):
    before = os.umask(0)
    try:
        Journal(tmp_path / "deep" / "new" / "j.jsonl", writable=True).close()
        copied = tmp_path / "copied.jsonl"
        copied.touch(0o644)
        Journal(copied, writable=True).close()
    finally:
        os.umask(before)
    assert (tmp_path / "deep" / "new").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "deep" / "new" / "j.jsonl").stat().st_mode & 0o777 == 0o600
    assert copied.stat().st_mode & 0o777 == 0o600


def test_closing_waits_for_what_is_being_flushed(tmp_path, monkeypatch):
    flushed: list[int] = []
    real = os.fsync

    async def go():
        journal = Journal(tmp_path / "j.jsonl", writable=True)
        monkeypatch.setattr(os, "fsync", lambda file: (time.sleep(0.3), real(file), flushed.append(file)))
        task = asyncio.create_task(journal.append(record(1)))
        await asyncio.sleep(0.1)
        assert not flushed
        journal.close()
        assert len(flushed) == 1
        task.cancel()

    asyncio.run(go())
    assert [stay for stay, _ in answers(tmp_path / "j.jsonl")] == [1]


@pytest.mark.parametrize("full", [False, True])
def test_who_no_longer_waits_for_an_answer_holds_up_no_other(tmp_path, monkeypatch, full):
    """One of three that share a flush is cancelled; a fourth comes while they are being flushed."""
    begun, go_on, real = threading.Event(), threading.Event(), os.fsync

    def flush(file: int) -> None:
        first = not begun.is_set()
        begun.set()
        go_on.wait(10)
        if first and full:
            raise OSError(28, "No space left on device")
        real(file)

    async def go() -> list[object]:
        with Journal(tmp_path / "j.jsonl", writable=True) as journal:
            monkeypatch.setattr(os, "fsync", flush)
            tasks = [asyncio.create_task(journal.append(record(number))) for number in range(3)]
            while not begun.is_set():
                await asyncio.sleep(0.01)
            tasks.append(asyncio.create_task(journal.append(record(3))))
            tasks[0].cancel()
            await asyncio.sleep(0.01)
            go_on.set()
            return await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)

    told = asyncio.run(go())
    assert [type(one) for one in told] == [
        asyncio.CancelledError, *([OSError] * 2 if full else [type(None)] * 2), type(None),
    ]  # fmt: skip
    assert [stay for stay, _ in answers(tmp_path / "j.jsonl")] == ([3] if full else [0, 1, 2, 3])


WRONG = {
    "a key that is too short": {"key": "ab" * 31},
    "a key that is not hexadecimal": {"key": "xy" * 32},
    "a key that is a number": {"key": 7},
    "a stay in words": {"stay_id": "7"},
    "no kind": {"kind": None},
    "no model": {"model": None},
    "a text that is a list": {"text": ["a"]},
    "no reason": {"finish_reason": None},
    "usage without names": {"usage": [1]},
    "usage in words": {"usage": {"prompt_tokens": 1, "completion_tokens": "2"}},
    "served by a number": {"served_by": 7},
    "log-probabilities that are no list": {"logprobs": {"a": -1.0}},
    "a step that is no list": {"logprobs": [["a", -1.0, []], "a"]},
    "a step that is a string of three": {"logprobs": ["abc"]},
    "a step without alternatives": {"logprobs": [["a", -1.0]]},
    "a step of four": {"logprobs": [["a", -1.0, [], []]]},
    "a step whose token is a number": {"logprobs": [[1, -1.0, []]]},
    "a step whose log-probability is text": {"logprobs": [["a", "-1.0", []]]},
    "a step whose alternatives are no list": {"logprobs": [["a", -1.0, {}]]},
}


@pytest.mark.parametrize("change", WRONG.values(), ids=WRONG.keys())
def test_a_record_with_a_field_of_another_type_is_no_record(tmp_path, change):
    path = tmp_path / "j.jsonl"
    path.write_text(json.dumps(record(1)) + "\n" + json.dumps(record(2) | change) + "\n")
    with pytest.raises(UserError, match=r"j\.jsonl, line 2: not a journal record; remove that line"):
        Journal(path)


def test_a_record_without_one_of_its_fields_is_no_record(tmp_path):
    path = tmp_path / "j.jsonl"
    for name in record(1):
        path.write_text(json.dumps({field: value for field, value in record(1).items() if field != name}) + "\n")
        with pytest.raises(UserError, match="line 1: not a journal record"):
            Journal(path)
    for line in ("[]", "7", "null", "[" * 100_000):
        path.write_text(line + "\n")
        with pytest.raises(UserError, match="line 1: not a journal record"):
            Journal(path)


def test_records_with_all_that_a_server_may_tell_are_read(tmp_path):
    steps = [["a", -1.5, []], ["b", -1, [["c", -2.0]]]]
    more = [{"served_by": "m-2024", "attempt": 1, "seed": 3, "logprobs": steps}, {"logprobs": None}, {"usage": {}}]
    rows = [record(number) | added for number, added in enumerate(more)]
    write(tmp_path / "j.jsonl", *rows)
    with Journal(tmp_path / "j.jsonl") as journal:
        assert list(journal.records()) == rows


def test_a_record_of_a_newer_clinragen_is_named_as_that(tmp_path):
    path = tmp_path / "j.jsonl"
    path.write_text(json.dumps(record(1) | {"journal_version": 99}) + "\n")
    with pytest.raises(UserError, match=r"j\.jsonl: a teacher's journal of version 99"):
        Journal(path)


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
