"""FHIR bundles: a file each in ``stays/``, to look at or send, and all in ``bundles.ndjson``, one a line, to load."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

from clinragen.reporting.forms.fhir import bundle
from clinragen.reporting.forms.record import StayReport

LINES = "bundles.ndjson"


def write_bundles(records: Iterable[StayReport], folder: Path, progress: Callable[[], None] = lambda: None) -> None:
    """Write the files; ``progress`` is called after each stay."""
    (folder / "stays").mkdir()
    with (folder / LINES).open("w", encoding="utf-8", newline="\n") as lines:
        for record in records:
            line = json.dumps(bundle(record), ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n"
            (folder / "stays" / f"{record['stay']['stay_id']}.json").write_text(line, encoding="utf-8", newline="\n")
            lines.write(line)
            progress()
