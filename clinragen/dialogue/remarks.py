"""What is to be said about a chart before it is asked: that it lacks a note or a series, or that it is unlike others.

The sentences are those with which a model abstains (``clinragen.abstention``).
"""

from __future__ import annotations

import numpy as np
import polars as pl

from clinragen.abstention import reason
from clinragen.cohort.folder import Cohort
from clinragen.cohort.sections import sections_by_stay
from clinragen.knowledge.readable import FOREIGN, unreadable
from clinragen.questions.stay_chart import StayChart

#: Share of training stays that may have measured fewer variables before a stay is unlike them.
RARE = 0.005
_LEAST = 50  # training stays from which on a share is counted


def remarks(chart: StayChart, whole: Cohort) -> list[str]:
    """In what a chart is unlike those of a cohort's training split, one sentence each; empty for one like them.

    Of other stays only the number of measured variables is read, and none of it is said but a limit.

    Args:
        chart: of the stay.
        whole: the cohort.
    """
    sentences: list[str] = []
    if not chart.series:
        sentences.append(reason("no series"))
    elif (least := _fewest(whole)) > len(chart.series):
        sentences.append(reason("few variables", count=len(chart.series), limit=least))
    if not any(text.strip() for _, text in chart.sections):
        sentences.append(reason("no note"))
    if _instructed(chart.stay_id, whole):
        sentences.append(reason("instructions"))
    return sentences


def _fewest(whole: Cohort) -> float:
    """The number of variables that all but a few training stays have measured at least; 0 where there are too few."""
    train = whole.stays.filter(split="train")["stay_id"]
    if len(train) < _LEAST:
        return 0.0
    table = pl.scan_parquet(whole.paths.series).select("stay_id", "variable")
    counts = (
        table.filter(pl.col("stay_id").is_in(train.implode()))
        .group_by("stay_id")
        .agg(pl.col("variable").n_unique())
        .collect()["variable"]
        .to_numpy()
    )
    return float(np.quantile(np.r_[counts, np.zeros(len(train) - len(counts))], RARE))


def _instructed(stay_id: int, whole: Cohort) -> bool:
    """Whether the note speaks to its reader or to a machine; such text is not read."""
    notes = whole.of_stays(np.array([stay_id])).notes
    sections = sections_by_stay(notes, labels=whole.label_set, layout=True, whole=True)
    return any(
        span.reason in FOREIGN
        for section, text in sections.get(stay_id, [])
        for span in unreadable(text, section, whole.label_set)
    )
