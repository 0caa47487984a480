"""Checkpoints of a log as C2SP writes them, and whose signatures on them count.

Source: c2sp.org/tlog-checkpoint. The lines are the origin, the number of entries, and the root of the tree.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

from clinragen import shape
from clinragen.artifacts import read_json, write_json
from clinragen.errors import UserError
from clinragen.ledger.merkle import HASH_SIZE
from clinragen.signing import COSIGNATURE, NOTE, Note, PublicKey, from_base64, to_base64

_SIZE = re.compile(r"0|[1-9][0-9]{0,14}")


@dataclass(frozen=True)
class Checkpoint:
    """State of a log.

    Attributes:
        origin: name of the log; that of its key.
        size: number of entries.
        root: of the Merkle tree over them, 32 bytes.
    """

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """Text of the note that is signed."""
        return f"{self.origin}\n{self.size}\n{to_base64(self.root)}\n"

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Read the text of a note. Lines beyond the three are refused: nothing checks them.

        Raises:
            UserError: it is no checkpoint.
        """
        lines = text.split("\n")
        if len(lines) != 4 or not lines[0] or not _SIZE.fullmatch(lines[1]):
            raise UserError("no checkpoint: expected three lines, the origin, the number of entries and the root")
        checkpoint = cls(lines[0], int(lines[1]), from_base64(lines[2]))
        if len(checkpoint.root) != HASH_SIZE or checkpoint.text != text:
            raise UserError("no checkpoint: its third line is no base64 of 32 bytes")
        return checkpoint


@dataclass(frozen=True)
class Trust:
    """Whose signatures make a log's checkpoint: what a verifier has to know from elsewhere than the log.

    Attributes:
        key: public key of the log's operator, ``NAME+HASH+BASE64``. Its name is the log's origin.
        witnesses: public keys of those who cosign checkpoints.
        quorum: how many of them have to.
    """

    key: str
    witnesses: list[str]
    quorum: shape.Count

    @classmethod
    def read(cls, path: Path) -> Trust:
        """Read a file of ``write``.

        Raises:
            UserError: missing, malformed, or a quorum that its witnesses cannot reach.
        """
        content = read_json(path, "the keys of a log, from `clinragen ledger show --write-trust`")
        if wrong := shape.differs(content, shape.of(cls)):
            raise UserError(f"{path}: {wrong}; write it anew with `clinragen ledger show --write-trust`")
        trust = cls(content["key"], content["witnesses"], content["quorum"])
        trust.check(str(path))
        return trust

    def write(self, path: Path) -> None:
        """Write it as JSON, to be given to those who verify."""
        write_json(path, asdict(self))

    @property
    def origin(self) -> str:
        """Name of the log."""
        return self.log_key.name

    @cached_property
    def log_key(self) -> PublicKey:
        """The operator's key."""
        return PublicKey.parse(self.key)

    @cached_property
    def witness_keys(self) -> tuple[PublicKey, ...]:
        """Keys of the witnesses."""
        return tuple(PublicKey.parse(text) for text in self.witnesses)

    def check(self, where: str) -> None:
        """Check the keys.

        Raises:
            UserError: a key is malformed or of another use, stands twice, or the quorum cannot be reached.
        """
        if self.log_key.use != NOTE or any(key.use != COSIGNATURE for key in self.witness_keys):
            raise UserError(f"{where}: expected the log's key of type 1 and its witnesses' of type 4 (cosignatures)")
        if len({key.raw for key in (self.log_key, *self.witness_keys)}) <= len(self.witnesses):
            raise UserError(f"{where}: a key stands twice: each witness has its own, and none is the log's")
        if self.quorum > len(self.witnesses):
            raise UserError(f"{where}: a quorum of {self.quorum}, and there are {len(self.witnesses)} witnesses")

    def signed(self, note: Note) -> Checkpoint:
        """The checkpoint of a note, if the log's key signed it.

        Signatures by other keys than those of the log and its witnesses are refused, not passed over: the parties are
        known, so such a line was put there by somebody else.

        Raises:
            UserError: it is no checkpoint of this log, or a signature is missing, wrong, foreign or there twice.
        """
        checkpoint = Checkpoint.parse(note.text)
        if checkpoint.origin != self.origin:
            raise UserError(f"a checkpoint of {checkpoint.origin}, expected one of {self.origin}")
        signers = note.verified((self.log_key, *self.witness_keys))
        if len(signers) != len(note.signatures):
            raise UserError(
                "a signature of its checkpoint is by a key of neither the log nor a witness, or twice there"
            )
        if self.log_key not in signers:
            raise UserError(f"not signed by the log's key ({self.origin})")
        return checkpoint

    def cosigners(self, note: Note) -> list[str]:
        """Names of the witnesses whose signatures are on a note that ``signed`` accepts."""
        lines = {(signature.name, signature.key_id) for signature in note.signatures}
        return sorted(key.name for key in self.witness_keys if (key.name, key.key_id) in lines)

    def witnessed(self, note: Note) -> Checkpoint:
        """The checkpoint of a note, if the log's key and a quorum of its witnesses signed it.

        Raises:
            UserError: as of ``signed``, or too few witnesses.
        """
        checkpoint = self.signed(note)
        if len(cosigners := self.cosigners(note)) < self.quorum:
            names = f" ({', '.join(cosigners)})" if cosigners else ""
            raise UserError(f"cosigned by {len(cosigners)} of the {self.quorum} witnesses that are needed{names}")
        return checkpoint
