"""Ed25519 keys with a name, signed notes as C2SP writes them, and the bytes of a JSON object that are signed.

Sources: c2sp.org/signed-note (keys, notes), c2sp.org/tlog-cosignature (type ``cosignature/v1``). Keys and notes are
those of Go's ``golang.org/x/mod/sumdb/note``, so that other tools check them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clinragen.artifacts import PRIVATE_FOLDER, flush, not_finite
from clinragen.errors import UserError, missing_extra

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

#: What a key signs: the text of a note; or a checkpoint as its witness, with the time.
NOTE, COSIGNATURE = 1, 4
#: Integers beyond this are not the same number in every reader of JSON.
LARGEST = 2**53 - 1
_NAME = re.compile(r"[^\s+\x00-\x1f\x7f]{1,200}")
_PRIVATE = "PRIVATE+KEY+"
_DASH = "\u2014 "
_MOST_SIGNATURES = 1000


@dataclass(frozen=True)
class PublicKey:
    """A public key that anyone may have.

    Attributes:
        name: of its holder; without spaces and +.
        raw: the 32 bytes of the key.
        use: ``NOTE`` or ``COSIGNATURE``. A holder may have both of one key: the signed messages differ.
    """

    name: str
    raw: bytes
    use: int = NOTE

    @classmethod
    def parse(cls, text: str) -> PublicKey:
        """Read ``NAME+HASH+BASE64``, as ``str`` of a key writes it.

        Raises:
            UserError: it is no such line, or its hash is of another name or key.
        """
        name, _, tail = text.strip().partition("+")
        stated, _, encoded = tail.partition("+")
        key = from_base64(encoded)
        if not _NAME.fullmatch(name) or len(key) != 33 or key[0] not in (NOTE, COSIGNATURE):
            raise UserError(f"public key {_short(text)}: expected NAME+HASH+BASE64 of an Ed25519 key")
        public = cls(name, key[1:], key[0])
        if public.key_id.hex() != stated:
            raise UserError(f"public key {_short(text)}: its hash is not {stated[:8]!a}; copy the whole line anew")
        return public

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{to_base64(bytes([self.use]) + self.raw)}"

    @cached_property
    def key_id(self) -> bytes:
        """4 bytes that a signature line names beside the name."""
        return hashlib.sha256(self.name.encode() + b"\n" + bytes([self.use]) + self.raw).digest()[:4]

    @property
    def witness(self) -> PublicKey:
        """The same key as that of a witness, who cosigns checkpoints."""
        return replace(self, use=COSIGNATURE)

    @cached_property
    def _key(self) -> Ed25519PublicKey:
        return _ed25519().Ed25519PublicKey.from_public_bytes(self.raw)

    def verifies(self, message: bytes, signature: bytes) -> bool:
        """Whether 64 bytes are this key's signature of a message.

        Raises:
            UserError: package ``cryptography`` is not installed.
        """
        key = self._key
        from cryptography.exceptions import InvalidSignature

        try:
            key.verify(signature, message)
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True)
class PrivateKey:
    """A key that signs; its file is readable by its owner alone.

    Attributes:
        name: of its holder.
        seed: 32 secret bytes.
    """

    name: str
    seed: bytes

    def __repr__(self) -> str:
        return f"PrivateKey({self.name!r}, ...)"  # its seed is no part of a message or log

    @classmethod
    def generate(cls, name: str) -> PrivateKey:
        """A new key.

        Args:
            name: of its holder; a host and path without https:// is customary, such as ``hospital.example/icu``.

        Raises:
            UserError: the name is empty, has spaces, + or control characters, or more than 200 letters.
        """
        if not _NAME.fullmatch(name):
            raise UserError(f"name of a key {_short(name)}: expected 1 to 200 letters without spaces and +")
        return cls(name, os.urandom(32))

    @classmethod
    def read(cls, path: Path) -> PrivateKey:
        """Read the file that ``write`` wrote.

        Raises:
            UserError: missing, no private key, or readable by others than its owner.
        """
        try:
            text = path.read_text(encoding="utf-8").strip()
            others = path.stat().st_mode & 0o077
        except FileNotFoundError:
            raise UserError(f"{path} not found: expected a private key") from None
        except (UnicodeDecodeError, OSError):
            raise UserError(f"{path} cannot be read as text: expected a private key") from None
        if others:
            raise UserError(f"{path}: a private key that others than its owner may read: chmod 600 {path}")
        name, _, tail = text.removeprefix(_PRIVATE).partition("+")
        stated, _, encoded = tail.partition("+")
        seed = from_base64(encoded)
        key = cls(name, seed[1:])
        if not text.startswith(_PRIVATE) or len(seed) != 33 or seed[0] != NOTE or key.public.key_id.hex() != stated:
            raise UserError(f"{path} holds no private key of Ed25519 (PRIVATE+KEY+NAME+HASH+BASE64)")
        return key

    def write(self, path: Path) -> None:
        """Write the key to a new file that its owner alone can read.

        Raises:
            UserError: the file exists. It is never replaced: what the old key signed could not be signed again.
        """
        path.parent.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        try:
            with open(handle, "w", encoding="utf-8") as file:
                encoded = to_base64(bytes([NOTE]) + self.seed)
                file.write(f"{_PRIVATE}{self.name}+{self.public.key_id.hex()}+{encoded}\n")
                file.flush()
                os.fsync(file.fileno())
            os.link(temporary, path)  # whole or not at all, and never in place of another
        except FileExistsError:
            raise UserError(f"{path} exists, and a key is never replaced: choose another file") from None
        finally:
            Path(temporary).unlink()
        flush(path.parent)

    @cached_property
    def _key(self) -> Ed25519PrivateKey:
        return _ed25519().Ed25519PrivateKey.from_private_bytes(self.seed)

    @cached_property
    def public(self) -> PublicKey:
        """The public key that verifies what this one signs."""
        return PublicKey(self.name, self._key.public_key().public_bytes_raw())

    def sign(self, message: bytes) -> bytes:
        """The signature of a message, 64 bytes."""
        return self._key.sign(message)


@dataclass(frozen=True)
class Signature:
    """A signature line of a note: the name and 4-byte id of a key, and the signature."""

    name: str
    key_id: bytes
    value: bytes

    def __str__(self) -> str:
        return f"{_DASH}{self.name} {to_base64(self.key_id + self.value)}\n"

    @classmethod
    def parse(cls, line: str) -> Signature:
        """Read a line, without its newline.

        Raises:
            UserError: it is no signature line.
        """
        name, _, encoded = line.removeprefix(_DASH).partition(" ")
        value = from_base64(encoded)
        if not line.startswith(_DASH) or not _NAME.fullmatch(name) or len(value) < 5:
            raise UserError(f"a signed note has a line that is no signature ({_short(line)})")
        return cls(name, value[:4], value[4:])


@dataclass(frozen=True)
class Note:
    """A text with signatures. Its text is nobody's until ``verified`` says whose.

    >>> str(Note("the text\\n", ()))
    'the text\\n\\n'
    """

    text: str
    signatures: tuple[Signature, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Note:
        """Read a note; what is read is written again to the same bytes.

        Raises:
            UserError: it is no signed note.
        """
        body, mark, lines = text.rpartition("\n\n")
        if not mark or not lines.endswith("\n"):
            raise UserError("a signed note ends with an empty line and signature lines, and this text does not")
        rows = lines[:-1].split("\n")
        if len(rows) > _MOST_SIGNATURES:
            raise UserError(f"a signed note has {len(rows)} signatures, and none has more than {_MOST_SIGNATURES}")
        return cls(_plain_text(body + "\n"), tuple(Signature.parse(row) for row in rows))

    def __str__(self) -> str:
        return f"{self.text}\n{''.join(map(str, self.signatures))}"

    def signed(self, key: PrivateKey) -> Note:
        """The note with one more signature.

        Raises:
            UserError: the text does not end with a newline, or has control characters.
        """
        value = key.sign(_plain_text(self.text).encode())
        return self._with(Signature(key.name, key.public.key_id, value))

    def cosigned(self, key: PrivateKey, time: int) -> Note:
        """The checkpoint with the cosignature of a witness.

        Args:
            key: of the witness.
            time: seconds since 1970 at which the witness saw it to be consistent.
        """
        value = key.sign(_cosigned_message(self.text, time))
        return self._with(Signature(key.name, key.public.witness.key_id, time.to_bytes(8) + value))

    def _with(self, signature: Signature) -> Note:
        others = tuple(s for s in self.signatures if (s.name, s.key_id) != (signature.name, signature.key_id))
        return replace(self, signatures=(*others, signature))

    def verified(self, keys: Iterable[PublicKey]) -> dict[PublicKey, int | None]:
        """Which of some keys signed: key -> seconds since 1970 of a cosignature, None for another signature.

        Signatures of other keys are passed over, as the standard demands.

        Raises:
            UserError: a signature of one of the keys is not right, or none of them signed.
        """
        by_line = {(key.name, key.key_id): key for key in keys}
        signers: dict[PublicKey, int | None] = {}
        for signature in self.signatures:
            key = by_line.get((signature.name, signature.key_id))
            if key is None:
                continue
            time = int.from_bytes(signature.value[:8]) if key.use == COSIGNATURE else None
            message = self.text.encode() if time is None else _cosigned_message(self.text, time)
            if not key.verifies(message, signature.value if time is None else signature.value[8:]):
                raise UserError(f"the signature of {key.name} is not right: the text or the signature was altered")
            signers[key] = time
        if not signers:
            names = ", ".join(sorted({key.name for key in by_line.values()})) or "no key"
            raise UserError(f"not signed by a trusted key ({names})")
        return signers


def to_base64(value: bytes) -> str:
    """Bytes in standard base64."""
    return base64.b64encode(value).decode()


def from_base64(text: str) -> bytes:
    """The bytes of standard base64; none if it is anything else, also with stray bits in its last letter."""
    with suppress(binascii.Error, ValueError):
        value = base64.b64decode(text, validate=True)
        if to_base64(value) == text:
            return value
    return b""


def canonical_json(value: dict[str, Any]) -> bytes:
    """The one sequence of bytes that stands for a JSON object, to be hashed and signed.

    Keys are sorted by code point, without spaces, in UTF-8, not normalised. A float is written with the fewest digits
    that give it again (as Python does on every platform with IEEE 754), so 1.0 is not 1. No NaN, no infinity, no
    integer beyond 2**53 - 1, no key but a text.

    Raises:
        UserError: a value that has no such bytes, by its place.

    >>> canonical_json({"site": "b", "count": 3, "norm": 0.1})
    b'{"count":3,"norm":0.1,"site":"b"}'
    """
    if where := _unwritable(value):
        raise UserError(f"{where}: expected texts, finite numbers to 2**53 - 1, lists and mappings with texts as keys")
    try:
        return _written(value)
    except UnicodeEncodeError:
        raise UserError("a text is not Unicode (half a surrogate pair)") from None


def parse_canonical(text: bytes) -> dict[str, Any]:
    """Read what ``canonical_json`` wrote.

    Raises:
        UserError: other bytes than it writes, also where they say the same: a space, another order, a key twice.
    """
    try:  # at the speed of C: what was read has texts as keys, so only its numbers need to be looked at
        value = json.loads(text, parse_int=_bounded)
        same = isinstance(value, dict) and _written(value) == text
    except (ValueError, RecursionError):
        raise UserError("not the canonical JSON of an object: it is no JSON, or has a number that is refused") from None
    if not same:
        raise UserError("not the canonical JSON of an object: order of keys, spaces, numbers or escapes differ")
    return value


def _bounded(digits: str) -> int:
    if len(digits) > 17 or abs(number := int(digits)) > LARGEST:
        raise ValueError("an integer beyond 2**53 - 1")
    return number


def _written(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def _unwritable(value: Any) -> str | None:
    """Place of the first value without canonical bytes."""
    if where := not_finite(value):
        return where
    waiting: list[tuple[str, Any]] = [("the value", value)] if not isinstance(value, dict) else [("", value)]
    while waiting:
        where, item = waiting.pop()
        if isinstance(item, dict):
            if wrong := next((key for key in item if not isinstance(key, str)), None):
                return f"{where}[{wrong!r}]"
            waiting += [(f"{where}.{key}" if where else key, inner) for key, inner in item.items()]
        elif isinstance(item, list | tuple):
            waiting += [(f"{where}[{index}]", inner) for index, inner in enumerate(item)]
        elif not isinstance(item, str | int | float | None) or (isinstance(item, int) and abs(item) > LARGEST):
            return where
    return None


def _cosigned_message(text: str, time: int) -> bytes:
    return f"cosignature/v1\ntime {time}\n{_plain_text(text)}".encode()


def _plain_text(text: str) -> str:
    if not text.endswith("\n") or any(letter < " " and letter != "\n" for letter in text):
        raise UserError("the text of a signed note ends with a newline and has no other control characters")
    return text


def _short(text: str) -> str:
    return ascii(text if len(text) <= 40 else f"{text[:40]}...")


def _ed25519() -> Any:
    """The module of ``cryptography``, which only signing and verifying need."""
    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError:
        raise missing_extra("signing and its verification", "federation") from None
    return ed25519
