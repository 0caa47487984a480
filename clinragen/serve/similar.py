"""Training stays that are most like the one stay of a request, without whose they are.

An answer names no stay of the index and quotes nothing of its notes: of a case it has the labels, the classes of drugs
that were newly started, and what both charts show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel
from pydantic import Field as Described

from clinragen import __version__
from clinragen.api.similarity import Case, OpenIndex, open_index
from clinragen.cohort.folder import Cohort
from clinragen.cohort.window import Window
from clinragen.errors import UserError
from clinragen.inference.finished import FinishedRun
from clinragen.inference.predict import TrainedModel
from clinragen.serve.answer import NOTICE, NotRead
from clinragen.serve.intake import Intake
from clinragen.serve.limits import Limits
from clinragen.serve.one_stay import BundleStay, read_one_stay
from clinragen.serve.rows import StaysRequest
from clinragen.serve.scratch import request_cohort

MOST_CASES, USUAL_CASES = 20, 5

Count = Annotated[int, Described(ge=1, le=MOST_CASES, description="how many cases, at most")]


class SimilarRequest(StaysRequest):
    """One stay with its measurements and notes, for which similar ones are sought."""

    count: Count = USUAL_CASES


class BundleSimilar(BundleStay):
    """One stay of a FHIR R4 bundle, for which similar ones are sought."""

    count: Count = USUAL_CASES


class SharedSign(BaseModel):
    """What both charts show."""

    kind: str = Described(description="note or series")
    concept: str
    text: str = Described(description="its name")
    here: dict[str, Any] = Described(
        description="in the chart that was sent: section, start, end of a phrase; or variable, hour, value, statement"
    )
    there: dict[str, Any] = Described(description="in the case: the section alone; or variable, hour, value, statement")


class SimilarCase(BaseModel):
    """A training stay that is like the one that was sent."""

    score: float = Described(description="weighted sum of the similarities, at most 1")
    similarities: dict[str, float] = Described(description="by modality")
    labels: list[str] = Described(description="keys of the labels with which it was coded")
    label_names: list[str]
    started: list[str] = Described(description="classes of drugs newly started within a day of its prediction time")
    concepts: list[str] = Described(description="what both notes affirm, the rarest first")
    shared: list[SharedSign] = Described(description="empty where the service has no charts of the index")


class SimilarReply(BaseModel):
    """The training stays that are most like a stay, most similar first."""

    notice: str
    created_by: str
    stay_id: int = Described(description="as it was sent")
    left_out: list[NotRead]
    weights: dict[str, float] = Described(description="of the modalities in the score")
    cases: list[SimilarCase]


@dataclass(frozen=True)
class SimilarQuestion:
    """The one stay of a request.

    Attributes:
        intake: the stay.
        count: how many cases, at most.
        subject: id of its patient in the database of the index, if it was sent.
    """

    intake: Intake
    count: int
    subject: int | None


def read_similar(body: bytes, window: Window, limits: Limits) -> SimilarQuestion:
    """The stay of a request.

    Args:
        body: the JSON of a :class:`SimilarRequest`, or of :class:`BundleSimilar`.
        window: the hours that the model reads.
        limits: of the service.

    Raises:
        RefusalError: 422 with the fields that are wrong; also for more than one stay.
    """
    intake, request = read_one_stay(body, window, limits, SimilarRequest, BundleSimilar)
    subject = request.stays[0].subject_id if isinstance(request, SimilarRequest) else None
    return SimilarQuestion(intake, request.count, subject)


@dataclass(frozen=True)
class SimilarFinder:
    """An index that the service has opened.

    Attributes:
        opened: the index.
        cohort: the one that it was built from, to say what charts share; None: it is not at hand.
        run: the model of the service: its window and labels are those of a request.
    """

    opened: OpenIndex
    cohort: Cohort | None
    run: FinishedRun

    @classmethod
    def load(cls, index: Path, cohort: Path | None, model: Path | None, trained: TrainedModel) -> SimilarFinder:
        """Open an index.

        Args:
            index: written by ``clinragen index build``.
            cohort: the one that it was built from; None: it is not at hand.
            model: the run that it was built with; None: that of the service, where it needs one.
            trained: the model of the service.

        Raises:
            UserError: no index, a damaged one, one of other hours, or another cohort or model.
        """
        opened = open_index(index, model=trained if model is None else model)
        window, other = trained.run.window, opened.index.encoders.series.statistics.window
        if window.kind != other.kind or (window.kind != "whole" and window.hours != other.hours):
            raise UserError(
                f"--index {index} was built from {other} of each stay, and the model reads {window}: build it from a "
                "cohort of the model's window"
            )
        charts = Cohort.load(cohort) if cohort is not None else None
        if charts is not None and charts.sha256 != opened.index.manifest["cohort_hash"]:
            raise UserError(f"--index-cohort {cohort} is not the cohort that {index} was built from")
        return cls(opened, charts, trained.run)

    def answer(self, sought: SimilarQuestion) -> dict[str, Any]:
        """The cases: what :class:`SimilarReply` describes.

        Raises:
            UserError: the model of the index cannot read the stay.
        """
        stay = int(sought.intake.stays["stay_id"][0])
        with request_cohort(sought.intake, self.run) as root:
            query, chart = self.opened.query(Cohort.load(root / "cohort"), stay)
        # ids of a request are of any database, unless it says whose stay it is
        result = self.opened.cases(replace(query, subject=sought.subject, stay=None), sought.count, chart, self.cohort)
        return {
            "notice": NOTICE,
            "created_by": f"clinragen {__version__}",
            "stay_id": stay,
            "left_out": sought.intake.left_out.as_json(),
            "weights": result.weights,
            "cases": without_identifiers(result.cases),
        }


def without_identifiers(cases: Sequence[Case]) -> list[dict[str, Any]]:
    """Cases as values of JSON, without ids of stays and without where their notes say something."""
    shown = []
    for case in cases:
        values = case.as_json()
        del values["stay_id"]
        for one in values["shared"]:
            if one["kind"] == "note":
                one["there"] = {"section": one["there"]["section"]}
        shown.append(values)
    return shown
