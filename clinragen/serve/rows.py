"""Stays in the cohort's schema: the rows of ``stays``, ``series`` and ``notes`` as JSON."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic import Field as Described

from clinragen.catalog import Variable, variables
from clinragen.choices import Split
from clinragen.cohort.window import LONGEST, Window
from clinragen.errors import near_name
from clinragen.serve.intake import SPLIT, Intake, LeftOut, naive, prediction_end, prefixed, utc
from clinragen.serve.limits import Limits
from clinragen.serve.refusals import Field, RefusalError, invalid, of_validation, path_of
from mimic_prep.unit_conversion import conversion

IMPLAUSIBLE = "outside the plausible range of the variable"
_LARGEST = 1e12  # a value far beyond any unit; float32 holds it
Identifier = Annotated[int, Described(ge=0, le=2**63 - 1)]
Name = Annotated[str, Described(min_length=1, max_length=80)]


class Row(BaseModel):
    """A row, whose fields are all named in the schema and whose numbers are finite."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class StayRow(Row):
    """A stay. Times are ISO 8601, all with a time zone or all without."""

    stay_id: Identifier = Described(description="joins the rows of series and notes")
    subject_id: Identifier | None = None
    hadm_id: Identifier | None = None
    intime: datetime = Described(description="start of the stay, from which hours are counted")
    outtime: datetime | None = Described(None, description="end of the stay")
    prediction_time: datetime | None = Described(
        None, description="nothing at or after it is read; by default the end of the model's window, or of the stay"
    )
    age: Annotated[float, Described(ge=0, le=130)] = Described(description="years")
    sex: Literal["F", "M"] | None = None
    split: Split | None = Described(None, description="is not read: rows of a cohort have it")


class SeriesRow(Row):
    """A measurement."""

    stay_id: Identifier
    hour: Annotated[float, Described(ge=0, lt=LONGEST)] = Described(description="hours from intime")
    variable: Name = Described(description="a key of the catalogue, such as heart_rate")
    value: Annotated[float, Described(ge=-_LARGEST, le=_LARGEST)]
    unit: Annotated[str, Described(max_length=40)] | None = Described(
        None, description="of the value; by default the catalogue's"
    )


class NoteRow(Row):
    """A section of a note."""

    stay_id: Identifier
    note_id: Name = "note"
    kind: Name = "note"
    section: Name = Described("history_of_present_illness", description="such as chief_complaint")
    time: datetime | None = Described(None, description="when it was written; without one it counts as known")
    text: str


class StaysRequest(Row):
    """Stays with their measurements and notes."""

    source: Annotated[str, Described(max_length=80)] | None = Described(
        None, description="database that they come from, such as MIMIC-IV: probabilities are calibrated for one"
    )
    stays: Annotated[list[StayRow], Described(min_length=1)]
    series: list[SeriesRow] = []
    notes: list[NoteRow] = []


def read_stays(body: bytes, window: Window, limits: Limits) -> Intake:
    """The stays of a request.

    Args:
        body: the JSON of a :class:`StaysRequest`.
        window: the hours that the model reads.
        limits: of the service.

    Raises:
        RefusalError: 422 with the fields that are wrong.
    """
    try:
        request = StaysRequest.model_validate_json(body)
    except ValidationError as error:
        raise refused(error) from None
    return intake_of(request, window, limits)


def intake_of(request: StaysRequest, window: Window, limits: Limits) -> Intake:
    """The stays of a request that pydantic accepts.

    Args:
        request: the stays with their rows.
        window: the hours that the model reads.
        limits: of the service.

    Raises:
        RefusalError: 422 with the fields that are wrong.
    """
    left_out = LeftOut()
    wrong = [*_check_times(request), *_check_ids(request)]
    stays = _stays(request, window, wrong)
    series = _series(request, left_out, wrong)
    if wrong:
        raise invalid(wrong)
    notes = [{**row.model_dump(), "time": utc(row.time)} for row in request.notes]
    intake = Intake.of_rows((stays, series, notes), window, request.source, left_out)
    if excess := intake.excess(limits):
        raise invalid(excess)
    return intake


def refused(error: ValidationError) -> RefusalError:
    """The refusal of a body that pydantic does not accept: 400 for one that is not JSON."""
    fields = of_validation(error)
    if any(entry["type"] == "json_invalid" for entry in error.errors(include_input=False, include_url=False)):
        return RefusalError(400, "the body is not valid JSON", fields)
    return invalid(fields)


def _check_times(request: StaysRequest) -> list[Field]:
    times = [time for row in request.stays for time in (row.intime, row.outtime, row.prediction_time)]
    if len(naive([*times, *(row.time for row in request.notes)])) > 1:
        return [Field("stays", "some times have a time zone and others have none: give all of them one, or none")]
    return []


def _check_ids(request: StaysRequest) -> list[Field]:
    """Stays that occur twice, and rows of stays that are not there."""
    ids: set[int] = set()
    wrong = []
    for index, row in enumerate(request.stays):
        if row.stay_id in ids:
            wrong.append(Field(path_of(("stays", index, "stay_id")), "another stay has this id"))
        ids.add(row.stay_id)
    parts: tuple[tuple[str, list[Any]], ...] = (("series", request.series), ("notes", request.notes))
    return wrong + [
        Field(path_of((name, index, "stay_id")), "no row of stays has this id")
        for name, rows in parts
        for index, row in enumerate(rows)
        if row.stay_id not in ids
    ]


def _stays(request: StaysRequest, window: Window, wrong: list[Field]) -> list[dict[str, Any]]:
    rows = []
    for index, stay in enumerate(request.stays):
        start, end = utc(stay.intime), utc(stay.outtime)
        assert start is not None
        chosen, trouble = prediction_end(start, end, utc(stay.prediction_time), window)
        if trouble:
            wrong.append(prefixed(trouble, "stays", index))
        rows.append(
            {
                **stay.model_dump(),
                "subject_id": stay.stay_id if stay.subject_id is None else stay.subject_id,
                "hadm_id": stay.stay_id if stay.hadm_id is None else stay.hadm_id,
                "intime": start,
                "outtime": end or chosen,
                "prediction_time": chosen,
                "split": SPLIT,
            }
        )
    return rows


def _series(request: StaysRequest, left_out: LeftOut, wrong: list[Field]) -> list[dict[str, Any]]:
    """The measurements in canonical units, without implausible ones."""
    catalogue = variables()
    rows = []
    for index, row in enumerate(request.series):
        variable = catalogue.get(row.variable)
        if variable is None:
            wrong.append(Field(path_of(("series", index, "variable")), f"no such variable{_near(row.variable)}"))
            continue
        value = canonical(variable, row.value, row.unit)
        if value is None:
            units = ", ".join(dict.fromkeys((variable.unit, *variable.accepts)))
            wrong.append(Field(path_of(("series", index, "unit")), f"units of {variable.key}: {units}"))
        elif implausible(variable, value):
            left_out.add(IMPLAUSIBLE, code=variable.key)
        else:
            rows.append({"stay_id": row.stay_id, "hour": row.hour, "variable": variable.key, "value": value})
    return rows


def canonical(variable: Variable, value: float, unit: str | None) -> float | None:
    """A value in the variable's canonical unit; None for a unit that is unknown for it."""
    if unit is None:
        return value
    factors = conversion(variable, unit)
    return None if factors is None else round(value * factors[0] + factors[1], variable.decimals + 3)


def implausible(variable: Variable, value: float) -> bool:
    """Whether no body has such a value. A stored float32 1.2 reads 1.2000000477, which is not above 1.2."""
    return not variable.plausible[0] <= round(value, variable.decimals + 3) <= variable.plausible[1]


def _near(name: str) -> str:
    """The nearest key of the catalogue, which repeats nothing of what was sent."""
    return near_name(name, variables()) or ": the keys are in clinragen's catalogue"
