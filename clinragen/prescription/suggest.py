"""A ranked list of classes to start for each stay, with grounds and cautions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import polars as pl

from clinragen.chart.findings import findings
from clinragen.cohort.sections import sections_by_stay
from clinragen.drugs import Drug
from clinragen.knowledge.graph import ConceptGraph
from clinragen.knowledge.linker import Linker
from clinragen.prescription.grounds import Ground, Signs, from_cases, from_home, treated
from clinragen.prescription.history import History
from clinragen.safety.cautions import Caution
from clinragen.safety.context import PatientContext, contexts_of
from clinragen.safety.rules import citation
from clinragen.safety.screen import Thesaurus, screen, unchecked


@dataclass(frozen=True)
class Member:
    """An ingredient of a suggested class, and what speaks against it."""

    ingredient: str
    cautions: tuple[Caution, ...]

    @property
    def contraindicated(self) -> bool:
        """Whether a caution forbids it."""
        return any(caution.severity == "contraindicated" for caution in self.cautions)

    def as_json(self) -> dict[str, object]:
        """The ingredient with its cautions, each with its source in full."""
        cautions = [{**asdict(caution), "source": citation(caution.source)} for caution in self.cautions]
        return {"ingredient": self.ingredient, "cautions": cautions}


@dataclass(frozen=True)
class Suggestion:
    """A class of drugs that may be started.

    Attributes:
        drug_class: its key.
        name: its readable name.
        probability: that it is started within 24 hours.
        members: its usual ingredients, those without a contraindication first.
        grounds: what in the chart speaks for it; empty where nothing is known to.
    """

    drug_class: str
    name: str
    probability: float
    members: tuple[Member, ...]
    grounds: tuple[Ground, ...]

    @property
    def withheld(self) -> bool:
        """Whether all of its usual ingredients are contraindicated."""
        return bool(self.members) and all(member.contraindicated for member in self.members)

    def as_json(self) -> dict[str, object]:
        """The suggestion as an object of JSON."""
        return {
            "drug_class": self.drug_class,
            "name": self.name,
            "probability": round(self.probability, 4),
            "members": [member.as_json() for member in self.members],
            "grounds": [ground.as_json() for ground in self.grounds],
        }


@dataclass(frozen=True)
class Prescription:
    """The suggestions of one stay.

    Attributes:
        stay_id: the stay.
        in_force: classes that had been ordered, by key.
        orders_known: whether any order is known; without one the hospital's orders may not be in the data.
        suggestions: the likeliest classes that had not been ordered, likeliest first.
        withheld: those that were likely enough, but whose usual ingredients are all contraindicated.
        unchecked: what the safety screen could not check for this stay, one sentence each.
    """

    stay_id: int
    in_force: tuple[str, ...]
    orders_known: bool
    suggestions: tuple[Suggestion, ...]
    withheld: tuple[Suggestion, ...]
    unchecked: tuple[str, ...]

    def as_json(self) -> dict[str, object]:
        """The prescription as an object of JSON."""
        return {
            "stay_id": self.stay_id,
            "orders_known": self.orders_known,
            "in_force": list(self.in_force),
            "suggestions": [one.as_json() for one in self.suggestions],
            "withheld": [one.as_json() for one in self.withheld],
            "unchecked": list(self.unchecked),
        }


@dataclass(frozen=True)
class Suggester:
    """Makes suggestions from probabilities.

    Attributes:
        graph: says what each class treats.
        names: readable name of each class.
        usual: usual ingredients of each class.
        most: how many classes to suggest.
        thesaurus: a list of interactions beside the curated ones; None: the curated ones alone.
    """

    graph: ConceptGraph
    names: Mapping[str, str]
    usual: Mapping[str, Sequence[str]]
    most: int
    thesaurus: Thesaurus | None = None

    def suggest(
        self, history: History, probabilities: np.ndarray, votes: tuple[np.ndarray, np.ndarray] | None = None
    ) -> Iterator[Prescription]:
        """The suggestions of each stay of a history, in its order.

        Args:
            history: what had been ordered.
            probabilities: of new starts, [n, classes].
            votes: of similar stays, as ``Neighbours.votes`` gives them; None: no cases are cited.
        """
        linker = Linker(self.graph)
        signs = self._signs(history, linker)
        contexts = contexts_of(history.cohort, history.stay_ids.tolist(), linker)
        for row, stay_id in enumerate(history.stay_ids.tolist()):
            context = contexts[stay_id]
            suggestions: list[Suggestion] = []
            withheld: list[Suggestion] = []
            for column in np.argsort(-probabilities[row], kind="stable").tolist():
                if history.ordered[row, column]:
                    continue
                key = history.keys[column]
                cases = from_cases(int(votes[0][row, column]), int(votes[1][row, column])) if votes is not None else []
                one = Suggestion(
                    key,
                    self.names[key],
                    float(probabilities[row, column]),
                    self._members(key, context),
                    (*treated(key, signs[stay_id], self.graph), *from_home(history.home_names(stay_id, key)), *cases),
                )
                (withheld if one.withheld else suggestions).append(one)
                if len(suggestions) == self.most:
                    break
            yield Prescription(
                stay_id,
                tuple(key for key, had in zip(history.keys, history.ordered[row], strict=True) if had),
                bool(history.any_order[row]),
                tuple(suggestions),
                tuple(withheld),
                tuple(unchecked(context, self.thesaurus)),
            )

    def _members(self, key: str, context: PatientContext) -> tuple[Member, ...]:
        """The usual ingredients of a class, those without a contraindication first."""
        members = [
            Member(name, tuple(screen(Drug(name, key), context, self.thesaurus))) for name in self.usual.get(key, ())
        ]
        return tuple(sorted(members, key=lambda member: member.contraindicated))  # stable: usual order otherwise

    def _signs(self, history: History, linker: Linker) -> dict[int, Signs]:
        cohort = history.cohort
        sections = sections_by_stay(cohort.notes, labels=cohort.label_set, layout=True)
        ids = pl.Series(history.stay_ids).implode()
        of_series = findings(cohort.series.filter(pl.col("stay_id").is_in(ids)))
        return {
            stay: Signs.read(sections.get(stay, []), of_series.get(stay, []), linker, self.graph)
            for stay in history.stay_ids.tolist()
        }
