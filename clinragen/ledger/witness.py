"""A witness: it checks that a log continues what it saw before, remembers it, and cosigns."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from clinragen.artifacts import PRIVATE_FOLDER, atomic_folder, read_json, write_json, write_text
from clinragen.errors import UserError
from clinragen.ledger.checkpoints import Checkpoint
from clinragen.ledger.folder import UnsoundError
from clinragen.ledger.log import Log
from clinragen.signing import Note, PrivateKey, PublicKey

_KEY, _PUBLIC, _SEEN = "witness.key", "witness.json", "seen"


@dataclass(frozen=True)
class Witness:
    """Who cosigns logs: a site, or somebody who is no member.

    Attributes:
        root: folder in which it keeps what it saw.
        key: signs.
    """

    root: Path
    key: PrivateKey

    @classmethod
    def create(cls, root: Path, name: str) -> Witness:
        """Make the folder of a witness that is no site: its key, and ``witness.json`` for the operators of logs.

        Raises:
            UserError: the folder exists, or the name cannot stand in a key.
        """
        key = PrivateKey.generate(name)
        with atomic_folder(root.absolute()) as folder:
            key.write(folder / _KEY)
            write_json(folder / _PUBLIC, {"key": str(key.public)})
        return cls(root, key)

    @classmethod
    def open(cls, root: Path) -> Witness:
        """Open a folder that ``create`` made.

        Raises:
            UserError: it is none.
        """
        if not (root / _KEY).is_file():
            raise UserError(f"{root} is no folder of a witness: make one with `clinragen ledger witness`")
        return cls(root, PrivateKey.read(root / _KEY))

    def memory(self, log: Log) -> Path:
        """The file in which it keeps the checkpoint of a log that it cosigned last."""
        seen = self.root / _SEEN
        seen.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
        return seen / f"{file_name(log)}.note"


def read_witness(path: Path) -> PublicKey:
    """The key of a witness, from its ``witness.json``.

    Raises:
        UserError: missing or malformed.
    """
    key = read_json(path, "a witness.json that `clinragen ledger witness` wrote").get("key")
    if not isinstance(key, str):
        raise UserError(f"{path}: expected the key of a witness, from `clinragen ledger witness`")
    try:
        return PublicKey.parse(key)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def file_name(log: Log) -> str:
    """The name of a log, as names of files have it."""
    return log.trust.origin.replace("/", "-")


def read_note(path: Path) -> Note:
    """Read a checkpoint from a file.

    Raises:
        UserError: missing, or no signed note.
    """
    try:
        return Note.parse(path.read_bytes().decode())
    except FileNotFoundError:
        raise UserError(f"{path} not found: expected a signed checkpoint") from None
    except (OSError, UnicodeDecodeError):
        raise UserError(f"{path} cannot be read as text: expected a signed checkpoint") from None
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def continues(log: Log, seen: Checkpoint, sound: int = 0, seen_in: str = "remembered") -> None:
    """Check that a log continues a state that somebody saw and its key signed.

    Args:
        log: as it is today.
        seen: the state.
        sound: size up to which the log is what it was, as a smaller checkpoint showed.
        seen_in: what the error calls the checkpoint.

    Raises:
        UnsoundError: it was cut off or rewritten.
    """
    size = len(log.tree)
    if seen.size > size:
        raise UnsoundError(
            log.path, size, f"it is missing: a {seen_in} checkpoint has {seen.size} entries, the log {size}"
        )
    if log.tree.root(seen.size) != seen.root:
        why = f"the log is not the one of a {seen_in} checkpoint of {seen.size} entries: it was rewritten (a fork)"
        raise UnsoundError(log.path, sound, why, seen.size - 1)


def cosign(log: Log, key: PrivateKey, memory: Path, now: int | None = None) -> Note:
    """Cosign the newest checkpoint of a log as its witness, which never signs two states that contradict each other.

    Args:
        log: read anew, so that it was checked.
        key: of the witness.
        memory: file in which the witness keeps the last checkpoint that it signed; it is written before the signature
            leaves.
        now: seconds since 1970; of the clock by default.

    Returns:
        the checkpoint with the cosignature, for ``attach``.

    Raises:
        UserError: the key is none of the log's witnesses.
        UnsoundError: the log does not continue what the witness saw.
    """
    if key.public.witness not in log.trust.witness_keys:
        raise UserError(f"{key.name} is no witness of {log.trust.origin}")
    if memory.exists():
        continues(log, log.trust.signed(read_note(memory)), seen_in="cosigned")
    note = log.checkpoints[len(log.tree)].cosigned(key, int(time.time()) if now is None else now)
    write_text(memory, str(note))
    return note


def attach(log: Log, note: Note) -> int:
    """Put cosignatures of a checkpoint into the log's folder, beside those that are there.

    Args:
        log: whose checkpoint it is.
        note: from ``cosign``.

    Returns:
        how many witnesses have cosigned it now.

    Raises:
        UserError: a signature is wrong, or it is the checkpoint of no batch of the log.
    """
    checkpoint = log.trust.signed(note)
    with log.folder.locked():
        there = log.checkpoints.get(checkpoint.size)
        if there is None or there.text != note.text:
            raise UserError(f"{log.path} has no such checkpoint of {checkpoint.size} entries: refresh it, or it forked")
        if text := log.folder.note(checkpoint.size):
            there = Note.parse(text)
        names = {(signature.name, signature.key_id) for signature in note.signatures}
        others = tuple(line for line in there.signatures if (line.name, line.key_id) not in names)
        merged = Note(note.text, (*others, *note.signatures))
        log.trust.signed(merged)
        log.folder.write_note(checkpoint.size, merged)
    return len(log.trust.cosigners(merged))
