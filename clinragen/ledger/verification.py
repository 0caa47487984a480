"""The verification of a whole ledger: a log, what witnesses cosigned, and the logs of networks that it anchors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from clinragen.artifacts import sha256_file
from clinragen.errors import UserError
from clinragen.ledger.checkpoints import Trust
from clinragen.ledger.folder import UnsoundError
from clinragen.ledger.history import History
from clinragen.ledger.log import Log
from clinragen.ledger.witness import continues
from clinragen.signing import Note

HONESTY = (
    "Not proven: that data, counts and updates are honest. The log shows who stated what, not that it is true.",
    "Not proven: that a site was told of every round, or that what never reached a log was sent.",
)


@dataclass(frozen=True)
class Report:
    """A log that is sound.

    Attributes:
        log: its folder.
        origin: its name.
        size: number of entries.
        root: of the tree, in hex.
        witnessed: size of the newest checkpoint that a quorum cosigned; 0 if there is none.
        kinds: how many entries there are of each kind.
        signatures: how many were verified.
        unpaid: (site, index of the contract, first round) of periods that ended and were not paid.
        aggregates: rounds whose file was given and has the hash that the log says.
        networks: of the logs of networks that were given.
        unproven: what this verification does not show, a sentence each.
    """

    log: str
    origin: str
    size: int
    root: str
    witnessed: int
    kinds: dict[str, int]
    signatures: int
    unpaid: tuple[tuple[str, int, int], ...]
    aggregates: tuple[int, ...] = ()
    networks: tuple[Report, ...] = ()
    unproven: tuple[str, ...] = ()


def verify(
    path: Path,
    *,
    trust: Trust | None = None,
    remembered: Sequence[Note] = (),
    networks: Sequence[Path] = (),
    aggregates: Mapping[int, Path] | None = None,
    unwitnessed: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Report:
    """Verify every signature, hash, sequence, anchor, quorum and payment of a log.

    Args:
        path: folder of the log.
        trust: whose signatures count; those that the log itself names by default.
        remembered: checkpoints of the log that were kept elsewhere: it has to continue each.
        networks: folders of logs whose checkpoints it anchors.
        aggregates: round -> file of the model after it.
        unwitnessed: accept entries after the last checkpoint that a quorum cosigned.
        progress: called with the number of entries that were read.

    Raises:
        UserError: a folder or file is missing, or a remembered checkpoint is not of this log.
        UnsoundError: the first bad entry.
    """
    log = Log(path, trust, progress)
    cosigned, witnessed = _cosigned(log)
    seen = _remembered(log, remembered)
    if log.trust.quorum and witnessed < len(log.tree) and not unwitnessed:
        why = f"no checkpoint that includes it is cosigned by the {log.trust.quorum} witnesses that are needed"
        raise UnsoundError(path, witnessed, why)
    others = {other.trust.origin: other for other in (_network(log, folder, progress) for folder in networks)}
    for other in others.values():
        _check_anchors(log, other)
    _check_parts(log, others)
    rounds = _check_files(log, aggregates or {})
    return replace(
        _report(log, cosigned, witnessed, seen),
        aggregates=rounds,
        networks=tuple(_report(other, *_cosigned(other)) for other in others.values()),
        unproven=_unproven(log, trust is not None, bool(seen), set(others), rounds),
    )


def _report(log: Log, cosigned: int, witnessed: int, seen: int = 0) -> Report:
    """What was verified of a log."""
    return Report(
        log=str(log.path),
        origin=log.trust.origin,
        size=len(log.tree),
        root=log.tree.root().hex(),
        witnessed=witnessed,
        kinds=dict(log.history.kinds),
        signatures=log.history.signatures + len(log.checkpoints) + cosigned + seen,
        unpaid=tuple(log.history.unpaid()),
    )


def _remembered(log: Log, notes: Sequence[Note]) -> int:
    """Check that a log continues checkpoints that were kept elsewhere; how many."""
    sound = 0
    for checkpoint in sorted((log.trust.signed(note) for note in notes), key=lambda checkpoint: checkpoint.size):
        continues(log, checkpoint, sound)
        sound = checkpoint.size
    return len(notes)


def _cosigned(log: Log) -> tuple[int, int]:
    """Check the cosigned checkpoints in the folder: how many signatures, and the size that a quorum witnessed."""
    signatures, witnessed, sound = 0, 0, 0
    for size in log.folder.sizes():
        try:
            note = Note.parse(log.folder.note(size))
            checkpoint = log.trust.signed(note)
        except UserError as error:
            raise UnsoundError(
                log.path, sound, f"the cosigned checkpoint of {size} entries: {error}", size - 1
            ) from None
        if checkpoint.size != size:
            raise UnsoundError(
                log.path, sound, f"the checkpoint of {checkpoint.size} entries is called {size}", size - 1
            )
        continues(log, checkpoint, sound, "cosigned")
        if size not in log.checkpoints:
            raise UnsoundError(
                log.path, sound, f"a checkpoint of {size} entries was cosigned, and no batch ends there", size
            )
        signatures, sound = signatures + len(note.signatures), size
        if len(log.trust.cosigners(note)) >= log.trust.quorum:
            witnessed = size
    return signatures, witnessed


def _network(main: Log, folder: Path, progress: Callable[[int], None] | None) -> Log:
    """The log of a network, whose keys have to be those that the main log names."""
    other = Log(folder, progress=progress)
    expected = main.history.networks.get(other.trust.origin)
    if expected is None:
        raise UserError(f"{folder} is the log of {other.trust.origin}, which {main.path} does not name as a network")
    if expected != other.trust:
        raise UnsoundError(folder, 0, f"it names other keys or another quorum than {main.path} does")
    return other


def _check_anchors(main: Log, other: Log) -> None:
    sound = 0
    for _, checkpoint in main.history.anchors:
        if checkpoint.origin == other.trust.origin:
            continues(other, checkpoint, sound, f"checkpoint that {main.trust.origin} anchors, a")
            sound = checkpoint.size


def _check_parts(main: Log, others: Mapping[str, Log]) -> None:
    """Check that what aggregates were made from is stated in the anchored part of the logs that were given."""
    homes: dict[str, list[Log]] = {}
    for other in others.values():
        for site in other.history.sites:
            homes.setdefault(site, []).append(other)
    complete = bool(others) and others.keys() >= main.history.networks.keys()
    anchored: dict[str, int] = {}
    anchors, before = main.history.anchors, 0
    for index, aggregate in main.history.aggregates.values():
        while before < len(anchors) and anchors[before][0] < index:
            checkpoint = anchors[before][1]
            anchored[checkpoint.origin] = checkpoint.size
            before += 1
        for part in aggregate.updates:
            if part.site not in homes and not complete:
                continue  # of a network whose log was not given
            records = [
                record
                for home in homes.get(part.site, [])
                if (record := home.history.updates.get((part.site, aggregate.round)))
                and record[0] < anchored.get(home.trust.origin, 0)
            ]
            try:
                History.check_part(aggregate, part, records[0] if records else None)
            except UserError as error:
                raise UnsoundError(main.path, index, str(error)) from None


def _check_files(log: Log, files: Mapping[int, Path]) -> tuple[int, ...]:
    for number, path in sorted(files.items()):
        if number not in log.history.aggregates:
            raise UserError(f"{path}: the log has no aggregate of round {number}")
        index, aggregate = log.history.aggregates[number]
        if not path.is_file():
            raise UserError(f"{path} not found: expected the model after round {number}")
        if sha256_file(path) != aggregate.aggregate:
            raise UnsoundError(log.path, index, f"{path} is not the model after round {number}: its hash is another")
    return tuple(sorted(files))


def _unproven(log: Log, trusted: bool, remembered: bool, given: set[str], rounds: tuple[int, ...]) -> tuple[str, ...]:
    statements: list[str] = [*HONESTY]
    if not trusted:
        statements.append("Not proven: that the keys are right. They are those that the log itself names (--trust).")
    if not remembered:
        statements.append(
            "Not proven: that nothing was cut off at the end, or that others see the same log (--checkpoint)."
        )
    if absent := sorted(log.history.networks.keys() - given):
        statements.append(f"Not proven: that updates were stated in the logs of {', '.join(absent)} (--network).")
    if unseen := len(log.history.aggregates) - len(rounds):
        statements.append(f"Not proven: that {unseen} aggregates are the files that were used (--aggregate).")
    return tuple(statements)
