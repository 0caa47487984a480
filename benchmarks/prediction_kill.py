"""Kill a prediction at random moments, resume it, and compare every byte with an uninterrupted one.

    python benchmarks/prediction_kill.py --model RUN --cohort COHORT --kills 30

`clinragen predict` is killed with SIGKILL at a moment drawn evenly over the time that a whole run takes, and run again
by the same command, again with a kill, until it comes to its end; then it begins anew until the kills are used up. The
parts are made small, so that there are many of them. Prints how far the killed runs had come.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is read: sums must not depend on how threads share them

import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from multiprocessing.context import ForkProcess
from pathlib import Path

import clinragen.api.prediction
import clinragen.attribution.explain
import clinragen.commands.predict  # noqa: F401, read once for all children
import clinragen.inference.predict as predict
from clinragen.cli import dispatch
from clinragen.errors import exit_code


def run(arguments: list[str], part: int) -> None:
    """In the child: the command, in silence."""
    predict.STAYS = part
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    sys.exit(exit_code(dispatch, arguments))


def start(arguments: list[str], part: int) -> ForkProcess:
    """The command in a process of its own; forked, so that the libraries need not be read anew."""
    child = multiprocessing.get_context("fork").Process(target=run, args=(arguments, part))
    child.start()
    return child


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def reached(out: Path) -> str:
    """How far a killed run had come, by what it left."""
    parts = out.with_name(f".{out.name}.parts")
    if not (parts / "identity.json").exists():
        return "before the first part was begun"
    done = len([path for path in parts.glob("*.jsonl") if not path.name.endswith(".attributions.jsonl")])
    assembling = any(path.name.startswith(f".{out.name}.") and path != parts for path in out.parent.iterdir())
    written = " and in the middle of a write" if any(parts.glob(".*")) else ""
    return "while parts were put together" if assembling else f"with {done:2} parts done{written}"


def main() -> None:
    """Run all rounds; exit code 1 when a resumed prediction differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--cohort", type=Path, required=True)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--part", type=int, default=8, help="stays of a part")
    parser.add_argument("--limit", type=int, default=64, help="stays")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    chance, where, kills, compared, different = random.Random(args.seed), Counter[str](), 0, 0, 0
    with tempfile.TemporaryDirectory() as scratch:
        whole, out = Path(scratch) / "whole", Path(scratch) / "killed" / "out"
        out.parent.mkdir()
        given = ["predict", "--model", str(args.model), "--cohort", str(args.cohort), "--limit", str(args.limit)]
        began = time.monotonic()
        alone = start([*given, "--out", str(whole)], args.part)
        alone.join()
        if alone.exitcode:
            raise SystemExit(f"clinragen {' '.join(given)} ended with code {alone.exitcode}")
        duration, expected = time.monotonic() - began, contents(whole)
        of_this_run = 0
        while kills < args.kills or of_this_run:
            child = start([*given, "--out", str(out)], args.part)
            if kills < args.kills:
                child.join(chance.uniform(0, duration))
                child.kill()
            child.join()
            if child.exitcode == -signal.SIGKILL and not out.exists():
                kills, of_this_run = kills + 1, of_this_run + 1
                where[reached(out)] += 1
                continue
            if child.exitcode not in (0, -signal.SIGKILL):
                raise SystemExit(f"the resumed command ended with code {child.exitcode}")
            if of_this_run:
                compared, different = compared + 1, different + (contents(out) != expected)
            left = [path.name for path in out.parent.iterdir() if path != out]
            if left:
                raise SystemExit(f"a finished prediction left {', '.join(left)} behind")
            shutil.rmtree(out)
            of_this_run = 0
    for what, count in sorted(where.items()):
        print(f"killed {what}: {count}")
    print(
        f"{kills} kills; {different} of {compared} resumed predictions differ ({len(expected)} files, {duration:.0f} s)"
    )
    sys.exit(bool(different))


if __name__ == "__main__":
    main()
