"""What a knowledge source is: each module of this folder that holds a ``SOURCE`` is one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from clinragen.knowledge.concepts import ConceptIndex, Contribution


@dataclass(frozen=True)
class Source:
    """A knowledge source beside the curated core.

    Attributes:
        name: how ``--source`` calls it.
        files: the names looked for in the user's folder, plain or with ``.gz``; without any, no folder is needed.
        licence: under which its makers publish it.
        version: what it is a version of.
        adds: what it adds to the graph, in one line.
        get: where to get it.
        read: (files by name, what the graph knows) -> what it contributes. What it raises for a file that is not as
            expected (``ValueError``, ``csv.Error`` and the like) becomes one line to the user.
        instead: the files to look for where the first of ``files`` is absent.
        final: whether its edges stand even where they say the opposite of what the core says.
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
