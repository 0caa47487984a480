"""Paths of the files of a rationale set in a cohort folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from clinragen.schema import JOURNAL, CohortPaths


@dataclass(frozen=True)
class Files:
    """Paths of a rationale set."""

    cohort: CohortPaths
    name: str

    @property
    def table(self) -> Path:
        """The rationales, ``schema.RATIONALES``."""
        return self.cohort.rationales(self.name)

    @property
    def journal(self) -> Path:
        """Every answer of the teacher."""
        return self.table.with_suffix(JOURNAL)

    @property
    def manifest(self) -> Path:
        """Settings, counts and hashes of the set."""
        return self.cohort.rationale_manifest(self.name)

    @property
    def card(self) -> Path:
        """The dataset card: counts only."""
        return self.table.with_suffix(".card.md")

    @property
    def examples(self) -> Path:
        """Some of the rationales; patient data."""
        return self.table.with_suffix(".examples.md")

    @property
    def logprobs(self) -> Path:
        """Log-probabilities of the teacher's tokens, ``schema.LOGPROBS``."""
        return self.cohort.logprobs(self.name)
