"""One JSON file per stay in ``stays/``, an index, and the JSON Schema of a stay's file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from clinragen.artifacts import write_json
from clinragen.config import CONFIG_ROOT
from clinragen.reporting.forms.record import USE, VERSION, Provenance, StayReport

INDEX, SCHEMA = "index.json", "stay.schema.json"


def write_stays(
    records: Iterable[StayReport], provenance: Provenance, folder: Path, progress: Callable[[], None] = lambda: None
) -> None:
    """Write the files; ``progress`` is called after each stay."""
    (folder / "stays").mkdir()
    rows: list[dict[str, Any]] = []
    for record in records:
        file = f"stays/{record['stay']['stay_id']}.json"
        # the folder itself appears at once or not at all, so that its files need no care of their own
        text = json.dumps(record, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        (folder / file).write_text(f"{text}\n", encoding="utf-8", newline="\n")
        rows.append(
            {
                "stay_id": record["stay"]["stay_id"],
                "file": file,
                "abstains": None if record["abstains"] is None else bool(record["abstains"]),
                "listed": [one["key"] for one in record["diagnoses"] if one["listed"]],
            }
        )
        progress()
    shutil.copyfile(CONFIG_ROOT / "report" / SCHEMA, folder / SCHEMA)
    write_json(
        folder / INDEX,
        {"stay_report_version": VERSION, "use": USE, "schema": SCHEMA, "provenance": provenance, "stays": rows},
    )
