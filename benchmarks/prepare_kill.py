"""Kill a preparation at random moments, resume it, and compare every byte with an uninterrupted one.

    python benchmarks/prepare_kill.py --work DIR --kills 50 --raw PATH/TO/mimic-iv-demo
    python benchmarks/prepare_kill.py --work DIR --kills 5

Each round prepares the tables (without ``--raw`` those of a synthetic hospital) from scratch, kills it with SIGKILL
at a random moment of its run, and runs it again to the end. The moments are drawn over the time an uninterrupted run
takes. Prints how far the killed runs had come.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def main() -> None:
    """Run all rounds; exit code 1 when a resumed cohort differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="scratch folder, made anew")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--raw", type=Path, help="raw MIMIC-IV tables; by default a synthetic hospital")
    parser.add_argument("--patients", type=int, default=60, help="size of the synthetic hospital")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    shutil.rmtree(args.work, ignore_errors=True)
    args.work.mkdir(parents=True)
    raw, out = args.raw or args.work / "raw", args.work / "cohort"
    program = [sys.executable, "-m", "mimic_prep.cli"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    if not args.raw:
        made = [*program, "synthesize", "--patients", str(args.patients), "--out", str(raw)]
        subprocess.run(made, check=True, **quiet)  # type: ignore[call-overload]
    command = [*program, "mimic-iv", "--raw", str(raw), "--out"]
    start = time.perf_counter()
    subprocess.run([*command, str(args.work / "whole")], check=True, **quiet)  # type: ignore[call-overload]
    duration = time.perf_counter() - start
    whole = contents(args.work / "whole")
    rng = random.Random(args.seed)
    reached: Counter[str] = Counter()
    different = kills = 0
    while kills < args.kills:
        stages = out.with_name(f".{out.name}.work")
        for folder in (out, stages):
            shutil.rmtree(folder, ignore_errors=True)
        child = subprocess.Popen([*command, str(out)], **quiet)  # type: ignore[call-overload]
        try:
            child.wait(rng.uniform(0.1, 1) * duration)
        except subprocess.TimeoutExpired:
            child.kill()
        if child.wait() != -signal.SIGKILL:
            reached["ended before it was killed, and not counted"] += 1
            continue
        kills += 1
        done = len([path for path in stages.glob("*-*") if not path.name.startswith(".")])
        reached[f"killed with {done} stages done"] += 1
        subprocess.run([*command, str(out)], check=True, **quiet)  # type: ignore[call-overload]
        different += contents(out) != whole
    for what, count in sorted(reached.items()):
        print(f"{what}: {count}")
    print(
        f"{different} of {args.kills} resumed cohorts differ from the uninterrupted one ({len(whole)} files compared)"
    )
    sys.exit(bool(different))


if __name__ == "__main__":
    main()
