"""R_t: one sentence on what the series shows: the chosen findings, and the diagnoses that each points to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from clinragen.chart.findings import Finding, normal
from clinragen.chart.rebuttals import Rebuttal
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
from clinragen.chart.worth import Worth, speaking
from clinragen.knowledge.graph import ConceptGraph
from clinragen.teacher.argument import Argument, Composed

#: Score of a finding that supports no diagnosis: low, but without diagnoses there are only such findings to state.
_UNTIED, _UNTIED_ALONE = 0.03, 1.0
#: A further finding is stated only if its score is at least this.
_LEAST = 0.015
#: A further diagnosis is named behind a finding only if that adds at least this to its argument.
_NAMED = 0.15
#: Values that follow from other measured ones, which are preferred; and the factor for it.
_FOLLOWS, _LESS = ("pao2_fio2", "base_excess", "chloride"), 0.6
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
    """A chosen finding, and the diagnoses that it is said to support."""

    finding: Finding
    targets: tuple[str, ...]


@dataclass
class _Style:
    """How the statements of one sentence are written; a finding keeps the words that it was first told in."""

    graph: ConceptGraph
    wording: Wording
    link: str
    statements: dict[Finding, SeriesStatement] = field(default_factory=dict)

    def statement(self, finding: Finding) -> SeriesStatement:
        """A finding in words."""
        if finding not in self.statements:
            self.statements[finding] = statement(finding, self.graph, self.wording)
        return self.statements[finding]

    def text(self, choices: Sequence[_Choice]) -> str:
        """The sentence without its end: statements on the same diagnoses together, those on none last."""
        groups: dict[tuple[str, ...], list[str]] = {}
        for finding, targets in choices:
            groups.setdefault(targets, []).append(self.statement(finding).statement)
        alone = groups.pop((), [])
        parts = [
            f"{listed(group)}, {pointing(self.link, targets, self.graph.labels)}" for targets, group in groups.items()
        ]
        if alone:
            parts.append(f"{f'{ALSO} ' if parts else ''}{listed(alone)}")
        return f"{OPENING} {'; '.join(parts)}"


def compose(
    findings: Sequence[Finding] | None,
    diagnoses: list[str],
    worth: Worth,
    wording: Wording,
    elsewhere: Mapping[str, float] = MappingProxyType({}),
    against: Sequence[Rebuttal[Finding]] = (),
) -> Composed[SeriesStatement]:
    """The sentence, its statements and what they argue.

    Args:
        findings: findings of the stay; None if nothing was measured.
        diagnoses: gold phenotype keys.
        worth: says which finding supports which diagnosis, and how much.
        wording: chooses the phrasing.
        elsewhere: diagnosis -> how well the note argues for it, 0..1: what it shows well need not use room here.
        against: rebuttals, of which the first that fits is stated.
    """
    if findings is None:
        return Composed(f"{OPENING} {wording.pick(NOT_MEASURED)}.")
    abnormal, within = [finding for finding in findings if finding.direction != "normal"], normal(findings)
    shares = {finding: worth.speaks_for(finding, diagnoses) for finding in _heads(abnormal)}
    style = _Style(worth.graph, wording, wording.pick(LINKS))
    choices = _choose(shares, diagnoses, Argument.beside(elsewhere), style)
    argued = {key for choice in choices for key in choice.targets}.union(elsewhere)
    silent_keys = [key for key in diagnoses if key not in argued]
    shares |= {finding: worth.speaks_for(finding, silent_keys) for finding in within if finding.variable in WORTH}
    choices += _last_resort(shares, silent_keys, choices, style)
    if not choices:
        return Composed(f"{OPENING} {wording.pick(ALL_NORMAL)}.")
    argument = Argument()
    for finding, targets in choices:
        for key in targets:
            argument.add(key, shares[finding][key])
    text = style.text(choices)
    silent = _unsupported(abnormal, argument.argued, diagnoses, worth.graph)
    text = _first_fitting(text, [no_value_points_to(keys, worth.graph.labels) for keys in (silent, silent[:1]) if keys])
    rebuttal = next((one for one in against if words(f"{text}; {one.text(worth.graph.labels)}") <= MOST_WORDS), None)
    if rebuttal:
        text += f"; {rebuttal.text(worth.graph.labels)}"
    stated = {*dict(choices), *(rebuttal.items if rebuttal else ())}
    named = _normal([finding for finding in within if finding not in stated], wording)
    longer = _first_fitting(text, [normal_values([name(each.variable) for each in named])] if named else [])
    statements = [style.statement(choice.finding) for choice in choices]
    return Composed(f"{longer}.", statements + (named if longer != text else []), argument.argued)


def _heads(findings: list[Finding]) -> list[Finding]:
    """Of redundant findings the first only: the total of a score, the hemoglobin."""
    far = {(finding.variable, finding.direction) for finding in speaking(findings)}
    return [
        finding
        for finding in findings
        if not any((other, finding.direction) in far for other in finding.kin[: finding.kin.index(finding.variable)])
    ]


def _choose(
    shares: Mapping[Finding, Mapping[str, float]], diagnoses: list[str], argument: Argument, style: _Style
) -> list[_Choice]:
    """Choose findings greedily, with the diagnoses that each supports: each step takes the one that adds most."""
    left = list(shares)
    choices: list[_Choice] = []
    while left and len(choices) < MOST_STATEMENTS:
        gains = {
            finding: {
                key: argument.gain(key, share * (_LESS if finding.variable in _FOLLOWS else 1.0))
                for key, share in shares[finding].items()
            }
            for finding in left
        }
        alone = _UNTIED if diagnoses else _UNTIED_ALONE
        scores = {finding: sum(of.values()) or alone * _by_itself(finding) for finding, of in gains.items()}
        finding = max(left, key=lambda finding: (scores[finding], finding.concept))
        if scores[finding] < _LEAST and choices:
            break
        left.remove(finding)
        choice = _fitting(finding, gains[finding], diagnoses, choices, style)
        if choice:
            choices.append(choice)
            left = [other for other in left if other.variable not in finding.kin]
            for key in choice.targets:
                argument.add(key, shares[finding][key])
    return choices


def _last_resort(
    shares: Mapping[Finding, Mapping[str, float]], silent: Sequence[str], choices: Sequence[_Choice], style: _Style
) -> list[_Choice]:
    """Normal values, for diagnoses that neither rationale argues for: the one that speaks most for each, if it fits."""
    added: list[_Choice] = []
    for key in silent:
        normal_ones = [each for each in shares if each.direction == "normal" and key in shares[each]]
        spent = {choice.finding for choice in added}
        best = max(normal_ones, key=lambda each: (each not in spent, shares[each][key], each.concept), default=None)
        if best is None or best in spent or len(choices) + len(added) >= MOST_STATEMENTS:
            continue
        if words(style.text([*choices, *added, _Choice(best, (key,))])) <= MOST_WORDS:
            added.append(_Choice(best, (key,)))
    return added


def _fitting(
    finding: Finding, gains: Mapping[str, float], diagnoses: list[str], choices: list[_Choice], style: _Style
) -> _Choice | None:
    """The finding with the diagnoses that it is said to support, as far as they fit behind the choices before it: the
    one to whose argument it adds most, and others to which it adds much.
    """
    best = max(gains, key=lambda key: (gains[key], key), default=None)
    many = tuple(key for key in diagnoses if key == best or gains.get(key, 0.0) >= _NAMED)
    for targets in (many, many if best is None else (best,)):
        if not choices or words(style.text([*choices, _Choice(finding, targets)])) <= MOST_WORDS:
            return _Choice(finding, targets)
    return None


def _by_itself(finding: Finding) -> float:
    """Score of a finding that supports no diagnosis; a high oxygen pressure reflects the ventilator's setting."""
    return 0.0 if finding.variable in _TREATMENT or finding.concept == "finding:pao2:high" else finding.weight


def _unsupported(
    findings: list[Finding], argued: Mapping[str, float], diagnoses: list[str], graph: ConceptGraph
) -> list[str]:
    """Up to two diagnoses that a series could support, but this one does not."""
    shown = {finding.concept for finding in speaking(findings)}
    silent = []
    for key in diagnoses:
        strong = {node for node, (tie, _) in graph.evidence[key].items() if tie >= SUPPORTS}
        if key not in argued and not strong & shown and any(node.startswith("finding:") for node in strong):
            silent.append(key)
    return silent[:2] if argued or silent else diagnoses[:2]


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
