"""What may be rated, rationales, suggestions of drugs or answers: criteria, from ``configs/rating``, and wording."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

from clinragen.config import CONFIG_ROOT, load_yaml

#: The scale of every criterion, worst first.
SCALE = (1, 2, 3, 4, 5)
#: what is rated
Rated = Literal["rationales", "prescriptions", "answers"]
_FILES: dict[Rated, str] = {
    "rationales": "criteria.yaml",
    "prescriptions": "prescription_criteria.yaml",
    "answers": "answer_criteria.yaml",
}


@dataclass(frozen=True)
class Wording:
    """What pages and prompts call it.

    Attributes:
        one, many: its name, for a letter and in general.
        about: what it is, for raters.
        listed: what it lists, as a heading; ``empty`` stands where it lists nothing.
        first, second: headings of its two texts.
        expertise: of whoever rates, for a language model.
        chart_first, chart_second: headings of the texts in a prompt.
        chart_listed: heading of the list in a prompt.
    """

    one: str
    many: str
    about: str
    listed: str
    empty: str
    first: str
    second: str
    expertise: str
    chart_listed: str
    chart_first: str
    chart_second: str


WORDINGS: dict[Rated, Wording] = {
    "rationales": Wording(
        one="rationale",
        many="rationales",
        about="texts that argue for diagnoses from the note and from the series",
        listed="Argues for",
        empty="no diagnosis",
        first="From the note",
        second="From the series",
        expertise="how well others explain diagnoses",
        chart_listed="Diagnoses",
        chart_first="From the note",
        chart_second="From the series",
    ),
    "prescriptions": Wording(
        one="list",
        many="lists of drugs",
        about="classes of drugs to start within 24 hours, in this order, with what speaks for and against them",
        listed="Start",
        empty="nothing",
        first="For it",
        second="Against it",
        expertise="which drugs others would start",
        chart_listed="Drugs to start, in this order",
        chart_first="What speaks for them",
        chart_second="What speaks against them",
    ),
    "answers": Wording(
        one="answer",
        many="answers to questions",
        about="to the question that stands above it, with what it rests on and what was searched",
        listed="Question",
        empty="none",
        first="Answer",
        second="Evidence",
        expertise="how well others answer questions about a chart",
        chart_listed="Question",
        chart_first="Answer",
        chart_second="Evidence",
    ),
}


@dataclass(frozen=True)
class Criterion:
    """One criterion.

    Attributes:
        key: its name in files.
        question: what the rater answers.
        anchors: words for each point of the scale, worst first.
    """

    key: str
    question: str
    anchors: tuple[str, ...]

    @property
    def title(self) -> str:
        """The name for a heading."""
        return self.key.capitalize()

    @property
    def points(self) -> list[tuple[int, str]]:
        """Each point of the scale with its words."""
        return list(zip(SCALE, self.anchors, strict=True))


@cache
def criteria(rated: Rated = "rationales") -> dict[str, Criterion]:
    """The criteria by key, in the order in which they are asked.

    >>> list(criteria())
    ['correctness', 'readability', 'soundness', 'consistency', 'persuasiveness']
    >>> list(criteria("prescriptions"))
    ['appropriate', 'safe', 'complete', 'personal', 'clear']
    >>> list(criteria("answers"))
    ['correct', 'supported', 'complete', 'clear', 'candid', 'bounds']
    """
    entries = load_yaml(CONFIG_ROOT / "rating" / _FILES[rated])
    return {key: Criterion(key, str(row["question"]), tuple(map(str, row["anchors"]))) for key, row in entries.items()}
