"""Log-probabilities of a teacher's tokens, in a Parquet file beside the rationales, for token-level distillation.

Only for rationales that are kept word for word: the probabilities do not apply to an edited text.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa

from clinragen.artifacts import write_table
from clinragen.schema import LOGPROBS


def of_text(text: str, steps: list[list[Any]] | None) -> list[list[Any]] | None:
    """The tokens of an answer that spell ``text``, without the JSON around it; None if there are none.

    >>> of_text("fever", [['{"', -0.1, []], ["fe", -0.2, []], ["ver", -0.3, []], ['"}', -0.4, []]])
    [['fe', -0.2, []], ['ver', -0.3, []]]
    """
    start = "".join(step[0] for step in steps or ()).find(text)
    if start < 0 or not steps or not text:
        return None
    spelling, position = [], 0
    for step in steps:
        end = position + len(step[0])
        if position < start + len(text) and end > start:
            spelling.append(step)
        position = end
    return spelling


def write(path: Path, rows: Iterable[tuple[int, str, list[list[Any]]]]) -> None:
    """Write (stay, kind, steps) triples; no file if there are none."""
    columns = [
        {
            "stay_id": stay,
            "kind": kind,
            "tokens": [step[0] for step in steps],
            "logprobs": [step[1] for step in steps],
            "top_tokens": [[other[0] for other in step[2]] for step in steps],
            "top_logprobs": [[other[1] for other in step[2]] for step in steps],
        }
        for stay, kind, steps in rows
    ]
    if columns:
        write_table(path, pa.Table.from_pylist(columns, LOGPROBS))
    else:
        path.unlink(missing_ok=True)  # left by an earlier run
