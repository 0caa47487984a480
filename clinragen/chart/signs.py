"""Signs of a diagnosis in a stay's note and series: the strongest by the concept graph, in words and where they are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from clinragen.chart.findings import Finding
from clinragen.chart.note_evidence import NoteEvidence, read_note
from clinragen.chart.support import SUPPORTS, tie
from clinragen.knowledge.graph import ConceptGraph
from clinragen.knowledge.linker import Linker


class Sign(NamedTuple):
    """One sign of a diagnosis.

    Attributes:
        strength: 0..1.
        words: the phrase of the note, or the measurement.
        evidence: where it is: section, start and end of a phrase; or variable, hour and value.
    """

    strength: float
    words: str
    evidence: dict[str, object]


@dataclass(frozen=True)
class Signs:
    """What note and series of a stay show.

    Attributes:
        note: phrases that the note affirms.
        series: abnormal findings.
    """

    note: tuple[NoteEvidence, ...]
    series: tuple[Finding, ...]

    @classmethod
    def read(
        cls, sections: Sequence[tuple[str, str]], findings: Iterable[Finding], linker: Linker, graph: ConceptGraph
    ) -> Signs:
        """Read a stay: (section, text) pairs of its note, and findings of its series."""
        reading = read_note(sections, linker, graph)
        return cls(tuple(reading.evidence), tuple(one for one in findings if one.direction != "normal"))

    def of(self, label: str, graph: ConceptGraph, *, most: int, indirect: bool = True) -> list[Sign]:
        """The strongest signs of a diagnosis, each worded once.

        Args:
            label: key of the diagnosis.
            graph: ties signs to it.
            most: how many.
            indirect: whether a drug that it is treated with, or a circumstance such as age, is a sign of it.
        """
        ranked: list[Sign] = []
        for item in self.note:
            strength = tie(item, label, graph)
            if strength >= SUPPORTS and (indirect or item.kind in ("sign", "past")):
                past = " (history)" if item.past else ""
                ranked.append(Sign(strength, f"“{item.phrase}”{past}", item.as_json()))
        for finding in self.series:
            strength = tie(finding, label, graph)
            if strength >= SUPPORTS:
                spec = finding.spec
                words = f"{spec.label} {spec.format(finding.extreme)} at hour {finding.extreme_hour:.0f}"
                measured: dict[str, object] = {
                    "variable": finding.variable, "hour": finding.extreme_hour, "value": spec.written(finding.extreme),
                }  # fmt: skip
                ranked.append(Sign(strength * (0.5 + 0.5 * finding.weight), words, measured))
        ranked.sort(key=lambda sign: -sign.strength)  # stable sort: ties stay in reading order
        distinct: dict[str, Sign] = {}
        for sign in ranked:
            distinct.setdefault(sign.words.casefold(), sign)
        return list(distinct.values())[:most]
