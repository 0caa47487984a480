"""Which notes and sections a stay may read under its protocol.

Discharge summaries are written after the stay. The ``admission`` protocol takes only the sections that tell what was
known when the patient came, and dates them to the admission; other notes must be charted, and filed, before the
prediction time. A retrospective protocol takes its sections as they are, with the time of the note.
"""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from mimic_prep.accounting import Sieve
from mimic_prep.ingest import RawFolder
from mimic_prep.protocol import Protocol
from mimic_prep.sections import discharge_sections, radiology_sections
from mimic_prep.sources import NoteTable, Release

NOTES = {
    "stay_id": pl.Int64,
    "note_id": pl.String,
    "kind": pl.String,
    "section": pl.String,
    "time": pl.Datetime("ms"),
    "text": pl.String,
}


def read_notes(raw: RawFolder, release: Release, stays: pl.DataFrame, protocol: Protocol) -> pl.DataFrame:
    """All sections (columns ``NOTES``) that the protocol allows, sorted; at most one of a name per summary and stay."""
    parts = [pl.DataFrame(schema=NOTES)]
    for source in release.notes:
        if source.kind == "discharge":
            rules, parser = _of_admissions(source, stays), _summary_parser(protocol)
        elif source.kind in protocol.notes.kinds:
            rules, parser = _before_prediction(source, stays, protocol), radiology_sections
        else:
            continue
        for block in raw.stream(source.table, rules):
            parts.append(_attach(_sections(block, source.kind, parser), stays, source.kind, protocol))
    notes = pl.concat(parts).sort("stay_id", "kind", "time", "note_id", "section", "text")
    # an addendum may repeat a section: the first note that has it counts
    summaries = notes.filter(pl.col("kind") == "discharge").unique(
        ["stay_id", "section"], keep="first", maintain_order=True
    )
    others = notes.filter(pl.col("kind") != "discharge")
    return pl.concat([summaries, others]).sort("stay_id", "kind", "time", "note_id", "section", "text")


def _summary_parser(protocol: Protocol) -> Callable[[str], dict[str, str]]:
    wanted = set(protocol.notes.sections)
    return lambda text: {name: body for name, body in discharge_sections(text).items() if name in wanted}


def _right_kind(sieve: Sieve, source: NoteTable) -> None:
    if source.categories:
        known = pl.col("category").str.strip_chars().str.to_lowercase()
        wanted = [category.lower() for category in source.categories]
        sieve.skip(~known.is_in(wanted), "other kind of note")
    sieve.reject_missing("text")


def _of_admissions(source: NoteTable, stays: pl.DataFrame) -> Callable[[Sieve], None]:
    admissions = stays["hadm_id"].unique().implode()

    def rules(sieve: Sieve) -> None:
        _right_kind(sieve, source)
        sieve.skip(pl.col("hadm_id").is_null() | ~pl.col("hadm_id").is_in(admissions), "admission not in the cohort")

    return rules


def _before_prediction(source: NoteTable, stays: pl.DataFrame, protocol: Protocol) -> Callable[[Sieve], None]:
    subjects = stays["subject_id"].unique().implode()
    begin = pl.min_horizontal("admittime", "intime").alias("begin")
    spans = stays.select("subject_id", begin, pl.col("prediction_time").alias("end"))

    def rules(sieve: Sieve) -> None:
        _right_kind(sieve, source)
        sieve.reject_missing("subject_id", "time")
        sieve.skip(~pl.col("subject_id").is_in(subjects), "patient not in the cohort")
        filed = pl.max_horizontal("time", "available")
        rows = sieve.frame.select("line", "subject_id", "time", filed.alias("filed")).join(spans, on="subject_id")
        readable = rows.filter((pl.col("time") >= pl.col("begin")) & (pl.col("filed") < pl.col("end")))
        sieve.skip(~pl.col("line").is_in(readable["line"].unique().implode()), "outside the window")

    return rules


def _sections(block: pl.DataFrame, kind: str, parser: Callable[[str], dict[str, str]]) -> pl.DataFrame:
    rows = [
        {**row, "kind": kind, "section": section, "text": body}
        for row in block.select("note_id", "subject_id", "hadm_id", "time", "available", "text").iter_rows(named=True)
        for section, body in parser(row["text"]).items()
    ]
    schema = {**{name: block.schema[name] for name in ("subject_id", "hadm_id", "available")}, **NOTES}
    del schema["stay_id"]
    return pl.DataFrame(rows, schema=schema)


def _attach(sections: pl.DataFrame, stays: pl.DataFrame, kind: str, protocol: Protocol) -> pl.DataFrame:
    """One row for each section and stay that may read it."""
    if kind == "discharge":
        joined = sections.drop("subject_id").join(stays, on="hadm_id")
        if not protocol.retrospective:
            joined = joined.with_columns(time=pl.min_horizontal("admittime", "intime"))
    else:
        joined = sections.drop("hadm_id").join(stays, on="subject_id")
        filed = pl.max_horizontal("time", "available")
        begin = pl.min_horizontal("admittime", "intime")
        joined = joined.filter((pl.col("time") >= begin) & (filed < pl.col("prediction_time")))
    return joined.select([pl.col(name).cast(kind_) for name, kind_ in NOTES.items()])
