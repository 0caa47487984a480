"""The series of a stay in words, for a language model to read beside its prompts: numbers to copy rather than guess.

The statements are those that a rationale may make of the findings, each in one wording, so that what is read and what
is written differ as little as possible. Behind the normal values, which take one statement, stand those farthest out of
range: when room is short, the others are left out whole, since half a number is worse than none.
"""

from __future__ import annotations

from collections.abc import Sequence

from clinragen.chart.findings import HOURLY, Finding, normal
from clinragen.chart.series_statements import NOT_MEASURED, WORTH, name, normal_values, statement
from clinragen.chart.wording import Wording
from clinragen.knowledge.graph import ConceptGraph

#: What opens the caption.
TITLE = "Measurements:"


class _Plain(Wording):
    """Always the last of the choices: the variable's own name, and no time."""

    def pick[T](self, choices: Sequence[T]) -> T:
        return choices[-1]


def caption(findings: Sequence[Finding] | None, graph: ConceptGraph) -> list[str]:
    """The statements of a stay's caption, in order of priority.

    Args:
        findings: of the series as the model reads it, including normal variables; None if nothing was measured.
        graph: names findings that have no number.
    """
    if findings is None:
        return [NOT_MEASURED[0]]
    abnormal = [finding for finding in findings if finding.direction != "normal"]
    shown = {finding.concept for finding in abnormal}
    first = [finding for finding in abnormal if not _repeats(finding, shown)]
    first.sort(key=lambda finding: (-finding.weight, finding.concept))
    within = {finding.variable for finding in normal(findings)}
    named = [name(variable) for variable in WORTH if variable in within]
    return [*([normal_values(named)] if named else []), *(_stated(finding, graph) for finding in first)]


def _stated(finding: Finding, graph: ConceptGraph) -> str:
    phrase = statement(finding, graph, _Plain())
    if phrase.form != "extreme" or finding.spec.kind not in HOURLY:
        return phrase.statement
    return f"{phrase.statement} (around hour {round(finding.extreme_hour / 6) * 6})"


def _repeats(finding: Finding, shown: set[str]) -> bool:
    """Whether a variable that measures the same thing is out of range on the same side, and comes before it."""
    before = finding.kin[: finding.kin.index(finding.variable)]
    return any(f"finding:{variable}:{finding.direction}" in shown for variable in before)
