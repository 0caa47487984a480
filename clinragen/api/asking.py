"""Questions about one stay from Python."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clinragen.api.values import CohortLike, GraphLike, PredictionsLike, open_cohort, open_predictions
from clinragen.errors import UserError
from clinragen.integrity import thorough

if TYPE_CHECKING:
    from clinragen.cohort.folder import Cohort
    from clinragen.dialogue.dialogue import Dialogue, Router, Turn
    from clinragen.knowledge.graph import ConceptGraph


@dataclass(frozen=True)
class Asked:
    """Questions about a stay, and what came of each.

    Attributes:
        stay_id: the stay.
        turns: one for each question, in order.
        remarks: in what the chart is unlike those of training.
    """

    stay_id: int
    turns: tuple[Turn, ...]
    remarks: tuple[str, ...]

    def as_json(self) -> dict[str, object]:
        """The dialogue as an object of JSON."""
        return {
            "stay_id": self.stay_id,
            "remarks": list(self.remarks),
            "turns": [turn.as_json() for turn in self.turns],
        }


@dataclass
class OpenStay:
    """A stay that can be asked about, several questions in a row.

    Attributes:
        dialogue: what answers.
        remarks: in what the chart is unlike those of training.
    """

    dialogue: Dialogue
    remarks: tuple[str, ...]

    def ask(self, question: str) -> Turn:
        """Answer a question; it may go on from the one before."""
        return self.dialogue.ask(question)


def open_stay(
    cohort: CohortLike,
    stay: int,
    *,
    predictions: PredictionsLike | None = None,
    graph: GraphLike = None,
    router: Router | None = None,
    verify: bool = False,
) -> OpenStay:
    """Open the chart of one stay for questions. Of the other stays nothing is read that could be answered with.

    Args:
        cohort: a cohort.
        stay: id of the stay.
        predictions: predictions for it: only diagnoses that they list are then given grounds. Without them the signs of
            any diagnosis can be asked for.
        graph: the concepts of notes; None: the curated core.
        router: chooses a query where the rules find none.
        verify: check the hashes of large files, too.

    Raises:
        UserError: the cohort or the predictions have no such stay, or a file is damaged.
    """
    import numpy as np

    from clinragen.cohort.sections import sections_by_stay
    from clinragen.dialogue.dialogue import Dialogue
    from clinragen.dialogue.names import Names
    from clinragen.dialogue.remarks import fewest_variables, remarks
    from clinragen.knowledge.linker import Linker
    from clinragen.questions.stay_chart import charts

    with thorough(verify):
        whole = open_cohort(cohort)
        if stay not in whole.stays["stay_id"]:
            raise UserError(
                f"{whole.paths.root} has no stay {stay}: give --stay an id of its {len(whole.stays)} stays, which are "
                "in stays.parquet"
            )
        opened = _graph(graph, whole)
        labels, unlike = _predicted(predictions, stay) if predictions is not None else (list(opened.labels), [])
        linker = Linker(opened)
        part = whole.of_stays(np.array([stay]))
        (chart,) = charts(part, opened, linker=linker, labels={stay: [key for key in labels if key in opened.labels]})
        notes = sections_by_stay(part.notes, labels=whole.label_set, layout=True, whole=True).get(stay, [])
        sentences = remarks(chart, notes, whole.label_set, fewest=fewest_variables(whole))
        sentences = dict.fromkeys([*sentences, *unlike])
        identifiers = frozenset(str(part.stays[key][0]) for key in ("subject_id", "hadm_id"))
        return OpenStay(Dialogue(chart, Names(opened, linker), router, own=identifiers), tuple(sentences))


def ask(
    cohort: CohortLike,
    stay: int,
    questions: Sequence[str],
    *,
    predictions: PredictionsLike | None = None,
    graph: GraphLike = None,
    verify: bool = False,
) -> Asked:
    """Answer questions about one stay from its chart, without a language model.

    Args:
        cohort: a cohort.
        stay: id of the stay.
        questions: in order; each may go on from the one before.
        predictions: predictions for the stay; see :func:`open_stay`.
        graph: the concepts of notes; None: the curated core.
        verify: check the hashes of large files, too.

    Raises:
        UserError: the cohort or the predictions have no such stay, or a file is damaged.
    """
    opened = open_stay(cohort, stay, predictions=predictions, graph=graph, verify=verify)
    return Asked(stay, tuple(opened.ask(question) for question in questions), opened.remarks)


def _predicted(predictions: PredictionsLike, stay: int) -> tuple[list[str], list[str]]:
    """The diagnoses that predictions list for a stay, and why their model abstains."""
    part = open_predictions(predictions).of_stays([stay])
    listed = [key for key, on in zip(part.labels, part.system.listed[0], strict=True) if on]
    return listed, part.abstains[0] if part.abstains else []


def _graph(graph: GraphLike, cohort: Cohort) -> ConceptGraph:
    """The graph of a folder or value, or the curated core, with the labels and variables of the cohort."""
    from clinragen.knowledge.relabel import open_graph

    if graph is None or isinstance(graph, str | Path):
        return open_graph(None if graph is None else Path(graph), cohort.label_set, cohort.added)
    return graph
