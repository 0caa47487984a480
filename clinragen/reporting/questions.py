"""Questions about a stay on its page: each with its answer, what was searched, and links to the evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clinragen.errors import UserError
from clinragen.questions.answered import Answered
from clinragen.reporting.places import NamedPlace, Places

#: What an outcome is called.
_OUTCOMES = {
    "answered": "answered",
    "not_in_chart": "not in the chart",
    "refused": "refused",
    "unclear": "not understood",
}
_REFUSALS = {
    "other_patient": "refused: another patient",
    "after_prediction_time": "refused: later than this chart",
    "dosing_or_order": "refused: treatment or order",
    "out_of_field": "refused: not about the chart",
    "not_a_question": "not a question",
}


@dataclass(frozen=True)
class QuestionView:
    """A question and what came of it.

    Attributes:
        question, text: what was asked, and the answer or refusal.
        outcome: answered, not_in_chart, refused or unclear.
        status: the same in words.
        queries: what was understood.
        searched: what was searched.
        places: of the evidence.
        read_by: what read the question; empty for the rules.
        recorded: whether the answer tells which diagnoses were recorded.
    """

    question: str
    text: str
    outcome: str
    status: str
    queries: tuple[str, ...]
    searched: tuple[str, ...]
    places: list[NamedPlace]
    read_by: str
    recorded: bool


def question_views(answered: Sequence[Answered], places: Places, stay_id: int) -> list[QuestionView]:
    """The questions of a stay, whose evidence is added to the named places of its chart.

    Args:
        answered: in the order in which they were asked.
        places: of the stay's page.
        stay_id: the stay.

    Raises:
        UserError: evidence that is none.
    """
    try:
        return [_view(one, places) for one in answered]
    except (KeyError, TypeError, ValueError):
        raise UserError(
            f"questions about stay {stay_id}: an answer's evidence is no place of a chart: ask again"
        ) from None


def _view(one: Answered, places: Places) -> QuestionView:
    return QuestionView(
        question=one.question,
        text=one.text,
        outcome=one.outcome,
        status=_REFUSALS.get(one.name, _OUTCOMES[one.outcome]) if one.outcome == "refused" else _OUTCOMES[one.outcome],
        queries=one.queries,
        searched=one.searched,
        places=[box for group in one.evidence for box in places.named(group, one.text, grouped=True)],
        read_by="" if one.read_by == "rules" else one.read_by,
        recorded=one.recorded,
    )
