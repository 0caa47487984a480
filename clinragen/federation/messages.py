"""The message of a round: the model that it starts from, signed by the coordinator, in files that sites fetch."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clinragen.errors import UserError
from clinragen.federation.files import (
    NOTE,
    Message,
    parse_note,
    read_message,
    read_tensors,
    sha256,
    signed,
    statement_of,
)
from clinragen.federation.manifest import Federation
from clinragen.federation.update import Tensors
from clinragen.shape import TEXT, WHOLE, differs
from clinragen.signing import PrivateKey, PublicKey

#: A model larger than this is not read.
LARGEST_MODEL = 64 << 30
MANIFEST = "federation.json"
_NAME = re.compile(r"round-(\d{4})")
_STATEMENT = {"federation": TEXT, "round": WHOLE, "phase": TEXT, "parent": TEXT, "tensors_sha256": TEXT}


@dataclass(frozen=True)
class RoundMessage:
    """The start of a round, or after the last the finished model.

    Attributes:
        number: of the round, from 1.
        phase: its name; empty for the finished model.
        parent: hash of the model before, empty in the first round.
        sha256: hash of the model's file, the parent of updates.
        tensors: the model.
    """

    number: int
    phase: str
    parent: str
    sha256: str
    tensors: Tensors


def stem(number: int) -> str:
    """Name of the files of a round's message, without ending."""
    return f"round-{number:04}"


def make(federation: Federation, number: int, parent: str, tensors: Tensors, key: PrivateKey) -> Message:
    """The message that opens a round."""
    phase = federation.phase(number)
    statement: dict[str, Any] = {
        "federation": federation.id,
        "round": number,
        "phase": phase.name if phase else "",
        "parent": parent,
    }
    return signed(statement, tensors, key)


def newest(folder: Path) -> int:
    """Number of the newest round of which a folder has a message; 0 without any."""
    names = [path.stem for path in folder.glob(f"*{NOTE}")] if folder.is_dir() else []
    return max((int(matched[1]) for name in names if (matched := _NAME.fullmatch(name))), default=0)


def finished(folder: Path) -> tuple[Federation, RoundMessage]:
    """The manifest and the finished model of a federation, from what every party has: no private key is needed.

    Args:
        folder: of the coordinator, or a copy of its ``federation.json`` and ``outbox``; or a site's inbox, where the
            manifest lies beside the messages.

    Raises:
        UserError: there is no manifest, rounds are left, or the model is not what the coordinator signed.
    """
    federation = Federation.read(folder / MANIFEST)
    outbox = folder / "outbox"
    inbox = outbox if outbox.is_dir() else folder
    last, open_round = federation.rounds + 1, newest(inbox)
    if open_round < last:
        raise UserError(
            f"{inbox}: round {open_round} of {last - 1} is open, and the finished model comes after the last: wait "
            "for it, or copy the coordinator's outbox anew"
        )
    return federation, read(federation, inbox, last)


def read(federation: Federation, folder: Path, number: int) -> RoundMessage:
    """Read the message of a round and check that the coordinator signed it.

    Raises:
        UserError: incomplete, altered, of another federation or not signed by its coordinator.
    """
    path = folder / f"{stem(number)}{NOTE}"
    message = read_message(path, LARGEST_MODEL)
    if message is None:
        raise UserError(f"{path} has no tensors beside it: copy both files of the round from the coordinator")
    try:
        note = parse_note(message.note)
        note.verified([PublicKey.parse(federation.coordinator)])
        statement = statement_of(note)
    except UserError as error:
        raise UserError(f"{path}: {error}: copy it from the coordinator anew") from None
    if difference := differs(statement, _STATEMENT):
        raise UserError(f"{path}: its statement: {difference}: copy it from the coordinator anew")
    phase = federation.phase(number)
    for what, given, expected in (
        ("federation", statement["federation"], federation.id),
        ("round", statement["round"], number),
        ("phase", statement["phase"], phase.name if phase else ""),
        ("tensors_sha256", statement["tensors_sha256"], sha256(message.tensors)),
    ):
        if given != expected:
            raise UserError(f"{path}: {what} is {str(given)[:16]!a}, expected {str(expected)[:16]!a}")
    tensors = read_tensors(message.tensors)
    if tensors is None:
        raise UserError(f"{path}: the tensors beside it are no safetensors file")
    return RoundMessage(number, statement["phase"], statement["parent"], statement["tensors_sha256"], tensors)
