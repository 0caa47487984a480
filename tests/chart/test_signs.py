"""What speaks for a diagnosis directly, and what only makes it likelier."""

from __future__ import annotations

import pytest

from clinragen.chart.signs import Signs
from clinragen.knowledge.graph import ConceptGraph, build
from clinragen.knowledge.linker import Linker


@pytest.fixture(scope="module")
def graph() -> ConceptGraph:
    return build()


def test_age_and_drugs_are_signs_of_a_diagnosis_but_no_ground_to_treat_it(graph: ConceptGraph) -> None:
    sections = [
        ("history_of_present_illness", "An 85-year-old man with wheezing."),
        ("medications_on_admission", "Tiotropium inhaler 18 mcg daily."),
    ]
    signs = Signs.read(sections, [], Linker(graph), graph)
    every = {sign.words for sign in signs.of("copd", graph, most=9)}
    direct = {sign.words for sign in signs.of("copd", graph, most=9, indirect=False)}
    assert any("iotropium" in words for words in every)
    assert direct == {"“wheezing”"}
    assert direct < every
