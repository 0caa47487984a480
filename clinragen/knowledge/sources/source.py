"""The definition of a knowledge source: each module of this folder with a ``SOURCE`` is one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from clinragen.knowledge.concepts import ConceptIndex, Contribution


@dataclass(frozen=True)
class Source:
    """A knowledge source besides the curated core.

    Attributes:
        name: its name for ``--source``.
        files: file names expected in the user's folder, plain or with ``.gz``; if empty, no folder is needed.
        licence: licence of the publisher.
        version: version of the data.
        adds: one line about what it adds to the graph.
        get: where to download it.
        read: (files by name, known concepts) -> its contribution. Errors for an unexpected file (``ValueError``,
            ``csv.Error`` and the like) are reported to the user in one line.
        instead: the files to use if the first of ``files`` is absent.
        final: whether its edges are kept even if they contradict the core.
    """

    name: str
    files: tuple[str, ...]
    licence: str
    version: str
    adds: str
    get: str
    read: Callable[[dict[str, Path], ConceptIndex], Contribution]
    instead: tuple[str, ...] = ()
    final: bool = False
