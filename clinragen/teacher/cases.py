"""Similar training stays as a prompt shows them: what both charts have, and the codes; nothing says whose they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from clinragen.teacher.sanitize import sanitize


@dataclass(frozen=True)
class PromptCase:
    """A training stay of another patient.

    Attributes:
        shared: names of what both charts show.
        diagnoses: names of the labels with which it was coded.
    """

    shared: tuple[str, ...]
    diagnoses: tuple[str, ...]

    def fenced(self, fence: str) -> PromptCase:
        """The same without anything that could end a fence."""
        shared, diagnoses = (
            tuple(" ".join(sanitize(name, fence).split()) for name in names) for names in (self.shared, self.diagnoses)
        )
        return PromptCase(shared, diagnoses)


class CaseSource(Protocol):
    """Finds the cases.

    Attributes:
        identity: hash of all that decides which are found.
    """

    identity: str

    def of(self, stay_id: int) -> Sequence[PromptCase]:
        """The training stays most like a stay, none of them of its patient."""
        ...
