"""A cohort as PyHealth 2.1 sample datasets with a multilabel task, for PyHealth's models.

Each stay is a sample. Its features: ``series``, the standardised hourly values with observed flags;
``concepts``, those that its notes affirm, as a sequence of codes. The label is ``diagnoses``. Means and code list are
fitted on the training split, and the splits are those of the cohort.

``sample_datasets`` makes them in memory; ``export_samples`` writes the samples as Parquet, which ``open_samples`` turns
into the same datasets, without the cohort.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa

from clinragen import __version__
from clinragen.adapters.readable import until_prediction
from clinragen.artifacts import read_json, read_table, write_json, write_table
from clinragen.cohort.folder import Cohort
from clinragen.cohort.sections import sections_by_stay
from clinragen.cohort.window import Window
from clinragen.data.series import SeriesStatistics, grid, observed_variables
from clinragen.errors import UserError, missing_extra
from clinragen.integrity import hold_output, outputs_of
from clinragen.knowledge import graph
from clinragen.knowledge.linker import Linker
from clinragen.outputs import PYHEALTH, output_folder
from clinragen.schema import SPLITS
from clinragen.shape import TEXT, differs

if TYPE_CHECKING:
    from pyhealth.datasets import SampleDataset

TASK = "phenotyping"
FEATURES = {"series": "timeseries", "concepts": "sequence"}
LABEL = "diagnoses"
_ABOUT = "samples.json"
_SAMPLES = pa.schema(
    [
        ("patient_id", pa.string()),
        ("visit_id", pa.string()),
        ("times", pa.list_(pa.timestamp("us"))),
        ("series", pa.list_(pa.list_(pa.float32()))),  # [bins, 2 * variables], values before mask
        ("concepts", pa.list_(pa.string())),
        (LABEL, pa.list_(pa.string())),
    ]
)
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
    of_split, _ = _samples(cohort, hours, min_share)
    return _datasets(of_split, list(cohort.label_set), str(cohort.manifest.get("source")))


def export_samples(
    cohort: Cohort, out: Path, *, hours: int | None = None, min_share: float = 0.02, overwrite: bool = False
) -> dict[str, int]:
    """Write the samples of every split that has stays into the folder ``out``: a Parquet each, and ``samples.json``.

    Args:
        cohort: with labels.
        out: folder to write; readable by its owner only.
        hours: number of first hours of a stay; by default the cohort's window.
        min_share: leave out variables measured in fewer of the training stays.
        overwrite: replace an earlier export.

    Returns:
        The number of samples of each split.

    Raises:
        UserError: the cohort has no labels or no training stay, or ``out`` may not be written.
    """
    with output_folder(out, PYHEALTH, overwrite=overwrite, inputs=(cohort.paths.root,)) as folder:
        of_split, statistics = _samples(cohort, hours, min_share)
        for name, rows in of_split.items():
            columns = [{**row, "times": row["series"][0], "series": row["series"][1].tolist()} for row in rows]
            write_table(folder / f"{name}.parquet", pa.Table.from_pylist(columns, schema=_SAMPLES))
        about = {
            "source": str(cohort.manifest.get("source")),
            "labels": list(cohort.label_set),
            "variables": list(statistics.variables),
        }
        write_json(folder / _ABOUT, about)
        written = sorted(folder.iterdir())
        manifest = {"created_by": f"clinragen {__version__}", "cohort_sha256": cohort.sha256, **outputs_of(written)}
        write_json(folder / "manifest.json", manifest)
    return {name: len(rows) for name, rows in of_split.items()}


def open_samples(folder: Path) -> dict[str, SampleDataset]:
    """The datasets of a folder of :func:`export_samples`, the same as :func:`sample_datasets` gives of its cohort.

    Raises:
        UserError: PyHealth is not installed, or the folder was not written by it or is damaged.
    """
    manifest = read_json(folder / "manifest.json", "PyHealth samples written by `clinragen export-cohort`")
    if manifest.get("kind") != PYHEALTH.name:
        raise UserError(f"{folder} holds no PyHealth samples: write them with `{PYHEALTH.command}`")
    about = read_json(folder / _ABOUT, "the description of PyHealth samples")
    if trouble := differs(about, {"source": TEXT, "labels": [TEXT], "variables": [TEXT]}):
        raise UserError(f"{folder / _ABOUT}: {trouble}: export the cohort anew")
    of_split = {}
    for path in (folder / f"{name}.parquet" for name in SPLITS):
        if not path.exists():
            continue
        hold_output(path, manifest, remedy="export the cohort anew")
        of_split[path.stem] = [
            {
                **{name: value for name, value in row.items() if name != "times"},
                "series": (row["times"], np.asarray(row["series"], dtype=np.float32)),
            }
            for row in read_table(path, _SAMPLES).to_pylist()
        ]
    return _datasets(of_split, about["labels"], about["source"])


def _samples(
    cohort: Cohort, hours: int | None, min_share: float
) -> tuple[dict[str, list[dict[str, Any]]], SeriesStatistics]:
    cohort = until_prediction(cohort)
    statistics = _statistics(cohort, Window(hours) if hours else Window.of(cohort), min_share)
    present = set(cohort.stays["split"])
    return {name: samples(cohort, name, statistics) for name in SPLITS if name in present}, statistics


def _datasets(of_split: dict[str, list[dict[str, Any]]], keys: list[str], source: str) -> dict[str, SampleDataset]:
    """Datasets whose processors are fitted on the training samples, and which know every label."""
    try:
        from pyhealth.datasets import create_sample_dataset
        from pyhealth.processors import MultiLabelProcessor, SequenceProcessor, TimeseriesProcessor
    except ImportError:
        raise missing_extra("the PyHealth adapter", "pyhealth") from None

    inputs: dict[str, Any] = {"series": TimeseriesProcessor(), "concepts": SequenceProcessor()}
    for name, processor in inputs.items():
        processor.fit(of_split["train"], name)
    labels = MultiLabelProcessor()
    labels.fit([{LABEL: keys}], LABEL)  # all labels, also those without a positive stay in a split
    return {
        name: create_sample_dataset(
            rows,
            dict(FEATURES),
            {LABEL: "multilabel"},
            dataset_name=source,
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
