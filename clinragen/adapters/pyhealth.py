"""A cohort as PyHealth 2.1 sample datasets with a multilabel task, for PyHealth's models.

Each stay is a sample. Its features: ``series``, the standardised hourly values with observed flags;
``concepts``, those that its notes affirm, as a sequence of codes. The label is ``diagnoses``. Means and code list are
fitted on the training split, and the splits are those of the cohort.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from clinragen.cohort.folder import Cohort
from clinragen.cohort.sections import sections_by_stay
from clinragen.cohort.window import Window
from clinragen.data.series import SeriesStatistics, grid, observed_variables
from clinragen.errors import missing_extra
from clinragen.knowledge import graph
from clinragen.knowledge.linker import Linker
from clinragen.schema import SPLITS

if TYPE_CHECKING:
    from pyhealth.datasets import SampleDataset

TASK = "phenotyping"
FEATURES = {"series": "timeseries", "concepts": "sequence"}
LABEL = "diagnoses"
_BINS = 8  # bins of the encodings, which PyHealth does not use


def sample_datasets(cohort: Cohort, *, hours: int | None = None, min_share: float = 0.02) -> dict[str, SampleDataset]:
    """One PyHealth dataset for each split that has stays, sharing fitted processors.

    Args:
        cohort: with labels.
        hours: number of first hours of a stay; by default the cohort's window. The tensor of ``series`` is
            float [bins, 2 * variables], values before mask.
        min_share: leave out variables measured in fewer of the training stays.

    Raises:
        UserError: PyHealth is not installed, or there is no training stay.
    """
    try:
        from pyhealth.datasets import create_sample_dataset
        from pyhealth.processors import MultiLabelProcessor, SequenceProcessor, TimeseriesProcessor
    except ImportError:
        raise missing_extra("the PyHealth adapter", "pyhealth") from None

    statistics = _statistics(cohort, Window(hours) if hours else Window.of(cohort), min_share)
    of_split = {name: samples(cohort, name, statistics) for name in SPLITS if name in set(cohort.stays["split"])}
    inputs: dict[str, Any] = {"series": TimeseriesProcessor(), "concepts": SequenceProcessor()}
    for name, processor in inputs.items():
        processor.fit(of_split["train"], name)
    labels = MultiLabelProcessor()
    labels.fit([{LABEL: list(cohort.label_set)}], LABEL)  # all labels, also those without a positive stay in a split
    return {
        name: create_sample_dataset(
            rows,
            dict(FEATURES),
            {LABEL: "multilabel"},
            dataset_name=str(cohort.manifest.get("source")),
            task_name=TASK,
            input_processors=dict(inputs),
            output_processors={LABEL: labels},
        )
        for name, rows in of_split.items()
    }


def samples(cohort: Cohort, split: str, statistics: SeriesStatistics) -> list[dict[str, Any]]:
    """PyHealth samples of a split, in order of stay_id: patient_id, visit_id, series, concepts, diagnoses."""
    stay_ids, window = cohort.split(split), statistics.window
    scaled, observed = statistics.standardise(grid(cohort, stay_ids, statistics.variables, window))
    series = np.concatenate([scaled, observed.astype(np.float32)], axis=1).transpose(0, 2, 1)
    linker = Linker(graph.build())
    texts = sections_by_stay(
        cohort.notes.filter(pl.col("stay_id").is_in(stay_ids)), labels=cohort.label_set, layout=True
    )
    keys = np.array(list(cohort.label_set))
    carried = cohort.label_matrix(stay_ids)
    stays = cohort.stays.filter(pl.col("split") == split).select("stay_id", "subject_id", "intime")
    first = window.first_hours(cohort, stay_ids).tolist()
    rows = []
    for position, (stay, subject, intime) in enumerate(stays.iter_rows()):
        times = [intime + timedelta(hours=first[position] + hour) for hour in window.starts.tolist()]
        rows.append(
            {
                "patient_id": str(subject),
                "visit_id": str(stay),
                "series": (times, series[position]),
                "concepts": _concepts(linker, texts.get(stay, [])),
                LABEL: keys[carried[position]].tolist(),
            }
        )
    return rows


def _statistics(cohort: Cohort, window: Window, min_share: float) -> SeriesStatistics:
    train = cohort.split("train")
    variables = observed_variables(cohort, train, min_share, window)
    return SeriesStatistics.fit(grid(cohort, train, variables, window), variables, _BINS, window)


def _concepts(linker: Linker, sections: list[tuple[str, str]]) -> list[str]:
    """Ids of the concepts that the text affirms, present or past, each once, in reading order."""
    stated = [
        mention.concept
        for section, text in sections
        for mention in linker.link(text, section)
        if mention.context in ("affirmed", "historical")
    ]
    return list(dict.fromkeys(stated)) or ["no_concept"]
