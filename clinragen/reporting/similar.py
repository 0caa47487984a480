"""The panel of similar cases on the page of a stay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class CaseView:
    """A training stay that is like the one of the page.

    Attributes:
        stay_id: its id.
        score: its similarity.
        parts: of which the similarity is a weighted sum, by modality.
        labels: names of the labels with which it was coded.
        started: names of the classes of drugs that were newly started.
        note: concepts that both notes affirm.
        series: what both series show: the statement of the page's stay, and that of the case.
    """

    stay_id: int
    score: float
    parts: list[tuple[str, float]]
    labels: list[str]
    started: list[str]
    note: list[str]
    series: list[tuple[str, str]]


def case_views(cases: Sequence[Mapping[str, Any]]) -> list[CaseView]:
    """Cases as ``clinragen similar --json`` gives them."""
    return [
        CaseView(
            stay_id=case["stay_id"],
            score=case["score"],
            parts=list(case["similarities"].items()),
            labels=case["label_names"],
            started=case["started"],
            note=[one["text"] for one in case["shared"] if one["kind"] == "note"],
            series=[
                (one["here"]["statement"], one["there"]["statement"])
                for one in case["shared"]
                if one["kind"] == "series"
            ],
        )
        for case in cases
    ]
