"""What a site signs for the log of its federation: what it sent, the item of a contract that it takes, cosignatures.

Each is a file in the site's outbox, which the operator of the log finds in its inbox (``recording``): a statement holds
the name of the log on a line, then the entry as it will stand there, with index 0 as it has no place yet.
"""

from __future__ import annotations

from pathlib import Path

from clinragen.artifacts import write_text
from clinragen.errors import UserError, unknown_choice
from clinragen.federation.files import parse_note, sha256, statement_of
from clinragen.federation.manifest import Federation
from clinragen.federation.site import Site
from clinragen.ledger.entries import Acceptance, Entry, Update, parse_entry, stated
from clinragen.ledger.log import Log
from clinragen.ledger.witness import Witness, cosign, file_name

STATEMENT, COSIGNATURE = ".statement", ".cosignature"


def title(federation: Federation) -> str:
    """What a log calls a federation: its name for people, and its id, which fixes members and keys."""
    return f"{federation.name} {federation.id}"


def item_name(type_name: str) -> str:
    """Name of a contract's item in a log, where names have no spaces."""
    return "-".join(type_name.split())


def state(site: Site, log: Log, outbox: Path) -> list[int]:
    """State to a log all updates that a site has sent, from the record of them in its folder.

    Args:
        site: its folder.
        log: or a copy of it.
        outbox: folder for what leaves the site.

    Returns:
        the rounds, in order.

    Raises:
        UserError: the site is none of the log's, an update is of another federation than the log, or none was sent.
    """
    _check_member(site, log)
    opening, rounds = log.history.opening, []
    for number, update in sorted(site.sent().items()):
        content = statement_of(parse_note(update.note))
        if opening is None or opening.federation.rpartition(" ")[2] != content["federation"]:
            raise UserError(f"{log.path} is the log of another federation than that of round {number} in {site.root}")
        body = Update(site.key.name, number, content["parent"], sha256(update.note), content["count"])
        _write(outbox / f"{site.member.name}-{number:04}{STATEMENT}", log, stated(log.trust.origin, body, site.key))
        rounds.append(number)
    if not rounds:
        raise UserError(f"{site.root} has sent no update: answer a round with `clinragen federate site` first")
    return rounds


def accept(site: Site, log: Log, item: str, outbox: Path, contract: int | None = None) -> Acceptance:
    """Choose an item of a contract.

    Args:
        site: its folder.
        log: or a copy of it.
        item: type of the item.
        outbox: folder for what leaves the site.
        contract: index of the contract's entry; by default that of the newest.

    Raises:
        UserError: there is no such contract or item, or the site chose another item before.
    """
    _check_member(site, log)
    contracts = log.history.contracts
    if not contracts:
        raise UserError(f"{log.path} has no contract yet: copy it anew when its operator has recorded one")
    number = max(contracts) if contract is None else contract
    if number not in contracts:
        raise UserError(f"entry {number} of {log.path} is no contract; contracts: {', '.join(map(str, contracts))}")
    item = item_name(item)
    if item not in (types := [offered.type for offered in contracts[number].items]):
        raise unknown_choice("item", item, types)
    path = outbox / f"{site.member.name}-contract-{number}{STATEMENT}"
    before = log.history.accepted.get((site.key.name, number)) or _stated_item(path)
    if before not in (None, item):
        raise UserError(f"{site.member.name} chose item {before} of contract {number} before, and that stands")
    acceptance = Acceptance(site.key.name, number, item)
    _write(path, log, stated(log.trust.origin, acceptance, site.key))
    return acceptance


def cosignature(witness: Witness, log: Log, outbox: Path) -> int:
    """Cosign the newest checkpoint of a log, if it continues what the witness saw before, and remember it.

    Args:
        witness: its folder keeps what it saw.
        log: a copy of it, read anew.
        outbox: folder for what leaves the witness.

    Returns:
        number of entries that were cosigned.

    Raises:
        UserError: it is no witness of the log.
        UnsoundError: the log does not continue what it saw.
    """
    note = cosign(log, witness.key, witness.memory(log))
    name = witness.key.name.replace("/", "-")
    write_text(outbox / f"{name}-{file_name(log)}{COSIGNATURE}", str(note))
    return len(log.tree)


def read_statement(path: Path) -> tuple[str, Entry]:
    """Name of the log, and the entry with the signature of its site, which is yet to be verified.

    Raises:
        UserError: the file is no statement.
    """
    try:
        origin, _, line = path.read_bytes().removesuffix(b"\n").partition(b"\n")
        return origin.decode(), parse_entry(line, 0)
    except (OSError, UnicodeDecodeError):
        raise UserError("it cannot be read as text") from None


def _stated_item(path: Path) -> str | None:
    """The item of an acceptance that left before."""
    if not path.exists():
        return None
    body = read_statement(path)[1].body
    return body.item if isinstance(body, Acceptance) else None


def _check_member(site: Site, log: Log) -> None:
    if log.history.sites.get(site.key.name) != site.key.public:
        raise UserError(f"{log.path} does not name site {site.member.name} with its key: is it a log of its network?")


def _write(path: Path, log: Log, entry: Entry) -> None:
    write_text(path, f"{log.trust.origin}\n{entry.line(0).decode()}\n")
