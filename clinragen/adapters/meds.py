"""A cohort as a MEDS dataset (Medical Event Data Standard, 0.4), and back without loss.

Codes, with their stay in the extra column ``stay_id``:

- ``ICU_ADMISSION``, ``ICU_DISCHARGE``, ``PREDICTION_TIME``; ``hadm_id`` is an extra column
- ``AGE//years`` at admission, ``GENDER//F``
- ``VARIABLE//<key>//<unit>``: a value of the hourly grid, at the start of its hour
- ``HOSPITAL_DISCHARGE//DIED`` or ``//ALIVE`` (neither if unknown), without a time if that is unknown,
  and ``MEDS_DEATH``: outcomes of the stay
- ``SITE//hospital``, ``SITE//network``, ``SITE//period`` at admission, what they are called in ``text_value``
- ``NOTE//<kind>//<section>``: a section of a note, text in ``text_value``, id in the extra column ``note_id``

Diagnoses are labels, not events: ``labels/<phenotype>.parquet`` in MEDS's label schema. Every table is checked against
the schemas of the package ``meds`` before it is written and after it is read.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa

from clinragen import __version__, added_variables, label_sets, versions
from clinragen.adapters.readable import until_prediction
from clinragen.artifacts import read_json, read_table, sha256_file, write_json, write_table
from clinragen.catalog import variables
from clinragen.cohort.folder import Cohort, frame
from clinragen.errors import UserError, missing_extra
from clinragen.integrity import outputs_of
from clinragen.outputs import COHORT, MEDS, output_folder
from clinragen.schema import CARE_UNIT, NOTES, OUTCOMES, SERIES, SITES, STAYS, CohortPaths, labels_schema

if TYPE_CHECKING:
    from types import ModuleType

SPLIT_NAMES = {"train": "train", "validation": "tuning", "test": "held_out"}
_EVENTS = {
    "subject_id": pl.Int64, "time": pl.Datetime("us"), "code": pl.String, "numeric_value": pl.Float32,
    "text_value": pl.String, "stay_id": pl.Int64, "hadm_id": pl.Int64, "note_id": pl.String,
}  # fmt: skip
_ETL = "clinragen"
_DISCHARGE, _DEATH = "HOSPITAL_DISCHARGE", "MEDS_DEATH"
_DISPOSITIONS = {"DIED": True, "ALIVE": False}
_SITE = "SITE//"
_LABEL_SET = "metadata/label_set.json"  # in older exports with labels other than the 25 phenotypes
_COHORT = "metadata/cohort.json"
_OWN = ("kind", "schema_version", "created_by", "inputs", "outputs", "sizes")  # about the folder


def export_cohort(cohort: Cohort, out: Path, *, overwrite: bool = False) -> None:
    """Write ``cohort`` as a MEDS dataset into the folder ``out``, without rows of the series after the prediction time.

    Raises:
        UserError: the package ``meds`` is not installed, or ``out`` exists.
    """
    meds = _meds()
    cohort = until_prediction(cohort)
    events = _events(cohort)
    splits = cohort.stays.select("subject_id", pl.col("split").replace_strict(SPLIT_NAMES)).unique().sort("subject_id")
    if splits["subject_id"].is_duplicated().any():
        raise UserError(
            f"{cohort.paths.root}: a patient lies in several splits, which MEDS cannot say: audit the cohort"
        )
    with output_folder(out, MEDS, overwrite=overwrite, inputs=(cohort.paths.root,)) as folder:
        for meds_name in SPLIT_NAMES.values():
            part = events.join(splits.filter(pl.col("split") == meds_name), on="subject_id", how="semi")
            if part.height:
                table = meds.DataSchema.align(part.sort("subject_id", "time", "code", "stay_id", "note_id").to_arrow())
                write_table(folder / meds.data_subdirectory / meds_name / "0.parquet", table)
        write_table(folder / meds.subject_splits_filepath, meds.SubjectSplitSchema.align(splits.to_arrow()))
        write_table(folder / meds.code_metadata_filepath, meds.CodeMetadataSchema.align(_codes(events)))
        for key in cohort.label_set if cohort.labelled else ():
            write_table(folder / "labels" / f"{key}.parquet", meds.LabelSchema.align(_labels(cohort, key)))
        write_json(folder / _COHORT, {key: value for key, value in cohort.manifest.items() if key not in _OWN})
        write_json(folder / meds.dataset_metadata_filepath, _metadata(cohort, meds))


def import_cohort(root: Path, out: Path, *, overwrite: bool = False) -> None:
    """Convert an export of ``export_cohort`` in ``root`` back to a cohort in the folder ``out``.

    ``mimic-prep meds`` does the same, and also reads other MEDS datasets.

    Raises:
        UserError: ``root`` was not exported by clinragen, or a table breaks MEDS's schemas.
    """
    meds = _meds()
    if not is_export(root):
        raise UserError(f"{root} was not exported by clinragen: prepare it with mimic-prep meds --raw {root}")
    shards = sorted((root / meds.data_subdirectory).glob("**/*.parquet"))
    if not shards:
        raise UserError(f"{root / meds.data_subdirectory} holds no .parquet file: the dataset has no events")
    events = pl.concat([_checked(path, meds.DataSchema).select(list(_EVENTS)) for path in shards])
    splits = _checked(root / meds.subject_splits_filepath, meds.SubjectSplitSchema)
    stays = _stays(events, splits)
    inputs = [*shards, root / meds.subject_splits_filepath, *sorted((root / "labels").glob("*.parquet"))]
    labels = stays.select("stay_id", "subject_id", time=pl.col("prediction_time").cast(pl.Datetime("us")))
    described = _described(root)
    added_variables.opened(described, root / _COHORT)
    keys = list(label_sets.of_manifest(described))
    labelled = (root / "labels").is_dir()
    for key in keys if labelled else ():
        path = root / "labels" / f"{key}.parquet"
        label = _checked(path, meds.LabelSchema)
        if "boolean_value" not in label.columns or label["boolean_value"].null_count():
            raise UserError(f"{path}: boolean_value is missing for some or all stays: export the cohort anew")
        label = label.select("subject_id", pl.col("boolean_value").alias(key), time="prediction_time").unique()
        labels = labels.join(label, on=["subject_id", "time"], how="left", maintain_order="left")
    with output_folder(out, COHORT, overwrite=overwrite, inputs=(root,)) as folder:
        paths = CohortPaths(folder)
        write_table(paths.stays, _typed(stays, STAYS))
        write_table(paths.series, _typed(_series(events, stays), SERIES))
        write_table(paths.notes, _typed(_notes(events), NOTES))
        if events["code"].str.starts_with(_DISCHARGE).any():  # older exports have none
            write_table(paths.outcomes, _typed(_outcomes(events, stays), OUTCOMES))
        if described.get("clock"):  # older exports have none
            write_table(paths.sites, _typed(_sites(events, stays), SITES.append(CARE_UNIT)))
        if labelled:
            write_table(paths.labels, _typed(labels, labels_schema(keys)))
        write_json(
            paths.manifest,
            {
                **described,
                **versions.COHORT.mark,
                "created_by": f"clinragen {__version__}",
                "inputs": {path.relative_to(root).as_posix(): sha256_file(path) for path in inputs},
                **outputs_of(folder.glob("*.parquet")),
            },
        )


def is_export(root: Path) -> bool:
    """Whether a MEDS dataset was written by ``export_cohort``."""
    path = root / "metadata" / "dataset.json"
    metadata = read_json(path, "the metadata of a MEDS dataset") if path.is_file() else None
    return isinstance(metadata, dict) and metadata.get("etl_name") == _ETL


def _described(root: Path) -> dict[str, Any]:
    """The description of the cohort in the manifest of an export."""
    if (root / _COHORT).is_file():
        return read_json(root / _COHORT, "the manifest of an exported cohort")
    metadata = read_json(root / "metadata" / "dataset.json", "the metadata of a MEDS dataset")
    file = root / _LABEL_SET
    labels = {"label_set": read_json(file, "the label set of an exported cohort")} if file.is_file() else {}
    return {"source": metadata.get("dataset_name"), **labels}


def _meds() -> ModuleType:
    try:
        import meds
    except ImportError:
        raise missing_extra("the MEDS adapter", "meds") from None
    return meds


def _checked(path: Path, schema: Any) -> pl.DataFrame:
    from flexible_schema import SchemaValidationError, TableValidationError

    table = read_table(path)
    try:
        return frame(schema.align(table))
    except (SchemaValidationError, TableValidationError) as error:
        raise UserError(f"{path} breaks the MEDS schema: {str(error).splitlines()[0]}") from None


def _events(cohort: Cohort) -> pl.DataFrame:
    stays = cohort.stays
    owner = stays.select("stay_id", "subject_id", "hadm_id", "intime")
    units = {key: f"VARIABLE//{key}//{variable.unit}" for key, variable in variables().items()}
    parts = [
        stays.select("stay_id", "subject_id", "hadm_id", time=time, code=pl.lit(code))
        for time, code in (
            ("intime", "ICU_ADMISSION"),
            ("outtime", "ICU_DISCHARGE"),
            ("prediction_time", "PREDICTION_TIME"),
        )
    ]
    at_admission = stays.select("stay_id", "subject_id", "hadm_id", "age", "sex", time="intime")
    parts += [
        at_admission.select(pl.exclude("age", "sex"), code=pl.lit("AGE//years"), numeric_value="age"),
        at_admission.drop_nulls("sex").select(pl.exclude("age", "sex"), code=pl.concat_str(pl.lit("GENDER//"), "sex")),
        cohort.series.join(owner, on="stay_id").select(
            "stay_id",
            "subject_id",
            "hadm_id",
            time=pl.col("intime") + pl.duration(seconds=(pl.col("hour") * 3600).cast(pl.Int64)),
            code=pl.col("variable").replace_strict(units),
            numeric_value="value",
        ),
        cohort.notes.join(owner, on="stay_id").select(
            "stay_id",
            "subject_id",
            "hadm_id",
            "time",
            "note_id",
            code=pl.concat_str(pl.lit("NOTE"), "kind", "section", separator="//"),
            text_value="text",
        ),
    ]
    if cohort.paths.outcomes.exists():
        outcomes = cohort.outcomes.join(owner.drop("intime"), on="stay_id")
        ids = ("stay_id", "subject_id", "hadm_id")
        died = pl.col("died_in_hospital").replace_strict(
            {died: word for word, died in _DISPOSITIONS.items()}, default=None
        )
        discharge = pl.concat_str(pl.lit(_DISCHARGE), died, separator="//", ignore_nulls=True)
        parts.append(outcomes.select(*ids, time="hospital_outtime", code=discharge))
        parts.append(outcomes.drop_nulls("death_time").select(*ids, time="death_time", code=pl.lit(_DEATH)))
    sites = (
        cohort.sites.with_columns(cohort.care_units)
        .unpivot(index="stay_id", variable_name="site", value_name="text_value")
        .drop_nulls("text_value")
    )
    ids = owner.rename({"intime": "time"})
    parts.append(sites.join(ids, on="stay_id").select(pl.exclude("site"), code=pl.concat_str(pl.lit(_SITE), "site")))
    parts = [part.with_columns(pl.col("time").cast(_EVENTS["time"])) for part in parts]
    return pl.concat([pl.DataFrame(schema=_EVENTS), *parts], how="diagonal").select(list(_EVENTS))


def _codes(events: pl.DataFrame) -> pa.Table:
    codes = events["code"].unique().sort()
    about = {f"VARIABLE//{key}//{variable.unit}": variable for key, variable in variables().items()}
    names = [about[code].label if code in about else None for code in codes]
    parents = [[f"LOINC/{about[code].loinc}"] if code in about and about[code].loinc else None for code in codes]
    table = pl.DataFrame(
        {"code": codes, "description": names, "parent_codes": parents},
        schema={"code": pl.String, "description": pl.String, "parent_codes": pl.List(pl.String)},
    )
    return table.to_arrow()


def _labels(cohort: Cohort, key: str) -> pa.Table:
    labels = cohort.labels.join(cohort.stays, on="stay_id")
    return labels.select(
        "subject_id", pl.col("prediction_time").cast(pl.Datetime("us")), boolean_value=key
    ).sort("subject_id", "prediction_time").to_arrow()  # fmt: skip


def _metadata(cohort: Cohort, meds: ModuleType) -> dict[str, Any]:
    metadata = {
        "dataset_name": str(cohort.manifest.get("source")),
        "dataset_version": cohort.sha256,
        "etl_name": _ETL,
        "etl_version": __version__,
        "meds_version": meds.__version__,
        "raw_source_id_columns": ["stay_id", "hadm_id", "note_id"],
    }
    meds.DatasetMetadataSchema.validate(metadata)
    return metadata


def _typed(table: pl.DataFrame, schema: pa.Schema) -> pa.Table:
    return table.select(schema.names).to_arrow().cast(schema)


def _stays(events: pl.DataFrame, splits: pl.DataFrame) -> pl.DataFrame:
    def times(code: str, name: str) -> pl.DataFrame:
        return events.filter(pl.col("code") == code).select("stay_id", pl.col("time").alias(name))

    stays = events.filter(pl.col("code") == "ICU_ADMISSION").select("stay_id", "subject_id", "hadm_id", intime="time")
    ages = events.filter(pl.col("code") == "AGE//years").select("stay_id", age="numeric_value")
    sex = events.filter(pl.col("code").str.starts_with("GENDER//"))
    sexes = sex.select("stay_id", sex=pl.col("code").str.strip_prefix("GENDER//"))
    for part in (times("ICU_DISCHARGE", "outtime"), times("PREDICTION_TIME", "prediction_time"), ages, sexes):
        stays = stays.join(part, on="stay_id", how="left")
    ours = {theirs: name for name, theirs in SPLIT_NAMES.items()}
    split = splits.select("subject_id", pl.col("split").replace_strict(ours))
    return stays.join(split, on="subject_id", how="left").sort("stay_id")


def _outcomes(events: pl.DataFrame, stays: pl.DataFrame) -> pl.DataFrame:
    code = pl.col("code")
    discharges = events.filter(code.str.starts_with(_DISCHARGE)).select(
        "stay_id",
        hospital_outtime="time",
        died_in_hospital=code.str.strip_prefix(f"{_DISCHARGE}//").replace_strict(_DISPOSITIONS, default=None),
    )
    deaths = events.filter(code == _DEATH).select("stay_id", death_time="time")
    outcomes = stays.select("stay_id").join(discharges, on="stay_id", how="left", maintain_order="left")
    return outcomes.join(deaths, on="stay_id", how="left", maintain_order="left")


def _sites(events: pl.DataFrame, stays: pl.DataFrame) -> pl.DataFrame:
    """Hospital, network, period and care unit of each stay; null where there is no event of it."""
    sites = stays.select("stay_id")
    for name in (*SITES.names[1:], CARE_UNIT.name):
        named = events.filter(pl.col("code") == _SITE + name).select("stay_id", pl.col("text_value").alias(name))
        sites = sites.join(named, on="stay_id", how="left", maintain_order="left")
    return sites


def _series(events: pl.DataFrame, stays: pl.DataFrame) -> pl.DataFrame:
    parts = pl.col("code").str.split("//")
    order = {key: rank for rank, key in enumerate(variables())}
    rows = events.filter(pl.col("code").str.starts_with("VARIABLE//")).join(stays, on="stay_id")
    return rows.select(
        "stay_id",
        hour=(pl.col("time") - pl.col("intime")).dt.total_seconds() / 3600,
        variable=parts.list.get(1),
        value="numeric_value",
    ).sort("stay_id", "hour", pl.col("variable").replace_strict(order))  # fmt: skip


def _notes(events: pl.DataFrame) -> pl.DataFrame:
    parts = pl.col("code").str.split("//")
    rows = events.filter(pl.col("code").str.starts_with("NOTE//"))
    notes = rows.select(
        "stay_id", "note_id", kind=parts.list.get(1), section=parts.list.get(2), time="time", text="text_value"
    )
    return notes.sort("stay_id", "kind", "time", "note_id", "section", "text")
