"""The ledger under attack: share of mutations and forks that are found, false alarms, and the time to verify.

    python benchmarks/ledger.py --mutations 10000 --forks 1000 --honest 1000 --entries 10000

Mutations are drawn evenly from bit flips, entries dropped, exchanged and put in, logs cut off behind a cosigned
checkpoint, keys swapped, and payments edited, most of them signed anew by the operator and all witnesses. Each attacks
a copy of the main log of a small consortium (``tests/ledger/consortium.py``) whose shape changes every 200 attacks. In
a fork the operator and its witnesses sign another history that breaks no rule, to a verifier who remembers a
checkpoint. "named" counts the first bad entry (or the attacked checkpoint) in what the verifier names; "alone", of the
attacks on an entry, where it names that entry and no other. Honest logs are those of consortia of random shape. Times
are of the processor, of one core.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "ledger"))

from attacks import MUTATIONS, fork, verdict
from consortium import Consortium, digest
from printed_tables import Console
from rich.progress import track

from clinragen.errors import UserError
from clinragen.ledger.entries import Update, stated
from clinragen.ledger.verification import verify

SAME_SHAPE = 200
ERRORS = Console(stderr=True)


def consortium(folder: Path, seed: int) -> Consortium:
    """A consortium of random shape that played some rounds."""
    rng = random.Random(seed)
    networks = tuple(rng.randint(1, 4) for _ in range(rng.randint(1, 3)))
    witnesses = rng.randint(1, 4)
    made = Consortium(folder, networks, witnesses, rng.randint(1, witnesses), rng.randint(1, 3), seed)
    made.play(rng.randint(made.period, 6))
    return made


def attacks(total: int, names: list[str], scratch: Path) -> Counter[tuple[str, str]]:
    """(attack, outcome) -> how often."""
    outcomes: Counter[tuple[str, str]] = Counter()
    kinds = {**MUTATIONS, "fork": fork}
    target = None
    for number in track(range(total), "attacks", console=ERRORS, transient=True):
        if target is None or number % SAME_SHAPE == 0:
            target = consortium(scratch / f"{names[0]}-{number}", number)
        name = names[number % len(names)]
        done, error = verdict(target, kinds[name], scratch, number)
        outcomes[name, "all"] += 1
        outcomes[name, "of entries"] += done.first is not None
        outcomes[name, "found"] += error is not None
        outcomes[name, "named"] += error is not None and done.named(error)
        outcomes[name, "alone"] += error is not None and done.named_exactly(error)
        if error is None or not done.named(error):
            print(f"{name}, seed {number}: {done} was answered with {error}")
    return outcomes


def honest(total: int, scratch: Path) -> Iterator[str]:
    """Alarms for honest logs."""
    for number in track(range(total), "honest logs", console=ERRORS, transient=True):
        made = consortium(scratch / f"honest-{number}", 10**6 + number)
        try:
            verify(
                made.main.log.path,
                trust=made.main.trust,
                networks=[party.log.path for party in made.logs],
                remembered=list(made.main.log.checkpoints.values()),
            )
        except UserError as error:
            yield f"seed {number}: {error}"


def timed(entries: int, batch: int, folder: Path) -> tuple[int, list[float]]:
    """Signatures in a log of statements of ten sites, and seconds of the processor of three verifications."""
    made = Consortium(folder, networks=(10,), period=0)
    party, keys = made.logs[0], made.sites[0]
    statements = [
        stated(party.trust.origin, Update(key.name, number, digest(number), digest(number, key.name), 100), key)
        for number in range(1, -(-entries // len(keys)) + 1)
        for key in keys
    ][: entries - 1]
    for first in range(0, len(statements), batch):
        party.log.append(statements[first : first + batch], party.key)
        party.cosigned()
    seconds, report = [], None
    for _ in range(3):
        start = time.process_time()
        report = verify(party.log.path, trust=party.trust)
        seconds.append(time.process_time() - start)
    assert report
    assert report.size == entries
    return report.signatures, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutations", type=int, default=10_000)
    parser.add_argument("--forks", type=int, default=1_000)
    parser.add_argument("--honest", type=int, default=1_000)
    parser.add_argument("--entries", type=int, default=10_000)
    parser.add_argument("--batch", type=int, default=100, help="entries between two checkpoints of the timed log")
    arguments = parser.parse_args()
    os.fsync = lambda handle: None  # the logs are thrown away, and thousands of them are written
    with tempfile.TemporaryDirectory(prefix="clinragen-ledger-") as name:
        scratch = Path(name)
        outcomes = attacks(arguments.mutations, list(MUTATIONS), scratch) + attacks(arguments.forks, ["fork"], scratch)
        print("| attack | tries | found | first bad entry named | named alone |\n|---|---|---|---|---|")
        for attack in [*MUTATIONS, "fork"]:
            if tries := outcomes[attack, "all"]:
                detected, named = (f"{outcomes[attack, what] / tries:.1%}" for what in ("found", "named"))
                alone = f"{outcomes[attack, 'alone'] / outcomes[attack, 'of entries']:.1%}"
                print(f"| {attack} | {tries} | {detected} | {named} | {alone} |")
        alarms = list(honest(arguments.honest, scratch))
        print(f"{arguments.honest} honest logs: {len(alarms)} alarms", *alarms, sep="\n")
        if arguments.entries:
            signatures, seconds = timed(arguments.entries, arguments.batch, scratch / "timed")
            each = ", ".join(f"{value:.2f}" for value in seconds)
            print(f"{arguments.entries} entries, {signatures} signatures: {each} s of the processor")


if __name__ == "__main__":
    main()
