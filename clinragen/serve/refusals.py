"""Errors of the service: a status, one line, and the fields that are wrong. Nothing of what was sent is repeated.

Pydantic's own messages are passed on only for the types listed in ``_PLAIN``, which name what is expected and never
what was given; names of unknown fields are not repeated either, as a client's mistake may put patient text there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import ValidationError

MOST_FIELDS = 20  # listed in an error
_PLAIN = frozenset(
    (
        "missing", "json_type", "model_type", "model_attributes_type", "dict_type", "list_type", "string_type",
        "int_type", "float_type", "bool_type", "bool_parsing", "datetime_type", "datetime_parsing",
        "datetime_from_date_parsing", "date_type", "date_parsing", "date_from_datetime_parsing", "finite_number",
        "greater_than", "greater_than_equal", "less_than", "less_than_equal", "too_long", "too_short",
        "string_too_long", "string_too_short", "string_unicode", "literal_error", "none_required", "int_from_float",
        "int_parsing", "int_parsing_size", "string_pattern_mismatch", "json_invalid",
    )
)  # fmt: skip


class Field(NamedTuple):
    """A field of a request that is wrong: its path, such as ``series[3].value``, and what is expected."""

    path: str
    message: str


class RefusalError(Exception):
    """A request that is not answered.

    Attributes:
        status: of HTTP.
        message: what is wrong and what to do, in one line.
        fields: those that are wrong.
        headers: of the response.
    """

    def __init__(
        self, status: int, message: str, fields: Sequence[Field] = (), headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.fields = list(fields[:MOST_FIELDS])
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        """The JSON of the response."""
        return {"error": self.message, "fields": [field._asdict() for field in self.fields]}


def invalid(fields: Sequence[Field]) -> RefusalError:
    """The refusal of a request whose fields are wrong."""
    more = f", the first {MOST_FIELDS} are listed" if len(fields) > MOST_FIELDS else ""
    return RefusalError(422, f"{len(fields)} field{'s are' if len(fields) != 1 else ' is'} not valid{more}", fields)


def busy(message: str, seconds: float) -> RefusalError:
    """The refusal of a request for which there is no room now, with the seconds to wait."""
    return RefusalError(503, message, headers={"retry-after": str(max(1, round(seconds)))})


def of_validation(error: ValidationError, before: tuple[str | int, ...] = ()) -> list[Field]:
    """The fields that pydantic does not accept.

    Args:
        error: of pydantic.
        before: path of what was validated.
    """
    return of_errors(error.errors(include_url=False, include_context=False, include_input=False), before)


def of_errors(errors: Iterable[Mapping[str, Any]], before: tuple[str | int, ...] = ()) -> list[Field]:
    """The same for errors as pydantic lists them."""
    fields = []
    for entry in errors:
        where = (*before, *entry["loc"])
        if entry["type"] == "extra_forbidden":
            fields.append(Field(path_of(where[:-1]), "has a field that the schema does not name"))
        else:
            message = entry["msg"] if entry["type"] in _PLAIN else "is not valid"
            fields.append(Field(path_of(where), message))
    return fields


def path_of(parts: Iterable[str | int]) -> str:
    """
    >>> path_of(("series", 3, "value"))
    'series[3].value'
    """
    path = ""
    for part in parts:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path or "(the whole body)"
