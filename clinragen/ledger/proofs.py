"""Proof files: that an entry is in a log, or that a log only grew; checked with the log's keys, without the log."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from clinragen import shape
from clinragen.artifacts import read_json, write_json
from clinragen.errors import UserError
from clinragen.ledger.checkpoints import Checkpoint, Trust
from clinragen.ledger.entries import Entry, parse_entry
from clinragen.ledger.log import Log
from clinragen.ledger.merkle import extends, includes, leaf_hash
from clinragen.ledger.witness import continues
from clinragen.shape import Count
from clinragen.signing import Note, from_base64, to_base64


@dataclass(frozen=True)
class Proof:
    """A proof as its file holds it.

    Attributes:
        kind: inclusion of an entry, or consistency of a checkpoint with an earlier one.
        checkpoint: the signed note of the state of the log in which it is proven.
        hashes: of RFC 9162, in base64.
        entry: the line of the entry; empty for consistency.
        index: of the entry.
        earlier: the signed note of the earlier state; empty for inclusion.
    """

    kind: Literal["inclusion", "consistency"]
    checkpoint: str
    hashes: list[str]
    entry: str = ""
    index: Count = 0
    earlier: str = ""

    @classmethod
    def read(cls, path: Path) -> Proof:
        """Read a file of ``write``.

        Raises:
            UserError: missing or malformed.
        """
        content: dict[str, Any] = read_json(path, "a proof written by `clinragen ledger prove`")
        if wrong := shape.differs(content, shape.of(cls)):
            raise UserError(f"{path}: {wrong}: it is no proof of `clinragen ledger prove`")
        if unknown := sorted(content.keys() - shape.of(cls).keys()):
            raise UserError(f"{path}: unknown field {unknown[0][:60]!a}: it is no proof of `clinragen ledger prove`")
        return cls(**content)

    def write(self, path: Path) -> None:
        """Write the proof to a file."""
        write_json(path, asdict(self))


@dataclass(frozen=True)
class Proven:
    """What a proof shows.

    Attributes:
        checkpoint: state of the log.
        entry: that is in it, at ``index``; None for consistency.
        index: of the entry.
        earlier: state that it continues; None for inclusion.
    """

    checkpoint: Checkpoint
    entry: Entry | None = None
    index: int | None = None
    earlier: Checkpoint | None = None


def prove_inclusion(log: Log, index: int) -> Proof:
    """Proof that an entry is in the newest state of a log.

    Raises:
        UserError: there is no such entry.
    """
    size = len(log.tree)
    if not 0 <= index < size:
        raise UserError(f"{log.path} has no entry {index}: it has {size}, from 0 on")
    line = log.line(index)
    hashes = [to_base64(part) for part in log.tree.inclusion(index, size)]
    return Proof("inclusion", str(log.newest()), hashes, line.decode(), index)


def prove_consistency(log: Log, earlier: Note) -> Proof:
    """Proof that the newest state of a log continues an earlier one.

    Raises:
        UserError: the earlier is not signed by the log, or has no entries.
        UnsoundError: the log does not continue it.
    """
    seen = log.trust.signed(earlier)
    continues(log, seen)
    if not seen.size:
        raise UserError("a checkpoint without entries: every log continues it")
    hashes = [to_base64(part) for part in log.tree.consistency(seen.size, len(log.tree))]
    return Proof("consistency", str(log.newest()), hashes, earlier=str(earlier))


def check(proof: Proof, trust: Trust, given: Note | None = None) -> Proven:
    """What a proof shows, by the keys of the log and a checkpoint.

    Args:
        proof: from its file.
        trust: whose signatures count; a quorum of the witnesses has to have cosigned.
        given: a checkpoint that one has from elsewhere: the state in which an entry is, or the earlier of two states.
            By default that of the proof.

    Raises:
        UserError: a signature is wrong, or the proof shows nothing.
    """
    checkpoint = trust.witnessed(Note.parse(proof.checkpoint))
    hashes = [from_base64(text) for text in proof.hashes]
    if proof.kind == "inclusion":
        if given is not None and trust.signed(given) != checkpoint:
            raise UserError("the proof is for another checkpoint than the one given: prove it anew")
        line = proof.entry.encode()
        entry = parse_entry(line, proof.index)
        if not includes(leaf_hash(line), proof.index, checkpoint.size, hashes, checkpoint.root):
            raise UserError(f"the proof does not show that entry {proof.index} is in the log")
        return Proven(checkpoint, entry, proof.index)
    earlier = trust.signed(Note.parse(proof.earlier))
    if given is not None and trust.signed(given) != earlier:
        raise UserError("the proof begins with another checkpoint than the one given: prove it anew")
    if not extends(earlier.size, checkpoint.size, hashes, earlier.root, checkpoint.root):
        raise UserError(f"the proof does not show that {checkpoint.size} entries continue {earlier.size}")
    return Proven(checkpoint, earlier=earlier)
