"""What is to be said about a chart before it is asked: that it lacks a note or a series, or that it is unlike others.

The sentences are those with which a model abstains (``clinragen.abstention``).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from clinragen.abstention import reason
from clinragen.cohort.folder import Cohort
from clinragen.knowledge.readable import FOREIGN, unreadable
from clinragen.label_sets import LabelSet
from clinragen.questions.stay_chart import StayChart

#: Share of training stays that may have measured fewer variables before a stay is unlike them.
RARE = 0.005
_LEAST, _MOST = 50, 500  # training stays from which on a share is counted, and that are counted


def remarks(
    chart: StayChart, whole: Sequence[tuple[str, str]], labels: LabelSet | None = None, *, fewest: float = 0.0
) -> list[str]:
    """In what a chart is unlike those of training, one sentence each; empty for one like them.

    Args:
        chart: of the stay.
        whole: (section, text) pairs of its note with the text that is not read.
        labels: to recognise lists of diagnoses; None: the 25 phenotypes.
        fewest: of :func:`fewest_variables`; 0: how many variables were measured is not looked at.
    """
    sentences: list[str] = []
    if not chart.series:
        sentences.append(reason("no series"))
    elif fewest > len(chart.series):
        sentences.append(reason("few variables", count=len(chart.series), limit=fewest))
    if not any(text.strip() for _, text in chart.sections):
        sentences.append(reason("no note"))
    if any(span.reason in FOREIGN for section, text in whole for span in unreadable(text, section, labels)):
        sentences.append(reason("instructions"))
    return sentences


def fewest_variables(cohort: Cohort) -> float:
    """The number of variables that all but a few training stays have measured at least; 0 where there are too few.

    Args:
        cohort: of whose training split some hundred stays are counted; nothing else of them is read.
    """
    train = cohort.stays.filter(split="train")["stay_id"].sort()[:_MOST]  # a run of ids: a few row groups of the file
    if len(train) < _LEAST:
        return 0.0
    rows = cohort.of_stays(train.to_numpy()).series
    counts = rows.group_by("stay_id").agg(pl.col("variable").n_unique())["variable"].to_numpy()
    return float(np.quantile(np.r_[counts, np.zeros(len(train) - len(counts))], RARE))
