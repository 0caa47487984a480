"""What the charts of stays show, as far as it may count for a label: nothing that the note denies or leaves open."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from clinragen.chart.findings import Finding, findings
from clinragen.chart.note_evidence import SKIPPED_SECTIONS, NoteEvidence, read_note
from clinragen.chart.note_mentions import standing
from clinragen.cohort.folder import Cohort
from clinragen.cohort.sections import note_text, sections_by_stay
from clinragen.knowledge.graph import ConceptGraph
from clinragen.knowledge.linker import Linker

#: (section, text) of a note in reading order; offsets are those of the note as it is stored.
Sections = list[tuple[str, str]]


@dataclass(frozen=True)
class ChartReadings:
    """The charts of n stays.

    Attributes:
        ids: stay ids, ascending.
        sections: of each note, with blanks for what it denies or leaves open.
        affirmed: concepts of each note, with their place.
        findings: abnormal findings of each series.
        noted, measured: which stays have a note that can be read, and any measurement, bool [n].
    """

    ids: np.ndarray
    sections: list[Sections]
    affirmed: list[list[NoteEvidence]]
    findings: list[list[Finding]]
    noted: np.ndarray
    measured: np.ndarray

    @classmethod
    def read(
        cls, cohort: Cohort, ids: np.ndarray, graph: ConceptGraph, linker: Linker, done: Callable[[int], None]
    ) -> ChartReadings:
        """Read stays up to their prediction time. Labels are not read.

        Args:
            cohort: of the stays.
            ids: theirs, ascending.
            graph: concepts.
            linker: finds them in notes.
            done: told how many more notes have been read.
        """
        of_these = pl.col("stay_id").is_in(pl.Series(ids).implode())
        notes = sections_by_stay(cohort.notes.filter(of_these), labels=cohort.label_set, layout=True)
        sections: list[Sections] = []
        affirmed: list[list[NoteEvidence]] = []
        for stay in ids.tolist():
            note = [(name, text) for name, text in notes.get(stay, []) if name not in SKIPPED_SECTIONS]
            affirmed.append(read_note(note, linker, graph).evidence)
            sections.append([(name, without_denials(text, name, linker)) for name, text in note])
            done(1)
        end = (pl.col("prediction_time") - pl.col("intime")).dt.total_milliseconds() / 3_600_000
        series = cohort.series.filter(of_these).join(cohort.stays.select("stay_id", end=end), on="stay_id")
        series = series.filter(pl.col("hour") < pl.col("end")).drop("end")
        by_stay = findings(series)
        measured = np.isin(ids, series["stay_id"].unique().to_numpy())
        noted = np.array([any(text.strip() for _, text in note) for note in sections], dtype=bool)
        return cls(ids, sections, affirmed, [by_stay.get(stay, []) for stay in ids.tolist()], noted, measured)

    @property
    def texts(self) -> list[str]:
        """Each note as one text; empty where there is none."""
        return [note_text(note) if some else "" for note, some in zip(self.sections, self.noted, strict=True)]


def without_denials(text: str, section: str, linker: Linker) -> str:
    """A text with blanks, of the same length, for what it denies or leaves open.

    A sentence whose concepts are all denied or open goes as a whole, since the linker may not know all that it denies;
    of another one only those concepts.
    """
    sentences: dict[tuple[int, int], list[tuple[int, int, bool]]] = {}
    for one in linker.link(text, section):
        sentences.setdefault(one.sentence, []).append((one.start, one.end, standing(one) == "affirmed"))
    letters = list(text)
    for sentence, mentions in sentences.items():
        spans: Sequence[tuple[int, int]] = [(start, end) for start, end, holds in mentions if not holds]
        if len(spans) == len(mentions):
            spans = [sentence]
        for start, end in spans:
            letters[start:end] = [letter if letter.isspace() else " " for letter in letters[start:end]]
    return "".join(letters)
