"""Compare the results of two versions of the code, file by file: same input, same bytes.

    clinragen demo --out BEFORE     # with one version
    clinragen demo --out AFTER      # with the other
    python benchmarks/same_bytes.py BEFORE AFTER

Compares raw tables, cohort, graph, rationales, weights and predictions. For a file that differs it says where: the
columns of a Parquet file, the largest difference of the weights, the number of lines. Manifests, learning curves and
logs hold times and versions, and are left out. Exit code 1 when a file differs or is missing.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import polars as pl
from safetensors.numpy import load_file

#: what is compared, as patterns below a demo folder
PATTERNS = (
    "raw/*/*.csv.gz",
    "raw/truth/*.parquet",
    "cohort/*.parquet",
    "cohort/rationales/*.parquet",
    "graph/*.parquet",
    "*/model/*.safetensors",
    "*/model/calibration.json",
    "predictions/predictions.*",
)


def files(folder: Path) -> set[str]:
    """The files that are compared, relative to the folder."""
    return {path.relative_to(folder).as_posix() for pattern in PATTERNS for path in folder.glob(pattern)}


def difference(before: Path, after: Path) -> str:
    """In what two files of the same name differ; empty where their bytes are the same."""
    if before.read_bytes() == after.read_bytes():
        return ""
    if before.suffix == ".parquet":
        left, right = pl.read_parquet(before), pl.read_parquet(after)
        if left.schema != right.schema or left.height != right.height:
            return f"{left.height} rows of {left.columns}, then {right.height} rows of {right.columns}"
        columns = [name for name in left.columns if not left[name].equals(right[name], null_equal=True)]
        return f"columns {', '.join(columns)}" if columns else "the same table, written otherwise"
    if before.suffix == ".safetensors":
        left, right = load_file(before), load_file(after)
        if left.keys() != right.keys():
            return f"tensors {sorted(left.keys() ^ right.keys())}"
        largest = max(float(abs(left[name] - right[name]).max(initial=0)) for name in left)
        return f"largest difference of a weight {largest:g}"
    left, right = before.read_bytes().splitlines(), after.read_bytes().splitlines()
    return f"{sum(a != b for a, b in zip(left, right, strict=False))} of {len(left)} lines, then {len(right)} lines"


def main() -> None:
    """Compare and print one line for each file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, help="demo folder of one version")
    parser.add_argument("after", type=Path, help="demo folder of the other")
    args = parser.parse_args()
    before, after = files(args.before), files(args.after)
    if not before:
        parser.error(f"{args.before} is no folder that `clinragen demo` wrote")
    faults = 0
    for name in sorted(before | after):
        if name not in after or name not in before:
            verdict = "missing after" if name in before else "new"
        else:
            verdict = difference(args.before / name, args.after / name)
        faults += bool(verdict) and verdict != "new"
        print(f"{'DIFFERS' if verdict else 'same':8}{name}{': ' + verdict if verdict else ''}")
    print(f"{len(before & after)} files compared, {faults} differ or are missing")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
