"""The kinds of entry of a log, each a data class with its schema, and the line of JSON that is hashed.

A line is the canonical JSON of ``{"body", "index", "kind", "signature"}``. Statements of a site carry its signature
over the log's name, the kind and the body; other kinds are vouched for by the log's checkpoints alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, is_dataclass
from functools import cache, cached_property
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from clinragen import shape
from clinragen.errors import UserError, unknown_choice
from clinragen.ledger.checkpoints import Trust
from clinragen.shape import Count, Plain
from clinragen.signing import PrivateKey, PublicKey, canonical_json, from_base64, parse_canonical, to_base64
from clinragen.versions import LEDGER

_NAME = re.compile(r"[^\s\x00-\x1f\x7f]{1,200}")
_HASH = re.compile(r"[0-9a-f]{64}")
_AMOUNT = re.compile(r"(0|[1-9][0-9]{0,17})(\.[0-9]{0,11}[1-9])?")


def _matches(pattern: re.Pattern[str]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and pattern.fullmatch(value) is not None


#: Name of a key or of an item.
Name = Annotated[str, Plain("a name without spaces", _matches(_NAME))]
#: SHA-256 in hex.
Hash = Annotated[str, Plain("a SHA-256 in 64 hex digits", _matches(_HASH))]
#: A decimal number as a text, so that it is exact: no sign, no exponent, no zero at its end.
Amount = Annotated[str, Plain("a decimal number as a text, such as '4.25'", _matches(_AMOUNT))]


@dataclass(frozen=True)
class Opening:
    """The first entry of a log: who takes part.

    Attributes:
        federation: its name.
        log: whose signatures make a checkpoint of this log.
        sites: public keys of the sites whose statements it may record.
        networks: of the logs whose checkpoints are anchored here; empty for the log of a network.
        model: hash of the model before the first round.
        ledger_version: of the format of entries, as ``clinragen.versions`` has it.
    """

    federation: str
    log: Trust
    sites: list[str]
    networks: list[Trust]
    model: Hash
    ledger_version: Count = LEDGER.version


@dataclass(frozen=True)
class Update:
    """A site states what it sent in a round. Signed by the site.

    Attributes:
        site: name of its key.
        round: from 1.
        parent: hash of the model that it started from.
        update: hash of the file that it sent.
        count: stays that it was trained on.
    """

    site: Name
    round: Count
    parent: Hash
    update: Hash
    count: Count


@dataclass(frozen=True)
class Anchor:
    """A checkpoint of a network's log.

    Attributes:
        checkpoint: the signed note, with the cosignatures of a quorum of that log's witnesses.
        consistency: proof that it continues the one anchored before, hashes in base64; empty for the first.
    """

    checkpoint: str
    consistency: list[str]


@dataclass(frozen=True)
class Part:
    """An update that an aggregate was made from, as its site stated it."""

    site: Name
    update: Hash
    count: Count


@dataclass(frozen=True)
class Aggregate:
    """The model after a round.

    Attributes:
        round: from 1, without gaps.
        parent: hash of the model before the round.
        aggregate: hash of the model after it.
        updates: those that it was made from, one for each site.
    """

    round: Count
    parent: Hash
    aggregate: Hash
    updates: list[Part]


@dataclass(frozen=True)
class Item:
    """An offer of a contract.

    Attributes:
        type: its name.
        frequency: updates that are promised for a period.
        reward: money for a period in which they were delivered.
    """

    type: Name
    frequency: Amount
    reward: Amount


@dataclass(frozen=True)
class Contract:
    """The menu that sites choose from.

    Attributes:
        items: one for each type.
        first_round: with which its first period begins.
        rounds: of a period.
        decimals: of the money that is paid.
    """

    items: list[Item]
    first_round: Count
    rounds: Count
    decimals: Count


@dataclass(frozen=True)
class Acceptance:
    """A site chooses an item. Signed by the site.

    Attributes:
        site: name of its key.
        contract: index of the contract's entry.
        item: its type.
    """

    site: Name
    contract: Count
    item: Name


@dataclass(frozen=True)
class Payment:
    """What a site is paid for a period. ``clinragen.ledger.payments`` says how much that has to be.

    Attributes:
        site: name of its key.
        contract: index of the contract's entry.
        item: type of the item that it chose.
        first_round: of the period.
        delivered: rounds of the period to whose aggregate it contributed.
        reward: money.
    """

    site: Name
    contract: Count
    item: Name
    first_round: Count
    delivered: Count
    reward: Amount


type Body = Opening | Update | Anchor | Aggregate | Contract | Acceptance | Payment

KINDS: dict[str, type[Any]] = {
    kind.__name__.lower(): kind for kind in (Opening, Update, Anchor, Aggregate, Contract, Acceptance, Payment)
}
#: Kinds that their site signs.
BY_SITES = (Update, Acceptance)
_SIGNATURE_SIZE = 64


@dataclass(frozen=True)
class Entry:
    """An entry before it has its place in a log: a body, and the signature of its site if it is a site's."""

    body: Body
    signature: bytes | None = None

    @cached_property
    def encoded(self) -> bytes:
        """The canonical JSON of the body, which a site signs."""
        return canonical_json(asdict(self.body))

    @property
    def kind(self) -> str:
        """Name of the kind of its body."""
        return type(self.body).__name__.lower()

    def line(self, index: int) -> bytes:
        """The bytes that are hashed as a leaf of the tree, without a newline."""
        return _HEAD + self.encoded + _tail(self.kind, index, self.signature)

    def signed_by(self, origin: str, key: PublicKey) -> bool:
        """Whether the signature is that of a site's key for a log."""
        return self.signature is not None and key.verifies(_message(origin, self), self.signature)


def stated(origin: str, body: Update | Acceptance, key: PrivateKey) -> Entry:
    """A site's statement for a log, with its signature.

    Args:
        origin: name of the log.
        body: what the site states.
        key: of the site.

    Raises:
        UserError: the statement is of another site than the key.
    """
    if body.site != key.name:
        raise UserError(f"a statement of {body.site} cannot be signed with the key of {key.name}")
    return Entry(body, key.sign(_message(origin, Entry(body))))


def _message(origin: str, entry: Entry) -> bytes:
    return f"clinragen-ledger/v1\n{origin}\n{entry.kind}\n".encode() + entry.encoded


def _tail(kind: str, index: int, signature: bytes | None) -> bytes:
    """What follows the body in a line."""
    encoded = "null" if signature is None else f'"{to_base64(signature)}"'
    return f',"index":{index},"kind":"{kind}","signature":{encoded}}}'.encode()


class OtherIndexError(UserError):
    """A line states another index than it has; ``stated`` is that index."""

    def __init__(self, stated: int, index: int) -> None:
        super().__init__(
            f"its index is {stated}, expected {index}: entries were left out, added or put in another order"
        )
        self.stated = stated


def parse_entry(line: bytes, index: int) -> Entry:
    """Read a line of a log.

    Args:
        line: without its newline.
        index: that it has to state.

    Raises:
        UserError: not canonical JSON, of an unknown kind, with an unknown or missing field, of another index, or a
            statement of a site without a signature.
    """
    content = parse_canonical(line)
    _no_other_fields(content, _FIELDS, "")
    name, stated = content["kind"], content["index"]
    if not isinstance(name, str) or type(stated) is not int or not isinstance(content["body"], dict):
        raise UserError("expected a mapping 'body', a whole number 'index' and a text 'kind'")
    if name not in KINDS:
        raise unknown_choice("kind of entry", name[:60], KINDS)
    if stated != index:
        raise OtherIndexError(stated, index)
    kind = KINDS[name]
    if wrong := shape.differs(content["body"], _shape_of(kind)):
        raise UserError(f"{name}: {wrong}")
    signature = _signature(content["signature"])
    if (signature is None) == (kind in BY_SITES):
        raise UserError(f"{name}: {'no signature of its site' if signature is None else 'has a signature'}")
    entry = Entry(_built(kind, content["body"], name), signature)
    # a line is canonical, so that these are the bytes of its body, and need not be written anew
    entry.__dict__["encoded"] = line[len(_HEAD) : -len(_tail(name, index, signature))]
    return entry


_HEAD = b'{"body":'
_FIELDS = frozenset(["body", "index", "kind", "signature"])
_shape_of = cache(shape.of)


def _signature(text: Any) -> bytes | None:
    if text is None:
        return None
    value = from_base64(text) if isinstance(text, str) else b""
    if len(value) != _SIGNATURE_SIZE:
        raise UserError("signature: expected 64 bytes in base64")
    return value


def _no_other_fields(content: dict[str, Any], names: frozenset[str], where: str) -> None:
    if content.keys() == names:
        return
    if unknown := sorted(content.keys() - names):
        raise UserError(f"{where}unknown field {unknown[0][:60]!a}; expected {', '.join(sorted(names))}")
    raise UserError(f"{where}{min(names - content.keys())} is missing")


@cache
def _members(kind: type[Any]) -> tuple[frozenset[str], dict[str, Any], bool]:
    """Names of the fields of a data class, the data classes among their types, and whether there are any."""
    hints = get_type_hints(kind)
    inner = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    lists = {name: get_args(hint) for name, hint in hints.items() if get_origin(hint) is list}
    inner |= {name: [of[0]] for name, of in lists.items() if is_dataclass(of[0])}
    return frozenset(field.name for field in fields(kind)), inner, bool(inner)


def _built(kind: type[Any], content: dict[str, Any], where: str) -> Any:
    """A data class from a mapping whose shape was checked; other fields than its own are refused."""
    names, inner, nested = _members(kind)
    _no_other_fields(content, names, f"{where}: ")
    if not nested:
        return kind(**content)
    values = dict(content)
    for name, member in inner.items():
        if isinstance(member, list):
            values[name] = [_built(member[0], row, f"{where}.{name}") for row in content[name]]
        else:
            values[name] = _built(member, content[name], f"{where}.{name}")
    return kind(**values)
