"""``clinragen ledger``: record, verify, show and prove what a federation's hospitals sent, combined and paid."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from clinragen.command_line import answer
from clinragen.commands import _ledger_writing
from clinragen.errors import UserError
from clinragen.options import AsJson, Flag, MaybeWholeNumber, Paths, Texts, WholeNumber

if TYPE_CHECKING:
    from clinragen.ledger.entries import Entry
    from clinragen.ledger.folder import UnsoundError
    from clinragen.ledger.verification import Report

command = App(
    name="ledger", help="Record, verify, show and prove what a federation's hospitals sent, combined and paid."
)
_ledger_writing.add_to(command)

Ledger = Annotated[Path, Parameter(name="--ledger", help="Folder of a log.")]
Trusted = Annotated[
    Path | None,
    Parameter(name="--trust", help="File with the keys to trust, from `show --write-trust`. Default: the log's word."),
]


@command.command
def verify(
    *,
    ledger: Annotated[Path | None, Parameter(name="--ledger")] = None,
    proof: Annotated[Path | None, Parameter(name="--proof")] = None,
    trust: Trusted = None,
    checkpoints: Annotated[Paths, Parameter(name="--checkpoint")] = (),
    networks: Annotated[Paths, Parameter(name="--network")] = (),
    aggregates: Annotated[Texts, Parameter(name="--aggregate")] = (),
    allow_unwitnessed: Flag = False,
    as_json: AsJson = False,
) -> int:
    """Check every signature, hash, sequence, anchor, quorum and payment of a log, and name the first bad entry.

    Ends with 1 if the log is not sound. What no log can show, that data are honest, is said.

    Args:
        ledger: Folder of the log.
        proof: In place of --ledger, a file written by `clinragen ledger prove`; needs --trust.
        checkpoints: File with a checkpoint of the log that was kept elsewhere; shows a log that was cut off or
            rewritten. May be repeated.
        networks: Folder of a log whose checkpoints it anchors. May be repeated.
        aggregates: ROUND=FILE, the model after a round, whose hash is compared. May be repeated.
        allow_unwitnessed: Accept entries that no quorum of witnesses has cosigned yet.
    """
    from clinragen.ledger.folder import UnsoundError

    if (ledger is None) == (proof is None):
        raise UserError("expected either --ledger, a folder, or --proof, a file")
    if proof is not None:
        return _verify_proof(proof, trust, checkpoints, as_json)
    from clinragen.api.ledger import verify_ledger

    assert ledger is not None
    try:
        report = verify_ledger(
            ledger,
            trust=trust,
            checkpoints=checkpoints,
            networks=networks,
            aggregates=dict(_numbered(text) for text in aggregates),
            allow_unwitnessed=allow_unwitnessed,
            progress=True,
        )
    except UnsoundError as error:
        answer(f"not sound: {error}", _problem(error), as_json)
        return 1
    answer(_text(report), {"sound": True, **asdict(report)}, as_json)
    return 0


@command.command
def show(
    *,
    ledger: Ledger,
    trust: Trusted = None,
    entry: MaybeWholeNumber = None,
    kind: str | None = None,
    last: WholeNumber = 20,
    write_trust: Path | None = None,
    write_checkpoint: Path | None = None,
    as_json: AsJson = False,
) -> None:
    """List the entries of a log, or write its keys or its newest checkpoint for those who verify it.

    Args:
        entry: Index of one entry, shown in full.
        kind: Only entries of a kind: opening, update, anchor, aggregate, contract, acceptance, payment.
        last: How many entries, from the end; 0: all.
        write_trust: File to write with the keys of the log and its witnesses, to be given to those who verify.
        write_checkpoint: File to write with the newest checkpoint, to be kept elsewhere.
    """
    from clinragen.api.ledger import open_ledger
    from clinragen.artifacts import write_text
    from clinragen.errors import unknown_choice
    from clinragen.ledger.entries import KINDS

    if kind is not None and kind not in KINDS:
        raise unknown_choice("kind of entry", kind, KINDS)
    log = open_ledger(ledger, trust=trust, progress=True)
    if write_trust:
        log.trust.write(write_trust)
    if write_checkpoint:
        write_text(write_checkpoint, str(log.newest()))
    rows = [(index, one) for index, one in log.entries() if kind in (None, one.kind) and entry in (None, index)]
    if entry is not None and not rows:
        raise UserError(f"{ledger} has no such entry {entry}: it has {len(log.tree)}, from 0 on")
    rows = rows[-last:] if last else rows
    text = "\n".join(_line(index, one, whole=entry is not None) for index, one in rows)
    answer(text, [{"index": index, "kind": one.kind, **asdict(one.body)} for index, one in rows], as_json)


@command.command
def prove(
    *,
    ledger: Ledger,
    out: Annotated[Path, Parameter(name="--out", help="File to write.")],
    entry: MaybeWholeNumber = None,
    since: Path | None = None,
    as_json: AsJson = False,
) -> None:
    """Write a proof that an entry is in a log, or that the log only grew, for one who has its keys and not the log.

    Args:
        entry: Index of the entry.
        since: In place of --entry, a file with an earlier checkpoint, from `show --write-checkpoint`.
    """
    from clinragen.api.ledger import prove_ledger

    proof = prove_ledger(ledger, out, entry=entry, since=since, progress=True)
    what = f"entry {entry}" if entry is not None else f"that it only grew since {since}"
    answer(f"{out}: proof of {what}, {len(proof.hashes)} hashes", {"out": out, **asdict(proof)}, as_json)


def _verify_proof(proof: Path, trust: Path | None, checkpoints: tuple[Path, ...], as_json: bool) -> int:
    from clinragen.api.ledger import check_ledger_proof

    if trust is None or len(checkpoints) > 1:
        raise UserError("--proof needs --trust, the keys of the log, and takes at most one --checkpoint")
    proven = check_ledger_proof(proof, trust, checkpoint=checkpoints[0] if checkpoints else None)
    state = f"{proven.checkpoint.origin} with {proven.checkpoint.size} entries"
    values: dict[str, Any] = {"proven": True, "origin": proven.checkpoint.origin, "size": proven.checkpoint.size}
    if proven.entry is not None and proven.index is not None:
        values |= {"index": proven.index, "kind": proven.entry.kind, **asdict(proven.entry.body)}
        answer(f"proven: in {state} is\n{_line(proven.index, proven.entry, whole=True)}", values, as_json)
    elif proven.earlier is not None:
        text = f"proven: {state} continues that with {proven.earlier.size} entries"
        answer(text, values | {"earlier": proven.earlier.size}, as_json)
    return 0


def _numbered(text: str) -> tuple[int, str]:
    number, _, path = text.partition("=")
    if not number.isdecimal() or not path:
        raise UserError(f"--aggregate {text}: expected ROUND=FILE, such as 3=PATH/TO/FILE")
    return int(number), path


def _problem(error: UnsoundError) -> dict[str, Any]:
    return {"sound": False, "log": str(error.log), "first": error.first, "last": error.last, "problem": error.why}


def _text(report: Report) -> str:
    lines = []
    for one in (report, *report.networks):
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(one.kinds.items()))
        lines.append(f"{one.log}: sound, {one.size} entries ({kinds}), {one.signatures} signatures verified")
        lines.append(f"  {one.origin}, root {one.root}; the first {one.witnessed} entries are cosigned by a quorum")
    if report.aggregates:
        lines.append(f"aggregates with the right hash: rounds {', '.join(map(str, report.aggregates))}")
    lines += [f"unpaid: {site}, contract {number}, period from round {first}" for site, number, first in report.unpaid]
    return "\n".join([*lines, *report.unproven])


def _line(index: int, entry: Entry, *, whole: bool) -> str:
    """An entry in a line; hashes and lists are shortened unless it is to be shown whole."""
    parts = []
    for name, value in asdict(entry.body).items():
        if isinstance(value, list) and not whole:
            parts.append(f"{len(value)} {name}")
        elif isinstance(value, str) and len(value) > 60 and not whole:
            parts.append(f"{name} {value[:12].splitlines()[0]}...")
        elif not isinstance(value, dict) or whole:
            parts.append(f"{name} {value}")
    return f"{index:>6}  {entry.kind:<10}  {', '.join(parts)}"
