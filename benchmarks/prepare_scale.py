"""Preparation at scale, side by side with what any reader of the same files must spend.

    python benchmarks/prepare_scale.py --work DIR 2000000 10000000
    python benchmarks/prepare_scale.py --work DIR --pyhealth 2000000

For each number of chart rows, raw MIMIC-IV tables (labs in proportion) are made once below DIR. Then, each in a process
of its own: decompressing them; DuckDB reading them and counting the rows whose item is used; ``mimic-prep mimic-iv``;
with ``--pyhealth`` PyHealth's loading of the same tables (its shipped configuration, chart events added). Wall and CPU
seconds and peak resident memory come from the kernel's account of the process. Other load on the machine changes the
wall times: compare CPU times too. ``--repeat`` gives the median of several rounds, the processes taking turns.

Needs ``duckdb``, and ``clinragen[pyhealth]`` for the last.
"""

from __future__ import annotations

import argparse
import gzip
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

from rich.console import Console
from rich.table import Table

EVENTS = ("icu/chartevents", "hosp/labevents", "icu/outputevents")


@dataclass(frozen=True)
class Cost:
    """What one process took: seconds, seconds of all cores, bytes."""

    wall: float
    cpu: float
    peak: float


def measure(command: list[str]) -> Cost:
    """Run a command to its end; it must succeed."""
    start = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"exit code {child.returncode}: {' '.join(command)}")
    unit = 1 if sys.platform == "darwin" else 1024
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit)


def step_make(raw: Path, rows: int) -> None:
    """Write the raw tables."""
    import raw_tables

    partial = raw.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    raw_tables.write(rows, partial)
    partial.rename(raw)


def step_gunzip(raw: Path, _: int) -> None:
    """Decompress and forget, with the standard library's zlib."""
    for name in EVENTS:
        with gzip.open(raw / f"{name}.csv.gz") as file:
            while file.read(1 << 20):
                pass


def step_duckdb(raw: Path, _: int) -> None:
    """Read all columns' text and count the rows of used items."""
    import duckdb
    import raw_tables

    for name in EVENTS:
        wanted = ", ".join(map(str, raw_tables.items(name)))
        query = f"select count(*) from read_csv('{raw / name}.csv.gz') where itemid in ({wanted})"
        print(name, duckdb.connect().execute(query).fetchall())


def step_pyhealth(raw: Path, _: int) -> None:
    """PyHealth's event table of the same files."""
    import pyhealth.datasets as datasets
    import yaml

    shipped = yaml.safe_load((Path(datasets.__file__).parent / "configs" / "mimic4_ehr.yaml").read_text())
    shipped["tables"]["chartevents"] = {
        "file_path": "icu/chartevents.csv.gz",
        "patient_id": "subject_id",
        "timestamp": "charttime",
        "attributes": ["hadm_id", "stay_id", "itemid", "value", "valuenum", "valueuom"],
    }
    cache = raw.with_suffix(".pyhealth")
    shutil.rmtree(cache, ignore_errors=True)
    cache.mkdir()
    config = cache / "config.yaml"
    config.write_text(yaml.safe_dump(shipped))
    tables = ["diagnoses_icd", "labevents", "chartevents"]
    dataset = datasets.MIMIC4EHRDataset(
        root=str(raw), tables=tables, config_path=str(config), cache_dir=str(cache), num_workers=os.cpu_count() or 1
    )
    if dataset.global_event_df is None:  # builds the event table on disk, which every use of the data set starts from
        raise SystemExit("no events")
    shutil.rmtree(cache)


STEPS = {
    "make": step_make,
    "decompress": step_gunzip,
    "duckdb": step_duckdb,
    "pyhealth": step_pyhealth,
}


def ours(raw: Path, out: Path, workers: int) -> Cost:
    """One whole preparation, from nothing."""
    for path in (out, out.with_name(f".{out.name}.work")):
        shutil.rmtree(path, ignore_errors=True)
    command = [sys.executable, "-m", "mimic_prep.cli", "mimic-iv", "--raw", str(raw), "--out", str(out)]
    return measure([*command, "--workers", str(workers)])


def step(name: str, raw: Path, rows: int) -> Cost:
    """One of ``STEPS`` in a process of its own."""
    return measure([sys.executable, __file__, "--work", str(raw), "--step", name, str(rows)])


def run_size(rows: int, args: argparse.Namespace) -> dict[str, Cost]:
    """Median cost of everything at one size."""
    raw = args.work / f"raw-{rows}"
    args.work.mkdir(parents=True, exist_ok=True)
    if not raw.exists():
        step("make", raw, rows)
    names = ["decompress", "duckdb", "mimic-prep", *(["pyhealth"] if args.pyhealth else [])]
    rounds: dict[str, list[Cost]] = {name: [] for name in names}
    for _ in range(args.repeat):
        for name in names:
            out = args.work / f"cohort-{rows}"
            rounds[name].append(ours(raw, out, args.workers) if name == "mimic-prep" else step(name, raw, rows))
    return {
        name: Cost(*(median(getattr(cost, part) for cost in costs) for part in ("wall", "cpu", "peak")))
        for name, costs in rounds.items()
    }


def show(results: dict[int, dict[str, Cost]], console: Console) -> None:
    """All sizes side by side, and how time and memory grow with the rows."""
    table = Table(title="Preparation at scale", title_justify="left")
    for column in ("chart rows", "", "wall s", "CPU s", "peak MiB", "wall / DuckDB", "CPU / DuckDB"):
        table.add_column(column, justify="left" if not column else "right")
    for rows, costs in results.items():
        base = costs["duckdb"]
        for name, cost in costs.items():
            ratios = (f"{cost.wall / base.wall:.2f}", f"{cost.cpu / base.cpu:.2f}")
            size = f"{cost.peak / 2**20:,.0f}"
            table.add_row(f"{rows:,}", name, f"{cost.wall:,.1f}", f"{cost.cpu:,.1f}", size, *ratios)
        table.add_section()
    console.print(table)
    sizes = sorted(results)
    for small, large in pairwise(sizes):
        for name in ("duckdb", "mimic-prep"):
            first, second = results[small][name], results[large][name]
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
    parser.add_argument("--pyhealth", action="store_true", help="also time PyHealth's loading")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.step:
        STEPS[args.step](args.work, args.rows[0])
        return
    console = Console(width=110)
    console.print(
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {args.workers} workers, {args.repeat} rounds"
    )
    show({rows: run_size(rows, args) for rows in args.rows}, console)


if __name__ == "__main__":
    main()
