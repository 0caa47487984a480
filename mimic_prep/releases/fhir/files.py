"""The files of a FHIR export: NDJSON and JSON, plain or gzip, of any name; what is in them decides.

A file is NDJSON if its first line is a whole resource. Any other JSON file is one document: a Bundle, a list, or a
resource, over several lines.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from msgspec import MsgspecError, json

from clinragen.errors import UserError

SUFFIXES = (".ndjson", ".jsonl", ".json", ".ndjson.gz", ".jsonl.gz", ".json.gz")
LONGEST_LINE = 64 << 20  # bytes: a note of the longest kind in base64 has a fiftieth
LARGEST_DOCUMENT = 1 << 30  # bytes
_DEPTH = 4
_CHUNK = 1 << 18  # bytes: what a block gives stays in the processor's cache until it is used
_TOLD = 1 << 24  # bytes between reports of progress
_NEWLINE = ord("\n")


class Block(NamedTuple):
    """Whole lines of a file.

    Attributes:
        first: number of the first line.
        content: the lines, the last one without its end.
        breaks: where the other lines end.
    """

    first: int
    content: bytes
    breaks: np.ndarray

    @property
    def lines(self) -> list[bytes]:
        """Each line without its end."""
        return self.content.split(b"\n")


def export_files(root: Path) -> list[Path]:
    """All files of an export up to four folders deep, sorted; hidden ones and manifests without resources are left out.

    Raises:
        UserError: a link to nothing, or a format that is not read.
    """
    files = []
    for depth in range(_DEPTH):
        for path in sorted(root.glob("*/" * depth + "*")):
            name = path.name.lower()
            if path.name.startswith((".", "_")) or any(part.startswith(".") for part in path.relative_to(root).parts):
                continue
            if name.endswith(SUFFIXES):
                if not path.exists():
                    raise UserError(f"{path} is a link to nothing: put the file in its place")
                if path.is_file():
                    files.append(path)
            elif name.endswith((".ndjson.zip", ".ndjson.bz2", ".ndjson.zst", ".ndjson.xz", ".json.zip", ".fhir.xml")):
                raise UserError(f"{path} is in a form that is not read: unpack or export it as .ndjson or .ndjson.gz")
    return sorted(files)


def open_export(path: Path) -> IO[bytes]:
    """The bytes of a file, unpacked."""
    with open(path, "rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    if not packed:
        return open(path, "rb")
    try:
        from isal import igzip
    except ImportError:
        return gzip.open(path, "rb")  # type: ignore[return-value]
    return igzip.open(path, "rb")  # type: ignore[return-value]


def is_export(path: Path) -> bool:
    """Whether the first line of a file names a type of resource."""
    try:
        with open_export(path) as file:
            return b'"resourceType"' in file.read(1 << 16)
    except (OSError, EOFError, zlib.error):
        return False


def is_lines(path: Path) -> bool:
    """Whether a file is NDJSON: its first line that is not blank is a whole object, and not a bundle of all."""
    with open_export(path) as file:
        for line in _lines(file, path):
            if line.strip():
                try:
                    first = json.decode(_plain(line))
                except (MsgspecError, UnicodeDecodeError):
                    return (
                        not line.lstrip(b"\xef\xbb\xbf \t").startswith((b"{\n", b"{\r", b"[")) and line.strip() != b"{"
                    )
                kind = first.get("resourceType") if isinstance(first, dict) else None
                return kind not in ("Bundle", None) or any(other.strip() for other in _lines(file, path))
    return True


def blocks(path: Path, shown: str, progress: Callable[[int], None]) -> Iterator[Block]:
    """The lines of an NDJSON file, some at a time.

    Raises:
        UserError: the file is damaged, or a line is too long.
    """
    first, untold = 1, 0
    unfinished = b""
    with open_export(path) as file:
        while chunk := _read(file, max(_CHUNK, len(unfinished)), shown):
            untold += len(chunk)
            if untold >= _TOLD:
                progress(untold)
                untold = 0
            chunk = unfinished + chunk
            end = chunk.rfind(b"\n")
            if end < 0:
                unfinished = chunk
                if len(unfinished) > LONGEST_LINE:
                    raise UserError(f"{shown}: line {first} is longer than {LONGEST_LINE >> 20} MiB: export it again")
                continue
            unfinished = chunk[end + 1 :]
            yield (block := _block(first, chunk[:end]))
            first += len(block.breaks) + 1
    progress(untold)
    if unfinished:
        yield _block(first, unfinished)


def _block(first: int, content: bytes) -> Block:
    return Block(first, content, np.flatnonzero(np.frombuffer(content, np.uint8) == _NEWLINE))


def document(path: Path, shown: str) -> Any:
    """The content of a JSON file.

    Raises:
        UserError: it is too large, damaged, or no JSON.
    """
    with open_export(path) as file:
        content = _read(file, LARGEST_DOCUMENT + 1, shown)
    if len(content) > LARGEST_DOCUMENT:
        raise UserError(f"{shown} is one JSON document of more than {LARGEST_DOCUMENT >> 30} GiB: export it as NDJSON")
    try:
        return json.decode(_plain(content))
    except (MsgspecError, UnicodeDecodeError, RecursionError):
        raise UserError(f"{shown} is no JSON: it was cut off or changed; export it again") from None


def _plain(line: bytes) -> bytes:
    return line.removeprefix(b"\xef\xbb\xbf").strip()


def _lines(file: IO[bytes], path: Path) -> Iterator[bytes]:
    try:
        while line := file.readline(LONGEST_LINE):
            yield line
    except (OSError, EOFError, zlib.error):
        raise UserError(f"{path} is damaged: download or export it again") from None


def _read(file: IO[bytes], size: int, shown: str) -> bytes:
    try:
        return file.read(size)
    except (OSError, EOFError, zlib.error):
        raise UserError(f"{shown} is damaged or cut off: download or export it again") from None
