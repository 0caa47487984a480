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


def build(diagnoses: pl.DataFrame, stays: pl.DataFrame) -> pa.Table:
    """The labels table, one row for each stay in the order of ``stays`` (stay_id, hadm_id).

    ``diagnoses`` holds hadm_id and ccs.
    """
    keys = list(phenotypes())
    owner = [(category, key) for key, phenotype in phenotypes().items() for category in phenotype.ccs]
    owners = pl.DataFrame(owner, schema={"ccs": pl.Int64, "phenotype": pl.String}, orient="row")
    carried = diagnoses.select("hadm_id", "ccs").unique().join(owners, on="ccs").group_by("hadm_id").agg("phenotype")
    rows = stays.select("stay_id", "hadm_id").join(carried, on="hadm_id", how="left", maintain_order="left")
    has = [pl.col("phenotype").list.contains(key).fill_null(False).alias(key) for key in keys]
    table = rows.select("stay_id", *has).to_arrow()
    return table.cast(labels_schema(keys))
