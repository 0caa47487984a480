"""What a witness does: check that a log continues what it saw before, remember it, and cosign."""

from __future__ import annotations

import time
from pathlib import Path

from clinragen.artifacts import write_text
from clinragen.errors import UserError
from clinragen.ledger.checkpoints import Checkpoint
from clinragen.ledger.folder import UnsoundError
from clinragen.ledger.log import Log
from clinragen.signing import Note, PrivateKey


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
