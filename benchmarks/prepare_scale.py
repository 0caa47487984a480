"""Preparation at scale, compared with the minimal cost of reading the same files.

    python benchmarks/prepare_scale.py --work DIR 2000000 10000000
    python benchmarks/prepare_scale.py --work DIR --pyhealth 2000000
    python benchmarks/prepare_scale.py --work DIR --release omop 10000000

For each number of chart rows, raw MIMIC-IV tables (labs in proportion) are made once below DIR. Then, each in a process
of its own: decompressing them; DuckDB reading them and counting the rows whose item is used; ``mimic-prep mimic-iv``;
with ``--pyhealth`` PyHealth's loading of the same tables (its shipped configuration, chart events added). CPU seconds
come from the kernel's account of the process; peak memory is that of the whole process tree, looked at fifty times a
second, and at least the kernel's peak of its largest process. Other load on the machine changes the wall times: compare
CPU times too. ``--repeat`` gives the median of several rounds, the processes taking turns,
and the least and largest of each round's ratios. Every program finds its
byte code compiled and the files in the page cache, as far as they fit. With ``--release omop`` the rows are the
measurements of an OMOP CDM, and ``mimic-prep omop`` reads them.

Needs ``duckdb`` and ``psutil``, and the extra ``pyhealth`` for the last.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

import omop_tables
import psutil
import raw_tables
from printed_tables import Console
from rich.table import Table

#: tables of measurements of each release, with the items that are used
EVENTS = {
    "mimic-iv": {name: raw_tables.items(name) for name in ("icu/chartevents", "hosp/labevents", "icu/outputevents")},
    "omop": {"measurement": omop_tables.items()},
}
_ITEM = {"mimic-iv": "itemid", "omop": "measurement_concept_id"}
_LOOK_EVERY = 0.02  # seconds
_ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Cost:
    """What one program took: seconds, seconds of all cores, bytes of memory."""

    wall: float
    cpu: float
    peak: float


def measure(command: list[str], work: Path, stdin: str = "") -> Cost:
    """Run a command to its end; it must succeed."""
    environment = os.environ | {"PYTHONPYCACHEPREFIX": str(work.resolve() / "pycache"), "PYTHONPATH": str(_ROOT)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    start = time.perf_counter()
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=environment, text=True)
    assert child.stdin is not None
    child.stdin.write(stdin)
    child.stdin.close()
    tree, peak = psutil.Process(child.pid), 0
    while True:
        pid, status, usage = os.wait4(child.pid, os.WNOHANG)
        if pid:
            break
        peak = max(peak, _resident(tree))
        time.sleep(_LOOK_EVERY)
    wall = time.perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"exit code {child.returncode}: {' '.join(command)}")
    unit = 1 if sys.platform == "darwin" else 1024
    return Cost(wall, usage.ru_utime + usage.ru_stime, max(peak, usage.ru_maxrss * unit))


def _resident(process: psutil.Process) -> int:
    """Bytes in memory of a process and its descendants."""
    total = 0
    try:
        for one in (process, *process.children(recursive=True)):
            total += one.memory_info().rss
    except psutil.NoSuchProcess:
        pass
    return total


def ours(release: str, raw: Path, out: Path, workers: int) -> Cost:
    """One whole preparation, from nothing."""
    for path in (out, out.with_name(f".{out.name}.work")):
        shutil.rmtree(path, ignore_errors=True)
    command = [sys.executable, "-m", "mimic_prep.cli", release, "--raw", str(raw), "--out", str(out)]
    return measure([*command, "--workers", str(workers)], out.parent)


def rival(name: str, release: str, raw: Path) -> Cost:
    """One of those in ``prepare_rivals.py``."""
    command = [sys.executable, str(Path(__file__).with_name("prepare_rivals.py")), name, str(raw), _ITEM[release]]
    return measure(command, raw.parent, json.dumps(EVENTS[release]))


def tables(rows: int, release: str, work: Path) -> Path:
    """Raw tables with so many chart rows, made unless they are there."""
    raw = work / (f"raw-{rows}" if release == "mimic-iv" else f"{release}-{rows}")
    if not raw.exists():
        partial = raw.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        {"mimic-iv": raw_tables.write, "omop": omop_tables.write}[release](rows, partial)
        partial.rename(raw)
    return raw


def run_size(rows: int, args: argparse.Namespace) -> dict[str, list[Cost]]:
    """The cost of everything at one size, in each round."""
    raw = tables(rows, args.release, args.work)
    out = raw.with_name(f"cohort-{raw.name}")
    names = ["decompress", "duckdb", "mimic-prep", *(["pyhealth"] if args.pyhealth else [])]
    rounds: dict[str, list[Cost]] = {name: [] for name in names}
    for _ in range(args.repeat):
        for name in names:
            reading = name == "mimic-prep"
            cost = ours(args.release, raw, out, args.workers) if reading else rival(name, args.release, raw)
            print(f"{rows:,} {name}: {cost.wall:.1f} s", file=sys.stderr, flush=True)
            rounds[name].append(cost)
    return rounds


def middle(costs: list[Cost]) -> Cost:
    """The median of each part."""
    return Cost(*(median(getattr(cost, part) for cost in costs) for part in ("wall", "cpu", "peak")))


def ratio(costs: list[Cost], base: list[Cost], part: str) -> str:
    """The median of the rounds' ratios and, of several, the least and the largest."""
    ratios = [getattr(cost, part) / getattr(other, part) for cost, other in zip(costs, base, strict=True)]
    return f"{median(ratios):.2f}" + (f" ({min(ratios):.2f}-{max(ratios):.2f})" if len(ratios) > 1 else "")


def disk(raw: Path) -> str:
    """What lies on disk after a preparation."""
    files, cohort, stages = (
        sum(path.stat().st_size for path in raw.with_name(name).rglob("*") if path.is_file()) / 2**20
        for name in (raw.name, f"cohort-{raw.name}", f".cohort-{raw.name}.work")
    )
    return f"{raw.name}: raw tables {files:,.0f} MiB, cohort {cohort:,.0f} MiB, stages beside it {stages:,.0f} MiB"


def show(results: dict[int, dict[str, list[Cost]]], console: Console) -> None:
    """All sizes side by side, and how time and memory grow with the rows."""
    table = Table(title="Preparation at scale", title_justify="left")
    for column in ("chart rows", "", "wall s", "CPU s", "peak MiB", "wall / DuckDB", "CPU / DuckDB"):
        table.add_column(column, justify="left" if not column else "right")
    for rows, rounds in results.items():
        for name, costs in rounds.items():
            cost, ratios = middle(costs), (ratio(costs, rounds["duckdb"], part) for part in ("wall", "cpu"))
            size = f"{cost.peak / 2**20:,.0f}"
            table.add_row(f"{rows:,}", name, f"{cost.wall:,.1f}", f"{cost.cpu:,.1f}", size, *ratios)
        table.add_section()
    console.print(table)
    sizes = sorted(results)
    for small, large in pairwise(sizes):
        for name in ("duckdb", "mimic-prep"):
            first, second = middle(results[small][name]), middle(results[large][name])
            wall, cpu = (
                math.log(getattr(second, part) / getattr(first, part)) / math.log(large / small)
                for part in ("wall", "cpu")
            )
            console.print(f"{name}: from {small:,} to {large:,} rows time grows as rows^{wall:.2f}, CPU ^{cpu:.2f}")


def main() -> None:
    """Parse the options, run every size, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=int, nargs="+", help="numbers of chart rows")
    parser.add_argument("--work", type=Path, required=True, help="scratch folder; the raw tables stay there")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="threads of mimic-prep that parse")
    parser.add_argument("--repeat", type=int, default=1, help="rounds of which the median is shown")
    parser.add_argument("--release", choices=tuple(EVENTS), default="mimic-iv", help="whose tables")
    parser.add_argument("--pyhealth", action="store_true", help="also time PyHealth's loading")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    console = Console(width=110)
    console.print(
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {args.workers} workers, {args.repeat} rounds"
    )
    warm = tables(10_000, args.release, args.work)
    for name in ("duckdb", *(["pyhealth"] if args.pyhealth else [])):
        rival(name, args.release, warm)
    ours(args.release, warm, warm.with_name("cohort-warm"), args.workers)
    results = {rows: run_size(rows, args) for rows in args.rows}
    show(results, console)
    for rows in results:
        console.print(disk(tables(rows, args.release, args.work)))


if __name__ == "__main__":
    main()
