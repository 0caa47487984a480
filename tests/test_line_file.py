"""A private file of lines: one writer, whole lines, and errors that say what to do."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from clinragen.errors import UserError
from clinragen.line_file import LineFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "lines.jsonl"


def test_lines_are_appended_and_read_by_their_offsets(path):
    file = LineFile(path, writable=True)
    assert (file.path, file.size) == (path, 0)
    assert [file.append(line) for line in (b"one\n", b"three\n")] == [0, 4]
    assert (file.size, file.read(4, 5)) == (10, b"three")
    file.close()
    again = LineFile(path, writable=True)
    assert again.size == 10
    assert again.append(b"five\n") == 10
    again.keep(4)
    assert again.append(b"two\n") == 4
    again.close()
    assert path.read_bytes() == b"one\ntwo\n"
    assert path.stat().st_mode & 0o077 == path.parent.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(("option", "shown"), [({}, "--out"), ({"option": "--name"}, "--name")])
def test_a_second_writer_is_told_which_option_names_another_file(path, option, shown):
    first = LineFile(path, writable=True)
    message = re.escape(f"{path} is in use by another run: wait for it, or choose another {shown}")
    with pytest.raises(UserError, match=f"^{message}$"):
        LineFile(path, writable=True, **option)
    reader = LineFile(path, writable=False)  # whoever only reads may
    reader.close()
    first.close()
    LineFile(path, writable=True).close()


def test_a_file_that_is_only_read_is_neither_made_nor_written(path):
    with pytest.raises(FileNotFoundError):
        LineFile(path, writable=False)
    assert not path.parent.exists()
    LineFile(path, writable=True).close()
    path.chmod(0o644)
    reader = LineFile(path, writable=False)
    with pytest.raises(OSError, match=r"Bad file descriptor|Invalid argument"):
        reader.append(b"line\n")
    reader.close()
    assert path.stat().st_mode & 0o777 == 0o644
    assert path.read_bytes() == b""


def test_what_the_disk_refuses_leaves_nothing_behind(path, monkeypatch):
    file = LineFile(path, writable=True)
    file.append(b"whole\n")
    write = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: write(handle, bytes(data)[:2]))  # a disk that takes two bytes
    file.append(b"in pieces\n")

    def full(handle: int, data: bytes) -> int:
        if len(data) < 4:
            raise OSError(28, "No space left on device")
        return write(handle, bytes(data)[:2])

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space left"):
        file.append(b"never\n")
    file.close()
    assert path.read_bytes() == b"whole\nin pieces\n"
