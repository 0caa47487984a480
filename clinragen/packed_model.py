"""An exported model as one file, to be shared: a zip archive without compression, and how it is opened.

The first member, ``archive.json``, records name, size and SHA-256 of every other member. Nothing is compressed, so an
archive holds no more bytes than it has, whatever it claims. It is unpacked into a folder of this process alone, which
goes with the process; whoever reads a model asks :func:`model_folder` and need not know which of the two it was given.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory, gettempdir
from typing import IO, Any

from clinragen import versions
from clinragen.artifacts import PRIVATE_FILE, atomic_path
from clinragen.errors import UserError
from clinragen.integrity import FileRecord, record
from clinragen.outputs import EXPORT, check_output, check_output_file

type Inputs = tuple[Path | None, ...]

SUFFIX = ".zip"
_INDEX = "archive.json"
_KIND = "packed model"
_BEGINS = b"PK\x03\x04"
_CHUNK = 1 << 20
_LARGEST_INDEX = 4 << 20  # bytes; an entry has about 150
_AGAIN = "copy it anew, or write it anew with `clinragen export`"


def check_export(out: Path, *, overwrite: bool, inputs: Inputs) -> None:
    """Check whether an exported model may be written, as a folder or as an archive, which the name says.

    Raises:
        UserError: it may not, with the reason.
    """
    if out.suffix == SUFFIX:
        check_archive(out, overwrite=overwrite, inputs=inputs)
    else:
        check_output(out, EXPORT, overwrite=overwrite, inputs=inputs)


def check_archive(out: Path, *, overwrite: bool, inputs: Inputs) -> None:
    """Check whether an archive may be written: nothing but another archive of a model is replaced.

    Raises:
        UserError: it may not, with the reason.
    """
    check_output_file(out, (_BEGINS,), overwrite=overwrite, inputs=inputs)
    if out.exists():
        try:
            with _opened(out):
                pass
        except UserError:
            raise UserError(f"--out {out} is no file that this command wrote, so it is left alone") from None


def pack(folder: Path, out: Path) -> None:
    """Write the files below a folder as one archive, the same bytes for the same files."""
    files = record(folder)
    index = {"kind": _KIND, **versions.ARCHIVE.mark, "files": files}
    with atomic_path(out) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(_member(_INDEX), json.dumps(index, indent=1))
        for name in files:
            with open(folder / name, "rb") as source, archive.open(_member(name), "w", force_zip64=True) as member:
                shutil.copyfileobj(source, member, _CHUNK)


def model_folder(run: Path) -> Path:
    """The folder of a run or of an exported model: the path itself, or where its archive is unpacked.

    Raises:
        UserError: a file that is no archive of a model, or a damaged one, or one of another version.
    """
    if not run.is_file():
        return run
    status = run.stat()
    return Path(_unpacked(run.resolve(), run, status.st_ino, status.st_size, status.st_mtime_ns).name)


def weights_folder(run: Path) -> Path:
    """The folder of the weights: below that of a run, and that of an exported model itself.

    Raises:
        UserError: as :func:`model_folder`.
    """
    folder = model_folder(run)
    return folder / "model" if (folder / "model").is_dir() else folder


@lru_cache(maxsize=8)
def _unpacked(archive: Path, shown: Path, *_: int) -> TemporaryDirectory[str]:  # the numbers: states of the file
    """Unpack an archive, everything checked before a file of it is opened by anything else."""
    with _opened(archive, shown) as (opened, files):
        needed = sum(entry["bytes"] for entry in files.values())
        if shutil.disk_usage(gettempdir()).free < needed:
            raise UserError(
                f"{shown}: unpacking it takes {needed >> 20} MiB in {gettempdir()}: free them, or set TMPDIR"
            )
        folder = TemporaryDirectory(prefix="clinragen-model-")
        try:
            for name, entry in files.items():
                path = Path(folder.name, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                with opened.open(name) as source, open(path, "xb") as target:
                    path.chmod(PRIVATE_FILE)
                    if _copy(source, target) != (entry["sha256"], entry["bytes"]):
                        raise UserError(f"{shown} is damaged ({name} is not what its index records): {_AGAIN}")
        except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError):
            folder.cleanup()
            raise UserError(f"{shown} is damaged: {_AGAIN}") from None
        except BaseException:
            folder.cleanup()
            raise
    return folder


def _copy(source: IO[bytes], target: IO[bytes]) -> tuple[str, int]:
    """Copy a member; returns its hash and number of bytes."""
    digest, size = hashlib.sha256(), 0
    while chunk := source.read(_CHUNK):
        target.write(chunk)
        digest.update(chunk)
        size += len(chunk)
    return digest.hexdigest(), size


@contextmanager
def _opened(path: Path, shown: Path | None = None) -> Iterator[tuple[zipfile.ZipFile, dict[str, FileRecord]]]:
    """An archive whose directory is what its index says, and the index; no other member was read yet."""
    shown = shown or path
    foreign = UserError(
        f"{shown} is no model: expected a run folder, or a file written by `clinragen export --out NAME{SUFFIX}`"
    )
    with open(path, "rb") as file:
        if file.read(len(_BEGINS)) != _BEGINS:
            raise foreign
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if not members or members[0].filename != _INDEX or members[0].file_size > _LARGEST_INDEX:
                raise foreign
            index = json.loads(archive.read(members[0]))
            if not isinstance(index, dict) or index.get("kind") != _KIND:
                raise foreign
            versions.ARCHIVE.check(index, shown)
            yield archive, _checked(index.get("files"), members[1:], path, shown)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError, RecursionError):
        raise UserError(f"{shown} is damaged: {_AGAIN}") from None


def _checked(files: Any, members: list[zipfile.ZipInfo], path: Path, shown: Path) -> dict[str, FileRecord]:
    """The records of the index, if the members are these files, below one folder and no more bytes than the archive."""
    damaged = UserError(f"{shown} is damaged (its index and its contents differ): {_AGAIN}")
    if not isinstance(files, dict) or [member.filename for member in members] != list(files):
        raise damaged
    for member, entry in zip(members, files.values(), strict=True):
        if not isinstance(entry, dict) or not isinstance(entry.get("sha256"), str):
            raise damaged
        if entry.get("bytes") != member.file_size:
            raise damaged
        if not _is_below(member.filename):
            raise UserError(f"{shown} holds '{member.filename}', which is no file below a folder: do not use it")
    if sum(member.file_size for member in members) > path.stat().st_size:
        raise damaged  # compressed, or members that lie upon each other
    return files


def _is_below(name: str) -> bool:
    """Whether a member's name stays below the folder that it is unpacked into, on any system."""
    parts = PurePosixPath(name).parts
    return bool(parts) and name == "/".join(parts) and not {"..", "/"} & {*parts} and not {"\\", ":", "\0"} & {*name}


def _member(name: str) -> zipfile.ZipInfo:
    """A member with a fixed date: the archive of the same model is the same file."""
    member = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    member.external_attr = PRIVATE_FILE << 16
    return member
