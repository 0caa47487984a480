"""Questions about the one stay of a request: answered from its rows alone, without the model."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Annotated, Any

import polars as pl
from pydantic import BaseModel
from pydantic import Field as Described

from clinragen import __version__
from clinragen.added_variables import AddedVariables
from clinragen.api.asking_engine import EngineChoice
from clinragen.chart.measurements import cells_by_stay
from clinragen.cohort.sections import sections_by_stay
from clinragen.cohort.window import Window
from clinragen.dialogue.dialogue import Dialogue
from clinragen.dialogue.names import Names
from clinragen.dialogue.reading import MOST_CHARACTERS
from clinragen.dialogue.remarks import remarks
from clinragen.errors import near_name
from clinragen.knowledge.graph import ConceptGraph
from clinragen.knowledge.linker import Linker
from clinragen.knowledge.relabel import open_graph
from clinragen.label_sets import LabelSet
from clinragen.questions.stay_chart import StayChart
from clinragen.serve.answer import NOTICE, NotRead
from clinragen.serve.intake import Intake
from clinragen.serve.limits import Limits
from clinragen.serve.one_stay import BundleStay, read_one_stay
from clinragen.serve.refusals import Field, invalid, path_of
from clinragen.serve.rows import Name, StaysRequest

MOST_QUESTIONS = 20  # of a request
_HOUR = 3_600_000  # milliseconds

Question = Annotated[str, Described(max_length=MOST_CHARACTERS)]


AskedInOrder = Annotated[
    list[Question],
    Described(min_length=1, max_length=MOST_QUESTIONS, description="each may go on from the one before"),
]
Grounded = Annotated[
    list[Name] | None,
    Described(description="keys of labels: only these are given grounds; by default all of the model's labels"),
]


class QuestionsRequest(StaysRequest):
    """One stay with its measurements and notes, and questions about it, in order."""

    questions: AskedInOrder
    diagnoses: Grounded = None


class BundleQuestions(BundleStay):
    """Questions about one stay of a FHIR R4 bundle."""

    questions: AskedInOrder
    diagnoses: Grounded = None


class ChartAnswer(BaseModel):
    """The chart's answer to a query."""

    status: str = Described(description="answered, or not_in_chart")
    text: str
    value: float | str | None
    evidence: list[dict[str, Any]] = Described(
        description="variable, hour and value of a measurement; or section, start, end and concept of a phrase"
    )
    searched: str


class AskedQuestion(BaseModel):
    """What came of a question, which is not repeated."""

    question_class: str = Described(alias="class", description="in_field, or why it is refused")
    outcome: str = Described(description="answered, not_in_chart, refused or unclear")
    text: str
    queries: list[str] = Described(description="what was understood")
    answers: list[ChartAnswer]
    read_by: str = Described(description="rules, or the engine that chose the queries")
    rules_read: list[str] | None = Described(
        None, description="what the rules understood, where the engine read otherwise"
    )


class Replies(BaseModel):
    """The answers about a stay."""

    notice: str
    created_by: str
    stay_id: int
    remarks: list[str] = Described(description="in what the chart is unlike those of training")
    left_out: list[NotRead]
    turns: list[AskedQuestion]


@dataclass(frozen=True)
class Questions:
    """Questions about the one stay of a request."""

    intake: Intake
    questions: Sequence[str]
    diagnoses: Sequence[str] | None


def read_questions(body: bytes, window: Window, limits: Limits) -> Questions:
    """The questions of a request.

    Args:
        body: the JSON of a :class:`QuestionsRequest`, or of :class:`BundleQuestions`.
        window: the hours that the model reads.
        limits: of the service.

    Raises:
        RefusalError: 422 with the fields that are wrong; also for more than one stay.
    """
    intake, request = read_one_stay(body, window, limits, QuestionsRequest, BundleQuestions)
    return Questions(intake, request.questions, request.diagnoses)


class Asker:
    """Answers questions about stays of requests. Making one takes some seconds.

    Args:
        labels: of the model.
        added: variables that the model has beside the catalogue's.
        choice: what reads questions beside the rules.

    Raises:
        UserError: what is to read them cannot be used.
    """

    def __init__(self, labels: LabelSet, added: AddedVariables, choice: EngineChoice = EngineChoice()) -> None:  # noqa: B008
        self._labels = labels
        self._graph: ConceptGraph = open_graph(None, labels, added)
        self._linker = Linker(self._graph)
        self._names = Names(self._graph, self._linker)
        self._closing = ExitStack()
        self._engine = self._closing.enter_context(choice.open(self._graph, self._names, self._linker))

    def close(self) -> None:
        """Close the connection to a language model."""
        self._closing.close()

    def answer(self, asked_about: Questions) -> dict[str, Any]:
        """The answers: what :class:`Replies` describes.

        Raises:
            RefusalError: 422 for a diagnosis that is no label of the model.
        """
        intake = asked_about.intake
        chart = self._chart(intake, self._diagnoses(asked_about.diagnoses))
        engine = self._engine
        dialogue = Dialogue(chart, self._names, engine.router, engine.name, _identifiers(intake), engine.always)
        whole = sections_by_stay(intake.notes, labels=self._labels, layout=True, whole=True)
        return {
            "notice": NOTICE,
            "created_by": f"clinragen {__version__}",
            "stay_id": chart.stay_id,
            "remarks": remarks(chart, whole.get(chart.stay_id, []), self._labels),
            "left_out": intake.left_out.as_json(),
            "turns": [dialogue.ask(question).as_json() for question in asked_about.questions],
        }

    def _diagnoses(self, keys: Sequence[str] | None) -> list[str]:
        if keys is None:
            return list(self._labels)
        wrong = [
            Field(path_of(("diagnoses", index)), f"no label of the model{near_name(key, self._labels)}")
            for index, key in enumerate(keys)
            if key not in self._labels
        ]
        if wrong:
            raise invalid(wrong)
        return list(keys)

    def _chart(self, intake: Intake, labels: Sequence[str]) -> StayChart:
        stay_id = int(intake.stays["stay_id"][0])
        hours = (pl.col("prediction_time") - pl.col("intime")).dt.total_milliseconds() / _HOUR
        end = float(intake.stays.select(hours).item())
        sections = sections_by_stay(intake.notes, labels=self._labels, layout=True).get(stay_id, [])
        cells = cells_by_stay(intake.series).get(stay_id, {})
        return StayChart.read(stay_id, end, cells, sections, self._linker, self._graph, labels)


def _identifiers(intake: Intake) -> frozenset[str]:
    return frozenset(str(intake.stays[key][0]) for key in ("subject_id", "hadm_id"))
