"""What is retrieved for a chart: what similar stays were newly started on, and what treats what the chart shows.

Of other patients nothing is shown but classes of drugs and concepts that both charts share; a stay of the same patient
is never shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from clinragen.knowledge.graph import ConceptGraph
from clinragen.knowledge.linker import Linker
from clinragen.prescription.charts import PatientChart, note_sections
from clinragen.prescription.grounds import Signs, indications
from clinragen.prescription.history import History
from clinragen.prescription.rankers import Neighbours
from clinragen.prescription.suggest import Suggester
from clinragen.safety.cautions import SEVERITIES, Caution
from clinragen.safety.rules import citation

#: Kinds of concept by which patients are alike: drugs are compared by their orders, and circumstances tell little.
_SHARED = ("sign", "past")
#: Concepts and classes that a line names, at most.
_MOST_SHARED, _MOST_CLASSES = 4, 5
#: The likeliest classes whose ingredients are screened besides those that treat what the chart shows.
_MOST_SCREENED = 8


@dataclass(frozen=True)
class Retrieved:
    """Lines that are shown beside a chart.

    Attributes:
        cases: similar stays that were started on something, and how many of all similar ones were started on what.
        treatments: phenotypes that the chart shows signs of, with what treats them and the source.
        cautions: what speaks against drugs in this chart, with the source.
    """

    cases: tuple[str, ...] = ()
    treatments: tuple[str, ...] = ()
    cautions: tuple[str, ...] = ()


class SimilarCases:
    """What the most similar training stays were newly started on.

    Args:
        neighbours: finds them.
        names: readable name of each class.
        graph: names the shared concepts.
        linker: finds them in the notes of training stays.
        most: stays that are shown one by one.
    """

    def __init__(
        self, neighbours: Neighbours, names: Mapping[str, str], graph: ConceptGraph, linker: Linker, most: int
    ) -> None:
        self._neighbours, self._names, self._most = neighbours, names, most
        self._graph, self._linker = graph, linker
        self._concepts: dict[int, frozenset[str]] = {}

    @cached_property
    def _sections(self) -> dict[int, list[tuple[str, str]]]:
        return note_sections(self._neighbours.train.cohort)

    def lines(self, history: History, charts: Mapping[int, PatientChart]) -> list[tuple[str, ...]]:
        """The lines of each stay of a history."""
        nearest, weights = self._neighbours.nearest(history)
        probabilities, votes = self._neighbours.ranked(history)
        lines = []
        for row, stay_id in enumerate(history.stay_ids.tolist()):
            new = self._neighbours.labels.present[nearest[row]] & ~history.ordered[row]
            similar = nearest[row][(weights[row] > 0) & new.any(1)][: self._most].tolist()
            shown = [
                self._case(number, other, charts[stay_id].signs, history, row)
                for number, other in enumerate(similar, 1)
            ]
            often = self._often(history, row, int((weights[row] > 0).sum()), probabilities[row], votes)
            lines.append((*shown, *([often] if often else [])))
        return lines

    def _case(self, number: int, other: int, signs: Signs, history: History, row: int) -> str:
        train, started = self._neighbours.train, self._neighbours.labels.present[other]
        theirs = self._of_note(int(train.stay_ids[other]))
        concepts = dict.fromkeys(item.concept for item in signs.note if item.concept in theirs)
        shared = [self._graph.name(concept) for concept in concepts][:_MOST_SHARED]
        both = np.flatnonzero(train.ordered[other] & history.ordered[row])
        shared += [f"on {name}" for name in self._named(history, both)][:_MOST_SHARED]
        new = self._named(history, np.flatnonzero(started & ~history.ordered[row]))
        alike = f" (also {', '.join(shared)})" if shared else ""
        return f"similar patient {number}{alike}: newly started on {', '.join(new)}"

    def _often(
        self, history: History, row: int, similar: int, probabilities: np.ndarray, votes: tuple[np.ndarray, np.ndarray]
    ) -> str:
        """What most of all similar stays were started on; there are fewer than are looked for where few are similar."""
        started, could = (part[row] for part in votes)
        open_ = np.where(history.ordered[row] | (started == 0), -1.0, probabilities)
        first = [column for column in np.argsort(-open_, kind="stable")[:_MOST_CLASSES] if open_[column] > 0]
        counts = [f"{self._names[history.keys[column]]} ({started[column]} of {could[column]})" for column in first]
        return f"of the {similar} most similar patients were newly started on: {', '.join(counts)}" if counts else ""

    def _named(self, history: History, columns: np.ndarray) -> list[str]:
        return [self._names[history.keys[column]] for column in columns.tolist()]

    def _of_note(self, stay_id: int) -> frozenset[str]:
        """The symptoms, diseases and procedures that the note of a training stay affirms."""
        if stay_id not in self._concepts:
            signs = Signs.read(self._sections.get(stay_id, []), (), self._linker, self._graph)
            self._concepts[stay_id] = frozenset(item.concept for item in signs.note if item.kind in _SHARED)
        return self._concepts[stay_id]


@dataclass(frozen=True)
class Knowledge:
    """What the concept graph and the safety rules say about a chart.

    Attributes:
        suggester: has the graph, and screens ingredients.
        rates: how often each class is started, [classes]; the likeliest ones are screened.
        most_treatments: phenotypes that are shown.
        most_cautions: cautions that are shown.
    """

    suggester: Suggester
    rates: np.ndarray
    most_treatments: int
    most_cautions: int

    def lines(self, history: History, row: int, chart: PatientChart) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Lines of treatments and of cautions for one stay."""
        open_ = [column for column in range(len(history.keys)) if not history.ordered[row, column]]
        treatments, named = self._treatments([history.keys[column] for column in open_], chart)
        likely = sorted(open_, key=lambda column: -self.rates[column])[:_MOST_SCREENED]
        screened = dict.fromkeys([*named, *(history.keys[column] for column in likely)])
        return treatments, self._cautions(list(screened), chart)

    def _treatments(self, keys: Sequence[str], chart: PatientChart) -> tuple[tuple[str, ...], list[str]]:
        graph, names = self.suggester.graph, self.suggester.names
        by_phenotype: dict[str, list[tuple[float, str, str]]] = {}
        signs: dict[str, tuple[float, str]] = {}
        for key in keys:
            for one in indications(key, chart.signs, graph):
                by_phenotype.setdefault(one.phenotype, []).append((one.strength, key, one.source))
                signs[one.phenotype] = max(
                    signs.get(one.phenotype, (0.0, "")), (one.strength, ", ".join(one.signs)), key=lambda sign: sign[0]
                )
        lines, named = [], []
        for phenotype in sorted(by_phenotype, key=lambda name: (-signs[name][0], name))[: self.most_treatments]:
            first = sorted(by_phenotype[phenotype], key=lambda one: -one[0])[:_MOST_CLASSES]
            sources = ", ".join(dict.fromkeys(source for _, _, source in first))
            treated_by = ", ".join(names[key] for _, key, _ in first)
            lines.append(f"{phenotype} ({signs[phenotype][1]}): {treated_by} [{sources}]")
            named += [key for _, key, _ in first]
        return tuple(lines), named

    def _cautions(self, keys: Sequence[str], chart: PatientChart) -> tuple[str, ...]:
        grave: list[tuple[Caution, str]] = []
        for key in keys:
            for member in self.suggester.members(key, chart.context):
                grave += [(one, key) for one in member.cautions if one.severity != SEVERITIES[-1]]
        grave.sort(key=lambda pair: pair[0].rank)
        return tuple(
            f"{one.drug} ({self.suggester.names[key]}), {one.severity}: {one.because} [{citation(one.source)}]"
            for one, key in grave[: self.most_cautions]
        )
