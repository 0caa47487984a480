"""The admission digest: text composed from structured data, for stays without notes.

It states age, sex, type and place of admission, reasons of earlier admissions, and drugs ordered before intensive care.
Diagnoses of the current admission are never read.
"""

from __future__ import annotations

from typing import TypedDict, cast

import polars as pl

from clinragen.icd import code_map, normalise, version_of
from mimic_prep.accounting import RowFilter
from mimic_prep.ingest import RawTables
from mimic_prep.note_selection import NOTES
from mimic_prep.tables import MimicLayout

MOST_DIAGNOSES = 30
MOST_DRUGS = 30


class _KnownAtAdmission(TypedDict):
    """Content of a stay's digest; ``history`` are titles of diagnoses of earlier admissions."""

    age: float  # years
    sex: str | None
    admission_type: str | None
    admission_location: str | None
    care_unit: str | None
    history: list[str] | None
    ordered: list[str] | None
    earlier: list[str] | None


_DRUGS = {"stay_id": pl.Int64, "now": pl.Boolean, "drug": pl.String, "last": pl.Datetime("ms")}
_EXTERNAL_CAUSE = ((pl.col("version") == 10) & pl.col("code").str.contains("^[VWXY]")) | (
    (pl.col("version") == 9) & pl.col("code").str.starts_with("E")
)
_ADMISSION_TYPES = {
    "EW EMER.": "emergency", "DIRECT EMER.": "direct emergency", "EU OBSERVATION": "emergency observation",
    "OBSERVATION ADMIT": "observation", "DIRECT OBSERVATION": "direct observation",
    "EMERGENCY": "emergency", "SURGICAL SAME DAY ADMISSION": "same-day surgical",
}  # fmt: skip


def build(raw: RawTables, release: MimicLayout, stays: pl.DataFrame, diagnoses: pl.DataFrame) -> pl.DataFrame:
    """One digest (columns ``notes.NOTES``) for each of ``stays``.

    ``diagnoses`` holds subject_id, hadm_id, position, code, version of all admissions of these patients, and their
    dischtime; only those of earlier admissions are used.
    """
    history = _earlier_diagnoses(raw, release, stays, diagnoses)
    drugs = _known_drugs(raw, release, stays)
    rows = stays.join(history, on="stay_id", how="left").join(drugs, on="stay_id", how="left").sort("stay_id")
    texts = [_text(cast(_KnownAtAdmission, row)) for row in rows.iter_rows(named=True)]
    return rows.select(
        "stay_id",
        # not pl.format: polars 1.35 panics on columns in several chunks, which a filter leaves behind
        pl.concat_str(pl.lit("digest-"), "stay_id").alias("note_id"),
        pl.lit("digest").alias("kind"),
        pl.lit("admission_digest").alias("section"),
        pl.col("intime").cast(NOTES["time"]).alias("time"),
        pl.Series("text", texts, dtype=pl.String),
    )


def _earlier_diagnoses(
    raw: RawTables, release: MimicLayout, stays: pl.DataFrame, diagnoses: pl.DataFrame
) -> pl.DataFrame:
    """stay_id, history: names of the diagnoses of earlier admissions, latest admission first."""
    earlier = (
        stays.select("stay_id", "subject_id", "admittime", "intime", pl.col("hadm_id").alias("current"))
        .join(diagnoses, on="subject_id")
        .filter(
            ~_EXTERNAL_CAUSE
            & (pl.col("hadm_id") != pl.col("current"))
            & (pl.col("dischtime") <= pl.min_horizontal("admittime", "intime"))
        )
    )
    names = _names(raw, release, earlier.select("code", "version").unique())
    return (
        earlier.join(names, on=["code", "version"])
        .sort(
            "stay_id",
            "dischtime",
            "hadm_id",
            "position",
            "code",
            "version",
            "title",
            descending=[False, True, False, False, False, False, False],
        )
        .unique(["stay_id", "title"], keep="first", maintain_order=True)
        .group_by("stay_id", maintain_order=True)
        .agg(pl.col("title").head(MOST_DIAGNOSES).alias("history"))
    )


def _names(raw: RawTables, release: MimicLayout, codes: pl.DataFrame) -> pl.DataFrame:
    """code, version, title: from the release's dictionary, or else the official description; others are left out."""
    released: dict[tuple[str, int], str] = {}
    if release.diagnosis_names is not None:
        codes_used = codes["code"].implode()

        def rules(row_filter: RowFilter) -> None:
            row_filter.frame = row_filter.frame.with_columns(normalise(pl.col("code")))
            named = (
                pl.lit(release.icd_version, dtype=pl.Int64) if release.icd_version else version_of(pl.col("version"))
            )
            row_filter.frame = row_filter.frame.with_columns(version=named)
            row_filter.reject_missing("code", "title")
            row_filter.skip(~pl.col("code").is_in(codes_used), "code not used")

        table = raw.read(release.diagnosis_names, rules)
        rows = table.select("code", "version", "title").sort("code", "version", "title")  # of two titles one counts
        released = {(code, version): title for code, version, title in rows.iter_rows()}
    titles = [released.get(key) or _official(*key) for key in codes.select("code", "version").iter_rows()]
    return codes.with_columns(pl.Series("title", titles, dtype=pl.String)).drop_nulls("title")


def _official(code: str, version: int) -> str | None:
    mapping = code_map(version)
    return mapping.name(code) if mapping else None


def _known_drugs(raw: RawTables, release: MimicLayout, stays: pl.DataFrame) -> pl.DataFrame:
    """stay_id, ordered, earlier: drugs of this admission before intensive care, and of the previous one."""
    if release.prescriptions is None:
        return pl.DataFrame(schema={"stay_id": pl.Int64, "ordered": pl.List(pl.String), "earlier": pl.List(pl.String)})
    subjects = stays["subject_id"].unique().implode()

    def rules(row_filter: RowFilter) -> None:
        row_filter.skip(~pl.col("subject_id").is_in(subjects), "patient needs no digest")
        row_filter.skip(pl.col("drug_type").str.strip_chars().str.to_uppercase() == "BASE", "diluent")
        row_filter.skip(pl.col("time").is_null(), "no start time")
        row_filter.reject_missing("subject_id", "hadm_id", "drug")
        row_filter.frame = row_filter.frame.with_columns(pl.col("drug").str.strip_chars().str.replace_all(r"\s+", " "))

    spans = stays.select("stay_id", "subject_id", "intime", pl.col("hadm_id").alias("current"))
    late = pl.duration(days=1 if release.dated_prescriptions else 0)
    parts = [pl.DataFrame(schema=_DRUGS)]
    tables = (release.prescriptions, *release.more_prescriptions)
    for block in (block for table in tables for block in raw.stream(table, rules)):
        earlier = block.join(spans, on="subject_id").filter(pl.col("time") + late < pl.col("intime"))
        parts.append(_last_order(earlier.with_columns(now=pl.col("hadm_id") == pl.col("current"))))
    last = _last_order(pl.concat(parts)).sort("stay_id", "last", "drug", descending=[False, True, False])
    return last.group_by("stay_id", maintain_order=True).agg(
        pl.col("drug").filter("now").head(MOST_DRUGS).sort().alias("ordered"),
        pl.col("drug").filter(~pl.col("now")).head(MOST_DRUGS).sort().alias("earlier"),
    )


def _last_order(orders: pl.DataFrame) -> pl.DataFrame:
    """When each drug was last ordered, for each stay, in this admission (``now``) and before it."""
    time = "last" if "last" in orders.columns else "time"
    grouped = orders.group_by("stay_id", "now", "drug").agg(pl.col(time).max().cast(_DRUGS["last"]).alias("last"))
    return grouped.select(list(_DRUGS))


def _text(row: _KnownAtAdmission) -> str:
    """The digest of one stay.

    >>> print(_text({"age": 71.0, "sex": "F", "admission_type": "EW EMER.", "admission_location": "EMERGENCY ROOM",
    ...              "care_unit": "MICU", "history": ["Hypertension"], "ordered": None, "earlier": ["Aspirin"]}))
    A 71-year-old woman with an emergency admission from the emergency room. First intensive care unit: MICU.
    Earlier admissions were for: Hypertension.
    Drugs of earlier admissions: Aspirin.
    """
    who = {"F": "woman", "M": "man"}.get(row["sex"] or "", "person")
    age = "more than 89-year-old" if row["age"] > 89 else f"{int(row['age'])}-year-old"
    article = "An" if age.startswith(("8", "11-", "18-")) else "A"
    kind = _readable(_ADMISSION_TYPES.get(row["admission_type"] or "", row["admission_type"]))
    came = f" with {'an' if kind[:1] in 'aeiou' else 'a'} {kind} admission" if kind else ""
    source = _readable(row["admission_location"])
    origin = f" from the {source}" if source in ("emergency room", "pacu") else f" ({source})" if source else ""
    unit = f" First intensive care unit: {row['care_unit']}." if row["care_unit"] else ""
    history, ordered, earlier = row["history"] or [], row["ordered"] or [], row["earlier"] or []
    paragraphs = [
        f"{article} {age} {who}{came}{origin}.{unit}",
        f"Earlier admissions were for: {'; '.join(history)}."
        if history
        else "No diagnosis of an earlier admission is known.",
        f"Drugs ordered before intensive care: {', '.join(ordered)}." if ordered else "",
        f"Drugs of earlier admissions: {', '.join(earlier)}." if earlier else "",
    ]
    return "\n".join(paragraph for paragraph in paragraphs if paragraph)


def _readable(value: str | None) -> str:
    """A coded value as words; empty for uninformative values."""
    text = " ".join((value or "").split()).lower()
    return "" if "not available" in text or text in ("?", "unknown") else text
