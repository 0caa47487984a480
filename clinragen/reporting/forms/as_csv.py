"""Two tables: ``diagnoses.csv`` with a row per stay and label, ``claims.csv`` with a row per claim.

RFC 4180 in UTF-8: commas, CRLF at the end of a row, quotation marks around all text, with line ends of the text kept
within them. Numbers are bare, so that a negative share stays a number; text is guarded (``guard``); what does not apply
is an empty cell without quotation marks.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from itertools import chain
from pathlib import Path

from clinragen.catalog import variables
from clinragen.reporting.forms.guard import guarded
from clinragen.reporting.forms.record import Case, Claim, StayReport

DIAGNOSES, CLAIMS = "diagnoses.csv", "claims.csv"
_Row = dict[str, str | int | float | bool | None]


def write_csv(records: Iterable[StayReport], folder: Path, progress: Callable[[], None] = lambda: None) -> None:
    """Write the tables row by row; ``progress`` is called after each stay."""
    with ExitStack() as files:
        tables = {
            name: csv.writer(
                files.enter_context((folder / name).open("w", encoding="utf-8", newline="")),
                quoting=csv.QUOTE_STRINGS,
            )
            for name in (DIAGNOSES, CLAIMS)
        }
        tables[CLAIMS].writerow(_CLAIM_COLUMNS)
        stream = iter(records)
        first = next(stream)
        tables[DIAGNOSES].writerow(next(diagnosis_rows(first)))  # with or without recorded codes
        for record in chain([first], stream):
            tables[DIAGNOSES].writerows(map(_cells, diagnosis_rows(record)))
            tables[CLAIMS].writerows(map(_cells, claim_rows(record)))
            progress()


def diagnosis_rows(record: StayReport) -> Iterator[_Row]:
    """A row for each label of a stay."""
    cases = {case["diagnosis"]: case for case in record["cases"]}
    reasons = record["abstains"]
    for one in record["diagnoses"]:
        case = cases.get(one["key"])
        row: _Row = {
            "stay_id": record["stay"]["stay_id"],
            "diagnosis": one["key"],
            "name": one["name"],
            "probability": one["probability"],
            "low": one["interval"] and one["interval"][0],
            "high": one["interval"] and one["interval"][1],
            "threshold": one["threshold"],
            "listed": one["listed"],
            "possible": one["possible"],
            "ground": one["ground"],
            "argument": one["argument"],
            "share": _share(case),
            "against": "; ".join(reason["words"] for reason in case["against"]) if case else "",
            "abstains": None if reasons is None else "; ".join(reasons),
        }
        if "recorded" in one:
            row["recorded"] = one["recorded"]
        yield row


_CLAIM_COLUMNS = (
    "stay_id", "claim", "rationale", "start", "end", "text", "kind", "about", "name", "negated", "verdict",
    "diagnoses", "evidence",
)  # fmt: skip


def claim_rows(record: StayReport) -> Iterator[_Row]:
    """A row for each claim of a stay."""
    argued: dict[str, list[str]] = {}
    for case in record["cases"]:
        for reason in case["grounds"]:
            argued.setdefault(reason["claim"], []).append(case["diagnosis"])
    for claim in record["claims"]:
        yield {
            "stay_id": record["stay"]["stay_id"],
            "claim": claim["id"],
            **{name: claim[name] for name in _CLAIM_COLUMNS[2:-2]},  # type: ignore[literal-required]
            "diagnoses": " ".join(argued.get(claim["id"], ())),
            "evidence": _evidence(claim),
        }


def _share(case: Case | None) -> float | None:
    """Of the weightiest ground; without a ground, of the weightiest reason against."""
    shares = [one["share"] for one in (case["grounds"] or case["against"]) if one["share"] is not None] if case else []
    return max(shares, key=abs, default=None)


def _evidence(claim: Claim) -> str:
    """Measurements with their hours, and where in the note it stands."""
    values = [
        f"{one['name']} {variables()[one['variable']].format(one['value'])} at hour {one['hour']:g}"
        for one in claim["measured"]
    ]
    passages = [f"{one['section']}[{one['index']}] {one['start']}:{one['end']}" for one in claim["passages"]]
    return ", ".join([*values, *passages])


def _cells(row: _Row) -> list[str | int | float | None]:
    return [_cell(value) for value in row.values()]


def _cell(value: str | float | bool | None) -> str | int | float | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return guarded(value) if isinstance(value, str) else value
