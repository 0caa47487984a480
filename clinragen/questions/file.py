"""Files of questions: what `clinragen teach questions` writes, as a table, and questions to ask."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl

from clinragen.errors import UserError


def read_questions(path: str | Path) -> pl.DataFrame:
    """The questions of a file as a polars data frame, without the evidence.

    Args:
        path: ``questions.jsonl``, or the folder that holds it. Dialogues have columns ``dialogue`` and ``turn``, too.

    Raises:
        UserError: it is missing, or holds other lines.
    """
    path = Path(path)
    file = path / "questions.jsonl" if path.is_dir() else path
    columns = {
        "stay_id": pl.Int64, "split": pl.String, "kind": pl.String, "question": pl.String, "template": pl.String,
        "query": pl.String, "status": pl.String, "answer": pl.String, "value": pl.String,
        "dialogue": pl.Int64, "turn": pl.Int64,
    }  # fmt: skip
    if not file.is_file():
        raise UserError(f"{file} not found: write it with `clinragen teach questions`")
    try:
        table = pl.read_ndjson(file, schema=columns)
    except pl.exceptions.PolarsError:
        raise UserError(f"{file} holds no questions: write it with `clinragen teach questions`") from None
    return table if table["dialogue"].count() else table.drop("dialogue", "turn")


def read_asked(path: str | Path) -> dict[int, dict[int, list[str]]] | list[str]:
    """Questions to ask: the dialogues of each stay by number, or a list for any stay.

    Args:
        path: a file with a question in each line, or with an object of JSON in each, which has ``stay_id`` and
            ``question``, and ``dialogue`` if a stay has several, as ``questions.jsonl`` has; or the folder of
            ``clinragen teach questions``. Questions without a number are one dialogue, 0.

    Raises:
        UserError: there is no question in it, or a line that is none.
    """
    path = Path(path)
    file = path / "questions.jsonl" if path.is_dir() else path
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    except FileNotFoundError:
        raise UserError(f"--questions {file} not found: give a file with a question in each line") from None
    except UnicodeDecodeError:
        raise UserError(f"--questions {file} is no text: give a file with a question in each line") from None
    numbered = [(number, line) for number, line in enumerate(lines, 1) if line]
    if not numbered:
        raise UserError(f"--questions {file} holds no question: write one in each line")
    if not numbered[0][1].startswith("{"):
        return [line for _, line in numbered]
    by_stay: dict[int, dict[int, list[str]]] = {}
    for number, line in numbered:
        try:
            row = json.loads(line)
            stay_id, question, dialogue = row["stay_id"], row["question"], row.get("dialogue", 0)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            stay_id, question, dialogue = None, None, None
        if type(stay_id) is not int or not isinstance(question, str):
            raise UserError(f"--questions {file}, line {number}: expected an object with stay_id and question")
        if type(dialogue) is not int:
            raise UserError(f"--questions {file}, line {number}: expected a whole number as dialogue")
        by_stay.setdefault(stay_id, {}).setdefault(dialogue, []).append(question)
    return by_stay
