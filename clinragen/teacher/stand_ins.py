"""Rationales that the evidence teacher wrote in place of another: a warning to whoever trains on too many of them."""

from __future__ import annotations

from clinragen.artifacts import read_json, read_table
from clinragen.schema import RATIONALES, CohortPaths
from clinragen.teacher.files import Files
from clinragen.teacher.settings import MOST_DROPPED


def warning(paths: CohortPaths, teacher: str) -> str | None:
    """What to say before training on a teacher's rationales, or None where few enough are another's.

    The limit is the one that was set when they were written (``most_dropped``).

    Raises:
        UserError: there are no such rationales, or they or their manifest are damaged.
    """
    files = Files(paths, teacher)
    authors = read_table(files.table, RATIONALES, columns=["teacher"])["teacher"].to_pylist()
    foreign = sum(author != teacher for author in authors)
    limit = MOST_DROPPED
    if files.manifest.exists():
        settings = read_json(files.manifest, "the manifest of a rationale set").get("settings")
        stored = settings.get("most_dropped") if isinstance(settings, dict) else None
        limit = stored if isinstance(stored, int | float) else limit
    if foreign <= limit * len(authors):
        return None
    return (
        f"{files.table}: {foreign} of {len(authors)} rationales of teacher '{teacher}' are the evidence teacher's, "
        "in place of what was dropped: a model trained on them learns to write as that one does"
    )
