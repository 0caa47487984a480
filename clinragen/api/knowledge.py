"""The concept graph from Python."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from clinragen.errors import UserError

if TYPE_CHECKING:
    from clinragen.knowledge.graph import ConceptGraph


def build_graph(source: Sequence[str] = ()) -> ConceptGraph:
    """The curated core of the concept graph, with further sources merged into it.

    Args:
        source: ``NAME`` or ``NAME=FOLDER`` of each; ``clinragen graph sources`` lists them.

    Raises:
        UserError: an unknown source, or files of it that cannot be read.
    """
    from clinragen.knowledge.graph import build
    from clinragen.knowledge.sources import curated, external

    parts = [curated.contribute()]
    if not source:
        return build(parts)
    index = build(parts).index
    for item in source:
        name, separator, folder = item.partition("=")
        if separator and not folder:
            raise UserError(f"--source {item}: expected NAME=FOLDER; clinragen graph sources lists the names")
        parts.append(external.contribute(name, Path(folder) if folder else None, index))
    return build(parts)
