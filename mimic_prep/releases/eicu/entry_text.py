"""Compose sections of text from coded entries of eICU; nothing entered from the prediction time on."""

from __future__ import annotations

from typing import TypedDict, cast

import polars as pl

from mimic_prep.accounting import RowFilter
from mimic_prep.ingest import RawTables
from mimic_prep.note_selection import NOTES
from mimic_prep.protocol import Protocol
from mimic_prep.releases.eicu.tables import TEXTS, TextTable

MOST_ENTRIES = 60
_SCHEMA = {"stay_id": pl.Int64, "section": pl.String, "entry": pl.String, "time": pl.Int64}


class _Arrival(TypedDict):
    age: float  # years
    sex: str | None
    admit_source: str | None
    care_unit: str | None


def build(raw: RawTables, stays: pl.DataFrame, protocol: Protocol) -> pl.DataFrame:
    """Sections (columns ``notes.NOTES``) of the protocol, and one about patient and admission for each stay."""
    parts = [_arrival(stays)] if protocol.notes.digest != "never" else []
    for source in TEXTS:
        allowed = protocol.notes.sections if source.kind == "digest" else protocol.notes.kinds
        sections = {"social_history", "family_history"} if source.section == "social_history" else {source.section}
        if source.kind in allowed or sections & set(allowed):
            parts.append(_sections(raw, source, stays, protocol))
    return pl.concat([pl.DataFrame(schema=NOTES), *parts])


def _arrival(stays: pl.DataFrame) -> pl.DataFrame:
    columns = stays.select("stay_id", "age", "sex", "admit_source", "care_unit")
    texts = [_who(cast(_Arrival, row)) for row in columns.iter_rows(named=True)]
    return stays.select(
        "stay_id",
        pl.concat_str(pl.lit("digest-"), "stay_id").alias("note_id"),
        pl.lit("digest").alias("kind"),
        pl.lit("admission_digest").alias("section"),
        pl.col("intime").cast(NOTES["time"]).alias("time"),
        pl.Series("text", texts, dtype=pl.String),
    )


def _who(row: _Arrival) -> str:
    """The first sentence.

    >>> _who({"age": 91.0, "sex": "F", "admit_source": "Emergency Department", "care_unit": "MICU"})
    'A more than 89-year-old woman, admitted to the MICU from: emergency department.'
    """
    who = {"F": "woman", "M": "man"}.get(row["sex"] or "", "person")
    age = "more than 89-year-old" if row["age"] > 89 else f"{int(row['age'])}-year-old"
    article = "An" if age.startswith(("8", "11-", "18-")) else "A"
    unit = row["care_unit"] or "intensive care unit"
    origin = f" from: {row['admit_source'].lower()}" if row["admit_source"] else ""
    return f"{article} {age} {who}, admitted to the {unit}{origin}."


def _sections(raw: RawTables, source: TextTable, stays: pl.DataFrame, protocol: Protocol) -> pl.DataFrame:
    limit = (pl.col("prediction_time") - pl.col("intime")).dt.total_minutes().alias("limit")
    limits = stays.select("stay_id", limit)
    ids = stays["stay_id"].implode()

    def rules(row_filter: RowFilter) -> None:
        row_filter.reject_missing("stay_id")
        row_filter.skip(~pl.col("stay_id").is_in(ids), "stay not in the cohort")
        if "cancelled" in row_filter.frame.columns:
            row_filter.skip(pl.col("cancelled").str.to_lowercase() == "yes", "cancelled order")
        row_filter.reject_missing("time")
        row_filter.skip(pl.col("entry").is_null(), "no entry")
        row_filter.frame = row_filter.frame.join(limits, on="stay_id", how="left", maintain_order="left")
        row_filter.skip(pl.col("time") >= pl.col("limit"), "outside the window")
        section, entry = _shape(source)
        row_filter.frame = row_filter.frame.with_columns(section=section, entry=entry)
        row_filter.skip(pl.col("entry").is_null() | pl.col("section").is_null(), "entry without content")

    parts = [block.select(list(_SCHEMA)) for block in raw.stream(source.table, rules)]
    entries = pl.concat([pl.DataFrame(schema=_SCHEMA), *parts])
    if source.kind == "digest":
        entries = entries.filter(pl.col("section").is_in(protocol.notes.sections))
    first = entries.group_by("stay_id", "section", "entry").agg(
        pl.col("time").min(), pl.col("time").max().alias("last")
    )
    lists = (
        first.sort("stay_id", "section", "time", "entry")
        .group_by("stay_id", "section", maintain_order=True)
        .agg(pl.col("entry").head(MOST_ENTRIES).str.join("; "), pl.col("last").head(MOST_ENTRIES).max())
    )
    rows = lists.join(stays.select("stay_id", "intime"), on="stay_id")
    return rows.select(
        "stay_id",
        pl.concat_str(pl.lit(source.table.name), "stay_id", separator="-").alias("note_id"),
        pl.lit(source.kind).alias("kind"),
        "section",
        (pl.col("intime") + pl.duration(minutes=pl.max_horizontal("last", 0))).cast(NOTES["time"]).alias("time"),
        (pl.col("entry") + ".").alias("text"),
    )


def _shape(source: TextTable) -> tuple[pl.Expr, pl.Expr]:
    """Section and wording of each entry; null wording if the entry only says that a form was filled in."""
    entry = pl.col("entry").str.replace_all(r"\s+", " ").str.strip_chars()
    section = pl.lit(source.section)
    name = source.table.name
    if name == "admissiondx":
        return section, pl.when(entry.str.contains("|Diagnosis|", literal=True)).then(_last(entry, "|"))
    if name == "treatment":
        return section, _treatment(entry)
    if name == "pasthistory":
        return section, _below(entry, "/Organ Systems/", pair=True)
    if name == "physicalexam":
        finding = _below(entry, "/Physical Exam/Physical Exam/", pair=False)
        measured = entry.str.contains("/Vital Sign|/Weight and I&O|/GCS/(Motor|Eyes|Verbal|Score|\\d)")
        return section, pl.when(~measured).then(finding)
    if name == "note":
        social = _below(entry, "/Social History/Social History/", pair=True)
        family = _below(entry, "/Family History/Family History/", pair=True)
        which = pl.when(social.is_not_null()).then(pl.lit("social_history")).otherwise(pl.lit("family_history"))
        return which, pl.coalesce(social, family)
    return section, pl.when(entry != "").then(entry)


def _last(entry: pl.Expr, separator: str) -> pl.Expr:
    return entry.str.split(separator).list.last()


def _treatment(entry: pl.Expr) -> pl.Expr:
    """Organ system, class and name of a treatment, without the disorder under which it is filed.

    "cardiovascular|shock|vasopressors|..." would tell the diagnosis. System and class do not, and say more than the
    name: heparin is given to treat or to prevent, a diuretic for the heart or for the kidneys.

    >>> _path = pl.lit("cardiovascular|vascular disorders|VTE prophylaxis|conventional heparin therapy|subcutaneous")
    >>> pl.select(_treatment(_path)).item()
    'cardiovascular: VTE prophylaxis: conventional heparin therapy: subcutaneous'
    >>> pl.select(_treatment(pl.lit("renal|electrolyte correction|treatment of hyperkalemia|kayexalate"))).item()
    'renal: kayexalate'
    """
    steps = entry.str.replace(r"^([^|]*\|)[^|]*\|", "${1}").str.replace_all(r"treatment of [^|]*\|", "")
    return steps.str.replace_all("|", ": ", literal=True)


def _below(entry: pl.Expr, mark: str, *, pair: bool) -> pl.Expr:
    """The last step of the path below ``mark``, after the step before it (``pair``) or the first one below ``mark``.

    >>> _path = pl.lit("a/Organ Systems/Endocrine (R)/Diabetes/medication dependent")
    >>> pl.select(_below(_path, "/Organ Systems/", pair=True)).item()
    'Diabetes: medication dependent'
    """
    path = entry.str.split(mark).list.get(1, null_on_oob=True).str.split("/")
    last = path.list.last()
    head = (path.list.get(-2, null_on_oob=True) if pair else path.list.first()).str.replace(r" \(R\)$", "")
    same = head.is_null() | (head.str.to_lowercase() == last.str.to_lowercase())
    return pl.when(same).then(last).otherwise(pl.concat_str(head, last, separator=": "))
