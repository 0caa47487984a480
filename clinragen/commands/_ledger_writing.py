"""The commands of ``clinragen ledger`` that write: for the operator of a log, and for its sites and witnesses."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from clinragen.command_line import answer
from clinragen.options import AsJson, MaybeWholeNumber, Out, Paths, Texts, WholeNumber

if TYPE_CHECKING:
    from clinragen.federation.recording import Recorded

Ledger = Annotated[Path, Parameter(name="--ledger", help="Folder of the log; at a site, a copy of it.")]
Federation = Annotated[
    Path,
    Parameter(name="--federation", help="Folder of the coordinator, or a copy of federation.json, outbox and rounds."),
]
Site = Annotated[Path, Parameter(name="--site", help="Folder of this site, made by `clinragen federate join`.")]
Outbox = Annotated[Path, Parameter(name="--outbox", help="Folder to write; nothing else leaves.")]


def open_(
    *,
    federation: Federation,
    out: Out,
    name: Annotated[str | None, Parameter(name="--name")] = None,
    sites: Annotated[Texts, Parameter(name="--site")] = (),
    networks: Annotated[Paths, Parameter(name="--network")] = (),
    witnesses: Annotated[Paths, Parameter(name="--witness")] = (),
    quorum: MaybeWholeNumber = None,
    as_json: AsJson = False,
) -> None:
    """Begin the log of a federation, with a key of its own. The sites are its witnesses, and others who are named.

    Args:
        name: Name of the log. Default: that of the federation with /log.
        sites: Name of a site whose statements it records, for the log of a network; may be repeated. Default: all.
        networks: Keys of a network's log that is to be anchored, from `show --write-trust`; may be repeated.
        witnesses: witness.json of a further witness, from `clinragen ledger witness`; may be repeated.
        quorum: How many witnesses have to cosign. Default: more than half of them.
    """
    from clinragen.api.recording import begin_ledger

    log = begin_ledger(federation, out, name=name, sites=sites, networks=networks, witnesses=witnesses, quorum=quorum)
    trust = log.trust
    sites_and_witnesses = f"{len(log.history.sites)} sites, {len(trust.witnesses)} witnesses"
    text = f"log {trust.origin} in {out}: {sites_and_witnesses}, {trust.quorum} of them have to cosign"
    answer(text, {"ledger": out, **asdict(trust), "sites": sorted(log.history.sites)}, as_json)


def state(*, ledger: Ledger, site: Site, outbox: Outbox, as_json: AsJson = False) -> None:
    """Say, signed, what this site has sent in each round, for the log."""
    from clinragen.api.recording import state_updates

    rounds = state_updates(ledger, site, outbox)
    text = f"stated what was sent in rounds {', '.join(map(str, rounds))}, in {outbox}"
    answer(text, {"rounds": rounds, "outbox": outbox}, as_json)


def accept(
    *,
    ledger: Ledger,
    site: Site,
    item: Annotated[str, Parameter(name="--item")],
    outbox: Outbox,
    contract: MaybeWholeNumber = None,
    as_json: AsJson = False,
) -> None:
    """Choose, signed, an item of a contract. `clinragen contract choose` tells which.

    Args:
        item: Type of the item.
        contract: Index of the contract's entry. Default: that of the newest.
    """
    from clinragen.api.recording import accept_item

    acceptance = accept_item(ledger, site, item, outbox, contract=contract)
    text = f"{acceptance.site} takes item {acceptance.item} of contract {acceptance.contract}, in {outbox}"
    answer(text, asdict(acceptance), as_json)


def witness(*, out: Out, name: Annotated[str, Parameter(name="--name")], as_json: AsJson = False) -> None:
    """Make the folder of a witness that is no site: a key, and witness.json for the operators of logs.

    Args:
        name: Name of the witness, such as regulator.example/witness.
    """
    from clinragen.api.recording import make_witness

    key = make_witness(out, name)
    answer(f"witness {name} in {out}; give {out / 'witness.json'} to the operators of logs", {"key": str(key)}, as_json)


def cosign(
    *,
    ledger: Ledger,
    site: Annotated[Path | None, Parameter(name="--site")] = None,
    witness: Annotated[Path | None, Parameter(name="--witness")] = None,
    outbox: Outbox,
    as_json: AsJson = False,
) -> None:
    """Verify a log, check that it continues what this witness saw before, remember it, and cosign it.

    Args:
        site: Folder of this site, made by `clinragen federate join`.
        witness: In place of --site, folder of a witness that is no site, made by `clinragen ledger witness`.
    """
    from clinragen.api.recording import cosign_ledger

    size = cosign_ledger(ledger, site, outbox, witness=witness)
    answer(f"cosigned {ledger} with {size} entries, in {outbox}", {"size": size, "outbox": outbox}, as_json)


def record(
    *,
    ledger: Ledger,
    federation: Federation,
    inbox: Paths = (),
    networks: Annotated[Paths, Parameter(name="--network")] = (),
    as_json: AsJson = False,
) -> None:
    """Record what is new: what sites stated and chose, rounds that closed, cosignatures of witnesses.

    Args:
        inbox: Outbox of a site, or a copy of it; given once for each.
        networks: Folder of a network's log that is anchored, or a copy; given once for each.
    """
    from clinragen.api.recording import record_ledger

    recorded = record_ledger(ledger, federation, inbox, networks=networks)
    values = {
        "entries": [{"kind": type(body).__name__.lower(), **asdict(body)} for body in recorded.entries],
        "missing": recorded.missing,
        "left_out": recorded.left_out,
        "size": recorded.size,
        "cosigners": recorded.cosigners,
        "quorum": recorded.quorum,
    }
    answer(_text(recorded), values, as_json)


def offer(
    *,
    ledger: Ledger,
    federation: Federation,
    menu: Annotated[Path, Parameter(name="--menu")],
    rounds: WholeNumber,
    first_round: MaybeWholeNumber = None,
    decimals: WholeNumber = 2,
    as_json: AsJson = False,
) -> None:
    """Record a menu of `clinragen contract solve` as a contract, from which sites choose.

    Args:
        menu: JSON or YAML file; its frequencies and rewards are for a period.
        rounds: Rounds of a period.
        first_round: Round with which the first period begins. Default: the one after the last recorded.
        decimals: Of the money that is paid.
    """
    from clinragen.api.recording import offer_contract

    index, contract = offer_contract(ledger, federation, menu, rounds, first_round=first_round, decimals=decimals)
    types = ", ".join(item.type for item in contract.items)
    text = f"contract {index}: {types}; periods of {rounds} rounds from round {contract.first_round} on"
    answer(text, {"contract": index, **asdict(contract)}, as_json)


def pay(*, ledger: Ledger, federation: Federation, as_json: AsJson = False) -> None:
    """Record what each site is due for the periods that ended, by the rounds it delivered to."""
    from clinragen.api.recording import pay_sites

    payments = pay_sites(ledger, federation)
    lines = [
        f"{one.site}: {one.reward} for {one.delivered} updates of the period from round {one.first_round}"
        for one in payments
    ]
    answer("\n".join(lines) or "nothing is due", [asdict(one) for one in payments], as_json)


def add_to(command: App) -> None:
    """Make these functions subcommands of ``clinragen ledger``."""
    command.command(open_, name="open")
    for function in (state, accept, witness, cosign, record, offer, pay):
        command.command(function)


def _text(recorded: Recorded) -> str:
    counts: dict[str, int] = {}
    for body in recorded.entries:
        kind = type(body).__name__.lower()
        counts[kind] = counts.get(kind, 0) + 1
    kinds = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    lines = [f"recorded: {kinds}" if kinds else "nothing new to record"]
    lines += [
        f"round {number} waits for the statement of {', '.join(sites)}" for number, sites in recorded.missing.items()
    ]
    lines += [f"left out: {problem}" for problem in recorded.left_out]
    names = f" ({', '.join(recorded.cosigners)})" if recorded.cosigners else ""
    lines.append(
        f"{recorded.size} entries, cosigned by {len(recorded.cosigners)} of the {recorded.quorum} needed{names}"
    )
    return "\n".join(lines)
