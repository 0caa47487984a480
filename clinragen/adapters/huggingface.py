"""A cohort as a Hugging Face dataset: ``train.parquet``, ``validation.parquet``, ``test.parquet``, a row per stay.

``datasets.load_dataset(FOLDER)`` and ``load_dataset("parquet", data_dir=FOLDER)`` open it without code. Columns:

- ``age`` (years), ``sex``, ``prediction_hour`` (hours from admission to the unit, as everywhere below)
- ``notes``: a list of sections with ``kind``, ``section``, ``hour`` (null if unknown) and ``text``
- ``series``: three lists of one length, ``hour``, ``variable`` and ``value`` (canonical unit)
- ``labels``: a boolean for each label, and ``diagnoses``: the names of those that are true
- ``rationales``: ``note`` and ``series`` of one teacher, if one was chosen
- on request ``stay_id``, ``subject_id``, ``hadm_id`` and the ids of notes; on request dates

Nothing that was measured after the prediction time is written, and no outcome. ``README.md`` is the dataset card.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from clinragen import __version__
from clinragen.adapters.readable import until_prediction
from clinragen.artifacts import PRIVATE_FILE, write_json, write_text
from clinragen.cards import card
from clinragen.catalog import variables
from clinragen.cohort.folder import Cohort
from clinragen.integrity import outputs_of
from clinragen.outputs import HUGGING_FACE, output_folder
from clinragen.schema import RATIONALE_KINDS, SPLITS

IDS, DATES = ("stay_id", "subject_id", "hadm_id"), ("intime", "prediction_time")
#: stays of a row group, which bounds the memory of whoever reads the file
_GROUP = 1000


@dataclass(frozen=True)
class Columns:
    """Which columns an export has beside those that every one has.

    Attributes:
        ids: of stays, patients, admissions and notes; pseudonyms of the source.
        dates: of the stay and its notes, as the source has shifted them.
        teacher: whose rationales are written; None for none.
    """

    ids: bool = False
    dates: bool = False
    teacher: str | None = None


def export_cohort(
    cohort: Cohort, out: Path, columns: Columns = Columns(), *, overwrite: bool = False
) -> dict[str, int]:
    """Write ``cohort`` as a Hugging Face dataset into the folder ``out``.

    Args:
        cohort: with or without labels.
        out: folder to write; readable by its owner only.
        columns: what else the rows hold.
        overwrite: replace an earlier export.

    Returns:
        The number of stays of each split that has any.

    Raises:
        UserError: the teacher wrote nothing for this cohort, or ``out`` may not be written.
    """
    cohort = until_prediction(cohort)
    schema = row_schema(cohort, columns)
    counts = {name: cohort.stays.filter(pl.col("split") == name).height for name in SPLITS}
    counts = {name: stays for name, stays in counts.items() if stays}
    with output_folder(out, HUGGING_FACE, overwrite=overwrite, inputs=(cohort.paths.root,)) as folder:
        for split in counts:
            path = folder / f"{split}.parquet"
            path.touch(PRIVATE_FILE)
            with pq.ParquetWriter(path, schema, compression="zstd") as writer:
                for rows in _rows(cohort, split, columns):
                    writer.write_table(rows.select(schema.names).to_arrow().cast(schema))
        write_text(folder / "README.md", _card(cohort, schema, counts, columns))
        manifest = {"created_by": f"clinragen {__version__}", "cohort_sha256": cohort.sha256, "stays": counts}
        write_json(folder / "manifest.json", {**manifest, **outputs_of(folder.glob("*.parquet"))})
    return counts


def row_schema(cohort: Cohort, columns: Columns) -> pa.Schema:
    """The columns of the rows, with their types."""
    section = [("kind", pa.string()), ("section", pa.string()), ("hour", pa.float64()), ("text", pa.string())]
    section += [("note_id", pa.string())] * columns.ids + [("time", pa.timestamp("ms"))] * columns.dates
    measured = [("hour", pa.float32()), ("variable", pa.string()), ("value", pa.float32())]
    fields: list[tuple[str, pa.DataType]] = []
    fields += [(name, pa.int64()) for name in IDS] * columns.ids
    fields += [(name, pa.timestamp("ms")) for name in DATES] * columns.dates
    fields += [("age", pa.float32()), ("sex", pa.string()), ("prediction_hour", pa.float64())]
    fields += [("notes", pa.list_(pa.struct(section)))]
    fields += [("series", pa.struct([(name, pa.list_(kind)) for name, kind in measured]))]
    if cohort.labelled:
        fields += [("labels", pa.struct([(key, pa.bool_()) for key in cohort.label_set]))]
        fields += [("diagnoses", pa.list_(pa.string()))]
    if columns.teacher is not None:
        fields += [("rationales", pa.struct([(kind, pa.string()) for kind in RATIONALE_KINDS]))]
    return pa.schema(fields)


def _rows(cohort: Cohort, split: str, columns: Columns) -> Iterator[pl.DataFrame]:
    """The rows of a split, a group at a time, in the order of their stay ids."""
    stays = cohort.stays.filter(pl.col("split") == split)
    written = cohort.rationales(columns.teacher) if columns.teacher is not None else None
    for start in range(0, stays.height, _GROUP):
        group = stays[start : start + _GROUP]
        parts = [_sections(cohort, group), _measurements(cohort, group)]
        parts += [_labels(cohort, group)] if cohort.labelled else []
        parts += [_rationales(written, group)] if written is not None else []
        rows = group.with_columns(prediction_hour=_hours(pl.col("prediction_time")))
        for part in parts:
            rows = rows.join(part, on="stay_id", how="left", maintain_order="left")
        yield rows


def _hours(time: pl.Expr) -> pl.Expr:
    return (time - pl.col("intime")).dt.total_milliseconds() / 3_600_000


def _sections(cohort: Cohort, stays: pl.DataFrame) -> pl.DataFrame:
    notes = cohort.notes.join(stays.select("stay_id", "intime"), on="stay_id", maintain_order="left")
    section = pl.struct("kind", "section", "text", "note_id", "time", hour=_hours(pl.col("time")))
    return _complete(
        notes.select("stay_id", notes=section).group_by("stay_id", maintain_order=True).agg("notes"), stays
    )


def _measurements(cohort: Cohort, stays: pl.DataFrame) -> pl.DataFrame:
    rows = cohort.series.join(stays.select("stay_id"), on="stay_id", how="semi", maintain_order="left")
    lists = _complete(rows.group_by("stay_id", maintain_order=True).agg("hour", "variable", "value"), stays)
    return lists.select("stay_id", series=pl.struct("hour", "variable", "value"))


def _complete(lists: pl.DataFrame, stays: pl.DataFrame) -> pl.DataFrame:
    """Lists by stay, with empty ones for stays that have none."""
    every = stays.select("stay_id").join(lists, on="stay_id", how="left", maintain_order="left")
    empty = [pl.col(name).fill_null(pl.lit([], dtype=kind)) for name, kind in lists.schema.items() if name != "stay_id"]
    return every.with_columns(empty)


def _labels(cohort: Cohort, stays: pl.DataFrame) -> pl.DataFrame:
    labels = cohort.labels.join(stays.select("stay_id"), on="stay_id", how="semi", maintain_order="left")
    named = [pl.when(key).then(pl.lit(label.name)) for key, label in cohort.label_set.items()]
    return labels.select(
        "stay_id", labels=pl.struct(list(cohort.label_set)), diagnoses=pl.concat_list(named).list.drop_nulls()
    )


def _rationales(written: pl.DataFrame, stays: pl.DataFrame) -> pl.DataFrame:
    rows = stays.select("stay_id")
    for kind in RATIONALE_KINDS:
        texts = written.filter(pl.col("kind") == kind).select("stay_id", pl.col("text").alias(kind))
        rows = rows.join(texts, on="stay_id", how="left", maintain_order="left")
    return rows.select("stay_id", rationales=pl.struct(list(RATIONALE_KINDS)))


def features(schema: pa.Schema) -> list[dict[str, object]]:
    """The types of the columns as the header of a dataset card has them.

    >>> features(pa.schema([("age", pa.float32()), ("diagnoses", pa.list_(pa.string()))]))
    [{'name': 'age', 'dtype': 'float32'}, {'name': 'diagnoses', 'list': 'string'}]
    """
    return [{"name": field.name, **_feature(field.type)} for field in schema]


def _feature(kind: pa.DataType) -> dict[str, object]:
    if pa.types.is_struct(kind):
        return {"struct": features(pa.schema(list(kind)))}
    if pa.types.is_list(kind):
        inner = _feature(kind.value_type)
        return {"list": inner.get("dtype") or inner["struct"]}
    return {"dtype": {pa.float32(): "float32", pa.float64(): "float64"}.get(kind, str(kind))}


def _card(cohort: Cohort, schema: pa.Schema, stays: dict[str, int], columns: Columns) -> str:
    header = {
        "license": "other",
        "tags": ["medical", "clinical", "EHR"],
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": split, "path": f"{split}.parquet"} for split in stays],
            }
        ],
        "dataset_info": {"config_name": "default", "features": features(schema)},
    }
    measured = set(cohort.series["variable"].unique())
    return card(
        "export/dataset_card.md.j2",
        header=yaml.safe_dump(header, sort_keys=False, allow_unicode=True),
        source=cohort.manifest.get("source") or "not recorded",
        protocol=cohort.manifest.get("protocol"),
        sha256=cohort.sha256,
        version=__version__,
        stays=stays,
        columns=columns,
        names=set(schema.names),
        variables=[variable for key, variable in variables().items() if key in measured],
        labels={key: label.name for key, label in cohort.label_set.items()} if cohort.labelled else {},
    )
