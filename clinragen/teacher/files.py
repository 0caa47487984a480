"""Where the files of a rationale set lie in a cohort folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from clinragen.schema import JOURNAL, CohortPaths


@dataclass(frozen=True)
class Files:
    """Where a rationale set lies."""

    cohort: CohortPaths
    name: str

    @property
    def table(self) -> Path:
        return self.cohort.rationales(self.name)

    @property
    def journal(self) -> Path:
        return self.table.with_suffix(JOURNAL)

    @property
    def manifest(self) -> Path:
        return self.cohort.rationale_manifest(self.name)

    @property
    def card(self) -> Path:
        return self.table.with_suffix(".card.md")

    @property
    def examples(self) -> Path:
        return self.table.with_suffix(".examples.md")

    @property
    def logprobs(self) -> Path:
        return self.cohort.logprobs(self.name)
