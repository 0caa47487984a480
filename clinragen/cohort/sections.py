"""The note sections that the model reads, their order, and which are cut first if they do not fit."""

from __future__ import annotations

import numpy as np
import polars as pl

from clinragen.knowledge.readable import readable
from clinragen.label_sets import LabelSet

#: Reading order and priority: when the context is full, sections are cut from the end of this list.
SECTIONS = (
    "chief_complaint",
    "admission_digest",
    "history_of_present_illness",
    "past_medical_history",
    "medications_on_admission",
    "admission_exam",
    "brief_hospital_course",
    "pertinent_results",
    "allergies",
    "family_history",
    "social_history",
)


def section_title(section: str) -> str:
    """
    >>> section_title("history_of_present_illness")
    'History of present illness'
    """
    return section.replace("_", " ").capitalize()


def written(section: str, text: str) -> str:
    """A section as the model reads it: its title and its text, on a line of its own."""
    return f"{section_title(section)}: {' '.join(text.split())}\n"


def written_places(section: str, text: str) -> np.ndarray:
    """Where each character of a section stands in it as the model reads it, int64 [characters].

    >>> text = "Fever\\n\\n since  today"
    >>> start = written_places("plan", text)[text.index("today")]
    >>> written("plan", text)[start:]
    'today\\n'
    """
    blank = np.fromiter(map(str.isspace, text), bool, len(text))
    begun = np.cumsum(~blank & np.r_[True, blank[:-1]]) if text else np.zeros(0, dtype=np.int64)
    before = np.cumsum(~blank) - ~blank
    return len(written(section, "")) - 1 + before + np.maximum(begun - 1, 0)


def note_text(sections: list[tuple[str, str]]) -> str:
    """All sections of a stay as one text."""
    return "".join(written(name, text) for name, text in sections)


def sections_by_stay(
    notes: pl.DataFrame, *, labels: LabelSet | None = None, layout: bool = False, whole: bool = False
) -> dict[int, list[tuple[str, str]]]:
    """(section, text) of each stay in reading order; sections unknown to ``SECTIONS`` come last, by name.

    Unreadable text (``knowledge.readable``) is replaced by blanks, for models, teachers and checks alike.

    Args:
        notes: note sections of a cohort.
        labels: label set of the same cohort, to recognise lists of diagnoses; by default the 25 phenotypes.
        layout: keep line breaks and runs of blanks, which distinguish lists from sentences.
        whole: keep unreadable text, as the report shows it.
    """
    rank = {name: position for position, name in enumerate(SECTIONS)}
    ordered = (
        notes.filter(pl.col("text").str.strip_chars() != "")
        .with_columns(pl.col("section").replace_strict(rank, default=len(rank), return_dtype=pl.Int32).alias("rank"))
        .sort("stay_id", "rank", "section", "time", "note_id", nulls_last=True)
    )
    by_stay: dict[int, list[tuple[str, str]]] = {}
    for stay_id, section, text in ordered.select("stay_id", "section", "text").iter_rows():
        passage = text if whole else readable(text, section, labels)
        by_stay.setdefault(stay_id, []).append((section, passage if layout else " ".join(passage.split())))
    return by_stay
