"""Authors of a rationale set: warns before training on too many rationales that the evidence teacher replaced."""

from __future__ import annotations

from clinragen.artifacts import read_table
from clinragen.manifests import RationalesManifest
from clinragen.schema import RATIONALES, CohortPaths

#: Share of a teacher's rationales that the evidence teacher may have replaced without a warning.
MOST_DROPPED = 0.5


def warning(paths: CohortPaths, teacher: str) -> str | None:
    """The warning before training on a teacher's rationales; None if few enough were replaced.

    The limit is the one that was set when they were written (``most_dropped``).

    Raises:
        UserError: there are no such rationales, or they or their manifest are damaged.
    """
    table, manifest = paths.rationales(teacher), paths.rationale_manifest(teacher)
    authors = read_table(table, RATIONALES, columns=["teacher"])["teacher"].to_pylist()
    foreign = sum(author != teacher for author in authors)
    limit = MOST_DROPPED
    if manifest.exists():
        stored = (RationalesManifest.read(manifest).settings or {}).get("most_dropped")
        limit = stored if isinstance(stored, int | float) else limit
    if foreign <= limit * len(authors):
        return None
    return (
        f"{table}: {foreign} of {len(authors)} rationales of teacher '{teacher}' are the evidence teacher's, "
        "in place of what was dropped: a model trained on them learns to write as that one does"
    )
