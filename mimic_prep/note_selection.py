"""Which notes and sections a stay may read under its protocol.

Discharge summaries are written after the stay. The ``admission`` protocol takes only the sections with what was known
at admission, and dates them to the admission; other notes must be charted and filed before the prediction time. A
retrospective protocol takes its sections unchanged, with the time of the note.

An admission may have several reports, and addenda to them. What was known at admission is taken from the first report
that contains it, and from no later one; an addendum counts as known when it was written.
"""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from mimic_prep.accounting import RowFilter
from mimic_prep.ingest import RawTables
from mimic_prep.note_text import clean
from mimic_prep.protocol import KnownAt, Protocol
from mimic_prep.radiology import radiology_sections
from mimic_prep.sections import KNOWN_AT_ADMISSION, discharge_sections
from mimic_prep.tables import MimicLayout, NoteTable

SUMMARY = "discharge"
NOTES = {
    "stay_id": pl.Int64,
    "note_id": pl.String,
    "kind": pl.String,
    "section": pl.String,
    "time": pl.Datetime("ms"),
    "text": pl.String,
}


LONGEST = 1_000_000  # most characters: the longest notes of MIMIC have a tenth of it
_ROWS = {**NOTES, "addendum": pl.Boolean, "number": pl.Int64, "written": pl.Datetime("ms")}
ORDER = ("stay_id", "kind", "time", "note_id", "section", "text")
_Parser = Callable[[str, bool], dict[str, str]]


def read_notes(raw: RawTables, release: MimicLayout, stays: pl.DataFrame, protocol: Protocol) -> pl.DataFrame:
    """All sections (columns ``NOTES``) that the protocol allows, sorted."""
    parts = [pl.DataFrame(schema=_ROWS)]
    for table in {source.table.path: source.table for source in release.notes}.values():
        sources = [source for source in release.notes if source.table.path == table.path]
        requested = [source for source in sources if source.kind == SUMMARY or source.kind in protocol.notes.kinds]
        if requested:
            rules = _rules(requested, stays, protocol.known_at)
            for block in raw.stream(table, rules):
                parts.append(_attach(_sections(block, _parsers(protocol)), stays, protocol))
    return _of_first_reports(pl.concat(parts)).select(list(NOTES)).sort(*ORDER)


def _of_first_reports(notes: pl.DataFrame) -> pl.DataFrame:
    """``notes`` without the admission sections of later reports and addenda, and without repetitions."""
    order = ["stay_id", "written", "number", "note_id"]
    order += ["section", "text"]
    notes = notes.sort(*order, *(name for name in notes.columns if name not in order), nulls_last=True)
    is_summary, of_admission_section = pl.col("kind") == SUMMARY, pl.col("section").is_in(KNOWN_AT_ADMISSION)
    first = notes.filter(is_summary & of_admission_section & ~pl.col("addendum")).unique(
        "stay_id", keep="first", maintain_order=True
    )
    of_admission = notes.filter(is_summary & of_admission_section).join(
        first.select("stay_id", "note_id"), on=["stay_id", "note_id"]
    )
    later = notes.filter(is_summary & ~of_admission_section)
    summaries = pl.concat([of_admission, later]).unique(
        ["stay_id", "section", "text"], keep="first", maintain_order=True
    )
    return pl.concat([summaries, notes.filter(~is_summary)])


def _parsers(protocol: Protocol) -> dict[str, _Parser]:
    requested = set(protocol.notes.sections)

    def summary(text: str, addendum: bool) -> dict[str, str]:
        return discharge_sections(text, addendum=addendum, sections=requested)

    def history(text: str, addendum: bool) -> dict[str, str]:
        return summary(text, addendum) or _whole(text, addendum)

    return {SUMMARY: summary, "radiology": radiology_sections, "history_and_physical": history}


def _whole(text: str, addendum: bool) -> dict[str, str]:
    body = clean(text)
    return {"note": body} if body else {}


def _rules(sources: list[NoteTable], stays: pl.DataFrame, known_at: KnownAt) -> Callable[[RowFilter], None]:
    """Set the kind of each note; summaries must belong to an admission of the cohort, others to a stay's window."""
    kinds = {category.lower(): source.kind for source in sources for category in source.categories}
    default = next((source.kind for source in sources if not source.categories), None)
    untyped = sources[0].kind if len(sources) == 1 else default
    addenda = [category.lower() for source in sources for category in source.addenda]
    admissions, subjects = (stays[key].unique().implode() for key in ("hadm_id", "subject_id"))
    spans = stays.select("subject_id", begin=_begin(), end="prediction_time")
    category = pl.col("category").str.strip_chars().str.to_lowercase()

    def rules(row_filter: RowFilter) -> None:
        if "error" in row_filter.frame.columns:
            row_filter.reject(pl.col("error") == 1, "marked as an error")
        kind = category.replace_strict(kinds, default=default, return_dtype=pl.String) if kinds else pl.lit(default)
        added = category.is_in(addenda)
        if "description" in row_filter.frame.columns:
            added |= pl.col("description").str.to_lowercase().str.contains("addend").fill_null(False)
        kind = pl.when(category.is_null()).then(pl.lit(untyped)).otherwise(kind)
        row_filter.frame = row_filter.frame.with_columns(kind=kind, addendum=added.fill_null(False))
        row_filter.skip(pl.col("kind").is_null(), "other kind of note")
        row_filter.reject_missing("text")
        row_filter.reject(pl.col("text").str.len_chars() > LONGEST, f"note of more than {LONGEST:,} characters")
        is_summary = pl.col("kind") == SUMMARY
        outside = pl.col("hadm_id").is_null() | ~pl.col("hadm_id").is_in(admissions)
        row_filter.skip(is_summary & outside, "admission not in the cohort")
        row_filter.reject(~is_summary & pl.col("subject_id").is_null(), "no subject_id")
        row_filter.skip(~is_summary & ~pl.col("subject_id").is_in(subjects), "patient not in the cohort")
        row_filter.skip(~is_summary & pl.col("time").is_null(), "no time")
        row_filter.skip(
            ~is_summary & pl.col("addendum") & pl.col("available").is_null(), "addendum without its time of filing"
        )
        rows = row_filter.frame.filter(~is_summary).join(spans, on="subject_id")
        inside = (pl.col("time") >= pl.col("begin")) & (_known(known_at) < pl.col("end"))
        readable = rows.filter(inside)["line"].unique()
        row_filter.skip(~is_summary & ~pl.col("line").is_in(readable.implode()), "outside the window")

    return rules


def _begin() -> pl.Expr:
    return pl.min_horizontal("admittime", "intime")


def _known(known_at: KnownAt) -> pl.Expr:
    """A note is known from its filing, but not before its charted time; this always applies to an addendum."""
    filed = pl.max_horizontal("time", "available")
    return filed if known_at == "storetime" else pl.when("addendum").then(filed).otherwise(pl.col("time"))


def _written() -> pl.Expr:
    """When a note was written; a note with a date but no time counts from the end of that day."""
    return pl.coalesce(_known("storetime"), pl.col("date") + pl.duration(days=1))


def _sections(block: pl.DataFrame, parsers: dict[str, _Parser]) -> pl.DataFrame:
    keep = ["note_id", "subject_id", "hadm_id", "time", "available", "kind", "addendum", "number", "written"]
    if "date" not in block.columns:
        block = block.with_columns(date=pl.lit(None, dtype=block.schema["time"]))
    number = pl.col("note_id").str.extract(r"(\d+)\D*$").cast(pl.Int64, strict=False)  # "1-DS-10" comes after "1-DS-9"
    block = block.with_columns(number=number, written=_written().cast(_ROWS["written"]))
    rows = [
        {**{name: row[name] for name in keep}, "section": section, "text": body}
        for row in block.select(*keep, "text").iter_rows(named=True)
        for section, body in parsers.get(row["kind"], _whole)(row["text"], row["addendum"]).items()
    ]
    schema = {**{name: block.schema[name] for name in keep}, "section": pl.String, "text": pl.String}
    return pl.DataFrame(rows, schema=schema)


def _attach(sections: pl.DataFrame, stays: pl.DataFrame, protocol: Protocol) -> pl.DataFrame:
    """One row for each section and stay that may read it."""
    is_summary = pl.col("kind") == SUMMARY
    summaries = sections.filter(is_summary).drop("subject_id").join(stays, on="hadm_id")
    after = pl.when("addendum").then(pl.coalesce("written", "dischtime")).otherwise(pl.coalesce("time", "dischtime"))
    time = after if protocol.retrospective else _begin()
    summaries = summaries.with_columns(time=time)
    others = sections.filter(~is_summary).drop("hadm_id").join(stays, on="subject_id")
    others = others.filter((pl.col("time") >= _begin()) & (_known(protocol.known_at) < pl.col("prediction_time")))
    columns = [pl.col(name).cast(kind) for name, kind in _ROWS.items()]
    return pl.concat([summaries.select(columns), others.select(columns)])
