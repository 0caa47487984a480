"""Atomic writes, locks of live writers, and checked reads."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from clinragen import artifacts
from clinragen.artifacts import (
    atomic_folder,
    atomic_path,
    not_finite,
    read_json,
    read_table,
    remove,
    room_in,
    sha256_file,
    sha256_json,
    sweep,
    write_json,
    write_table,
    write_text,
)
from clinragen.errors import UserError


@pytest.fixture
def calls(monkeypatch) -> list[tuple[str, Any]]:
    """What reaches the disk, in order: ``fsync`` with the path and its content, ``rename`` with both names."""
    calls: list[tuple[str, Any]] = []
    rename, fsync = Path.replace, os.fsync

    def recorded_fsync(handle: int) -> None:
        path = Path(f"/proc/self/fd/{handle}").readlink()
        content = path.read_text() if path.is_file() else sorted(inner.name for inner in path.iterdir())
        calls.append(("fsync", (path.name, content)))
        fsync(handle)

    def recorded_rename(self: Path, target: Path) -> Path:
        calls.append(("rename", (self.name, Path(target).name)))
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(Path, "replace", recorded_rename)
    return calls


def test_a_file_is_on_the_disk_before_it_has_its_name_and_the_name_before_it_is_reported(calls, tmp_path):
    write_text(tmp_path / "note.txt", "sepsis")
    (flushed, (temporary, content)), renamed, (then, (folder, names)) = calls
    assert (flushed, content) == ("fsync", "sepsis")
    assert renamed == ("rename", (temporary, "note.txt"))
    assert (then, folder, names) == ("fsync", tmp_path.name, ["note.txt"])


def test_a_file_that_was_not_finished_is_neither_flushed_nor_named(calls, tmp_path):
    def work() -> None:
        with atomic_path(tmp_path / "note.txt") as temporary:
            temporary.write_text("sep")
            raise KeyError

    with pytest.raises(KeyError):
        work()
    assert calls == []
    assert list(tmp_path.iterdir()) == []


def test_all_of_a_folder_is_on_the_disk_before_it_has_its_name(calls, tmp_path):
    with atomic_folder(tmp_path / "out") as folder:
        (folder / "deep" / "deeper").mkdir(parents=True)
        (folder / "a.txt").write_text("one")
        (folder / "deep" / "deeper" / "b.txt").write_text("two")
    at = [kind for kind, _ in calls].index("rename")
    before = [told for _, told in calls[:at]]
    assert ("a.txt", "one") in before
    assert ("b.txt", "two") in before
    assert ("deep", ["deeper"]) in before
    assert ("deeper", ["b.txt"]) in before
    temporary = calls[at][1][0]
    assert before[-1] == (temporary, ["a.txt", "deep"])
    assert calls[at:] == [("rename", (temporary, "out")), ("fsync", (tmp_path.name, ["out"]))]


def test_a_folder_that_is_replaced_goes_only_after_the_new_name_is_on_the_disk(calls, tmp_path):
    with atomic_folder(tmp_path / "out") as folder:
        (folder / "a.txt").write_text("old")
    calls.clear()
    with atomic_folder(tmp_path / "out", replace=True) as folder:
        (folder / "a.txt").write_text("new")
    away, back, flushed = calls[-3:]
    assert away == ("rename", ("out", away[1][1]))
    assert away[1][1].endswith(".old")
    assert back == ("rename", (away[1][1].removesuffix("old") + "tmp", "out"))
    assert flushed == ("fsync", (tmp_path.name, sorted([away[1][1], "out"])))
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out" / "a.txt").read_text() == "new"


def test_a_folder_that_stands_is_replaced_only_when_asked_to(tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match=r"out already exists: .*--overwrite"), atomic_folder(tmp_path / "out"):
        pytest.fail("the work began")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_folders_on_the_way_are_made(tmp_path):
    write_text(tmp_path / "a" / "b" / "c.txt", "x")
    with atomic_folder(tmp_path / "d" / "e" / "f") as folder:
        (folder / "x").write_text("")
    assert (tmp_path / "a" / "b" / "c.txt").read_text() == "x"
    assert (tmp_path / "d" / "e" / "f" / "x").exists()


def test_files_and_folders_are_their_owners_while_they_are_written_too(tmp_path):
    before = os.umask(0)
    try:
        with atomic_folder(tmp_path / "out") as folder, atomic_path(tmp_path / "file") as file:
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
            assert (folder.parent, file.parent) == (tmp_path, tmp_path)
            assert folder.name.startswith(".out.")
    finally:
        os.umask(before)


def held(path: Path) -> bool:
    handle = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def test_a_writer_holds_a_lock_as_long_as_it_writes(tmp_path):
    with atomic_path(tmp_path / "a") as file, atomic_folder(tmp_path / "b") as folder:
        assert held(file)
        assert held(folder)
        write_text(tmp_path / "a", "another writer")
        assert file.exists()
        assert folder.exists()
    assert not held(tmp_path / "a")
    assert not held(tmp_path / "b")


def test_where_nothing_can_be_locked_it_is_written_all_the_same_and_nothing_swept(tmp_path, monkeypatch):
    def no_locks(handle: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    left = tmp_path / f".a.{'0' * 32}.tmp"
    left.write_text("another's")
    write_text(tmp_path / "a", "x")
    assert (tmp_path / "a").read_text() == "x"
    assert left.exists()


def test_no_handle_is_left_open(tmp_path):
    before = len(list(Path("/proc/self/fd").iterdir()))
    left = tmp_path / f".a.{'0' * 32}.tmp"
    left.mkdir()
    write_text(tmp_path / "a", "x")
    with atomic_folder(tmp_path / "b") as folder:
        (folder / "c").write_text("")
    assert not left.exists()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_remove_takes_files_folders_and_links_but_not_what_a_link_names(tmp_path):
    (tmp_path / "folder" / "deep").mkdir(parents=True)
    (tmp_path / "kept").mkdir()
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    for name in ("folder", "file", "link", "nothing"):
        remove(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_sweep_puts_back_the_old_only_where_nothing_new_stands(tmp_path):
    sweep(tmp_path / "no" / "such")
    (tmp_path / "out").write_text("new")
    (tmp_path / f".out.{'a' * 32}.old").write_text("old")
    sweep(tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out").read_text() == "new"
    (tmp_path / f".file.{'1' * 32}.old").write_text("first")
    (tmp_path / f".file.{'2' * 32}.tmp").write_text("half")
    sweep(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "first"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "out"]


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO])
def test_a_folder_that_cannot_take_its_place_for_another_reason_says_so(number, tmp_path, monkeypatch):
    def refuse(self: Path, target: Path) -> None:
        raise OSError(number, os.strerror(number))

    def work() -> None:
        with atomic_folder(tmp_path / "out") as folder:
            (folder / "a").write_text("")
            monkeypatch.setattr(Path, "replace", refuse)

    with pytest.raises(OSError, match=os.strerror(number)):
        work()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_told_in_one_line(number, tmp_path):
    with pytest.raises(UserError) as told, room_in(tmp_path, "the last step"):
        raise OSError(number, os.strerror(number))
    assert str(told.value) == (
        f"{tmp_path} has no room left ({os.strerror(number)}): free some space and run the same command "
        "again; it resumes from the last step"
    )
    with pytest.raises(PermissionError), room_in(tmp_path, "the last step"):
        raise PermissionError(errno.EACCES, "no")


def test_hashes(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256_file(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()
    assert sha256_json({"b": [1, 2], "a": "ü"}) == hashlib.sha256(b'{"a":"\\u00fc","b":[1,2]}').hexdigest()
    assert sha256_json({"a": "ü", "b": [1, 2]}) == sha256_json({"b": [1, 2], "a": "ü"})


def test_json_is_sorted_indented_and_readable(tmp_path):
    write_json(tmp_path / "a.json", {"b": ["ü"], "a": 1})
    assert (tmp_path / "a.json").read_bytes() == '{\n  "a": 1,\n  "b": [\n    "ü"\n  ]\n}\n'.encode()
    assert read_json(tmp_path / "a.json", "a table") == {"a": 1, "b": ["ü"]}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "b.json", {"a": float("nan")})
    assert not (tmp_path / "b.json").exists()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"{", "is not valid JSON"),
        (b"\xff", "is not valid JSON"),
        (b'{"a": 1' + b"0" * 5000 + b"}", "is not valid JSON"),
        (b"[" * 200_000, "nested too deeply"),
        (b"[1]", "holds a list, not a JSON object"),
        (b'{"a": [1, {"b": NaN}]}', r"a\[1\]\.b is not a finite number"),
    ],
    ids=["half", "bytes", "digits", "deep", "list", "nan"],
)
def test_what_is_no_sound_json_object_is_refused(content, says, tmp_path):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(UserError, match=rf"a\.json.*{says}.*expected a table; make it anew"):
        read_json(tmp_path / "a.json", "a table")


def test_what_is_missing_or_a_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"a\.json not found: expected a table"):
        read_json(tmp_path / "a.json", "a table")
    with pytest.raises(UserError, match="is a folder, expected a table"):
        read_json(tmp_path, "a table")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": 1, "b": [1.5, None, "nan"]}, None),
        (float("inf"), "the value"),
        ([1, float("-inf")], "[1]"),
        ({"a": {"b": [0, {"c": float("nan")}]}}, "a.b[1].c"),
        ({"a": [1.0, float("nan")], "b": float("nan")}, "a[1]"),
        ([[float("nan")], float("nan")], "[0][0]"),
        ({7: float("nan")}, "7"),
    ],
)
def test_the_first_number_that_is_not_finite_is_named(value, expected):
    assert not_finite(value) == expected


SCHEMA = pa.schema([("stay", pa.int64()), ("note", pa.string())])
TABLE = pa.table({"stay": [1, 2], "note": ["a", None]}, schema=SCHEMA)


def test_a_table_comes_back_and_its_bytes_are_the_same(tmp_path):
    write_table(tmp_path / "a.parquet", TABLE)
    write_table(tmp_path / "b.parquet", TABLE)
    assert read_table(tmp_path / "a.parquet", SCHEMA).equals(TABLE)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    assert pa.parquet.ParquetFile(tmp_path / "a.parquet").metadata.row_group(0).column(0).compression == "ZSTD"
    assert read_table(tmp_path / "a.parquet", SCHEMA, columns=["note"]).column_names == ["note"]
    assert read_table(tmp_path / "a.parquet").equals(TABLE)


def test_long_text_and_columns_in_another_order_are_the_same_table(tmp_path):
    other = pa.table({"more": [1, 2], "note": pa.array(["a", None], pa.large_string()), "stay": [1, 2]})
    write_table(tmp_path / "a.parquet", other)
    read = read_table(tmp_path / "a.parquet", SCHEMA)
    assert read.column_names == ["more", "note", "stay"]
    assert read.schema.field("note").type == pa.string()
    assert read["note"].to_pylist() == ["a", None]


def test_columns_that_are_missing_or_of_another_type_are_named(tmp_path):
    write_table(tmp_path / "a.parquet", pa.table({"stay": [1, 2]}))
    with pytest.raises(UserError, match=r"a\.parquet: column 'note' \(string\) is missing; it has \['stay'\]"):
        read_table(tmp_path / "a.parquet", SCHEMA)
    write_table(tmp_path / "b.parquet", pa.table({"stay": ["1"], "note": ["a"]}))
    with pytest.raises(UserError, match=r"b\.parquet: column 'stay' is string, expected int64"):
        read_table(tmp_path / "b.parquet", SCHEMA)
    write_table(tmp_path / "c.parquet", pa.table({"stay": pa.array(["1"], pa.large_string()), "note": ["a"]}))
    with pytest.raises(UserError, match=r"column 'stay' is large_string, expected int64"):
        read_table(tmp_path / "c.parquet", SCHEMA)


def test_of_the_columns_asked_for_each_is_checked(tmp_path):
    write_table(tmp_path / "a.parquet", pa.table({"stay": ["1"], "note": [1]}))
    with pytest.raises(UserError, match=r"column 'note' is int64, expected string"):
        read_table(tmp_path / "a.parquet", SCHEMA, columns=["note"])


def test_what_is_no_parquet_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"a\.parquet not found"):
        read_table(tmp_path / "a.parquet")
    (tmp_path / "a.parquet").write_text("stay,note")
    with pytest.raises(UserError, match=r"a\.parquet cannot be read as Parquet \(.*\): make it anew"):
        read_table(tmp_path / "a.parquet")


def test_the_name_of_a_temporary_file_is_its_own(tmp_path):
    assert artifacts._temporary(tmp_path / "a") != artifacts._temporary(tmp_path / "a")
