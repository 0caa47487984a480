"""Questions about stays with their answers, as ``clinragen ask`` and ``clinragen teach questions`` write them."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from clinragen.artifacts import read_json
from clinragen.cohort.folder import Cohort
from clinragen.errors import UserError
from clinragen.integrity import hold_output
from clinragen.outputs import ANSWERS, MANIFEST, QUESTIONS

#: The file of each kind of folder.
FILES = {ANSWERS.name: "answers.jsonl", QUESTIONS.name: "questions.jsonl"}
_OUTCOMES = ("answered", "not_in_chart", "refused", "unclear")
_WRITTEN = "a folder of `clinragen ask --out` or `clinragen teach questions`, or its file"

#: A place in the chart: variable, hour and value of a measurement; section, start and end of a phrase.
type Place = Mapping[str, Any]


@dataclass(frozen=True)
class Answered:
    """A question about a stay, and what came of it.

    Attributes:
        question: as it was asked.
        outcome: answered, not_in_chart, refused or unclear.
        name: class of the question: in_field, or why it is refused.
        text: the answer or refusal.
        queries: what was understood.
        evidence: for each query, the places that its answer rests on.
        searched: for each query, what was searched; none where the file does not say.
        read_by: what read the question: rules, or an engine.
        recorded: whether the answer tells which diagnoses were recorded.
    """

    question: str
    outcome: str
    name: str
    text: str
    queries: tuple[str, ...] = ()
    evidence: tuple[tuple[Place, ...], ...] = ()
    searched: tuple[str, ...] = ()
    read_by: str = "rules"
    recorded: bool = False

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> Answered:
        """The answer in a line of either file.

        Raises:
            ValueError, TypeError, KeyError, AttributeError: there is none in it.
        """
        if "outcome" not in row:  # of `teach questions`, where a training stay's diagnoses are the recorded ones
            outcome, name, queries, read_by = row["status"], "in_field", [row["query"]], "rules"
            text, evidence, searched = row["answer"], [row["evidence"]], []
        else:
            outcome, name, queries, read_by = row["outcome"], row["class"], row["queries"], row["read_by"]
            text, evidence = row["text"], [one["evidence"] for one in row["answers"]]
            searched = [one["searched"] for one in row["answers"]]
        if outcome not in _OUTCOMES:
            raise ValueError(outcome)
        texts = (row["question"], name, text, read_by, *queries, *searched)
        if not all(isinstance(one, str) for one in texts):
            raise TypeError("no text")
        places = tuple(tuple(dict(one) for one in group) for group in evidence)
        recorded = row.get("kind") == "why"
        return cls(row["question"], outcome, name, text, tuple(queries), places, tuple(searched), read_by, recorded)


@dataclass(frozen=True)
class StoredAnswers:
    """Questions and answers of a file.

    Attributes:
        path: the file.
        manifest: of its folder; empty for a file by itself.
        rows: by stay, ascending; the questions of each in the order in which they were asked.
    """

    path: Path
    manifest: Mapping[str, Any]
    rows: Mapping[int, tuple[Answered, ...]]

    @classmethod
    def load(cls, path: str | Path, cohort: Cohort, stays: Collection[int] | None = None) -> StoredAnswers:
        """Read them.

        Args:
            path: a folder that ``clinragen ask`` or ``clinragen teach questions`` wrote, or its file.
            cohort: the one that was asked about.
            stays: only these; None: all.

        Raises:
            UserError: no such file, one that was changed or is about another cohort, or lines without an answer.
        """
        path = Path(path)
        folder = path if path.is_dir() else path.parent
        manifest = _manifest(folder, required=path.is_dir())
        file = folder / FILES[manifest["kind"]] if path.is_dir() else path
        if manifest and file.name != FILES[manifest["kind"]]:
            manifest = {}
        remedy = "ask again"
        if manifest.get("cohort_hash", cohort.sha256) != cohort.sha256:
            raise UserError(f"{file} is about another cohort than {cohort.paths.root}: {remedy}")
        if not file.is_file():
            raise UserError(f"{file} not found: give {_WRITTEN}")
        hold_output(file, manifest, remedy=remedy)
        chosen = None if stays is None else set(map(int, stays))
        members = set(cohort.stays["stay_id"].to_list())
        rows: dict[int, list[Answered]] = {}
        for number, stay_id, one in _lines(file):
            if stay_id not in members:
                raise UserError(f"{file}, line {number}: {cohort.paths.root} has no stay {stay_id}")
            if chosen is None or stay_id in chosen:
                rows.setdefault(stay_id, []).append(one)
        return cls(file, manifest, {stay: tuple(rows[stay]) for stay in sorted(rows)})

    def of_stays(self, stays: Collection[int]) -> StoredAnswers:
        """Those about some stays."""
        chosen = set(stays)
        return replace(self, rows={stay: rows for stay, rows in self.rows.items() if stay in chosen})

    @property
    def blinded(self) -> StoredAnswers:
        """Those whose answers do not tell which diagnoses were recorded."""
        rows = {stay: tuple(one for one in rows if not one.recorded) for stay, rows in self.rows.items()}
        return replace(self, rows=rows)


def _manifest(folder: Path, *, required: bool) -> Mapping[str, Any]:
    """The manifest of a folder of answers; empty for another one, which is an error if one is ``required``."""
    path = folder / MANIFEST
    manifest = read_json(path, f"the manifest of {_WRITTEN}") if path.is_file() else {}
    if manifest.get("kind") in FILES:
        return manifest
    if required:
        raise UserError(f"{folder} holds no questions with answers: give {_WRITTEN}")
    return {}


def _lines(file: Path) -> Iterator[tuple[int, int, Answered]]:
    with open(file, "rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line)  # bytes that are no UTF-8 are a ValueError, too
                yield number, int(row["stay_id"]), Answered.of_row(row)
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                raise UserError(f"{file}, line {number}: no question with its answer: give {_WRITTEN}") from None
