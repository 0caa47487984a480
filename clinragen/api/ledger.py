"""The ledger of a federation from Python: verify it, prove an entry, check a proof."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from clinragen.api.values import console
from clinragen.errors import UserError

if TYPE_CHECKING:
    from clinragen.ledger.log import Log
    from clinragen.ledger.proofs import Proof, Proven
    from clinragen.ledger.verification import Report


def verify_ledger(
    ledger: str | Path,
    *,
    trust: str | Path | None = None,
    checkpoints: Sequence[str | Path] = (),
    networks: Sequence[str | Path] = (),
    aggregates: Mapping[int, str | Path] | None = None,
    allow_unwitnessed: bool = False,
    progress: bool = False,
) -> Report:
    """Verify every signature, hash, sequence, anchor, quorum and payment of a log.

    Args:
        ledger: folder of the log.
        trust: file with the keys whose signatures count; those that the log itself names by default.
        checkpoints: files with checkpoints that were kept elsewhere: the log has to continue each.
        networks: folders of the logs that it anchors.
        aggregates: round -> file of the model after it.
        allow_unwitnessed: accept entries after the last checkpoint that a quorum cosigned.
        progress: whether to show how many entries were read.

    Raises:
        UserError: a folder or file is missing or malformed.
        UnsoundError: a UserError with the first bad entry, from ``clinragen.ledger.folder``.
    """
    from clinragen.ledger.checkpoints import Trust
    from clinragen.ledger.verification import verify
    from clinragen.ledger.witness import read_note

    with _counting(progress) as counted:
        return verify(
            Path(ledger),
            trust=Trust.read(Path(trust)) if trust is not None else None,
            remembered=[read_note(Path(path)) for path in checkpoints],
            networks=[Path(folder) for folder in networks],
            aggregates={number: Path(path) for number, path in (aggregates or {}).items()},
            unwitnessed=allow_unwitnessed,
            progress=counted,
        )


def open_ledger(ledger: str | Path, *, trust: str | Path | None = None, progress: bool = False) -> Log:
    """A log that was read and found sound, without its witnesses and networks.

    Args:
        ledger: folder of the log.
        trust: file with the keys whose signatures count; those that the log itself names by default.
        progress: whether to show how many entries were read.

    Raises:
        UserError: there is no log.
        UnsoundError: a UserError with the first bad entry, from ``clinragen.ledger.folder``.
    """
    from clinragen.ledger.checkpoints import Trust
    from clinragen.ledger.log import Log

    with _counting(progress) as counted:
        return Log(Path(ledger), Trust.read(Path(trust)) if trust is not None else None, counted)


def prove_ledger(
    ledger: str | Path,
    out: str | Path,
    *,
    entry: int | None = None,
    since: str | Path | None = None,
    progress: bool = False,
) -> Proof:
    """Write a proof that an entry is in a log, or that the log only grew since a checkpoint.

    Args:
        ledger: folder of the log.
        out: file to write.
        entry: index of the entry.
        since: in place of ``entry``, a file with an earlier checkpoint.
        progress: whether to show how many entries were read.

    Raises:
        UserError: not one of ``entry`` and ``since``, there is no such entry, or the file exists.
        UnsoundError: the log is not sound, or does not continue the checkpoint.
    """
    from clinragen.ledger.proofs import prove_consistency, prove_inclusion
    from clinragen.ledger.witness import read_note

    if (entry is None) == (since is None):
        raise UserError("expected either --entry, an index, or --since, an earlier checkpoint")
    if Path(out).exists():
        raise UserError(f"--out {out} already exists: choose another name")
    log = open_ledger(ledger, progress=progress)
    proof = prove_inclusion(log, entry) if entry is not None else prove_consistency(log, read_note(Path(str(since))))
    proof.write(Path(out))
    return proof


def check_ledger_proof(proof: str | Path, trust: str | Path, *, checkpoint: str | Path | None = None) -> Proven:
    """What a proof shows, by the keys of the log alone.

    Args:
        proof: file written by ``prove_ledger``.
        trust: file with the keys whose signatures count.
        checkpoint: file with a checkpoint that one has: the state in which an entry is, or the earlier of two states.

    Raises:
        UserError: it shows nothing; why.
    """
    from clinragen.ledger.checkpoints import Trust
    from clinragen.ledger.proofs import Proof, check
    from clinragen.ledger.witness import read_note

    given = read_note(Path(checkpoint)) if checkpoint is not None else None
    try:
        return check(Proof.read(Path(proof)), Trust.read(Path(trust)), given)
    except UserError as error:
        raise UserError(f"{proof}: {error}" if str(proof) not in str(error) else str(error)) from None


@contextmanager
def _counting(progress: bool) -> Iterator[Callable[[int], None]]:
    """Show how many entries were read, on standard error, for as long as it takes."""
    from rich.progress import Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.completed:,} entries verified"), TimeElapsedColumn())
    with Progress(*columns, console=console(progress), transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda size: bar.update(task, completed=size)
