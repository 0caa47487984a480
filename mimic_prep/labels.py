"""Diagnosis codes of an admission -> the phenotypes each of its stays carries.

All codes of the admission count, at any position: they are labels, and never inputs of the same admission.
"""

from __future__ import annotations

import polars as pl
import pyarrow as pa

from clinragen.catalog import phenotypes
from clinragen.schema import labels_schema
from mimic_prep.codes import code_map, normalise


def with_categories(diagnoses: pl.DataFrame) -> pl.DataFrame:
    """``diagnoses`` (hadm_id, code, version) with normalised codes and their CCS category ``ccs``, null if unknown."""
    clean = diagnoses.with_columns(normalise(pl.col("code")))
    unique = clean.select("code", "version").unique().sort("code", "version")
    category = [
        mapping.ccs(code) if (mapping := code_map(version)) else None
        for code, version in unique.select("code", "version").iter_rows()
    ]
    known = unique.with_columns(ccs=pl.Series(category, dtype=pl.Int64))
    return clean.join(known, on=["code", "version"], how="left", maintain_order="left")


def build(diagnoses: pl.DataFrame, stays: pl.DataFrame, key: str = "hadm_id") -> pa.Table:
    """The labels table, one row for each stay in the order of ``stays``.

    ``diagnoses`` holds ``ccs`` and the column ``key``, by which they belong to stays: hadm_id or stay_id.
    """
    names = list(phenotypes())
    owner = [(category, name) for name, phenotype in phenotypes().items() for category in phenotype.ccs]
    owners = pl.DataFrame(owner, schema={"ccs": pl.Int64, "phenotype": pl.String}, orient="row")
    carried = diagnoses.select(key, "ccs").unique().join(owners, on="ccs").group_by(key).agg("phenotype")
    rows = stays.join(carried, on=key, how="left", maintain_order="left")
    has = [pl.col("phenotype").list.contains(name).fill_null(False).alias(name) for name in names]
    table = rows.select("stay_id", *has).to_arrow()
    return table.cast(labels_schema(names))
