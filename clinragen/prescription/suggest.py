"""A ranked list of classes to start for each stay, with grounds and cautions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np

from clinragen.drugs import Drug
from clinragen.knowledge.graph import ConceptGraph
from clinragen.prescription.charts import PatientChart, read_charts
from clinragen.prescription.grounds import Ground, from_cases, from_home, treated
from clinragen.prescription.history import History
from clinragen.safety.cautions import Caution
from clinragen.safety.context import PatientContext
from clinragen.safety.rules import citation
from clinragen.safety.screen import Thesaurus, gravest, screen, unchecked

#: Ingredients with such a caution come after the others of their class; a mere caution does not change the order.
_LATER = {"avoid": 1, "contraindicated": 2}


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
        members: its usual ingredients, those to be avoided or contraindicated last.
        grounds: what in the chart speaks for it; empty where nothing is known to.
        rank: its place in the list of a language model, from 1; None where none was asked or it is not listed.
    """

    drug_class: str
    name: str
    probability: float
    members: tuple[Member, ...]
    grounds: tuple[Ground, ...]
    rank: int | None = None

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
            **({"rank": self.rank} if self.rank is not None else {}),
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
class ClassRanking:
    """How the classes are ranked for the stays of a history.

    Attributes:
        probabilities: of new starts, [n, classes].
        votes: of similar stays, as ``Neighbours.votes`` gives them; None: no cases are cited.
        ranks: places in the lists of a language model, from 1, 0 where it did not list a class, int [n, classes]; None:
            no model was asked.
        by_probability: the likeliest class comes first; otherwise what a model listed comes first, in its order, and
            then the likeliest of the others.
        stated: what the model said for a class and the chart bears out, by stay and class.
    """

    probabilities: np.ndarray
    votes: tuple[np.ndarray, np.ndarray] | None = None
    ranks: np.ndarray | None = None
    by_probability: bool = True
    stated: Mapping[tuple[int, str], Ground] = field(default_factory=dict)

    def order(self, row: int) -> list[int]:
        """The columns of one stay, the first to be suggested first."""
        likeliest = np.argsort(-self.probabilities[row], kind="stable")
        if self.ranks is None or self.by_probability:
            return likeliest.tolist()
        ranks = self.ranks[row]
        listed = np.flatnonzero(ranks)
        first = listed[np.argsort(ranks[listed])].tolist()
        return first + [column for column in likeliest.tolist() if not ranks[column]]

    def rank(self, row: int, column: int) -> int | None:
        """The place of a class in the model's list."""
        return int(self.ranks[row, column]) or None if self.ranks is not None else None

    def cases(self, row: int, column: int) -> list[Ground]:
        """What similar stays were started on."""
        return (
            [] if self.votes is None else from_cases(int(self.votes[0][row, column]), int(self.votes[1][row, column]))
        )


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
        self, history: History, ranking: ClassRanking, charts: Mapping[int, PatientChart] | None = None
    ) -> Iterator[Prescription]:
        """The suggestions of each stay of a history, in its order.

        Args:
            history: what had been ordered.
            ranking: of the classes, for each stay.
            charts: those of ``read_charts``, if they have been read.
        """
        charts = read_charts(history, self.graph) if charts is None else charts
        for row, stay_id in enumerate(history.stay_ids.tolist()):
            chart = charts[stay_id]
            suggestions: list[Suggestion] = []
            withheld: list[Suggestion] = []
            for column in ranking.order(row):
                if history.ordered[row, column]:
                    continue
                key = history.keys[column]
                stated = ranking.stated.get((stay_id, key))
                one = Suggestion(
                    key,
                    self.names[key],
                    float(ranking.probabilities[row, column]),
                    self.members(key, chart.context),
                    (
                        *treated(key, chart.signs, self.graph),
                        *from_home(history.home_names(stay_id, key)),
                        *ranking.cases(row, column),
                        *([stated] if stated is not None else []),
                    ),
                    ranking.rank(row, column),
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
                tuple(unchecked(chart.context, self.thesaurus)),
            )

    def members(self, key: str, context: PatientContext) -> tuple[Member, ...]:
        """The usual ingredients of a class, then those to be avoided, then the contraindicated ones."""
        members = [
            Member(name, tuple(screen(Drug(name, key), context, self.thesaurus))) for name in self.usual.get(key, ())
        ]
        return tuple(sorted(members, key=lambda member: _LATER.get(gravest(member.cautions) or "", 0)))  # stable
