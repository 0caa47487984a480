"""The files that sites and coordinator exchange: signed statements as notes, and tensors as safetensors beside them.

A statement is the canonical JSON of an object on one line, as a signed note; it names the hash of the tensors' file, so
a pair is whole once the note is there and the hash agrees. The note is written last.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save

from clinragen.artifacts import atomic_path
from clinragen.errors import UserError
from clinragen.federation.update import DTYPES, Tensors
from clinragen.signing import Note, PrivateKey, canonical_json, parse_canonical

NOTE, TENSORS = ".note", ".safetensors"
_LARGEST_NOTE = 1 << 20  # bytes


@dataclass(frozen=True)
class Message:
    """A statement and its tensors as bytes: what is sent, before anyone believes it.

    Attributes:
        note: the signed note.
        tensors: the safetensors file.
    """

    note: bytes
    tensors: bytes

    @property
    def sha256(self) -> str:
        """Hash of the note, which names that of the tensors."""
        return sha256(self.note)


def sha256(content: bytes) -> str:
    """Hex SHA-256."""
    return hashlib.sha256(content).hexdigest()


def tensor_bytes(tensors: Tensors) -> bytes:
    """A safetensors file: the same tensors give the same bytes."""
    return save({name: np.ascontiguousarray(array) for name, array in sorted(tensors.items())})


def read_tensors(content: bytes) -> dict[str, np.ndarray] | None:
    """The tensors of a safetensors file, also of types that are not used here, as raw bytes; None if it is no such."""
    try:
        entries = deserialize(content)
    except (SafetensorError, ValueError):
        return None
    tensors = {}
    for name, entry in entries:
        dtype = DTYPES.get(entry["dtype"], np.dtype(np.uint8))
        array = np.frombuffer(bytes(entry["data"]), dtype)
        tensors[name] = array.reshape(entry["shape"]) if entry["dtype"] in DTYPES else array
    return tensors


def signed(statement: dict[str, Any], tensors: Tensors, key: PrivateKey) -> Message:
    """A statement about tensors, signed; the hash of the tensors is added to it."""
    content = tensor_bytes(tensors)
    text = canonical_json(statement | {"tensors_sha256": sha256(content)}).decode() + "\n"
    return Message(str(Note(text).signed(key)).encode(), content)


def statement_of(note: Note) -> dict[str, Any]:
    """The statement of a note.

    Raises:
        UserError: its text is no canonical JSON on one line.
    """
    return parse_canonical(note.text.removesuffix("\n").encode())


def parse_note(content: bytes) -> Note:
    """Read a note.

    Raises:
        UserError: it is none.
    """
    try:
        return Note.parse(content.decode())
    except UnicodeDecodeError:
        raise UserError("a signed note is UTF-8, and this is not") from None


def write_message(folder: Path, stem: str, message: Message) -> None:
    """Write a pair of files: first the tensors, then the note that makes them count."""
    for suffix, content in ((TENSORS, message.tensors), (NOTE, message.note)):
        path = folder / f"{stem}{suffix}"
        if path.is_file() and path.read_bytes() == content:
            continue
        with atomic_path(path) as temporary:
            temporary.write_bytes(content)


def read_message(note: Path, largest: int) -> Message | None:
    """Read a pair of files; None where the tensors are not there, or either is larger than it may be.

    Args:
        note: the note; the tensors lie beside it.
        largest: bytes of tensors at most.
    """
    tensors = note.with_suffix(TENSORS)
    try:
        if note.stat().st_size > _LARGEST_NOTE or tensors.stat().st_size > largest:
            return None
        return Message(note.read_bytes(), tensors.read_bytes())
    except FileNotFoundError:
        return None
