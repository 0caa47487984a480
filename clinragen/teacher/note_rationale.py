"""R_m: the evidence of the note for each diagnosis, by its worth, and the diagnoses without evidence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import NamedTuple

from clinragen.chart.note_evidence import NoteEvidence, signs
from clinragen.chart.note_statements import (
    ALTHOUGH,
    CLOSINGS,
    LINKS,
    MOST_GROUNDS,
    MOST_SIGNS,
    MOST_WORDS,
    OPENING,
    clause,
    only_unsupported,
    undiagnosed,
    unsupported,
    without_note,
)
from clinragen.chart.rebuttals import Rebuttal
from clinragen.chart.support import citable
from clinragen.chart.wording import Wording, words
from clinragen.chart.worth import Worth
from clinragen.label_sets import LabelSet
from clinragen.teacher.argument import Argument, Composed

# A second sign, piece of history or drug for the same diagnosis says partly what the first did.
_SAME_KIND = 0.5
#: From this share on, a finding of the series is better than a circumstance of the admission.
_GOOD = 0.1


class _Ground(NamedTuple):
    """A phrase that may be cited for a diagnosis, and the share of it that is due to the diagnosis."""

    key: str
    item: NoteEvidence
    share: float


@dataclass(frozen=True)
class _Style:
    """How clauses of one rationale are written."""

    link: tuple[str, str]
    labels: LabelSet

    @cached_property
    def _names(self) -> frozenset[str]:
        return frozenset(label.name for label in self.labels.values())

    def text(self, chosen: Mapping[str, list[_Ground]]) -> str:
        """The rationale without its end: a clause for each diagnosis, or for all that have the same grounds."""
        groups: dict[object, list[str]] = {}
        for key in sorted(chosen, key=lambda key: (-chosen[key][0].share, key)):
            phrases = frozenset(ground.item for ground in chosen[key])
            recorded = any(item.phrase in self._names for item in phrases)
            groups.setdefault(key if recorded else phrases, []).append(key)
        clauses = (
            clause([ground.item for ground in chosen[keys[0]]], [self.labels[key].name for key in keys], self.link)
            for keys in groups.values()
        )
        return f"{OPENING}, {'; '.join(clauses)}"


def compose(
    evidence: list[NoteEvidence] | None,
    diagnoses: list[str],
    worth: Worth,
    wording: Wording,
    elsewhere: Mapping[str, float] = MappingProxyType({}),
    against: Sequence[Rebuttal[NoteEvidence]] = (),
) -> Composed[NoteEvidence]:
    """The rationale, the phrases that it uses and what it argues.

    Args:
        evidence: from ``chart.note_evidence.gather``; None if there is no note.
        diagnoses: gold phenotype keys.
        worth: says which phrase supports which diagnosis, and how much.
        wording: chooses the phrasing.
        elsewhere: diagnosis -> how well the series can argue for it, 0..1: what it shows well need not use room here.
        against: rebuttals, of which the first that fits is stated.
    """
    labels = worth.graph.labels
    if not diagnoses:
        return _nothing_diagnosed(evidence, wording, labels)
    if evidence is None:
        return Composed(_shortened(without_note(diagnoses, labels)))
    grounds = _resorting(_grounds(evidence, diagnoses, worth), elsewhere)
    supported = {ground.key for ground in grounds}
    silent = [key for key in diagnoses if key not in supported]
    style = _Style(wording.pick(LINKS), labels)
    closing = wording.pick(CLOSINGS)
    if not grounds:
        return Composed(_shortened(only_unsupported(silent, labels)))
    ends = [f"; {end}" for end in unsupported(silent, closing, labels)] if silent else []
    chosen = _chosen(grounds, Argument.beside(elsewhere), style, MOST_WORDS - words(ends[-1] if ends else ""))
    text = style.text(chosen)
    end = next((end for end in ends if words(text + end) <= MOST_WORDS), "")
    rebutted = (f"; {rebuttal.text(labels)}" for rebuttal in against)
    end += next((clause for clause in rebutted if words(text + end + clause) <= MOST_WORDS), "")
    used = dict.fromkeys(ground.item for each in chosen.values() for ground in each)
    argument = Argument()
    for ground in (ground for each in chosen.values() for ground in each):
        argument.add(ground.key, ground.share)
    return Composed(f"{text}{end}.", list(used), argument.argued)


def _grounds(evidence: list[NoteEvidence], diagnoses: list[str], worth: Worth) -> list[_Ground]:
    """All that may be cited, the most telling first, in reading order among equals; each phrase once a diagnosis."""
    candidates = [
        _Ground(key, item, value)
        for item in citable(evidence, diagnoses, worth.graph)
        for key, value in worth.speaks_for(item, diagnoses).items()
    ]
    candidates.sort(key=lambda ground: -ground.share)
    distinct: dict[tuple[str, str], _Ground] = {}
    for ground in candidates:
        distinct.setdefault((ground.key, ground.item.phrase), ground)
    return list(distinct.values())


def _resorting(grounds: Sequence[_Ground], elsewhere: Mapping[str, float]) -> list[_Ground]:
    """The grounds; of circumstances, one for each diagnosis that nothing better speaks for, here or in the series."""
    better = {ground.key for ground in grounds if ground.item.kind != "circumstance"}.union(
        key for key, share in elsewhere.items() if share >= _GOOD
    )
    retained: list[_Ground] = []
    for ground in grounds:
        if ground.item.kind != "circumstance":
            retained.append(ground)
        elif ground.key not in better:
            better.add(ground.key)
            retained.append(ground)
    return retained


def _chosen(grounds: Iterable[_Ground], argument: Argument, style: _Style, room: int) -> dict[str, list[_Ground]]:
    """The grounds that are told: each step takes what adds most to what is argued, if it fits.

    There is ``room`` for so many words; a first ground of a diagnosis may use those that the end would take, too.
    """
    left = list(grounds)
    chosen: dict[str, list[_Ground]] = {}

    def told(ground: _Ground) -> float:
        same = any(other.item.kind == ground.item.kind for other in chosen.get(ground.key, ()))
        return ground.share * (_SAME_KIND if same else 1.0)

    while left:
        best = max(left, key=lambda ground: argument.gain(ground.key, told(ground)))
        left.remove(best)
        before = chosen.get(best.key, [])
        longer = {**chosen, best.key: [*before, best]}
        if not chosen or words(style.text(longer)) <= (room if before else MOST_WORDS):
            argument.add(best.key, told(best))
            chosen = longer
            if len(before) + 1 == MOST_GROUNDS:
                left = [ground for ground in left if ground.key != best.key]
    return chosen


def _nothing_diagnosed(
    evidence: list[NoteEvidence] | None, wording: Wording, labels: LabelSet
) -> Composed[NoteEvidence]:
    if evidence is None:
        return Composed(without_note([], labels)[0])
    named = signs(evidence)[:MOST_SIGNS]
    return Composed(undiagnosed(named, wording.pick(ALTHOUGH)), named)


def _shortened(texts: list[str]) -> str:
    """The first text that is short enough, or the last one."""
    return next((text for text in texts if words(text) <= MOST_WORDS), texts[-1])
