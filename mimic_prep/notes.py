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
from mimic_prep.sections import clean, discharge_sections, radiology_sections
from mimic_prep.sources import NoteTable, Release

SUMMARY = "discharge"
NOTES = {
    "stay_id": pl.Int64,
    "note_id": pl.String,
    "kind": pl.String,
    "section": pl.String,
    "time": pl.Datetime("ms"),
    "text": pl.String,
}


ORDER = ("stay_id", "kind", "time", "note_id", "section", "text")
_Parser = Callable[[str], dict[str, str]]


def read_notes(raw: RawFolder, release: Release, stays: pl.DataFrame, protocol: Protocol) -> pl.DataFrame:
    """All sections (columns ``NOTES``) that the protocol allows, sorted; at most one of a name per summary and stay."""
    parts = [pl.DataFrame(schema=NOTES)]
    for table in {source.table.path: source.table for source in release.notes}.values():
        sources = [source for source in release.notes if source.table.path == table.path]
        wanted = [source for source in sources if source.kind == SUMMARY or source.kind in protocol.notes.kinds]
        if wanted:
            rules = _rules(wanted, stays, protocol.known_at)
            for block in raw.stream(table, rules):
                parts.append(_attach(_sections(block, _parsers(protocol)), stays, protocol))
    notes = pl.concat(parts).sort(*ORDER)
    # an addendum may repeat a section: the first note that has it counts
    is_summary = pl.col("kind") == SUMMARY
    first = notes.filter(is_summary).unique(["stay_id", "section"], keep="first", maintain_order=True)
    return pl.concat([first, notes.filter(~is_summary)]).sort(*ORDER)


def _parsers(protocol: Protocol) -> dict[str, _Parser]:
    wanted = set(protocol.notes.sections)

    def summary(text: str) -> dict[str, str]:
        return {name: body for name, body in discharge_sections(text).items() if name in wanted}

    return {SUMMARY: summary, "radiology": radiology_sections}


def _whole(text: str) -> dict[str, str]:
    body = clean(text)
    return {"note": body} if body else {}


def _rules(sources: list[NoteTable], stays: pl.DataFrame, known_at: str) -> Callable[[Sieve], None]:
    """Give each note its kind; summaries must belong to an admission of the cohort, others lie in a stay's window."""
    kinds = {category.lower(): source.kind for source in sources for category in source.categories}
    default = next((source.kind for source in sources if not source.categories), None)
    admissions, subjects = (stays[key].unique().implode() for key in ("hadm_id", "subject_id"))
    spans = stays.select("subject_id", begin=_begin(), end="prediction_time")
    category = pl.col("category").str.strip_chars().str.to_lowercase()

    def rules(sieve: Sieve) -> None:
        if "error" in sieve.frame.columns:
            sieve.reject(pl.col("error") == 1, "marked as an error")
        kind = category.replace_strict(kinds, default=default, return_dtype=pl.String) if kinds else pl.lit(default)
        sieve.frame = sieve.frame.with_columns(kind=kind)
        sieve.skip(pl.col("kind").is_null(), "other kind of note")
        sieve.reject_missing("text")
        is_summary = pl.col("kind") == SUMMARY
        outside = pl.col("hadm_id").is_null() | ~pl.col("hadm_id").is_in(admissions)
        sieve.skip(is_summary & outside, "admission not in the cohort")
        sieve.reject(~is_summary & pl.col("subject_id").is_null(), "no subject_id")
        sieve.skip(~is_summary & ~pl.col("subject_id").is_in(subjects), "patient not in the cohort")
        sieve.skip(~is_summary & pl.col("time").is_null(), "no time")
        rows = sieve.frame.filter(~is_summary).join(spans, on="subject_id")
        inside = (pl.col("time") >= pl.col("begin")) & (_known(known_at) < pl.col("end"))
        readable = rows.filter(inside)["line"].unique()
        sieve.skip(~is_summary & ~pl.col("line").is_in(readable.implode()), "outside the window")

    return rules


def _begin() -> pl.Expr:
    return pl.min_horizontal("admittime", "intime")


def _known(known_at: str) -> pl.Expr:
    """A note was known once it was filed, and never before the time it is charted for."""
    return pl.max_horizontal("time", "available") if known_at == "storetime" else pl.col("time")


def _sections(block: pl.DataFrame, parsers: dict[str, _Parser]) -> pl.DataFrame:
    keep = ["note_id", "subject_id", "hadm_id", "time", "available", "kind"]
    rows = [
        {**{name: row[name] for name in keep}, "section": section, "text": body}
        for row in block.select(*keep, "text").iter_rows(named=True)
        for section, body in parsers.get(row["kind"], _whole)(row["text"]).items()
    ]
    schema = {**{name: block.schema[name] for name in keep}, "section": pl.String, "text": pl.String}
    return pl.DataFrame(rows, schema=schema)


def _attach(sections: pl.DataFrame, stays: pl.DataFrame, protocol: Protocol) -> pl.DataFrame:
    """One row for each section and stay that may read it."""
    is_summary = pl.col("kind") == SUMMARY
    summaries = sections.filter(is_summary).drop("subject_id").join(stays, on="hadm_id")
    time = pl.coalesce("time", "dischtime") if protocol.retrospective else _begin()
    summaries = summaries.with_columns(time=time)
    others = sections.filter(~is_summary).drop("hadm_id").join(stays, on="subject_id")
    others = others.filter((pl.col("time") >= _begin()) & (_known(protocol.known_at) < pl.col("prediction_time")))
    columns = [pl.col(name).cast(kind) for name, kind in NOTES.items()]
    return pl.concat([summaries.select(columns), others.select(columns)])
