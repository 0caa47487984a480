"""Labels of stays from the diagnosis codes of their admission.

All codes of the admission count, at any position. They are labels, and never inputs, of the same admission.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import polars as pl
import pyarrow as pa

from clinragen import label_sets
from clinragen.errors import UserError
from clinragen.icd import code_map
from clinragen.label_sets import LabelSet, Phenotype
from clinragen.schema import labels_schema

VERSIONS = (9, 10)


def load(name: str) -> LabelSet:
    """The label set of a protocol, each label with the phenotypes of the catalogue that lie mostly within it.

    Raises:
        UserError: unknown or malformed, or a label without a known code.
    """
    label_set = label_sets.load(name)
    if label_set == label_sets.shipped():
        return label_set
    codes_given = {key: set(codes_of(label)) for key, label in label_set.items()}
    if empty := [key for key, codes in codes_given.items() if not codes]:
        raise UserError(f"{name}: labels.{empty[0]}: no ICD code that is known gives this label; check its codes")
    phenotypes = {key: set(codes_of(phenotype)) for key, phenotype in label_sets.shipped().items()}
    covering = (
        replace(label, covers=tuple(p for p, codes in phenotypes.items() if _mostly(codes, codes_given[key])))
        for key, label in label_set.items()
    )
    return LabelSet(label_set.name, tuple(covering))


def _mostly(codes: set[tuple[int, str]], within: set[tuple[int, str]]) -> bool:
    """More than half of the codes of both versions: the versions have very different numbers of codes."""
    shares = []
    for version in VERSIONS:
        mine = {code for code in codes if code[0] == version}
        shares.append(len(mine & within) / len(mine))
    return sum(shares) / len(shares) > 0.5


def codes_of(label: Phenotype) -> list[tuple[int, str]]:
    """(version, code) of every known code that gives a label."""
    codes: list[tuple[int, str]] = []
    for version in VERSIONS:
        mapping = code_map(version)
        assert mapping is not None  # both versions are known
        by_code = {9: label.icd9, 10: label.icd10}[version]
        ours = [code for ccs in label.ccs for code in mapping.codes_of(ccs)]
        ours += [code for code, _ in mapping.items() if label.has_code(code, version)] if by_code else []
        codes += [(version, code) for code in dict.fromkeys(ours)]
    return codes


def owners(codes: pl.DataFrame, labels: Mapping[str, Phenotype]) -> pl.DataFrame:
    """code, version, label: the labels that each of the distinct ``codes`` (code, version) gives; codes are normalised.

    The same code may give several labels, and most give none.
    """
    rows: list[tuple[str, int, str]] = []
    for code, version in codes.select("code", "version").unique().sort("code", "version").iter_rows():
        mapping = code_map(version)
        ccs = mapping.ccs(code) if mapping else None
        rows += [
            (code, version, key)
            for key, label in labels.items()
            if ccs in label.ccs or label.has_code(code or "", version)
        ]
    return pl.DataFrame(rows, schema={"code": pl.String, "version": pl.Int64, "label": pl.String}, orient="row")


def coded(diagnoses: pl.DataFrame, stays: pl.DataFrame, key: str = "hadm_id") -> int:
    """Number of stays with any coded diagnosis, with or without a label."""
    return stays.join(diagnoses.filter(pl.col("code").is_not_null()), on=key, how="semi").height


def build(
    diagnoses: pl.DataFrame, stays: pl.DataFrame, labels: Mapping[str, Phenotype], key: str = "hadm_id"
) -> pa.Table:
    """The labels table, one row for each stay in the order of ``stays``.

    ``diagnoses`` (normalised, see ``code_repair``) holds code, version and the column ``key``, by which they belong to
    stays: hadm_id or stay_id.
    """
    codes = diagnoses.select(key, "code", pl.col("version").cast(pl.Int64)).unique()
    carried = codes.join(owners(codes, labels), on=["code", "version"]).group_by(key).agg("label")
    rows = stays.join(carried, on=key, how="left", maintain_order="left")
    has = [pl.col("label").list.contains(name).fill_null(False).alias(name) for name in labels]
    return rows.select("stay_id", *has).to_arrow().cast(labels_schema(list(labels)))
