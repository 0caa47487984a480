"""A part of a cohort with its rationales, for experiments with models that are slow here.

    python benchmarks/smaller_cohort.py --cohort COHORT --out FOLDER [--train 400] [--validation 40] [--test 80]

Of each split every n-th stay is kept, by ascending id, so that the part is spread over patients and hospitals.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import polars as pl

from clinragen.artifacts import read_json, sha256_file, write_json
from clinragen.cohort.folder import Cohort


def spread(ids: list[int], most: int) -> list[int]:
    """Every n-th of some ids, at most ``most`` of them.

    >>> spread([1, 2, 3, 4, 5, 6, 7], 3)
    [1, 3, 5]
    """
    return [ids[position * len(ids) // most] for position in range(most)] if most < len(ids) else ids


def make_smaller(cohort: Path, out: Path, sizes: dict[str, int]) -> None:
    """Write the part of a cohort that holds at most ``sizes`` stays of each split."""
    whole = Cohort.load(cohort)
    kept = [stay for split, most in sizes.items() for stay in spread(sorted(whole.split(split).tolist()), most)]
    for file in [*cohort.glob("*.parquet"), *(cohort / "rationales").glob("*.parquet")]:
        table = pl.read_parquet(file, use_pyarrow=True)
        if "stay_id" in table.columns:
            table = table.filter(pl.col("stay_id").is_in(kept))
        target = out / file.relative_to(cohort)
        target.parent.mkdir(parents=True, exist_ok=True)
        table.write_parquet(target, use_pyarrow=True)
    for file in (cohort / "rationales").glob("*.json"):
        write_json(out / "rationales" / file.name, read_json(file, "the manifest of a rationale set"))
    manifest = read_json(cohort / "manifest.json", "the manifest of a cohort")
    files = {name: out / name for name in manifest["outputs"]}
    manifest["outputs"] = {name: sha256_file(file) for name, file in files.items()}
    manifest["sizes"] = {name: file.stat().st_size for name, file in files.items()}
    write_json(out / "manifest.json", manifest)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cohort", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    for split, most in (("train", 400), ("validation", 40), ("test", 80)):
        parser.add_argument(f"--{split}", type=int, default=most, help=f"most {split} stays")
    args = parser.parse_args()
    make_smaller(args.cohort, args.out, {split: getattr(args, split) for split in ("train", "validation", "test")})


if __name__ == "__main__":
    main()
