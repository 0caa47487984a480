"""Knowledge sources besides the curated core: description, licence, download, reader.

They add synonyms, codes, narrower concepts, and edges between concepts of the core. Downloaded sources are not shipped.
An edge that contradicts the core (the opposite finding for the same condition) is left out.
"""

from __future__ import annotations

import csv
import pkgutil
import zlib
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import polars as pl

from clinragen.errors import UserError, unknown_choice
from clinragen.knowledge import sources
from clinragen.knowledge.concepts import ConceptIndex, Contribution
from clinragen.knowledge.sources.source import Source


def _sources() -> dict[str, Source]:
    """Every source by name: the ``SOURCE`` of each module of this folder."""
    modules = (import_module(f"{sources.__name__}.{info.name}") for info in pkgutil.iter_modules(sources.__path__))
    listing = [module.SOURCE for module in modules if hasattr(module, "SOURCE")]
    return {source.name: source for source in sorted(listing, key=lambda source: source.name)}


SOURCES = _sources()


def contribute(name: str, folder: Path | None, index: ConceptIndex) -> Contribution:
    """Read one source from the user's folder, or from its file if it has only one.

    Raises:
        UserError: unknown source, a file missing or malformed.
    """
    if name not in SOURCES:
        raise unknown_choice("knowledge source", name, SOURCES)
    source = SOURCES[name]
    if folder is None and source.files:
        raise UserError(
            f"--source {name}: expected {name}=FOLDER with {', '.join(source.files)}; get it from {source.get}"
        )
    paths = _files(name, source, folder) if folder is not None else {}
    try:
        part = source.read(paths, index)
    except (OSError, EOFError, ValueError, csv.Error, zlib.error, pl.exceptions.PolarsError) as error:
        # errors caused by the file's content; a KeyError would be a bug and is not reported as the file's error
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(
            f"knowledge source {name} in {folder} cannot be read ({reason}); get it from {source.get}"
        ) from None
    if source.final:
        return part
    return replace(part, edges=[edge for edge in part.edges if not index.contradicts(edge)])


def _files(name: str, source: Source, folder: Path) -> dict[str, Path]:
    if folder.is_file() and len(source.files) == 1:
        return {source.files[0]: folder}
    absent = source.instead and not _candidates(folder, source.files[0])
    required = source.instead if absent and all(_candidates(folder, file) for file in source.instead) else source.files
    return {file: _locate(folder, file, name, source.get) for file in required}


def _candidates(folder: Path, file: str) -> list[Path]:
    return [path for path in (folder / file, folder / f"{file}.gz") if path.is_file()]


def _locate(folder: Path, file: str, name: str, get: str) -> Path:
    for candidate in _candidates(folder, file):
        return candidate
    raise UserError(f"{folder / file} not found (nor {file}.gz): knowledge source {name} comes from {get}")
