"""A log that is read, checked and appended to: every hash, signature, sequence and rule of each batch in turn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from clinragen.errors import UserError
from clinragen.ledger.checkpoints import Checkpoint, Trust
from clinragen.ledger.entries import Anchor, Entry, Opening, OtherIndexError, parse_entry
from clinragen.ledger.folder import Batch, LogFolder, UnsoundError
from clinragen.ledger.history import ForgedError, History
from clinragen.ledger.merkle import Tree, leaf_hash
from clinragen.signing import Note, PrivateKey, to_base64


class Log:
    """A log as far as it was read and found sound.

    Args:
        path: its folder.
        trust: whose signatures count; those that the log itself names by default, which then is taken at its word.
        progress: called with the number of entries after each batch.

    Attributes:
        path: its folder.
        trust: whose signatures count.
        history: what the entries say.
        tree: over the entries.
        checkpoints: after each batch, by size.

    Raises:
        UserError: no log.
        UnsoundError: it is not sound; the first bad entry.
    """

    def __init__(self, path: Path, trust: Trust | None = None, progress: Callable[[int], None] | None = None) -> None:
        self.path, self.folder = path, LogFolder(path)
        self._clear()
        self.trust = trust or self._self_declared()
        self.refresh(progress)

    @classmethod
    def create(cls, path: Path, opening: Opening, key: PrivateKey) -> Log:
        """Begin a log.

        Args:
            path: a folder that does not exist or is empty.
            opening: its first entry.
            key: of the log, whose public key the opening names.

        Raises:
            UserError: there is a log, the key is another, or the opening breaks a rule.
        """
        log = cls.__new__(cls)
        log.path, log.folder, log.trust = path, LogFolder(path), opening.log
        if log.folder.exists() and log.folder.starts():
            raise UserError(f"{path} holds a log: choose another folder")
        log._clear()
        log.append([Entry(opening)], key)
        return log

    @property
    def checkpoint(self) -> Checkpoint:
        """The state of the log."""
        return Checkpoint(self.trust.origin, len(self.tree), self.tree.root())

    def refresh(self, progress: Callable[[int], None] | None = None) -> None:
        """Read and check what was appended since.

        Raises:
            UserError: there is no entry.
            UnsoundError: it is not sound; the first bad entry.
        """
        for first in self.folder.starts():
            if first in self._starts:
                continue
            if first != len(self.tree):
                raise UnsoundError(self.path, len(self.tree), "it is missing: no batch begins with it")
            self._take(self.folder.batch(first))
            if progress:
                progress(len(self.tree))
        if not len(self.tree):
            raise UserError(f"{self.path} holds no entry: expected a log that was begun")

    def append(self, entries: Iterable[Entry], key: PrivateKey) -> Note:
        """Append entries, all or none, and sign the checkpoint after them.

        Args:
            entries: in their order. Their rules are those of ``History``.
            key: of the log.

        Returns:
            the checkpoint, to be cosigned.

        Raises:
            UserError: the key is another, or an entry breaks a rule: then nothing is written.
        """
        if key.public != self.trust.log_key:
            raise UserError(f"{self.path}: the log is that of the key of {self.trust.origin}, not of {key.name}")
        with self.folder.locked():
            if self.folder.starts():
                self.refresh()
            first = len(self.tree)
            try:
                lines = self._added(entries, first)
                note = Note(self.checkpoint.text).signed(key)
                self.folder.write_batch(first, lines, note)
            except BaseException:
                self._clear()
                if self.folder.starts():
                    self.refresh()
                raise
            self._starts.add(first)
            self.checkpoints[len(self.tree)] = note
        return note

    def entries(self) -> Iterator[tuple[int, Entry]]:
        """Index and entry of all that was read, in order."""
        for first in sorted(self._starts):
            for index, line in enumerate(self.folder.batch(first).lines, first):
                yield index, parse_entry(line, index)

    def line(self, index: int) -> bytes:
        """The line of an entry, which is hashed as a leaf of the tree."""
        first = max(start for start in self._starts if start <= index)
        return self.folder.batch(first).lines[index - first]

    def newest(self) -> Note:
        """The newest checkpoint, with the cosignatures that it has."""
        size = len(self.tree)
        return Note.parse(self.folder.note(size)) if size in self.folder.sizes() else self.checkpoints[size]

    def anchor(self, other: Log) -> Anchor:
        """The entry that anchors the newest checkpoint of a network's log, which a quorum has cosigned, in this one.

        Raises:
            UserError: too few witnesses cosigned it.
        """
        note, size = other.newest(), len(other.tree)
        other.trust.witnessed(note)
        before = self.history.anchored.get(other.trust.origin)
        proof = other.tree.consistency(before.size, size) if before and before.size <= size else []
        return Anchor(str(note), [to_base64(part) for part in proof])

    def _added(self, entries: Iterable[Entry], first: int) -> list[bytes]:
        """Lines of entries that were made part of history and tree."""
        lines = []
        for index, entry in enumerate(entries, first):
            line = entry.line(index)
            try:
                self.history.add(index, parse_entry(line, index))
            except UserError as error:
                raise UserError(f"{self.path}: entry {index} is refused, and nothing was appended: {error}") from None
            self.tree.append(leaf_hash(line))
            lines.append(line)
        if not lines:
            raise UserError(f"{self.path}: no entries to append")
        if self.history.opening and self.history.opening.log != self.trust:
            raise UserError(f"{self.path}: the opening names other keys than those to trust")
        return lines

    def _clear(self) -> None:
        self.history, self.tree = History(), Tree()
        self.checkpoints: dict[int, Note] = {}
        self._starts: set[int] = set()

    def _self_declared(self) -> Trust:
        """The keys that the first entry names."""
        if not self.folder.starts():
            raise UserError(f"{self.path} holds no entry: expected a log that was begun")
        try:
            entry = parse_entry(self.folder.batch(0).lines[0], 0)
        except UnsoundError:
            raise
        except UserError as error:
            raise UnsoundError(self.path, 0, str(error)) from None
        if not isinstance(entry.body, Opening):
            raise UnsoundError(self.path, 0, "a log begins with an opening")
        return entry.body.log

    def _take(self, batch: Batch) -> None:
        """Check a batch and make it part of the log."""
        for index, line in enumerate(batch.lines, batch.first):
            self.tree.append(batch.leaves[index - batch.first])
            self._take_line(batch, index, line)
        self.checkpoints[batch.size] = self._sealed(batch)
        self._starts.add(batch.first)

    def _take_line(self, batch: Batch, index: int, line: bytes) -> None:
        try:
            self.history.add(index, parse_entry(line, index))
        except OtherIndexError as error:  # where it repeats the index before, either of the two was put in
            raise UnsoundError(self.path, index - (error.stated == index - 1), str(error), index) from None
        except ForgedError as error:  # by the keys of an opening, which this batch may not prove
            doubtful = batch.first == 0 and not self._proven(batch)
            raise UnsoundError(self.path, 0 if doubtful else index, str(error), index) from None
        except UserError as error:
            raise UnsoundError(self.path, index, str(error)) from None
        if index == 0 and self.history.opening and self.history.opening.log != self.trust:
            raise UnsoundError(
                self.path, 0, "the log names other keys, witnesses or another quorum than those to trust"
            )

    def _sealed(self, batch: Batch) -> Note:
        """The checkpoint of a batch whose entries are in the tree."""
        last = batch.size - 1
        try:
            note = Note.parse(batch.note)
            checkpoint = self.trust.signed(note)
        except UserError as error:
            raise UnsoundError(self.path, batch.first, f"the checkpoint after it: {error}", last) from None
        if checkpoint.size != batch.size:
            why = f"the checkpoint after it is of {checkpoint.size} entries, and there are {batch.size}"
            raise UnsoundError(self.path, max(batch.first, min(checkpoint.size, batch.size)), why)
        if checkpoint.root != self.tree.root():
            raise UnsoundError(self.path, batch.first, "the signed root is another: an entry was rewritten", last)
        return note

    def _proven(self, batch: Batch) -> bool:
        """Whether the entries of the first batch are those that the log signed."""
        try:
            return self.trust.signed(Note.parse(batch.note)).root == Tree(batch.leaves).root()
        except UserError:
            return False
