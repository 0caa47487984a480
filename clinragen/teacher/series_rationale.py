"""R_t: one sentence on what the series shows: the chosen findings, and the diagnosis that each points to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from clinragen.chart.findings import Finding
from clinragen.chart.series_statements import (
    ALL_NORMAL,
    ALSO,
    LINKS,
    MOST_STATEMENTS,
    MOST_WORDS,
    NOT_MEASURED,
    OPENING,
    WORTH,
    SeriesStatement,
    name,
    no_value_points_to,
    normal_statement,
    normal_values,
    pointing,
    statement,
)
from clinragen.chart.support import SUPPORTS
from clinragen.chart.wording import Wording, listed, words
from clinragen.knowledge.graph import ConceptGraph
from clinragen.label_sets import LabelSet

#: Least severity, in widths of the range, of a finding that supports a diagnosis.
_SPEAKS = 0.1
#: Score of a finding that explains no diagnosis: low, so that it is chosen only when nothing else is left.
_UNTIED, _UNTIED_ALONE = 0.08, 1.0
_MOST_NORMAL = 2  # number of values named as normal
#: Findings that reflect treatment rather than the patient; used only for a diagnosis that they support.
_TREATMENT = (
    "fio2",
    "peep",
    "tidal_volume",
    "peak_pressure",
    "plateau_pressure",
    "mean_airway_pressure",
    "minute_volume",
)


class _Choice(NamedTuple):
    """A chosen finding, and the diagnosis that it supports."""

    finding: Finding
    target: str | None


def compose(
    findings: Sequence[Finding] | None, diagnoses: list[str], graph: ConceptGraph, wording: Wording
) -> tuple[str, list[SeriesStatement]]:
    """The sentence and its statements.

    Args:
        findings: findings of the stay; None if nothing was measured.
        diagnoses: gold phenotype keys.
        graph: says which finding supports which diagnosis.
        wording: chooses the phrasing.
    """
    if findings is None:
        return f"{OPENING} {wording.pick(NOT_MEASURED)}.", []
    abnormal = [finding for finding in findings if finding.direction != "normal"]
    if not abnormal:
        return f"{OPENING} {wording.pick(ALL_NORMAL)}.", []
    choices = _choose(abnormal, diagnoses, graph)
    statements = {choice.finding: statement(choice.finding, graph, wording) for choice in choices}
    link = wording.pick(LINKS)
    text = _grounds(choices, statements, link, graph.labels)
    while words(text) > MOST_WORDS and len(choices) > 1:
        choices = choices[:-1]
        text = _grounds(choices, statements, link, graph.labels)
    silent = _unsupported(abnormal, [choice.target for choice in choices], diagnoses, graph)
    text = _first_fitting(text, [no_value_points_to(keys, graph.labels) for keys in (silent, silent[:1]) if keys])
    normal = _normal([finding for finding in findings if finding.direction == "normal"], wording)
    longer = _first_fitting(text, [normal_values([name(each.variable) for each in normal])] if normal else [])
    return f"{longer}.", [statements[choice.finding] for choice in choices] + (normal if longer != text else [])


def _choose(findings: list[Finding], diagnoses: list[str], graph: ConceptGraph) -> list[_Choice]:
    """Choose findings greedily, with the diagnosis that each supports: each step takes the one that explains most."""
    unexplained = dict.fromkeys(diagnoses, 1.0)
    left = list(findings)
    choices: list[_Choice] = []
    while left and len(choices) < MOST_STATEMENTS:
        scored = [(*_score(finding, unexplained, graph), finding) for finding in left]
        score, target, finding = max(scored, key=lambda each: (each[0], each[2].concept))
        if score < _UNTIED and choices:
            break
        choices.append(_Choice(finding, target))
        left = [other for other in left if other.variable not in finding.kin]
        for key in diagnoses:
            unexplained[key] *= 1.0 - 0.7 * graph.strength(finding.concept, key)
    return choices


def _score(finding: Finding, unexplained: Mapping[str, float], graph: ConceptGraph) -> tuple[float, str | None]:
    """Score of a finding for the diagnoses not yet explained, and the diagnosis that it supports."""
    ties = {key: graph.strength(finding.concept, key) for key in unexplained}
    target = max(unexplained, key=lambda key: (ties[key] * unexplained[key], key), default=None)
    gain = ties[target] * unexplained[target] if target else 0.0
    # a high oxygen pressure reflects the ventilator's setting
    told_alone = finding.variable not in _TREATMENT and finding.concept != "finding:pao2:high"
    alone = (_UNTIED if unexplained else _UNTIED_ALONE) if told_alone else 0.0
    speaks = target is not None and ties[target] >= SUPPORTS and finding.severity >= _SPEAKS
    return finding.weight * max(gain, alone), target if speaks else None


def _unsupported(
    findings: list[Finding], targets: list[str | None], diagnoses: list[str], graph: ConceptGraph
) -> list[str]:
    """Up to two diagnoses that a series could support, but this one does not."""
    concepts = {finding.concept for finding in findings if finding.severity >= _SPEAKS}
    silent = []
    for key in diagnoses:
        strong = {node for node, (tie, _) in graph.evidence[key].items() if tie >= SUPPORTS}
        if key not in targets and not strong & concepts and any(node.startswith("finding:") for node in strong):
            silent.append(key)
    return silent[:2] if any(targets) or silent else diagnoses[:2]


def _first_fitting(text: str, additions: list[str]) -> str:
    """The text with the first addition that fits the length limit, or without one."""
    longer = (f"{text}; {addition}" for addition in additions)
    return next((each for each in longer if words(each) <= MOST_WORDS), text)


def _normal(findings: list[Finding], wording: Wording) -> list[SeriesStatement]:
    """The normal values to name: a rotating choice of the informative ones, which varies between stays."""
    by_variable = {finding.variable: finding for finding in findings}
    worth = [key for key in WORTH if key in by_variable]
    if not worth:
        return []
    first = wording.pick(range(len(worth)))
    named = sorted({worth[(first + step) % len(worth)] for step in range(_MOST_NORMAL)}, key=WORTH.index)
    return [normal_statement(by_variable[key]) for key in named]


def _grounds(choices: list[_Choice], statements: Mapping[Finding, SeriesStatement], link: str, labels: LabelSet) -> str:
    """The statements grouped by diagnosis; those without one come last."""
    groups: dict[str | None, list[str]] = {}
    for finding, target in choices:
        groups.setdefault(target, []).append(statements[finding].statement)
    parts = [
        f"{listed(group)}, {pointing(link, target, labels)}" for target, group in groups.items() if target is not None
    ]
    if None in groups:
        parts.append(f"{f'{ALSO} ' if parts else ''}{listed(groups[None])}")
    return f"{OPENING} {'; '.join(parts)}"
