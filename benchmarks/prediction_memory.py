"""Speed and peak memory of ``clinragen predict`` over growing numbers of stays.

    python benchmarks/prediction_memory.py --model RUN --cohort COHORT [--stays 500,2000,8000] [--split train]

Each row is a process of its own. Memory beside the first row should stay flat, and time should grow with the stays.
``--rationales`` writes rationales, too; without it the model reads each stay once (``--diagnoses-only``).
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from printed_tables import Console
from rich.table import Table


def run(command: list[str]) -> tuple[float, float]:
    """Seconds and peak MiB of a command."""
    began = time.monotonic()
    child = os.posix_spawn(sys.executable, [sys.executable, *command], os.environ)
    _, status, usage = os.wait4(child, 0)
    if status:
        raise SystemExit(f"{' '.join(command)}: exit status {status}")
    return time.monotonic() - began, usage.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="run folder")
    parser.add_argument("--cohort", type=Path, required=True)
    parser.add_argument("--stays", default="500,2000,8000")
    parser.add_argument("--split", default="train")
    parser.add_argument("--rationales", action="store_true")
    args = parser.parse_args()
    table = Table(title=f"clinragen predict{'' if args.rationales else ' --diagnoses-only'}")
    for heading in ("stays", "seconds", "stays a second beyond the first row", "peak MiB", "beside the first row"):
        table.add_column(heading, justify="right")
    first: tuple[int, float, float] | None = None
    for count in map(int, args.stays.split(",")):
        with TemporaryDirectory() as folder:
            command = [
                "-c",
                "from clinragen.cli import main; main()",
                "predict",
                "--model",
                str(args.model),
                "--cohort",
                str(args.cohort),
            ]
            command += ["--split", args.split, "--limit", str(count), "--out", f"{folder}/out"]
            seconds, peak = run(command + ["--diagnoses-only"] * (not args.rationales))
        first = first or (count, seconds, peak)
        more, longer = count - first[0], seconds - first[1]
        rate = f"{more / longer:.0f}" if more and longer > 0 else ""
        table.add_row(f"{count:,}", f"{seconds:.1f}", rate, f"{peak:,.0f}", f"{peak / first[2]:.2f}")
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
