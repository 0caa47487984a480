"""The journal: a teacher's append-only response cache, an fsynced JSONL file keyed by request.

A killed run finds its answers here and requests only the rest. An answer counts as received once ``append`` has
returned; each request carries its journal key as an idempotency key.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, NotRequired, Self, TypedDict

from clinragen import versions
from clinragen.artifacts import sha256_json
from clinragen.errors import UserError
from clinragen.line_file import LineFile
from clinragen.teacher.settings import Parameters


class Record(TypedDict):
    """One answer and its request.

    ``served_by`` is the server's name of its model, ``attempt`` the number of the answer for its rationale, from 0;
    ``usage`` and ``logprobs`` are those of ``completions.Answer``.
    """

    key: str
    stay_id: int
    kind: str
    model: str
    text: str
    finish_reason: str
    usage: dict[str, int]
    served_by: NotRequired[str]
    attempt: NotRequired[int]
    seed: NotRequired[int | None]
    logprobs: NotRequired[list[list[Any]] | None]


#: Required fields of a record.
FIELDS = {"key": str, "stay_id": int, "kind": str, "model": str, "text": str, "finish_reason": str, "usage": dict}

_BITS = 32
_LENGTH = (1 << _BITS) - 1


def key(messages: list[dict[str, str]], model: str, parameters: Parameters, stay_id: int, kind: str) -> str:
    """Hex SHA-256 that identifies one request for one stay."""
    return sha256_json([messages, model, parameters, stay_id, kind])


class Journal:
    """One teacher's answers. A writable journal holds a lock, so that two runs never send the same request.

    Raises:
        UserError: another run writes here, or a line in the middle is damaged. An incomplete last line is removed (a
            journal opened for reading ignores it).
    """

    def __init__(self, path: Path, *, writable: bool = False) -> None:
        self.path = path
        self._index: dict[bytes, int] = {}  # offset and length packed into one integer: half the memory of a pair
        self._pending: list[tuple[bytes, bytes, asyncio.Future[None]]] = []
        self._flusher: asyncio.Task[None] | None = None
        self._writer = ThreadPoolExecutor(1, "journal") if writable else None
        if not writable and not path.exists():
            raise UserError(f"{path} not found: no answer was ever journaled here")
        self._file = LineFile(path, writable=writable, option="--name")
        try:
            self._read(mend=writable)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        self.close()

    def __len__(self) -> int:
        return len(self._index)

    def get(self, name: str) -> Record | None:
        """The record with this key."""
        entry = self._index.get(bytes.fromhex(name))
        return None if entry is None else self._record(entry)

    def records(self) -> Iterator[Record]:
        """All records in order of arrival."""
        for entry in self._index.values():
            yield self._record(entry)

    def _record(self, entry: int) -> Record:
        record = json.loads(self._file.read(entry >> _BITS, entry & _LENGTH))
        record.pop(versions.JOURNAL.key, None)  # it was checked when the line was indexed
        return record

    async def append(self, record: Record) -> None:
        """Store a record; returns when it is on disk. An existing key keeps its record.

        Records that arrive while the disk is busy share one fsync.

        Raises:
            OSError: the disk is full or unavailable; nothing of the record is left in the file.
        """
        name, line = _line(record)
        if name in self._index:
            return
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pending.append((name, line, stored))
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.create_task(self._flush())
        await stored

    def close(self) -> None:
        """Write waiting records, then close the file."""
        if self._writer is not None:
            self._writer.shutdown(wait=True)
            if self._pending:
                self._store([(name, line) for name, line, _ in self._pending])
                self._pending = []
        self._file.close()

    async def _flush(self) -> None:
        loop = asyncio.get_running_loop()
        while self._pending:
            batch, self._pending = self._pending, []
            try:
                await loop.run_in_executor(self._writer, self._store, [(name, line) for name, line, _ in batch])
            except OSError as error:
                for _, _, stored in batch:
                    if not stored.done():
                        stored.set_exception(error)
                continue
            for _, _, stored in batch:
                if not stored.done():
                    stored.set_result(None)

    def _store(self, lines: list[tuple[bytes, bytes]]) -> None:
        first = dict(reversed(lines))
        fresh = [(name, first[name]) for name in dict(lines) if name not in self._index]
        offset = self._file.append(b"".join(line for _, line in fresh))
        for name, line in fresh:
            self._index[name] = offset << _BITS | len(line)
            offset += len(line)

    def _read(self, *, mend: bool) -> None:
        """Fill the index; ``mend`` cuts off what is not intact."""
        offset = 0
        with open(self.path, "rb") as lines:
            for number, line in enumerate(lines, start=1):
                whole = line.endswith(b"\n")
                name = _key_of(line, self.path)
                if name is None and whole:
                    raise UserError(
                        f"{self.path}, line {number}: not a journal record; remove that line to ask for it again"
                    )
                if name is not None and (whole or mend):
                    self._index.setdefault(name, offset << _BITS | len(line))
                    offset += len(line)
        if mend:
            self._file.keep(offset)
            if offset and self._file.read(offset - 1, 1) != b"\n":
                self._file.append(b"\n")  # a complete record that lacks only its newline


def merge(into: Path, others: Iterable[Path]) -> int:
    """Add the records of other journals; the first record of a key is kept. Returns the number of new ones.

    Raises:
        UserError: a journal is missing, damaged or in use.
    """
    added = 0
    with Journal(into, writable=True) as journal:
        for other in others:
            with Journal(other) as source:
                before = len(journal)
                journal._store([_line(record) for record in source.records()])
                added += len(journal) - before
    return added


def _line(record: Record) -> tuple[bytes, bytes]:
    marked = {**record, **versions.JOURNAL.mark}
    text = json.dumps(marked, separators=(",", ":"), ensure_ascii=True)
    return bytes.fromhex(record["key"]), text.encode() + b"\n"


def _key_of(line: bytes, path: Path) -> bytes | None:
    """The key of an intact line, else None.

    Raises:
        UserError: a record of another version of the journal.
    """
    try:
        record = json.loads(line)
        if isinstance(record, dict):
            versions.JOURNAL.check(record, path)
        name = bytes.fromhex(record["key"])
        return name if len(name) == 32 and _sound(record) else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _sound(record: dict[str, Any]) -> bool:
    """Whether every field has its type, so that later readers need not check."""
    logprobs = record.get("logprobs")
    return (
        all(isinstance(record[field], kind) for field, kind in FIELDS.items())
        and all(isinstance(count, int) for count in record["usage"].values())
        and isinstance(record.get("served_by", ""), str)
        and (logprobs is None or (isinstance(logprobs, list) and all(map(_step, logprobs))))
    )


def _step(step: Any) -> bool:
    """Whether a value is [token, log-probability, alternatives]."""
    return (
        isinstance(step, list)
        and len(step) == 3
        and isinstance(step[0], str)
        and isinstance(step[1], int | float)
        and isinstance(step[2], list)
    )
