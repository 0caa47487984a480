"""Speed and accuracy of the linker on notes: megabytes per second on one core, precision and recall.

    python benchmarks/linker_speed.py --raw SYNTHETIC_HOSPITAL --cohort EICU_COHORT

Speed is text over processor time, the median of five runs on text in memory. ``--raw`` is a folder of raw tables with
``note/discharge.csv.gz``; ``--cohort`` a cohort folder with ``notes.parquet``. Either may be left out.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from statistics import median
from typing import Any

import polars as pl
import yaml

from clinragen.knowledge.graph import ConceptGraph, build
from clinragen.knowledge.linker import Linker

SENTENCES = Path(__file__).parents[1] / "tests" / "knowledge" / "linker_sentences.yaml"
MOST_MEGABYTES = 5.0
RUNS = 5


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--raw", type=Path, help="raw tables with note/discharge.csv.gz")
    parser.add_argument("--cohort", type=Path, help="cohort folder with notes.parquet")
    parser.add_argument("--graph", type=Path, help="graph folder (default: the curated core)")
    args = parser.parse_args()
    linker = Linker(ConceptGraph.load(args.graph) if args.graph else build())
    print(f"{'sentences':<22}{'count':>7}{'concepts':>10}{'precision':>11}{'recall':>8}")
    rows = yaml.safe_load(SENTENCES.read_text(encoding="utf-8"))["sentences"]
    sets = {"all": rows, "open": [row for row in rows if not row.get("held")]}
    for row in rows:
        if row.get("held"):
            sets.setdefault(f"aside: {'first' if row['held'] is True else row['held']}", []).append(row)
    for name, part in sets.items():
        precision, recall, wanted = scores(linker, part)
        print(f"{name:<22}{len(part):>7}{wanted:>10}{precision:>11.3f}{recall:>8.3f}")
    texts = {}
    if args.raw:
        notes = pl.read_csv(args.raw / "note" / "discharge.csv.gz", columns=["text"])
        texts["hospital notes"] = notes["text"].to_list()
    if args.cohort:
        notes = pl.read_parquet(args.cohort / "notes.parquet", columns=["text"])
        texts["notes of the cohort"] = notes["text"].to_list()
    if texts:
        print(f"\n{'text':<22}{'MB':>7}{'mentions':>10}{'MB/s':>11}")
    for name, notes in texts.items():
        megabytes, mentions, speed = measure(linker, notes)
        print(f"{name:<22}{megabytes:>7.1f}{mentions:>10}{speed:>11.1f}")


def scores(linker: Linker, rows: list[dict[str, Any]]) -> tuple[float, float, int]:
    """(precision, recall, number of gold pairs) over (concept, context) pairs."""
    hit = found = wanted = 0
    for row in rows:
        got = {(mention.concept, mention.context) for mention in linker.link(row["s"])}
        gold = set(row["m"].items())
        hit, found, wanted = hit + len(got & gold), found + len(got), wanted + len(gold)
    return hit / found, hit / wanted, wanted


def measure(linker: Linker, notes: list[str]) -> tuple[float, int, float]:
    """(megabytes of UTF-8, mentions, megabytes per second of processor time) over the first megabytes of text."""
    chosen: list[str] = []
    size = 0
    for note in notes:
        if size > MOST_MEGABYTES * 1e6:
            break
        chosen.append(note)
        size += len(note.encode())
    times = []
    mentions = 0
    for _ in range(RUNS):
        began = time.process_time()
        mentions = sum(len(linker.link(note)) for note in chosen)
        times.append(time.process_time() - began)
    return size / 1e6, mentions, size / 1e6 / median(times)


if __name__ == "__main__":
    main()
