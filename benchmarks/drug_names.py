"""How much of the raw drug names of eICU and MIMIC `clinragen.drugs` maps, and which frequent names it does not.

    python benchmarks/drug_names.py --eicu PATH/TO/eicu-demo --mimic-iv PATH/TO/mimic-iv-demo [--mimic-iii PATH]

eICU: `medication`, whose rows without a name may be resolved by the drug of their `drughiclseqno` (`drugs_by_code`),
and `admissiondrug` and `infusiondrug`. MIMIC: `prescriptions` without rows of drug_type BASE, which name what a drug is
dissolved in. Row counts only; the unmapped names go to the terminal, nothing is written.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import polars as pl
from rich.console import Console
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
    return f"{part} ({part / whole:.1%})" if whole else "0"


def main() -> None:
    """Print coverage by table, the classes by rows, and the most frequent unmapped names."""
    parser = argparse.ArgumentParser(description="Coverage of the mapping of raw drug names")
    parser.add_argument("--eicu", type=Path, help="folder of eICU")
    parser.add_argument("--mimic-iv", type=Path, help="folder of MIMIC-IV")
    parser.add_argument("--mimic-iii", type=Path, help="folder of MIMIC-III")
    parser.add_argument("--shown", type=int, default=SHOWN, help="unmapped names to list for each table")
    parser.add_argument("--classes", action="store_true", help="list the classes with their rows, over all tables")
    args = parser.parse_args()
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
    if not sources:
        parser.error("give at least one of --eicu, --mimic-iv, --mimic-iii")
    drugs_of(["warm up"])
    by_table, by_class, unmapped = Table("table", "rows", "named", "mapped of named", "resolved", "of all rows"), {}, []
    seconds = distinct = 0.0
    for label, names, codes in sources:
        present = names.drop_nulls()
        start = time.process_time()
        drugs = drugs_of(present.unique(maintain_order=True).to_list())
        seconds, distinct = seconds + time.process_time() - start, distinct + len(drugs)
        counts = present.value_counts(sort=True, name="rows")
        rows: dict[Drug | None, int] = {}
        for name, count in counts.iter_rows():
            rows[drugs[name]] = rows.get(drugs[name], 0) + count
        mapped = len(present) - rows.get(None, 0)
        resolved = resolvable = 0
        if codes is not None:
            pairs = pl.DataFrame({"code": codes, "name": names})
            by_code = drugs_by_code(pairs.drop_nulls().iter_rows())
            nameless = pairs.filter(pl.col("name").is_null())["code"]
            resolved = sum(code in by_code for code in nameless)
            named_codes = set(pairs.drop_nulls()["code"])
            resolvable = sum(code in named_codes for code in nameless)
            print(
                f"{label}: {len(nameless)} rows without a name, {share(resolvable, len(nameless))} of them with the "
                f"code of a named row; mapped or resolved of named and resolvable rows: "
                f"{share(mapped + resolved, len(present) + resolvable)}"
            )
        by_table.add_row(
            label,
            str(len(names)),
            str(len(present)),
            share(mapped, len(present)),
            str(resolved or ""),
            share(mapped + resolved, len(names)),
        )
        for drug, count in rows.items():
            if drug is not None:
                by_class[drug.drug_class] = by_class.get(drug.drug_class, 0) + count
        unmapped.append((label, [(name, count) for name, count in counts.iter_rows() if drugs[name] is None]))
    console = Console()
    console.print(by_table)
    print(f"{distinct / seconds:,.0f} distinct names a second of processor time; data {drugs_digest()[:12]}")
    print(f"{len(by_class)} of {len(drug_classes())} classes occur")
    for label, pairs in unmapped:
        print(f"\n{label}: {len(pairs)} distinct names unmapped, the most frequent:")
        for name, count in pairs[: args.shown]:
            print(f"  {count:6} {name}")
    if args.classes:
        print()
        for key, name in drug_classes().items():
            print(f"  {by_class.get(key, 0):6} {key}: {name}")


if __name__ == "__main__":
    main()
