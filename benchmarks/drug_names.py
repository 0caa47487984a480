"""How much of the raw drug names of eICU and MIMIC `clinragen.drugs` maps, and which frequent names it does not.

    python benchmarks/drug_names.py --eicu PATH/TO/eicu-demo --mimic-iv PATH/TO/mimic-iv-demo [--mimic-iii PATH]

eICU: `medication`, whose rows without a name may be resolved by the drug of their `drughiclseqno` (`drugs_by_code`),
and `admissiondrug` and `infusiondrug`. MIMIC: `prescriptions` without rows of drug_type BASE, which name what a drug is
dissolved in. Unmapped names go to the terminal; nothing is written.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from printed_tables import Console
from rich.table import Table

from clinragen.drugs import Drug, drug_classes, drugs_by_code, drugs_digest, drugs_of

SHOWN = 25  # unmapped names of each table


def table(folder: Path, name: str, columns: list[str]) -> pl.DataFrame:
    """Text columns, in lower case, of a raw table that may be packed and in a sub-folder; empty text is null."""
    for path in sorted(folder.rglob("*.csv*")):
        if path.name.lower() in (f"{name}.csv", f"{name}.csv.gz"):
            frame = pl.read_csv(path, infer_schema_length=0)
            frame = frame.rename({column: column.lower() for column in frame.columns}).select(columns)
            stripped = pl.all().str.strip_chars()
            return frame.select(pl.when(stripped != "").then(stripped).name.keep())
    raise SystemExit(f"no {name}.csv or {name}.csv.gz in {folder}")


def share(part: int, whole: int) -> str:
    """A count and its share of the whole."""
    return f"{part:,} ({part / whole:.1%})" if whole else "0"


@dataclass
class Coverage:
    """A table's rows by what its names are mapped to."""

    label: str
    rows: int
    mapped: Counter[Drug]  # rows with a name
    unmapped: Counter[str]
    nameless: int = 0
    resolvable: int = 0  # rows without a name, but with the code of a row with one
    resolved: int = 0  # of these, those that have a drug


def read(label: str, names: pl.Series, codes: pl.Series | None) -> Coverage:
    """Map the names of a table; ``codes`` resolve rows without one."""
    drugs = drugs_of(names.drop_nulls().unique(maintain_order=True).to_list())
    coverage = Coverage(label, len(names), Counter(), Counter(), nameless=names.null_count())
    for name, count in names.drop_nulls().value_counts(name="rows").iter_rows():
        if (drug := drugs[name]) is None:
            coverage.unmapped[name] += count
        else:
            coverage.mapped[drug] += count
    if codes is not None:
        pairs = pl.DataFrame({"code": codes, "name": names})
        by_code, named = drugs_by_code(pairs.drop_nulls().iter_rows()), set(pairs.drop_nulls()["code"])
        nameless = pairs.filter(pl.col("name").is_null())["code"]
        coverage.resolvable = sum(code in named for code in nameless)
        coverage.resolved = sum(code in by_code for code in nameless)
    return coverage


def tables(args: argparse.Namespace) -> list[tuple[str, pl.Series, pl.Series | None]]:
    """Label, names and codes of each table that was asked for."""
    sources = []
    if args.eicu:
        medication = table(args.eicu, "medication", ["drugname", "drughiclseqno"])
        sources.append(("eICU medication", medication["drugname"], medication["drughiclseqno"]))
        for name in ("admissiondrug", "infusiondrug"):
            sources.append((f"eICU {name}", table(args.eicu, name, ["drugname"])["drugname"], None))
    for folder, label in ((args.mimic_iv, "MIMIC-IV"), (args.mimic_iii, "MIMIC-III")):
        if folder:
            orders = table(folder, "prescriptions", ["drug", "drug_type"]).filter(pl.col("drug_type") != "BASE")
            sources.append((f"{label} prescriptions", orders["drug"], None))
    return sources


def main() -> None:
    """Print coverage by table, the most frequent unmapped names, and the classes by rows."""
    parser = argparse.ArgumentParser(description="Coverage of the mapping of raw drug names")
    parser.add_argument("--eicu", type=Path, help="folder of eICU")
    parser.add_argument("--mimic-iv", type=Path, help="folder of MIMIC-IV")
    parser.add_argument("--mimic-iii", type=Path, help="folder of MIMIC-III")
    parser.add_argument("--shown", type=int, default=SHOWN, help="unmapped names to list for each table")
    parser.add_argument("--classes", action="store_true", help="list the classes with their rows, over all tables")
    args = parser.parse_args()
    sources = tables(args)
    if not sources:
        parser.error("give at least one of --eicu, --mimic-iv, --mimic-iii")
    overview, by_class = Table("table", "rows", "with a name", "mapped", "resolved", "of all rows"), Counter()
    drugs_of(["aspirin"])  # the data are read before the clock starts
    start = time.process_time()
    distinct = len(drugs_of([name for _, names, _ in sources for name in names.drop_nulls().unique()]))
    seconds = time.process_time() - start
    coverages = [read(*source) for source in sources]
    for item in coverages:
        named, mapped = item.rows - item.nameless, item.mapped.total()
        overview.add_row(
            item.label,
            f"{item.rows:,}",
            f"{named:,}",
            share(mapped, named),
            f"{item.resolved:,}",
            share(mapped + item.resolved, item.rows),
        )
        for drug, count in item.mapped.items():
            by_class[drug.drug_class] += count
    Console(width=120).print(overview)
    for item in coverages:
        if item.nameless:
            named = item.rows - item.nameless
            print(
                f"{item.label}: {share(item.resolvable, item.nameless)} of the rows without a name have the code of a "
                f"row with one; mapped or resolved of rows with a name or such a code: "
                f"{share(item.mapped.total() + item.resolved, named + item.resolvable)}"
            )
    print(f"{distinct / seconds:,.0f} distinct names a second of processor time; data {drugs_digest()[:12]}")
    print(f"{len(by_class)} of {len(drug_classes())} classes occur")
    for item in coverages:
        print(f"\n{item.label}: {len(item.unmapped)} distinct names unmapped, the most frequent:")
        for name, count in item.unmapped.most_common(args.shown):
            print(f"  {count:6} {name}")
    for key, name in drug_classes().items() if args.classes else ():
        print(f"  {by_class[key]:6} {key}: {name}")


if __name__ == "__main__":
    main()
