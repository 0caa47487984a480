"""The body of a request, counted while it arrives: what its headers promise is not trusted."""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qs

from starlette.requests import Request

from clinragen.serve.limits import Limits
from clinragen.serve.refusals import RefusalError

JSON_TYPES = ("application/json", "application/fhir+json")
FORM_TYPE = "application/x-www-form-urlencoded"
_FORM_FIELDS = 8


async def read_body(request: Request, limits: Limits, types: tuple[str, ...] = JSON_TYPES) -> bytes:
    """The body of a request.

    Args:
        request: of a client.
        limits: of the service.
        types: content types that are accepted.

    Raises:
        RefusalError: 415 for another type, 413 for too many bytes, 408 for a body that does not arrive in time.
        ClientDisconnect: the client has left.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in types:
        raise RefusalError(415, f"content type: expected {' or '.join(types)}")
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(limits.read_seconds):
            async for chunk in request.stream():
                size += len(chunk)
                if size > limits.body:
                    raise RefusalError(413, f"the body is too large: at most {limits.body:,} bytes are read")
                chunks.append(chunk)
    except TimeoutError:
        raise RefusalError(
            408, f"the body did not arrive within {limits.read_seconds:g} seconds", headers={"connection": "close"}
        ) from None
    return b"".join(chunks)


def form(body: bytes) -> dict[str, str]:
    """The fields of a form.

    Raises:
        RefusalError: 400 if it is none.
    """
    try:
        fields = parse_qs(body.decode("ascii"), strict_parsing=True, errors="strict", max_num_fields=_FORM_FIELDS)
    except ValueError:  # also of an encoding
        raise RefusalError(400, "the body is no form") from None
    return {name: values[-1] for name, values in fields.items()}
