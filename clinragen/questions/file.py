"""The file of questions that `clinragen teach questions` writes, as a table."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from clinragen.errors import UserError


def read_questions(path: str | Path) -> pl.DataFrame:
    """The questions of a file as a polars data frame, without the evidence.

    Args:
        path: ``questions.jsonl``, or the folder that holds it.

    Raises:
        UserError: it is missing, or holds other lines.
    """
    path = Path(path)
    file = path / "questions.jsonl" if path.is_dir() else path
    columns = {
        "stay_id": pl.Int64, "split": pl.String, "kind": pl.String, "question": pl.String, "template": pl.String,
        "query": pl.String, "status": pl.String, "answer": pl.String, "value": pl.String,
    }  # fmt: skip
    if not file.is_file():
        raise UserError(f"{file} not found: write it with `clinragen teach questions`")
    try:
        return pl.read_ndjson(file, schema=columns)
    except pl.exceptions.PolarsError:
        raise UserError(f"{file} holds no questions: write it with `clinragen teach questions`") from None
