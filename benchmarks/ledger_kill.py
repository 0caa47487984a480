"""Kill the commands that write a federation's log at random moments: does the log verify, and do they go on?

    python benchmarks/ledger_kill.py --cohort COHORT --kills 100

Three sites and a coordinator finish the rounds of a federation; then the log is written: `ledger open`, `offer`,
`accept`, `state`, `record`, `pay`, `cosign`. Each command is killed with SIGKILL at a moment drawn evenly over the time
that it takes, and typed again; after each kill the log is verified. When all are through, the whole is done again in a
copy with the same keys, until the kills are used up, and every batch of the log is compared with that of a log that was
left alone.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

from federation_kill import SITES, commands, fork, run, set_up

from clinragen.errors import UserError
from clinragen.ledger.log import Log
from clinragen.ledger.verification import verify

IN_A_ROW = 2  # kills of a command at most, before it is left alone
ROUNDS = 1  # of training, after one of sums
MENU = {"items": [{"type": "seldom", "cost": 3, "frequency": 1, "reward": 4},
                  {"type": "often", "cost": 1, "frequency": 2, "reward": 6.5}]}  # fmt: skip


def finished(root: Path, cohort: Path) -> None:
    """A federation whose rounds are all closed, with the key of a log, and a menu."""
    first = fork(set_up, root, cohort, ROUNDS)
    first.start()
    first.join()
    done = root / "coordinator" / "outbox" / f"round-{ROUNDS + 2:04}.note"
    run(commands(root, cohort)[-1])
    while not done.exists():
        for command in commands(root, cohort):
            run(command)
    (root / "menu.json").write_text(json.dumps(MENU), encoding="utf-8")


def writing(root: Path) -> list[list[str]]:
    """The commands that write the log, in their order."""
    federation, ledger = str(root / "coordinator"), str(root / "ledger")
    inboxes = [word for name in SITES for word in ("--inbox", str(root / f"{name}-outbox"))]

    def operator(*words: str) -> list[str]:
        return ["ledger", *words, "--ledger", ledger, "--federation", federation]

    def sites(*words: str) -> list[list[str]]:
        return [
            ["ledger", *words, "--ledger", ledger, "--site", str(root / name), "--outbox", str(root / f"{name}-outbox")]
            for name in SITES
        ]

    offer = operator("offer", "--menu", str(root / "menu.json"), "--rounds", "2", "--first-round", "1")
    record = operator("record", *inboxes)
    return [
        ["ledger", "open", "--federation", federation, "--out", ledger],
        offer, *sites("accept", "--item", "often"), *sites("state"), record,
        operator("pay"), *sites("cosign"), record,
    ]  # fmt: skip


def batches(root: Path) -> dict[str, bytes]:
    """The files of a log that are never changed."""
    return {path.name: path.read_bytes() for path in (root / "ledger" / "batches").glob("[0-9]*.batch")}


def sound(root: Path) -> bool:
    """Whether the log is, or was not begun."""
    if not batches(root):
        return True
    try:
        Log(root / "ledger")
    except UserError:
        return False
    return True


def main() -> None:
    """Write both logs; exit code 1 when one is not sound, or they differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cohort", type=Path, required=True)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    chance, killed, unsound, differing = random.Random(args.seed), Counter[str](), 0, 0
    with tempfile.TemporaryDirectory() as scratch:
        whole, keys = Path(scratch) / "whole", Path(scratch) / "keys"
        finished(whole, args.cohort)
        shutil.copytree(whole, keys)
        took = [run(command)[1] for command in writing(whole)]
        shutil.copy(whole / "coordinator" / "ledger.key", keys / "coordinator")
        passes = 0
        while killed.total() < args.kills:
            passes += 1
            other = Path(scratch) / f"killed{passes}"
            shutil.copytree(keys, other)
            for command, seconds in zip(writing(other), took, strict=True):
                for _ in range(IN_A_ROW):
                    if killed.total() == args.kills or run(command, after=chance.uniform(0, seconds))[0]:
                        break
                    killed[command[1]] += 1
                    unsound += not sound(other)
                run(command)
            differing += batches(other) != batches(whole)
            verify(other / "ledger")
            print(f"{killed.total()} kills", file=sys.stderr)
    print(f"killed: {', '.join(f'{count} x {name}' for name, count in killed.items())}, in {passes} logs")
    print(f"kills after which the log did not verify: {unsound} of {killed.total()}")
    print(f"logs that differ in the end from one that was left alone: {differing} of {passes}")
    sys.exit(bool(unsound or differing))


if __name__ == "__main__":
    main()
