"""Kill sites and coordinator of a federation at random moments, resume them, and compare every byte.

    python benchmarks/federation_kill.py --cohort COHORT --kills 30

Three sites with the same cohort and a coordinator go through all rounds by `clinragen federate site` and `clinragen
federate round`. Each command is killed with SIGKILL at a moment drawn evenly over the time that it takes, and typed
again, until the kills are used up. Then every file is compared with that of a federation of the same keys that was
left alone.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os

os.environ["OMP_NUM_THREADS"] = "1"  # before numpy is read: sums must not depend on how threads share them

import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing.context import ForkProcess
from pathlib import Path

import clinragen.api.federation as api
import clinragen.commands.federate
import clinragen.federation.coordinator
import clinragen.federation.series_regression
import clinragen.federation.site  # noqa: F401, read once for all children
from clinragen.cli import dispatch
from clinragen.errors import exit_code

SITES = ("north", "south", "east")
POLICY = 'smallest_cell: 10\nlargest_norm: 100.0\nmay_leave: ["*"]\nprivacy: null\n'


def set_up(root: Path, cohort: Path, rounds: int) -> None:
    """Folders of three sites and a coordinator."""
    root.mkdir()
    (root / "policy.yaml").write_text(POLICY)
    for name in SITES:
        api.federate_join(root / name, name, cohort, policy=root / "policy.yaml")
        (root / f"{name}-outbox").mkdir()
    members = [root / name / "member.json" for name in SITES]
    api.federate_init(
        root / "coordinator", "killed", members, set={"settings.rounds": rounds, "least_sites": len(SITES)}
    )


def commands(root: Path, cohort: Path) -> list[list[str]]:
    """The commands of one round, in order; the first opens it where none is open."""
    federation = root / "coordinator"
    inboxes = [word for name in SITES for word in ("--inbox", str(root / f"{name}-outbox"))]
    return [
        *(
            [
                "federate", "site", "--federation", str(federation / "federation.json"), "--site", str(root / name),
                "--cohort", str(cohort), "--inbox", str(federation / "outbox"),
                "--outbox", str(root / f"{name}-outbox"),
            ]
            for name in SITES
        ),
        ["federate", "round", "--federation", str(federation), *inboxes],
    ]  # fmt: skip


def child(arguments: list[str]) -> None:
    """In a process of its own: a command, in silence."""
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    sys.exit(exit_code(dispatch, arguments))


def fork(target: Callable[..., None], *arguments: object) -> ForkProcess:
    """A process of its own, for which the libraries need not be read anew. This one must never use polars itself: its
    threads are not there after a fork, and the child would wait for them.
    """
    return multiprocessing.get_context("fork").Process(target=target, args=arguments)


def run(arguments: list[str], after: float | None = None) -> tuple[bool, float]:
    """Run a command, killed after some seconds; whether it came to its end, and how long it took."""
    process = fork(child, arguments)
    begin = time.perf_counter()
    process.start()
    process.join(after)
    if process.is_alive() and process.pid:
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    if process.exitcode not in (0, -signal.SIGKILL):
        raise SystemExit(f"clinragen {' '.join(arguments)} ended with {process.exitcode}")
    return process.exitcode == 0, time.perf_counter() - begin


def contents(root: Path) -> dict[str, bytes]:
    """Every file, but for locks and what killed writers left under temporary names."""
    files = (path for path in root.rglob("*") if path.is_file() and path.name != ".lock")
    return {name: path.read_bytes() for path in files if ".tmp" not in (name := str(path.relative_to(root)))}


def main() -> None:
    """Run both federations; exit code 1 when a file differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cohort", type=Path, required=True)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=4, help="of training")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    chance, killed = random.Random(args.seed), Counter[str]()
    with tempfile.TemporaryDirectory() as scratch:
        whole, other = Path(scratch) / "whole", Path(scratch) / "killed"
        first = fork(set_up, whole, args.cohort, args.rounds)
        first.start()
        first.join()
        shutil.copytree(whole, other)
        for root in (whole, other):
            run(commands(root, args.cohort)[-1])  # opens round 1
        seconds: dict[int, float] = {}
        for _ in range(args.rounds + 1):
            for index, arguments in enumerate(commands(whole, args.cohort)):
                seconds[index] = run(arguments)[1]
        for number in range(args.rounds + 1):
            for index, arguments in enumerate(commands(other, args.cohort)):
                share = (args.kills - killed.total()) / max(1, (args.rounds + 1 - number) * 4 - index)
                for _ in range(round(share + chance.random() - 0.5)):
                    finished, _ = run(arguments, chance.uniform(0, seconds[index]))
                    if finished:  # typed again, a finished round would open the next
                        break
                    killed["coordinator" if arguments[1] == "round" else "site"] += 1
                else:
                    finished = False
                if not finished:
                    run(arguments)
        expected, actual = contents(whole), contents(other)
        differing = sorted(name for name in expected.keys() | actual.keys() if expected.get(name) != actual.get(name))
    print(f"killed: {killed['site']} times a site, {killed['coordinator']} times the coordinator")
    print(f"files that differ from those of a federation that was left alone: {len(differing)} of {len(expected)}")
    for name in differing[:10]:
        print(f"  {name}")
    sys.exit(1 if differing else 0)


if __name__ == "__main__":
    main()
