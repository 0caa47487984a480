"""Admission sections that describe the hospital course: text from after the prediction time under an earlier heading.

Such a leak may affect one stay in a thousand, too few to show in a share, so every stay counts.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection
from typing import TypedDict

import polars as pl

from mimic_prep.audit.check import Check, Field, Status, plural
from mimic_prep.audit.cohort_tables import CohortTables
from mimic_prep.course import told
from mimic_prep.protocol import known_at_admission

#: Narrative sections, which may describe an earlier stay; one phrase is then no proof.
NARRATIVE = ("history_of_present_illness", "past_medical_history")
#: Number of ambiguous phrases that count as a course, by section; in a narrative they are only flagged.
MANY = {"admission_exam": 2, **dict.fromkeys(NARRATIVE, 5)}
_MANY_ELSEWHERE = 3
_NAMED = 100  # stays whose ids are shown
#: A heading under which the diagnoses of a stay are listed at its end.
_LIST = re.compile(
    r"^\W*(?:\d+[.)]\s*)?(?:(?:primary|principal|secondary)\s+)?(?:discharge|final|principal|billing)\s+diagnos[ei]s\b"
    r"|^\W*(?:primary|secondary)\s+diagnoses\b|^\W*diagnos[ei]s\s+(?:at|on|upon)\s+discharge\b",
    re.IGNORECASE | re.MULTILINE,
)
_LISTED = "lists diagnoses of the discharge"
_COURSE, _DOUBT = "tells the course", "may tell an earlier stay"


class Found(TypedDict):
    """What was found in a section, in how many stays and which."""

    section: str
    finding: str
    stays: int
    stay_ids: str
    flagged: bool


def course(tables: CohortTables) -> Check:
    """Number and ids of stays whose admission sections use the language of a hospital course."""
    stays: dict[tuple[str, str], set[int]] = defaultdict(set)
    admission = known_at_admission()
    read = tables.notes.select("stay_id", "section", "text").drop_nulls()
    for stay, section, text in read.iter_rows():
        if section in admission and (finding := _finding(section, text)):
            stays[finding, section].add(stay)
    rows = [_row(finding, section, ids) for (finding, section), ids in stays.items()]
    rows.sort(key=lambda row: (row["finding"] != _COURSE, -row["stays"], row["section"]))
    touched = len(set().union(*stays.values())) if stays else 0
    leak = any(row["finding"] == _COURSE for row in rows)
    status: Status = "leak" if leak else "warning" if rows else "pass"
    says = "No section of the admission tells of later days."
    if rows:
        says = f"{plural(touched, 'stay')} with language of the hospital course in a section of the admission"
        says += ": a heading was missed." if leak else ": read them, they may tell of an earlier stay."
    columns = (
        Field("section", "Section"), Field("finding", "Finding"), Field("stays", "Stays", "count"),
        Field("stay_ids", "Ids of the stays"),
    )  # fmt: skip
    asks = (
        "Phrases such as a day of the stay, an extubation, a discharge in the sections known at admission, stay by "
        "stay; sentences of a history that speak of another hospital or an earlier time do not count."
    )
    return Check("course", "The admission does not tell the course", asks, status, says, columns, rows)


def lists(tables: CohortTables, allow: Collection[str] = ()) -> Check:
    """Number and ids of stays whose text has the heading of the list of diagnoses that is written at the discharge.

    Args:
        tables: of the cohort.
        allow: sections that may have one.
    """
    listed = tables.notes.drop_nulls(["section", "text"]).filter(
        ~pl.col("section").is_in(list(allow)) & pl.col("text").str.contains(r"(?i)diagnos[ei]s")
    )
    stays: dict[str, set[int]] = defaultdict(set)
    for stay, section, text in listed.select("stay_id", "section", "text").iter_rows():
        if _LIST.search(text):
            stays[section].add(stay)
    rows = [_row(_LISTED, section, ids) for section, ids in stays.items()]
    rows.sort(key=lambda row: (-row["stays"], row["section"]))
    says = "No text has the heading of a list of discharge diagnoses."
    if rows:
        stay_count = len(set().union(*stays.values()))
        says = (
            f"{plural(stay_count, 'stay')} with a list of discharge diagnoses in {', '.join(sorted(stays))}: labels "
            "are made of such lists. Leave the section out (notes.sections of the protocol)."
        )
    columns = (
        Field("section", "Section"), Field("finding", "Finding"), Field("stays", "Stays", "count"),
        Field("stay_ids", "Ids of the stays"),
    )  # fmt: skip
    asks = "Lines that begin with 'Discharge diagnosis', 'Final diagnoses' and the like, stay by stay."
    title = "Text does not list discharge diagnoses"
    return Check("lists", title, asks, "leak" if rows else "pass", says, columns, rows)


def _finding(section: str, text: str) -> str | None:
    narrative = section in NARRATIVE
    clear, others = told(text, narrative=narrative)
    many = len(others) >= MANY.get(section, _MANY_ELSEWHERE)
    if len(clear) > narrative or (many and not narrative):
        return _COURSE
    return _DOUBT if clear or many else None


def _row(finding: str, section: str, ids: set[int]) -> Found:
    shown = ", ".join(map(str, sorted(ids)[:_NAMED]))
    more = f", and {len(ids) - _NAMED:,} more" if len(ids) > _NAMED else ""
    return {"section": section, "finding": finding, "stays": len(ids), "stay_ids": shown + more, "flagged": True}
