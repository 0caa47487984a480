"""Warnings about what a cohort lacks for training and evaluation, given at preparation, before training fails."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from clinragen.catalog import shipped_variables, variables
from clinragen.label_sets import Phenotype
from mimic_prep.protocol import Protocol
from mimic_prep.splits import GivenSplits, followed

FEW_PATIENTS = 50  # with fewer a model learns nothing that generalises to other patients
_MOST_NAMES = 6


def of_cohort(
    stays: pl.DataFrame,
    series: pl.LazyFrame,
    texts: pl.DataFrame,
    labels: pl.DataFrame | None,
    label_set: Mapping[str, Phenotype],
    protocol: Protocol,
    given: GivenSplits | None,
) -> list[str]:
    """One sentence for each problem, with what to do; contains only counts and names of labels."""
    return [
        *_splits(stays, protocol, given),
        *_size(stays),
        *_series(stays, series),
        *_texts(stays, texts, protocol),
        *_labels(stays, labels, label_set),
    ]


def _splits(stays: pl.DataFrame, protocol: Protocol, given: GivenSplits | None) -> list[str]:
    counts = dict(stays["split"].value_counts().iter_rows())
    shares = {name: getattr(protocol.splits, name) for name in ("train", "validation", "test")}
    source = followed(given, protocol.splits)
    sentences = []
    for name, share in shares.items():
        if counts.get(name):
            continue
        if source:
            helps = f"{source.name} puts none of its patients there; --set splits.dataset=false draws splits anew"
        elif name == "test" and protocol.splits.test_subjects:
            helps = "the list of splits.test_subjects names none of its patients"
        elif not share:
            helps = f"splits.{name} is 0; --set splits.{name}=SHARE gives it some"
        else:
            helps = (
                f"by chance no patient fell there; a larger share (--set splits.{name}=SHARE, the three sum to 1) or "
                "another draw (--set splits.salt=WORD) helps"
            )
        needs = {"train": "nothing can be trained", "validation": "training needs it to choose and calibrate"}
        sentences.append(f"split {name} is empty: {needs.get(name, 'nothing can be evaluated')}; {helps}")
    return sentences


def _size(stays: pl.DataFrame) -> list[str]:
    patients = stays["subject_id"].n_unique()
    if patients >= FEW_PATIENTS:
        return []
    few = f"{patients:,} patient{' is' if patients == 1 else 's are'} too few"
    return [f"{few} to train on, or to tell two models apart: {FEW_PATIENTS} are a minimum"]


def _series(stays: pl.DataFrame, series: pl.LazyFrame) -> list[str]:
    rows = series.group_by("variable").agg(pl.len()).collect(engine="streaming")
    kinds = {key: variable.kind for key, variable in variables().items()}
    measured = {kinds.get(key, "") for key in rows["variable"]}
    if not measured:
        return ["no stay has a measurement: stages that read the series have nothing to learn from"]
    without = stays.height - series.select(pl.col("stay_id").n_unique()).collect(engine="streaming").item()
    sentences = [f"{without:,} of {stays.height:,} stays have no measurement at all"] if without else []
    for kind, what, table in (("lab", "laboratory value", "laboratory"), ("vital", "vital sign", "charted")):
        if kind not in measured:
            sentences.append(
                f"no {what} of any stay was read: are the {table} rows there, with item ids that are known?"
            )
    return [*sentences, *_added(set(rows["variable"]))]


def _added(measured: set[str]) -> list[str]:
    """A warning about variables of ``--variables`` that no stay has, most often for a wrong item id."""
    added = variables().keys() - shipped_variables().keys() - measured
    lacking = [variable.label for key, variable in variables().items() if key in added]
    if not lacking:
        return []
    return [
        f"no value of {_first(lacking)} was read, which --variables adds: are the rows there, with the item ids or "
        "LOINC codes that the file names?"
    ]


def _first(names: list[str]) -> str:
    """Names of a list, and how many more there are."""
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more


def _texts(stays: pl.DataFrame, texts: pl.DataFrame, protocol: Protocol) -> list[str]:
    lacking = stays.height - texts.filter(pl.col("text").str.strip_chars() != "")["stay_id"].n_unique()
    if not lacking:
        return []
    helps = "--set notes.digest=missing writes one from structured data" if protocol.notes.digest == "never" else ""
    return [f"{lacking:,} of {stays.height:,} stays have no text{'; ' + helps if helps else ''}"]


def _labels(stays: pl.DataFrame, labels: pl.DataFrame | None, label_set: Mapping[str, Phenotype]) -> list[str]:
    if labels is None:
        return [
            "no stay has a coded diagnosis, so the cohort has no labels: predict and report work, teach, train and "
            "evaluate need it prepared anew with a table of diagnoses"
        ]
    sentences = []
    rows = labels.join(stays.select("stay_id", "split"), on="stay_id")
    for split in ("train", "validation"):
        mine = rows.filter(pl.col("split") == split).drop("stay_id", "split")
        if mine.height and not mine.select(pl.any_horizontal(pl.all()).any()).item():
            sentences.append(
                f"no {split} stay carries a label: training will refuse, for there is nothing to tell apart"
            )
    train = rows.filter(pl.col("split") == "train").drop("stay_id", "split")
    if train.height and (missing := [label_set[key].name for key in train.columns if not train[key].any()]):
        sentences.append(
            f"no training stay carries {_first(missing)}: a model cannot learn {'it' if len(missing) == 1 else 'them'}"
        )
    return sentences


def of_codes(coded: int, stays: int) -> list[str]:
    """A warning about stays without any coded diagnosis, if others have some."""
    uncoded = stays - coded
    if not uncoded or not coded:
        return []
    return [
        f"{uncoded:,} of {stays:,} stays have no coded diagnosis at all (not coded yet?): they count as carrying no "
        "label"
    ]
