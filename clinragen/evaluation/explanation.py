"""A line of ``attributions.jsonl``, as types: whoever writes, checks or shows an explanation goes by them."""

from __future__ import annotations

from typing import NotRequired, TypedDict

from clinragen.shape import Share

#: A concept of the graph, ``in`` the note or the series, and what it counted for the diagnosis.
ConceptScore = TypedDict("ConceptScore", {"concept": str, "in": NotRequired[str], "score": float})


class VariableScore(TypedDict):
    """What a variable counted for the diagnosis."""

    variable: str
    score: float


class HoursScore(TypedDict):
    """What some hours of a variable counted for the diagnosis; hours are counted from admission."""

    variable: str
    from_hour: float
    to_hour: float
    score: float


class Attribution(TypedDict):
    """What carried a diagnosis by one method, the weightiest of each kind first."""

    concepts: list[ConceptScore]
    variables: NotRequired[list[VariableScore]]
    hours: list[HoursScore]


class ExplainedDiagnosis(TypedDict):
    """One diagnosis of a stay: what it would lose without a part (occlusion), what similar cases add to its logit if
    the model goes by any, and where attention lay."""

    diagnosis: str
    probability: Share
    threshold: NotRequired[float]
    occlusion: Attribution
    similar_cases: NotRequired[float]
    attention: NotRequired[Attribution]


class Explanation(TypedDict):
    """What carried the diagnoses of one stay."""

    stay_id: int
    diagnoses: list[ExplainedDiagnosis]
