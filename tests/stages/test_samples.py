"""The journal of samples: what is in it is not drawn again, whatever killed the run that wrote it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from clinragen.errors import UserError
from clinragen.stages.samples import Sample, SampleJournal


def sample(stay, number, origin="a", text="Lab test shows high lactate of about 4.2."):
    return Sample(origin, stay, number, ["shock"], "", text)


def test_samples_are_found_again_by_stay_and_origin(tmp_path):
    path = tmp_path / "samples.jsonl"
    with SampleJournal(path, "a") as journal:
        journal.append([sample(7, 0), sample(7, 1), sample(8, 0)])
    with SampleJournal(path, "b") as journal:
        assert journal.of_stay(7, 1) is None  # another parent's
        journal.append([sample(7, 0, "b", "other")])
    with SampleJournal(path, "a") as journal:
        assert journal.of_stay(7, 2) == [sample(7, 0), sample(7, 1)]
        assert journal.of_stay(8, 2) is None
        journal.append([sample(7, 1, text="drawn anew"), sample(8, 1)])  # the first stays
        assert journal.of_stay(7, 2) == [sample(7, 0), sample(7, 1)]
    assert len(path.read_text().splitlines()) == 5
    assert all(json.loads(line)["samples_version"] == 1 for line in path.read_text().splitlines())
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("cut", [1, 20, 60])
def test_a_line_that_a_killed_run_did_not_finish_is_dropped(tmp_path, cut):
    path = tmp_path / "samples.jsonl"
    with SampleJournal(path, "a") as journal:
        journal.append([sample(7, 0), sample(7, 1)])
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    with SampleJournal(path, "a") as journal:
        assert journal.of_stay(7, 1) == [sample(7, 0)]
        assert journal.of_stay(7, 2) is None
        journal.append([sample(7, 1)])
    assert path.read_bytes() == whole


def test_a_damaged_line_and_a_newer_one_are_told(tmp_path):
    path = tmp_path / "samples.jsonl"
    with SampleJournal(path, "a") as journal:
        journal.append([sample(7, 0)])
    whole = path.read_text()
    path.write_text(whole + '{"stay_id": 7}\n')
    with pytest.raises(UserError, match="line 2: not a sample"):
        SampleJournal(path, "a")
    path.write_text(whole.replace('"samples_version":1', '"samples_version":2'))
    with pytest.raises(UserError, match="version 2"):
        SampleJournal(path, "a")


def test_two_runs_do_not_write_one_journal(tmp_path):
    with SampleJournal(tmp_path / "samples.jsonl", "a"), pytest.raises(UserError, match="in use by another run"):
        SampleJournal(tmp_path / "samples.jsonl", "a")


def test_samples_are_on_the_disk_before_the_next_are_drawn(tmp_path, monkeypatch):
    path, flushed = tmp_path / "samples.jsonl", []
    with SampleJournal(path, "a") as journal:
        monkeypatch.setattr(os, "fsync", lambda handle: flushed.append(path.stat().st_size))
        journal.append([sample(7, 0)])
        journal.append([sample(7, 1)])
    assert len(flushed) == 2
    assert flushed[-1] == path.stat().st_size


def test_a_new_journal_is_in_its_folder_before_anything_is_drawn(tmp_path, monkeypatch):
    flushed = []
    monkeypatch.setattr(os, "fsync", lambda handle: flushed.append(os.fstat(handle).st_ino))
    for _ in range(2):  # the second finds the file there
        SampleJournal(tmp_path / "new" / "samples.jsonl", "a").__exit__(None, None, None)
    assert flushed == [(tmp_path / "new").stat().st_ino]


@pytest.mark.parametrize(
    "wrong", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=["full", "stopped"]
)
def test_an_error_in_the_middle_of_a_batch_leaves_whole_lines_only(tmp_path, monkeypatch, wrong):
    path, real, left = tmp_path / "samples.jsonl", os.write, iter([300, 40])

    def write(handle, data):
        if (most := next(left, None)) is None:
            raise wrong
        return real(handle, data[:most])

    with SampleJournal(path, "a") as journal:
        journal.append([sample(7, 0)])
        before = path.read_bytes()
        monkeypatch.setattr(os, "write", write)
        with pytest.raises(type(wrong)):
            journal.append([sample(7, 1), sample(8, 0), sample(8, 1)])
        monkeypatch.undo()
        assert path.read_bytes() == before
        assert journal.of_stay(8, 1) is None
        journal.append([sample(8, 0)])
    with SampleJournal(path, "a") as journal:
        assert journal.of_stay(7, 1) == [sample(7, 0)]
        assert journal.of_stay(8, 1) == [sample(8, 0)]
        assert journal.of_stay(7, 2) is None


def test_a_journal_and_its_folder_are_their_owners_alone_also_where_they_were_copied(tmp_path):
    before = os.umask(0)
    try:
        with SampleJournal(tmp_path / "new" / "samples.jsonl", "a") as journal:
            journal.append([sample(7, 0)])
        copied = tmp_path / "copied.jsonl"
        copied.write_bytes((tmp_path / "new" / "samples.jsonl").read_bytes())
        with SampleJournal(copied, "a") as journal:
            assert journal.of_stay(7, 1) == [sample(7, 0)]
    finally:
        os.umask(before)
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
    assert copied.stat().st_mode & 0o777 == 0o600


def test_after_an_error_no_handle_and_no_lock_is_left(tmp_path):
    path = tmp_path / "samples.jsonl"
    path.write_text("nonsense\n")
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(UserError, match="line 1: not a sample"):
        SampleJournal(path, "a")
    with SampleJournal(tmp_path / "other.jsonl", "a"), pytest.raises(UserError, match="in use"):
        SampleJournal(tmp_path / "other.jsonl", "a")
    assert len(list(Path("/proc/self/fd").iterdir())) == before
