"""The JSON Schema of a stay's file; ``python -m tests.reporting.stay_schema`` derives it anew from the types."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from clinragen.artifacts import write_json
from clinragen.reporting.forms.record import VERSION, StayReport

RECORDED = Path(__file__).parents[2] / "configs" / "report" / "stay.schema.json"


def derived() -> dict[str, Any]:
    """The schema of ``StayReport``; keys that it does not name are not allowed."""
    schema = _closed(TypeAdapter(StayReport).json_schema())
    schema["properties"]["stay_report_version"] = {"const": VERSION}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema


def _closed(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(value) for key, value in schema.items() if key != "title" or not isinstance(value, str)}
    if isinstance(closed.get("description"), str):
        closed["description"] = closed["description"].replace("``", "`")
    return closed | {"additionalProperties": False} if "properties" in closed else closed


if __name__ == "__main__":
    write_json(RECORDED, derived())
