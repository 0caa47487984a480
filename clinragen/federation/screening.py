"""Whether an update of a site may enter a round: everything that is refused, with site and reason.

Nothing is believed before its signature is: first who signed it, then what it is about, then its numbers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from clinragen.errors import UserError
from clinragen.federation.files import Message, parse_note, read_tensors, sha256, statement_of
from clinragen.federation.manifest import Federation, Member, stays_behind
from clinragen.federation.update import Tensors, Update, norm
from clinragen.federation.work import Phase, Statistic, small_cells
from clinragen.shape import ANYTHING, NUMBER, TEXT, WHOLE, Each, Nullable, differs
from clinragen.signing import Note, PublicKey

Reason = Literal[
    "unsigned",
    "wrong key",
    "bad signature",
    "malformed",
    "wrong federation",
    "replay",
    "duplicate",
    "wrong round",
    "stale parent",
    "other settings",
    "other code",
    "forged count",
    "wrong contract",
    "altered tensors",
    "unknown tensor",
    "missing tensor",
    "dtype",
    "shape",
    "NaN",
    "inf",
    "huge norm",
    "small cell",
    "out of bounds",
]
STATEMENT = {
    "federation": TEXT,
    "round": WHOLE,
    "site": TEXT,
    "parent": TEXT,
    "config_sha256": TEXT,
    "code_sha256": TEXT,
    "nonce": TEXT,
    "count": WHOLE,
    "contract": Each(ANYTHING),
    "age_hours": Nullable(NUMBER),
    "tensors_sha256": TEXT,
}


@dataclass(frozen=True)
class Refusal:
    """Why an update does not enter a round.

    Attributes:
        site: name of the member that signed it; empty where nobody is known to have.
        reason: one of ``Reason``.
        detail: what was found and expected, in words.
        message: hash of its note.
    """

    site: str
    reason: Reason
    detail: str
    message: str

    def as_json(self) -> dict[str, str]:
        """The refusal as an object of JSON."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.site or 'unknown site'}: {self.reason} ({self.detail})"


class _Refused(Exception):  # noqa: N818 (it never leaves this module)
    def __init__(self, reason: Reason, detail: str) -> None:
        self.reason: Reason = reason
        self.detail = detail


@dataclass(frozen=True)
class Screening:
    """What an update of one round must be.

    Attributes:
        federation: the manifest.
        round_number: the open round, from 1.
        parent: hash of the model that it starts from.
        nonces: those of updates that entered earlier rounds.
    """

    federation: Federation
    round_number: int
    parent: str
    nonces: Collection[str] = ()

    def screen(self, message: Message) -> tuple[Update, dict[str, Any]] | Refusal:
        """The update with its statement, or why it is refused."""
        member = None
        try:
            note = _note(message)
            member = self._signer(note)
            statement = _statement(note)
            self._about(statement, member)
            tensors = self._tensors(message, statement)
        except _Refused as refused:
            return Refusal(member.name if member else "", refused.reason, refused.detail, message.sha256)
        return Update(member.key, tensors, statement["count"], statement["age_hours"]), statement

    def _signer(self, note: Note) -> Member:
        keys = [PublicKey.parse(member.key) for member in self.federation.members]
        if not note.signatures:
            raise _Refused("unsigned", "no signature")
        members = {(key.name, key.key_id) for key in keys}
        if not any((signature.name, signature.key_id) in members for signature in note.signatures):
            raise _Refused("wrong key", f"signed by {note.signatures[0].name[:60]!a}, which is no key of a member")
        try:
            signers = note.verified(keys)
        except UserError:
            raise _Refused("bad signature", "the note was altered, or signed with another key of the name") from None
        if len(signers) != 1:
            raise _Refused("wrong key", f"signed by {len(signers)} members, expected one")
        member = self.federation.member(str(next(iter(signers))))
        assert member is not None
        return member

    def _about(self, statement: dict[str, Any], member: Member) -> None:
        if statement["site"] != member.key:
            raise _Refused("wrong key", f"its statement is of {statement['site'][:60]!a}")
        if statement["nonce"] in self.nonces:
            raise _Refused("replay", "its nonce entered an earlier round")
        expected: list[tuple[str, Any, Reason]] = [
            ("federation", self.federation.id, "wrong federation"),
            ("round", self.round_number, "wrong round"),
            ("parent", self.parent, "stale parent"),
            ("config_sha256", self.federation.config_sha256, "other settings"),
            ("code_sha256", self.federation.code_sha256, "other code"),
            ("contract", member.contract, "wrong contract"),
        ]
        for key, value, reason in expected:
            if statement[key] != value:
                raise _Refused(reason, f"{key} is {_short(statement[key])}, expected {_short(value)}")
        if not self.federation.least_count <= statement["count"] <= member.stays:
            raise _Refused(
                "forged count",
                f"{statement['count']} stays, expected {self.federation.least_count} to the {member.stays} declared",
            )
        age = statement["age_hours"]
        if age is not None and age < 0:
            raise _Refused("malformed", f"age_hours is {age:.6g}, expected 0 or more")

    def _tensors(self, message: Message, statement: Mapping[str, Any]) -> Tensors:
        if sha256(message.tensors) != statement["tensors_sha256"]:
            raise _Refused("altered tensors", "their hash is not the one that was signed")
        tensors = read_tensors(message.tensors)
        if tensors is None:
            raise _Refused("malformed", "the tensors are no safetensors file")
        phase = self.federation.phase(self.round_number)
        assert phase is not None
        specs = self.federation.sent(phase)
        for name in sorted(tensors.keys() | specs.keys()):
            if name not in specs:
                raise _Refused("unknown tensor", f"{name[:60]!a} is not on the list of the federation")
            if name not in tensors:
                raise _Refused("missing tensor", f"{name} is not there")
            if kind := specs[name].differs(tensors[name]):
                given = f"{tensors[name].dtype} {list(tensors[name].shape)}"
                raise _Refused(kind, f"{name} is {given}, expected {specs[name].dtype} {list(specs[name].shape)}")
        for reason, detail in self._numbers(tensors, phase, statement["count"]):
            raise _Refused(reason, detail)
        return tensors

    def _numbers(self, tensors: Tensors, phase: Phase, count: int) -> Iterator[tuple[Reason, str]]:
        """Whatever speaks against the numbers of an update that has the right form."""
        if self.federation.privacy == "secure":
            return  # masked numbers say nothing
        for name in sorted(tensors):
            if np.isnan(tensors[name]).any():
                yield "NaN", f"{name} has {int(np.isnan(tensors[name]).sum())} of them"
            if np.isinf(tensors[name]).any():
                yield "inf", f"{name} has {int(np.isinf(tensors[name]).sum())} infinite numbers"
        if phase.kind == "training":
            if (length := norm(tensors)) > self.federation.largest_norm:
                yield "huge norm", f"length {length:.6g}, expected at most {self.federation.largest_norm:g}"
        elif self.federation.privacy == "none":  # with noise a cell may be anything
            yield from _cells(tensors, phase, count, self.federation.least_count)


def _cells(tensors: Tensors, phase: Phase, count: int, least: int) -> Iterator[tuple[Reason, str]]:
    """What speaks against sums: a cell of few stays or of more than there are, or sums beyond what a stay can add."""
    for name, spec in sorted(phase.tensors.items()):
        stays, values = tensors[stays_behind(name)], tensors[name]
        if small_cells(Statistic(values, stays), least).any() or (values[stays == 0] != 0).any():
            yield "small cell", f"{name} has cells of fewer than {least} stays"
        if (stays < 0).any() or (stays > count).any():
            yield "forged count", f"{stays_behind(name)} is not within 0 and the {count} stays of the update"
        for bound, sign in ((spec.least, -1), (spec.most, 1)):
            if bound is not None and (sign * (values - bound * stays.astype(np.float64)) > 1e-6 * (1 + stays)).any():
                yield "out of bounds", f"{name} has sums beyond {bound:g} for each stay"


def screen_round(
    screening: Screening, messages: Collection[Message]
) -> tuple[dict[str, tuple[Message, Update, dict[str, Any]]], list[Refusal]]:
    """The updates that enter a round, by site name, and those that are refused; whatever the order of arrival.

    The same message twice is one. Two different updates of one site for the same round are both refused: nobody can say
    which of them counts.
    """
    screened = {message.sha256: (message, screening.screen(message)) for message in messages}
    refusals = [each for _, each in screened.values() if isinstance(each, Refusal)]
    by_site: dict[str, list[tuple[Message, Update, dict[str, Any]]]] = {}
    for message, each in screened.values():
        if not isinstance(each, Refusal):
            by_site.setdefault(each[0].site, []).append((message, *each))
    accepted = {}
    for key, sent in sorted(by_site.items()):
        member = screening.federation.member(key)
        assert member is not None
        if len(sent) == 1:
            accepted[member.name] = sent[0]
        else:
            detail = f"{len(sent)} different updates for round {screening.round_number}"
            refusals += [Refusal(member.name, "duplicate", detail, message.sha256) for message, _, _ in sent]
    return accepted, sorted(refusals, key=lambda refusal: (refusal.site, refusal.message))


def _note(message: Message) -> Note:
    try:
        return parse_note(message.note)
    except UserError as error:
        raise _Refused("unsigned", str(error)) from None


def _statement(note: Note) -> dict[str, Any]:
    try:
        statement = statement_of(note)
    except UserError as error:
        raise _Refused("malformed", str(error)) from None
    if difference := differs(statement, STATEMENT):
        raise _Refused("malformed", f"its statement: {difference}")
    if alien := sorted(statement.keys() - STATEMENT.keys()):
        raise _Refused("malformed", f"its statement has further keys: {alien[0][:60]!a}")
    return statement


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else str(value)
    return ascii(text if len(text) <= 16 else f"{text[:12]}...")
