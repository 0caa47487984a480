"""Writing the ledger of a federation, from Python: what its operator, its sites and its witnesses do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from clinragen.api.ledger import open_ledger
from clinragen.errors import UserError

if TYPE_CHECKING:
    from clinragen.contracts.menu import Menu
    from clinragen.federation.recording import Recorded
    from clinragen.ledger.entries import Acceptance, Contract, Payment
    from clinragen.ledger.log import Log
    from clinragen.signing import PublicKey


def begin_ledger(
    federation: str | Path,
    out: str | Path,
    *,
    name: str | None = None,
    sites: Sequence[str] = (),
    networks: Sequence[str | Path] = (),
    witnesses: Sequence[str | Path] = (),
    quorum: int | None = None,
) -> Log:
    """Begin the log of a federation, whose sites are its witnesses, and others besides.

    Its key is written to the federation's folder.

    Args:
        federation: the coordinator's folder with an open round, or a copy of its ``federation.json`` and ``outbox``.
        out: folder of the log, new.
        name: of the log; by default that of the federation with ``/log``.
        sites: names of the members whose statements it records; by default all.
        networks: files with the keys of the logs that it anchors.
        witnesses: the ``witness.json`` of each witness that is no site.
        quorum: how many witnesses have to cosign; by default more than half of them.
    """
    from clinragen.federation.recording import begin
    from clinragen.ledger.checkpoints import Trust
    from clinragen.ledger.witness import read_witness

    trusts = [Trust.read(Path(path)) for path in networks]
    keys = [read_witness(Path(path)) for path in witnesses]
    return begin(Path(federation), Path(out), name=name, sites=sites, networks=trusts, witnesses=keys, quorum=quorum)


def make_witness(out: str | Path, name: str) -> PublicKey:
    """Make the folder of a witness that is no site: its key, and the ``witness.json`` that operators of logs need.

    Args:
        out: the folder, new; its key is never replaced.
        name: of the witness.
    """
    from clinragen.ledger.witness import Witness

    return Witness.create(Path(out), name).key.public


def state_updates(ledger: str | Path, site: str | Path, outbox: str | Path) -> list[int]:
    """State to a log what a site has sent, signed with its key; the rounds.

    Args:
        ledger: a copy of the log.
        site: folder of the site.
        outbox: folder for what leaves the site.
    """
    from clinragen.federation.site import Site
    from clinragen.federation.statements import state

    return state(Site.open(Path(site)), open_ledger(ledger), Path(outbox))


def accept_item(
    ledger: str | Path, site: str | Path, item: str, outbox: str | Path, *, contract: int | None = None
) -> Acceptance:
    """Choose an item of a contract, signed with the key of the site.

    Args:
        ledger: a copy of the log.
        site: folder of the site.
        item: type of the item.
        outbox: folder for what leaves the site.
        contract: index of the contract's entry; by default that of the newest.
    """
    from clinragen.federation.site import Site
    from clinragen.federation.statements import accept

    return accept(Site.open(Path(site)), open_ledger(ledger), item, Path(outbox), contract)


def cosign_ledger(
    ledger: str | Path, site: str | Path | None, outbox: str | Path, *, witness: str | Path | None = None
) -> int:
    """Cosign the newest checkpoint of a log as its witness; the number of its entries.

    Args:
        ledger: a copy of the log.
        site: folder of the site, which keeps what it saw; None with ``witness``.
        outbox: folder for what leaves the site or the witness.
        witness: in place of ``site``, folder of a witness that is no site.

    Raises:
        UserError: not one of ``site`` and ``witness``, or it is no witness of the log.
        UnsoundError: the log does not continue what it saw.
    """
    from clinragen.federation.site import Site
    from clinragen.federation.statements import cosignature
    from clinragen.ledger.witness import Witness

    if (site is None) == (witness is None):
        raise UserError("expected either --site, the folder of a site, or --witness, that of another witness")
    if site is not None:
        opened = Site.open(Path(site))
        signer = Witness(opened.root, opened.key)
    else:
        signer = Witness.open(Path(str(witness)))
    return cosignature(signer, open_ledger(ledger), Path(outbox))


def record_ledger(
    ledger: str | Path,
    federation: str | Path,
    inboxes: Sequence[str | Path] = (),
    *,
    networks: Sequence[str | Path] = (),
) -> Recorded:
    """Record what is new: statements of sites, aggregates of closed rounds, cosignatures of witnesses.

    Args:
        ledger: the log.
        federation: the coordinator's folder, or a copy, with the key of the log.
        inboxes: outboxes of sites, or copies of them.
        networks: folders of the logs that it anchors, or copies of them.
    """
    from clinragen.federation.recording import Operator, record

    folders, others = [Path(inbox) for inbox in inboxes], [Path(network) for network in networks]
    return record(Operator.open(Path(federation)), Path(ledger), folders, others)


def offer_contract(
    ledger: str | Path,
    federation: str | Path,
    menu: str | Path | Menu,
    rounds: int,
    *,
    first_round: int | None = None,
    decimals: int = 2,
) -> tuple[int, Contract]:
    """Record a menu as a contract; the index of its entry, and the contract.

    Args:
        ledger: the log.
        federation: the coordinator's folder, or a copy, with the key of the log.
        menu: a JSON or YAML file, or a menu.
        rounds: of a period.
        first_round: with which the first period begins; by default the round after the last recorded.
        decimals: of the money that is paid.
    """
    from clinragen.api.contracts import open_menu
    from clinragen.federation.recording import Operator, offer

    return offer(Operator.open(Path(federation)), Path(ledger), open_menu(menu), rounds, first_round, decimals)


def pay_sites(ledger: str | Path, federation: str | Path) -> list[Payment]:
    """Record what sites are due for periods that ended, by what they delivered; the payments.

    Args:
        ledger: the log.
        federation: the coordinator's folder, or a copy, with the key of the log.
    """
    from clinragen.federation.recording import Operator, pay

    return pay(Operator.open(Path(federation)), Path(ledger))
