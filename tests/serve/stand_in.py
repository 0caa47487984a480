"""Requests, and an assessor that only waits, in place of a model."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl

from clinragen.added_variables import NONE
from clinragen.cohort.window import Window
from clinragen.label_sets import shipped

SECRET = "Zebulon Q Haversham"
JSON = {"content-type": "application/json"}


class Waiting:
    """An assessor that answers when it is let go, and counts what it was given."""

    def __init__(self) -> None:
        run = SimpleNamespace(window=Window(48), added=NONE)
        self.trained = SimpleNamespace(run=run, model=SimpleNamespace(labels=shipped()))
        self.free = threading.Event()
        self.free.set()
        self.begun = threading.Event()
        self.answered = 0
        self.fault: Exception | None = None

    def answer(self, intake: Any, *, pages: bool = False) -> dict[str, Any]:
        self.begun.set()
        assert self.free.wait(20)
        if self.fault:
            raise self.fault
        self.answered += 1
        stays = [
            {"stay_id": stay, "abstains": [], "claims": [], "page": "<p>page" if pages else None}
            for stay in intake.stays["stay_id"].to_list()
        ]
        return {**self.about(), "left_out": intake.left_out.as_json(), "stays": stays}

    def about(self) -> dict[str, Any]:
        return {"notice": ""}


def one_stay(**changes: Any) -> dict[str, Any]:
    """A request with one stay, whose note holds a name that must appear nowhere."""
    stay = {"stay_id": 7, "intime": "2020-05-01T08:00:00", "age": 70, "sex": "F", **changes}
    series = [{"stay_id": 7, "hour": 1, "variable": "heart_rate", "value": 118}]
    notes = [{"stay_id": 7, "section": "chief_complaint", "text": f"{SECRET} has a fever and cough"}]
    return {"stays": [stay], "series": series, "notes": notes}


def request_of(cohort: Path, stays: list[int]) -> dict[str, Any]:
    """Stays of a cohort folder as a request: its rows."""
    chosen = pl.col("stay_id").is_in(stays)
    parts = {name: pl.read_parquet(cohort / f"{name}.parquet").filter(chosen) for name in ("stays", "series", "notes")}
    source = json.loads((cohort / "manifest.json").read_text())["source"]
    return {"source": source, **{name: json.loads(rows.write_json()) for name, rows in parts.items()}}
