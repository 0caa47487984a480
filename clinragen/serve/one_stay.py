"""Requests about exactly one stay: in the cohort's schema, or of a FHIR bundle."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import BaseModel, ValidationError
from pydantic import Field as Described

from clinragen.cohort.window import Window
from clinragen.serve.fhir import read_bundle
from clinragen.serve.intake import Intake, prefixed
from clinragen.serve.limits import Limits
from clinragen.serve.refusals import Field, RefusalError, invalid
from clinragen.serve.rows import Row, StaysRequest, intake_of, refused


class BundleStay(Row):
    """One stay of a FHIR R4 bundle."""

    bundle: dict[str, Any] = Described(description="of type Bundle, as POST /v1/fhir takes it")
    number: Annotated[int, Described(ge=1)] = Described(1, description="which of its stays, from 1")


def read_one_stay[R: StaysRequest, B: BundleStay](
    body: bytes, window: Window, limits: Limits, rows: type[R], bundle: type[B]
) -> tuple[Intake, R | B]:
    """The stay of a request, and the request.

    Args:
        body: JSON.
        window: the hours that the model reads.
        limits: of the service.
        rows: what is asked about a stay in the cohort's schema.
        bundle: the same about one of a bundle.

    Raises:
        RefusalError: 422 with the fields that are wrong; also for more than one stay.
    """
    if _has_bundle(body):
        request = _valid(bundle, body)
        return _of_bundle(request, window, limits), request
    stays = _valid(rows, body)
    if len(stays.stays) != 1:
        raise invalid([Field("stays", "exactly one stay can be asked about")])
    return intake_of(stays, window, limits), stays


def _valid[M: BaseModel](model: type[M], body: bytes) -> M:
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise refused(error) from None


def _has_bundle(body: bytes) -> bool:
    """Whether a body is an object with a bundle; of most it is seen without reading them."""
    try:
        content = json.loads(body) if b'"bundle"' in body else None
    except (ValueError, RecursionError):  # it is refused where it is read
        return False
    return isinstance(content, dict) and "bundle" in content


def _of_bundle(request: BundleStay, window: Window, limits: Limits) -> Intake:
    try:
        intake = read_bundle(json.dumps(request.bundle).encode(), window, limits)
    except RefusalError as refusal:
        raise invalid([prefixed(field, "bundle") for field in refusal.fields]) from None
    chosen = intake.only(request.number - 1)
    if chosen is None:
        raise invalid([Field("number", f"a number from 1 to {len(intake.stays)} is expected")])
    return chosen
