"""Single inputs that nearly tell a label alone: a word of the notes, a section, a variable, an id.

A disease shows in many weak signs. One input that ranks nearly all stays with a label above those without it was more
likely written when the answer was known: a code in a note, a section that only some patients have, a test that follows
up what was found. Only training stays are looked at, so that the check may be run before a model is chosen.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
import polars as pl

from mimic_prep.audit.check import Check, Field, Status, plural
from mimic_prep.audit.cohort_tables import CohortTables

#: Area under the ROC curve from which an input tells a label alone, and the fewest stays that have the label, and
#: that lack it, by which it is judged (for a variable: of those in which it was measured).
AUROC, SUPPORT = 0.98, 10
MOST_STAYS = 5_000  # training stays that are read, drawn at random
_SHOWN = 30  # rows: a sentence that leaks does so by each of its words
_SEED = 20_111
_TELLS, _MEASURE = "tells the label", "may be its measure"
_WORD = r"[a-z0-9][a-z0-9'./-]*[a-z0-9]|[a-z0-9]"
_STATISTICS = {
    "mean": pl.col("value").mean(),
    "lowest value": pl.col("value").min(),
    "highest value": pl.col("value").max(),
    "last value": pl.col("value").last(),
}


class Telling(TypedDict):
    """An input that nearly tells a label, the stays by which that was seen, and how well it does."""

    input: str
    phenotype: str
    stays_with: int
    stays_without: int
    auroc: float
    verdict: str
    flagged: bool


@dataclass(frozen=True)
class _Inputs:
    """Inputs of one kind beside ``L`` labels. ``measured``: values of a variable, which a disease may well show in."""

    names: Sequence[str]
    auroc: np.ndarray  # [inputs, L], NaN where the stays are too few
    stays_with: np.ndarray  # [inputs, L]
    stays_without: np.ndarray
    measured: bool = False


def single(tables: CohortTables, allow: Collection[str] = ()) -> Check:
    """Every word, pair of words, section, kind of note, variable and id beside every label.

    Args:
        tables: of the cohort.
        allow: sections that may tell a label; their words are not looked at.
    """
    title = "No single input tells a label"
    stays = tables.stays.filter(pl.col("split") == "train")
    if tables.labels is None or stays.is_empty():
        says = "The cohort has no labels, or no training stays: there is nothing to tell."
        return Check("single_inputs", title, _ASKS, "note", says)
    if stays.height > MOST_STAYS:
        stays = stays.sample(MOST_STAYS, seed=_SEED)
    stays = stays.sort("stay_id")
    labels = list(tables.cohort.label_set.values())
    carried = stays.select("stay_id").join(tables.labels, on="stay_id", how="left", maintain_order="left")
    gold = carried.select(list(tables.cohort.label_set)).to_numpy().astype(bool)
    notes = tables.notes.drop_nulls(["section", "text"]).join(stays.select("stay_id"), on="stay_id", how="semi")
    notes = notes.filter(~pl.col("section").is_in(list(allow)))
    rows: list[Telling] = []
    for inputs in (_of_notes(notes, stays, gold), *_of_variables(tables.series, stays, gold), _of_stays(stays, gold)):
        for row, label in np.argwhere(inputs.auroc >= AUROC).tolist():
            rows.append(
                {
                    "input": inputs.names[row], "phenotype": labels[label].name,
                    "stays_with": int(inputs.stays_with[row, label]),
                    "stays_without": int(inputs.stays_without[row, label]),
                    "auroc": float(inputs.auroc[row, label]),
                    "verdict": _MEASURE if inputs.measured else _TELLS, "flagged": True,
                }
            )  # fmt: skip
    rows.sort(key=lambda row: (row["verdict"] != _TELLS, -row["auroc"], row["phenotype"], row["input"]))
    leak = bool(rows) and rows[0]["verdict"] == _TELLS
    status: Status = "leak" if leak else "warning" if rows else "pass"
    says = "No word, section, variable or id tells a label by itself."
    if rows:
        label_count, first = len({row["phenotype"] for row in rows}), rows[0]
        says = (
            f"{plural(label_count, 'label')} told by a single input. The clearest: {first['input']} tells "
            f"{first['phenotype']} (AUROC {first['auroc']:.3f}). "
        )
        says += "Leave it out, or find out when it was written." if leak else "Is the label defined by this value?"
    return Check("single_inputs", title, _ASKS, status, says, _COLUMNS, rows[:_SHOWN])


_ASKS = (
    "Words and pairs of words of the notes, sections, kinds of notes, values and frequency of variables, ids and ages "
    f"of training stays (at most {MOST_STAYS:,}) beside each label; flagged from an AUROC of {AUROC:g} on, in either "
    f"direction, over at least {SUPPORT} stays with the label and {SUPPORT} without."
)
_COLUMNS = (
    Field("input", "Input"), Field("phenotype", "Label"), Field("verdict", "Verdict"),
    Field("auroc", "AUROC", "number"), Field("stays_with", "Stays with the label", "count"),
    Field("stays_without", "Stays without", "count"),
)  # fmt: skip


def _of_notes(notes: pl.DataFrame, stays: pl.DataFrame, gold: np.ndarray) -> _Inputs:
    """Whether a stay's notes have a word, a pair of words, a section, or are of a kind."""
    words = (
        notes.with_row_index("note")
        .select("stay_id", "note", word=pl.col("text").str.to_lowercase().str.extract_all(_WORD))
        .explode("word")
        .drop_nulls("word")
    )
    follows = pl.col("note") == pl.col("note").shift(-1)
    pairs = words.select("stay_id", follows=follows, word=pl.col("word") + " " + pl.col("word").shift(-1))
    stated = pl.concat(
        [
            words.select("stay_id", input="the word '" + pl.col("word") + "'"),
            pairs.filter("follows").select("stay_id", input="the words '" + pl.col("word") + "'"),
            notes.select("stay_id", input="section " + pl.col("section")),
            notes.select("stay_id", input="notes of kind " + pl.col("kind")),
        ]
    ).unique()
    stated = stated.filter(pl.len().over("input") >= SUPPORT)
    names = stated["input"].unique().sort()
    codes = stated["input"].cast(pl.Enum(names)).to_physical().to_numpy()
    rows = np.searchsorted(stays["stay_id"].to_numpy(), stated["stay_id"].to_numpy())
    with_, total = gold.sum(axis=0), len(gold)
    true = np.stack([np.bincount(codes, gold[rows, label], len(names)) for label in range(gold.shape[1])], axis=1)
    false = np.bincount(codes, minlength=len(names))[:, None] - true
    with np.errstate(divide="ignore", invalid="ignore"):
        auroc = (true / with_ + 1 - false / (total - with_)) / 2
    shape = auroc.shape
    return _Inputs(
        names.to_list(),
        _supported(auroc, with_, total - with_),
        np.broadcast_to(with_, shape),
        np.broadcast_to(total - with_, shape),
    )


def _of_variables(series: pl.LazyFrame, stays: pl.DataFrame, gold: np.ndarray) -> Iterator[_Inputs]:
    """How often each variable was measured in each stay, and its values where it was."""
    statistics = (
        series.join(stays.select("stay_id").lazy(), on="stay_id", how="semi")
        .sort("stay_id", "hour")
        .group_by("stay_id", "variable")
        .agg(**_STATISTICS, times=pl.len())
        .collect()
        .sort("variable", "stay_id")
    )
    ids = stays["stay_id"].to_numpy()
    for (variable,), part in statistics.group_by("variable", maintain_order=True):
        rows = np.searchsorted(ids, part["stay_id"].to_numpy())
        times = np.zeros(len(ids))
        times[rows] = part["times"].to_numpy()
        yield _ranked([f"how often {variable} was measured"], times[None], gold)
        names = [f"{statistic} of {variable}" for statistic in _STATISTICS]
        yield _ranked(names, part.select(list(_STATISTICS)).to_numpy().T, gold[rows], measured=True)


def _of_stays(stays: pl.DataFrame, gold: np.ndarray) -> _Inputs:
    """Ids and age: sorted tables, or ids given by diagnosis."""
    facts = {
        "the id of the stay": stays["stay_id"],
        "the id of the patient": stays["subject_id"].fill_null(-1),
        "the id of the admission": stays["hadm_id"].fill_null(-1),
        "the age": stays["age"],
    }
    return _ranked(list(facts), np.stack([fact.cast(pl.Float64).to_numpy() for fact in facts.values()]), gold)


def _ranked(names: list[str], values: np.ndarray, gold: np.ndarray, *, measured: bool = False) -> _Inputs:
    """Inputs by their values [inputs, n] for the labels [n, L] of the same stays."""
    with_ = gold.sum(axis=0)
    without = len(gold) - with_
    ranks = np.stack([_ranks(row) for row in values])
    with np.errstate(divide="ignore", invalid="ignore"):
        auroc = (ranks @ gold - with_ * (with_ + 1) / 2) / (with_ * without)
    return _Inputs(
        names,
        _supported(auroc, with_, without),
        np.broadcast_to(with_, auroc.shape),
        np.broadcast_to(without, auroc.shape),
        measured,
    )


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1, the mean of them for equal values.

    >>> _ranks(np.array([3.0, 1.0, 3.0])).tolist()
    [2.5, 1.0, 2.5]
    """
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[group]


def _supported(auroc: np.ndarray, with_: np.ndarray, without: np.ndarray) -> np.ndarray:
    """Areas in the direction that is above one half; NaN for labels that too few stays have or lack."""
    return np.where(np.minimum(with_, without) >= SUPPORT, np.maximum(auroc, 1 - auroc), np.nan)
