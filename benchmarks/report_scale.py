"""Size and speed of a report of many stays, and how soon its index can be used.

    python benchmarks/report_scale.py --predictions PREDICTIONS --cohort COHORT [--stays 500,10000]

The predicted stays are copied under other ids until there are as many as asked for, and `clinragen report` runs on them
in a process of its own, with a warm file cache. Kilobytes are 1,000 bytes. "CPU ms" is the processor time of all its
processes, for each stay beyond the first row: it hardly depends on what else the machine does. "Interactive"
is the time in Chromium from opening the index until its table is filtered by a phenotype, the median of five.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pyarrow.parquet as pq
from prediction_memory import run
from printed_tables import Console
from rich.table import Table

from clinragen.artifacts import read_json, sha256_file, write_json

_APART = 10**9  # between the ids of a stay and its copy


def copied(file: Path, target: Path, ids: list[int], times: int, most: int) -> None:
    """The rows of some stays, repeated under other ids, until there are ``most`` stays."""
    rows = pq.read_table(file)
    target.parent.mkdir(parents=True, exist_ok=True)
    if "stay_id" not in rows.column_names:
        shutil.copy(file, target)
        return
    table = pl.DataFrame(pl.from_arrow(rows)).filter(pl.col("stay_id").is_in(ids))
    owned = [name for name in ("stay_id", "subject_id", "hadm_id") if name in table.columns]
    copies = []
    for copy in range(times):
        kept = ids[: max(0, most - copy * len(ids))]
        part = table.filter(pl.col("stay_id").is_in(kept))
        copies.append(part.with_columns(pl.col(name) + copy * _APART for name in owned))
    pq.write_table(pl.concat(copies).to_arrow().cast(rows.schema), target, compression="zstd")


def many(predictions: Path, cohort: Path, out: Path, stays: int) -> tuple[Path, Path]:
    """Predictions and cohort of so many stays."""
    ids = pq.read_table(predictions / "predictions.parquet", columns=["stay_id"])["stay_id"].to_pylist()
    times = -(-stays // len(ids))
    for file in [*cohort.glob("*.parquet"), *(cohort / "rationales").glob("*.parquet")]:
        copied(file, out / "cohort" / file.relative_to(cohort), ids, times, stays)
    for file in (cohort / "rationales").glob("*.json"):
        write_json(out / "cohort" / "rationales" / file.name, read_json(file, "the manifest of a rationale set"))
    copied(predictions / "predictions.parquet", out / "predictions" / "predictions.parquet", ids, times, stays)
    shutil.copy(predictions / "predictions.jsonl", out / "predictions" / "predictions.jsonl")
    described(cohort, out / "cohort", {})
    described(predictions, out / "predictions", {"cohort_hash": sha256_file(out / "cohort" / "manifest.json")})
    return out / "predictions", out / "cohort"


def described(original: Path, folder: Path, changes: dict[str, str]) -> None:
    """Write the manifest of a changed folder."""
    manifest = read_json(original / "manifest.json", "a manifest") | changes
    files = {name: folder / name for name in manifest["outputs"] if (folder / name).exists()}
    manifest["outputs"] = {name: sha256_file(file) for name, file in files.items()}
    manifest["sizes"] = {name: file.stat().st_size for name, file in files.items()}
    write_json(folder / "manifest.json", manifest)


def interactive(index: Path) -> float | None:
    """Median seconds from opening the index until it is filtered; None without Chromium."""
    program = next((path for name in ("chromium", "google-chrome") if (path := shutil.which(name))), None)
    if program is None:
        return None
    from playwright.sync_api import sync_playwright

    seconds = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        for _ in range(5):
            page = browser.new_page()
            began = time.monotonic()
            page.goto(index.as_uri())
            page.locator("select[name=phenotype]").select_option(index=1)
            page.locator("table.stays tbody tr").first.wait_for()
            seconds.append(time.monotonic() - began)
            page.close()
        browser.close()
    return statistics.median(seconds)


def processor() -> float:
    """Seconds of processor time of the commands that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--predictions", type=Path, required=True)
    parser.add_argument("--cohort", type=Path, required=True)
    parser.add_argument("--stays", default="500,10000")
    args = parser.parse_args()
    table = Table(title="clinragen report")
    for heading in (
        "stays", "seconds", "stays a second", "beyond the first row", "CPU ms", "MB", "kB a stay", "index MB",
        "peak MiB", "interactive s",
    ):  # fmt: skip
        table.add_column(heading, justify="right")
    first: tuple[int, float, float] | None = None
    for count in map(int, args.stays.split(",")):
        with TemporaryDirectory() as scratch:
            predictions, cohort = many(args.predictions, args.cohort, Path(scratch), count)
            given = ["--predictions", str(predictions), "--cohort", str(cohort), "--out", f"{scratch}/report"]
            before = processor()
            seconds, peak = run(["-c", "from clinragen.cli import main; main()", "report", *given])
            cpu = processor() - before
            report = Path(scratch) / "report"
            size = sum(path.stat().st_size for path in report.rglob("*") if path.is_file())
            pages = sum(path.stat().st_size for path in (report / "stays").iterdir())
            ready = interactive(report / "index.html")
        first = first or (count, seconds, cpu)
        later = count - first[0]
        more = f"{later / (seconds - first[1]):.0f}" if later > 0 else ""
        each = f"{1e3 * (cpu - first[2]) / later:.1f}" if later > 0 else ""
        table.add_row(
            f"{count:,}", f"{seconds:.1f}", f"{count / seconds:.0f}", more, each, f"{size / 1e6:.1f}",
            f"{pages / count / 1e3:.1f}", f"{(size - pages) / 1e6:.2f}", f"{peak:,.0f}",
            "no Chromium" if ready is None else f"{ready:.2f}",
        )  # fmt: skip
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
