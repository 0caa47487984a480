"""Attacks on a log's folder, each with what a verifier has to name: the first bad entry."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from consortium import Consortium, Party, digest, key_of

from clinragen.ledger.checkpoints import Checkpoint, Trust
from clinragen.ledger.entries import Aggregate, Payment, parse_entry
from clinragen.ledger.folder import LogFolder, UnsoundError
from clinragen.ledger.merkle import Tree, leaf_hash
from clinragen.ledger.verification import verify
from clinragen.signing import Note, PrivateKey, canonical_json


@dataclass(frozen=True)
class Attack:
    """What was done to a log.

    Attributes:
        name: of the attack.
        first: index of the first entry that is bad or missing, if it is an entry that was attacked.
        span: entries under the checkpoint that was attacked, if it is a checkpoint.
        remembered: checkpoints that the verifier has from before.
    """

    name: str
    first: int | None = None
    span: tuple[int, int] | None = None
    remembered: tuple[Note, ...] = ()

    def named(self, error: UnsoundError) -> bool:
        """Whether an error names the first bad entry, alone or among others."""
        if self.first is not None:
            return error.first <= self.first <= error.last
        assert self.span
        return error.first <= self.span[1] + 1 and error.last >= self.span[0]

    def named_exactly(self, error: UnsoundError) -> bool:
        """Whether an error names the first bad entry alone."""
        return self.first is not None and error.first == error.last == self.first


class Files:
    """The batches of a log as lines that can be changed and written again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        folder = LogFolder(path)
        self.batches = [folder.batch(first) for first in folder.starts()]
        self.lines = [[bytes(line) for line in batch.lines] for batch in self.batches]
        self.hashes = [[leaf.hex() for leaf in batch.leaves] for batch in self.batches]
        self.notes = [batch.note for batch in self.batches]

    @property
    def size(self) -> int:
        return self.batches[-1].size

    def spot(self, index: int) -> tuple[int, int]:
        """(batch, line) of an entry."""
        number = max(number for number, batch in enumerate(self.batches) if batch.first <= index)
        return number, index - self.batches[number].first

    def put(self, index: int, line: bytes) -> None:
        """Replace an entry and the hash beside it."""
        number, row = self.spot(index)
        self.lines[number][row], self.hashes[number][row] = line, leaf_hash(line).hex()

    def write(self) -> None:
        for number, batch in enumerate(self.batches):
            rows = zip(self.hashes[number], self.lines[number], strict=True)
            head = b"".join(digits.encode() + b" " + line + b"\n" for digits, line in rows)
            path = self.path / "batches" / f"{batch.first:012}.batch"
            path.write_bytes(head + b"\n" + self.notes[number].encode())

    def resign(self, party: Party, since: int = 0, witnesses: bool = True) -> None:
        """Sign all checkpoints from an entry on anew, as the log's operator and witnesses who collude with it."""
        folder = LogFolder(self.path)
        tree = Tree()
        for number, batch in enumerate(self.batches):
            for line in self.lines[number]:
                tree.append(leaf_hash(line))
            if len(tree) <= since:
                continue
            note = Note(Checkpoint(party.key.name, len(tree), tree.root()).text).signed(party.key)
            self.notes[number] = str(note)
            path = self.path / "checkpoints" / f"{batch.size:012}.note"
            if path.exists() and witnesses:
                for witness in party.witnesses[: party.trust.quorum]:
                    note = note.cosigned(witness, 1_800_000_000)
                path.write_text(str(note))
        assert folder.sizes()


def edited(line: bytes, **changes: object) -> bytes:
    content = json.loads(line)
    content["body"] |= changes
    return canonical_json(content)


def flip(party: Party, path: Path, rng: random.Random) -> Attack:
    """One bit of one file."""
    files = sorted(file for file in path.rglob("*") if file.suffix in (".batch", ".note"))
    file = rng.choice(files)
    content = bytearray(file.read_bytes())
    offset = rng.randrange(len(content))
    number = int(file.stem)
    if file.suffix == ".note":
        span = (number - 1, number - 1)
        truth = {"span": span}
    else:
        separator = bytes(content).index(b"\n\n")
        before = bytes(content)[:offset].count(b"\n")
        last = bytes(content)[:separator].count(b"\n")
        truth = {"first": number + before} if offset <= separator else {"span": (number, number + last)}
    content[offset] ^= 1 << rng.randrange(8)
    file.write_bytes(content)
    return Attack("bit flip", **truth)


def drop(party: Party, path: Path, rng: random.Random) -> Attack:
    """One entry left out."""
    files = Files(path)
    index = rng.randrange(files.size)
    number, row = files.spot(index)
    del files.lines[number][row], files.hashes[number][row]
    files.write()
    return Attack("drop", index)


def reorder(party: Party, path: Path, rng: random.Random) -> Attack:
    """Two entries exchanged, with their hashes."""
    files = Files(path)
    one, other = sorted(rng.sample(range(files.size), 2))
    (a, b), (c, d) = files.spot(one), files.spot(other)
    for rows in (files.lines, files.hashes):
        rows[a][b], rows[c][d] = rows[c][d], rows[a][b]
    files.write()
    return Attack("reorder", one)


def insert(party: Party, path: Path, rng: random.Random) -> Attack:
    """An entry put in: a copy of another, or one with the right index and hash."""
    files = Files(path)
    number = rng.randrange(len(files.batches))
    row = rng.randrange(len(files.lines[number]) + 1)
    index = files.batches[number].first + row
    source = rng.choice([line for lines in files.lines for line in lines])
    if rng.random() < 0.5:
        content = json.loads(source)
        source = canonical_json(content | {"index": index})
    files.lines[number].insert(row, source)
    files.hashes[number].insert(row, leaf_hash(source).hex())
    files.write()
    return Attack("insert", index)


def truncate(party: Party, path: Path, rng: random.Random) -> Attack:
    """The end cut off: behind a checkpoint that was cosigned, in the folder or remembered by the verifier."""
    files, folder = Files(path), LogFolder(path)
    newest = Note.parse(folder.note(folder.sizes()[-1]))
    number = rng.randrange(1, len(files.batches))
    first = files.batches[number].first
    for batch in files.batches[number:]:
        (path / "batches" / f"{batch.first:012}.batch").unlink()
    if rng.random() < 0.5:
        return Attack("truncate", first)
    for size in folder.sizes():
        if size > first:
            (path / "checkpoints" / f"{size:012}.note").unlink()
    return Attack("truncate", first, remembered=(newest,))


def swap_key(party: Party, path: Path, rng: random.Random) -> Attack:
    """Another key in place of a site's, a witness's, or the log's; alone, or with everything signed anew."""
    files = Files(path)
    mallory = key_of("mallory.example")
    opening = json.loads(files.lines[0][0])["body"]
    match rng.choice(["site", "witness", "quorum", "checkpoint", "everything"]):
        case "site":
            files.put(0, edited(files.lines[0][0], sites=[str(mallory.public), *opening["sites"][1:]]))
        case "witness":
            keys = [str(mallory.public.witness), *opening["log"]["witnesses"][1:]]
            files.put(0, edited(files.lines[0][0], log=opening["log"] | {"witnesses": keys}))
        case "quorum":
            files.put(0, edited(files.lines[0][0], log=opening["log"] | {"quorum": 0}))
            files.resign(party, witnesses=False)
        case "checkpoint":
            number = rng.randrange(len(files.batches))
            batch = files.batches[number]
            impostor = PrivateKey(party.key.name, mallory.seed)
            files.notes[number] = str(Note(Note.parse(batch.note).text).signed(impostor))
            files.write()
            return Attack("key swap", span=(batch.first, batch.size - 1))
        case "everything":
            fake = PrivateKey(party.key.name, mallory.seed)
            helpers = [PrivateKey(key.name, digest(key.name).encode()[:32]) for key in party.witnesses]
            trust = Trust(str(fake.public), [str(key.public.witness) for key in helpers], party.trust.quorum)
            files.put(0, edited(files.lines[0][0], log={
                "key": trust.key, "witnesses": trust.witnesses, "quorum": trust.quorum,
            }))  # fmt: skip
            files.resign(replace(party, key=fake, witnesses=helpers, trust=trust))
    files.write()
    return Attack("key swap", 0)


def edit_payment(party: Party, path: Path, rng: random.Random) -> Attack:
    """A payment raised: by a stranger who repairs the hash, or by the operator and all witnesses together."""
    files = Files(path)
    rows = [index for index in range(files.size) if _is(files, index, Payment)]
    index = rng.choice(rows)
    number, row = files.spot(index)
    body = json.loads(files.lines[number][row])["body"]
    choices = [{"reward": "99"}, {"delivered": body["delivered"] + 1}, {"item": "other"}, {"first_round": 7}]
    files.put(index, edited(files.lines[number][row], **rng.choice(choices)))
    if rng.random() < 0.7:
        files.resign(party, since=index)
    files.write()
    return Attack("payment edit", index)


def _is(files: Files, index: int, kind: type) -> bool:
    number, row = files.spot(index)
    return isinstance(parse_entry(files.lines[number][row], index).body, kind)


MUTATIONS: dict[str, Callable[[Party, Path, random.Random], Attack]] = {
    "bit flip": flip,
    "drop": drop,
    "reorder": reorder,
    "insert": insert,
    "truncate": truncate,
    "key swap": swap_key,
    "payment edit": edit_payment,
}


def fork(party: Party, path: Path, rng: random.Random) -> Attack:
    """Another history from an entry on, signed by the operator and by witnesses who collude; no rule is broken.

    The verifier remembers a checkpoint of the true history.
    """
    files, folder = Files(path), LogFolder(path)
    sizes = folder.sizes()
    rows = [index for index in range(files.size) if _is(files, index, Aggregate)]
    last = rows[-1]
    remembered = Note.parse(folder.note(rng.choice([size for size in sizes if size > last])))
    number, row = files.spot(last)
    files.put(last, edited(files.lines[number][row], aggregate=digest("another", rng.random())))
    files.resign(party, since=last)
    files.write()
    return Attack("fork", last, remembered=(remembered,))


def verdict(
    consortium: Consortium, attack: Callable[..., Attack], scratch: Path, seed: int
) -> tuple[Attack, UnsoundError | None]:
    """Attack a copy of the main log and verify it: what was done, and what the verifier says."""
    copy = scratch / f"attacked-{seed}"
    shutil.copytree(consortium.main.log.path, copy)
    done = attack(consortium.main, copy, random.Random(seed))
    try:
        verify(
            copy,
            trust=consortium.main.trust,
            remembered=done.remembered,
            networks=[party.log.path for party in consortium.logs],
        )
    except UnsoundError as error:
        return done, error
    finally:
        shutil.rmtree(copy)
    return done, None
