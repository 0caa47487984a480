"""A model in one file: what was packed is what is read; any other file is refused before anything reads it."""

from __future__ import annotations

import io
import json
import stat
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from clinragen.errors import UserError
from clinragen.packed_model import check_export, model_folder, pack, weights_folder

CONTENTS = {"manifest.json": b"{}", "graph/nodes.parquet": b"n" * 3000, "model.safetensors": bytes(range(256)) * 40}


@pytest.fixture
def folder(tmp_path) -> Path:
    folder = tmp_path / "exported"
    for name, content in CONTENTS.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def archive(folder, tmp_path) -> Path:
    pack(folder, tmp_path / "model.zip")
    return tmp_path / "model.zip"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def members(archive: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(archive) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def write(archive: Path, parts: list[tuple[str, bytes]], method: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(archive, "w", method) as opened:
        for name, content in parts:
            opened.writestr(zipfile.ZipInfo(name), content, method)


def index_of(holds: dict[str, bytes], **changes: object) -> bytes:
    from hashlib import sha256

    records = {name: {"sha256": sha256(content).hexdigest(), "bytes": len(content)} for name, content in holds.items()}
    return json.dumps({"kind": "packed model", "archive_version": 1, "files": records, **changes}).encode()


def test_what_was_packed_is_what_is_read(folder, archive):
    unpacked = model_folder(archive)
    assert contents(unpacked) == CONTENTS
    assert model_folder(archive) == unpacked  # once per process
    assert stat.S_IMODE(unpacked.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in unpacked.rglob("*") if path.is_file()} == {0o600}
    assert weights_folder(archive) == unpacked
    assert model_folder(folder) == folder
    (folder / "model").mkdir()
    assert weights_folder(folder) == folder / "model"


def test_the_same_model_is_the_same_file(folder, archive, tmp_path):
    pack(folder, tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == archive.read_bytes()


def test_a_changed_file_is_read_anew(folder, archive):
    before = model_folder(archive)
    (folder / "manifest.json").write_bytes(b'{"a": 1}')
    pack(folder, archive)
    assert model_folder(archive) != before
    assert contents(model_folder(archive))["manifest.json"] == b'{"a": 1}'


def test_nothing_is_left_when_the_process_ends(archive):
    source = "from pathlib import Path; from clinragen.packed_model import model_folder\n"
    source += f"print(model_folder(Path({str(archive)!r})))"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert done.stdout.strip()
    assert not Path(done.stdout.strip()).exists()


@pytest.mark.parametrize("where", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_cut_off_file_is_refused(archive, where):
    archive.write_bytes(archive.read_bytes()[: int(archive.stat().st_size * where)])
    with pytest.raises(UserError, match=r"model\.zip is (damaged|no model)"):
        model_folder(archive)


def test_no_flipped_byte_goes_unnoticed(archive):
    """Each byte of what is read is under a hash; of the zip's own fields those that matter are checked."""
    whole = archive.read_bytes()
    for position in range(0, len(whole), 37):
        changed = bytearray(whole)
        changed[position] ^= 0x41
        archive.write_bytes(changed)
        try:
            unpacked = model_folder(archive)
        except UserError:
            continue
        assert contents(unpacked) == CONTENTS, position


@pytest.mark.parametrize(
    "name", ["../outside", "/outside", "a/../../outside", "a\\..\\outside", "C:outside", ".", "a//b"]
)
def test_no_member_leaves_the_folder(archive, tmp_path, name):
    write(archive, [("archive.json", index_of({name: b"x"})), (name, b"x")])
    before = {*tmp_path.rglob("*")}
    with pytest.raises(UserError, match=r"no file below a folder|damaged"):
        model_folder(archive)
    assert {*tmp_path.rglob("*")} == before


def test_a_bomb_is_refused_before_it_is_read(archive, monkeypatch):
    content = bytes(50_000_000)
    write(archive, [("archive.json", index_of({"zeros": content})), ("zeros", content)], zipfile.ZIP_DEFLATED)
    assert archive.stat().st_size < 100_000
    with pytest.raises(UserError, match="damaged"):
        model_folder(archive)
    write(archive, [("archive.json", bytes(50_000_000))], zipfile.ZIP_DEFLATED)
    with pytest.raises(UserError, match="is no model"):
        model_folder(archive)


def test_members_that_lie_upon_each_other_are_refused(archive):
    """A directory may point many members at the same bytes."""
    content = b"x" * 10_000
    names = [f"part{number}" for number in range(50)]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        opened.writestr("archive.json", index_of(dict.fromkeys(names, content)))
        opened.writestr(names[0], content)
        first = opened.getinfo(names[0])
        for name in names[1:]:
            copy = zipfile.ZipInfo(name)
            copy.header_offset, copy.CRC = first.header_offset, first.CRC
            copy.file_size = copy.compress_size = len(content)
            opened.filelist.append(copy)
            opened.NameToInfo[name] = copy
        opened._didModify = True  # type: ignore[attr-defined]
    archive.write_bytes(buffer.getvalue())
    with pytest.raises(UserError, match="damaged"):
        model_folder(archive)


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ([("readme.txt", b"a zip of something else")], "is no model"),
        ([("archive.json", b"[]")], "is no model"),
        ([("archive.json", b"{")], "damaged"),
        ([("archive.json", b"[" * 100_000)], "damaged"),
        ([("archive.json", index_of({}, archive_version=2))], "of version 2"),
        ([("archive.json", index_of({}, archive_version="1"))], "archive_version is '1'"),
        ([("archive.json", index_of({"a": b"a"}))], "damaged"),
        ([("archive.json", index_of({})), ("a", b"a")], "damaged"),
        ([("archive.json", index_of({"a": b"a"})), ("a", b"b")], "damaged"),
        ([("archive.json", index_of({"a": b"a"})), ("a", b"aa")], "damaged"),
        ([("archive.json", index_of({}, files={"a": {"sha256": 3, "bytes": 1}})), ("a", b"a")], "damaged"),
        ([("archive.json", index_of({}, files=[1]))], "damaged"),
    ],
)
def test_what_is_no_such_file_is_told(archive, parts, says):
    write(archive, parts)
    with pytest.raises(UserError, match=says) as raised:
        model_folder(archive)
    assert str(archive) in str(raised.value)


def test_a_file_of_another_kind_is_told(tmp_path):
    path = tmp_path / "predictions.jsonl"
    path.write_text("{}")
    with pytest.raises(UserError, match="is no model: expected a run folder, or a file written by `clinragen export"):
        model_folder(path)


def test_only_a_model_is_replaced(archive, folder, tmp_path):
    check_export(archive, overwrite=True, inputs=(folder,))
    with pytest.raises(UserError, match="already exists"):
        check_export(archive, overwrite=False, inputs=(folder,))
    write(archive, [("readme.txt", b"a user's own")])
    with pytest.raises(UserError, match="is left alone"):
        check_export(archive, overwrite=True, inputs=(folder,))
    with pytest.raises(UserError, match="is what the command reads"):
        check_export(archive, overwrite=True, inputs=(archive,))


def test_an_encrypted_member_is_refused(archive):
    whole = bytearray(archive.read_bytes())
    entry = whole.index(b"PK\x01\x02")
    struct.pack_into("<H", whole, entry + 8, 1)
    archive.write_bytes(whole)
    with pytest.raises(UserError, match="damaged"):
        model_folder(archive)
