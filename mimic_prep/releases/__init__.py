"""The supported databases: each package here defines one ``RELEASE``; to add a database, add a package."""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from clinragen.errors import UserError, unknown_choice
from mimic_prep.release import Items, Release

if TYPE_CHECKING:
    from mimic_prep.raw_place import RawPlace


@cache
def releases() -> dict[str, Release]:
    """Every release by its command, in the order of the packages' names."""
    modules = [import_module(f"{__name__}.{info.name}") for info in pkgutil.iter_modules(__path__)]
    by_command: dict[str, Release] = {}
    for module in modules:
        release: Release = module.RELEASE
        if release.command in by_command:
            raise ValueError(f"{module.__name__}: another release has the command '{release.command}', too")
        by_command[release.command] = release
    return by_command


def release_of(command: str) -> Release:
    """The release of a command.

    Raises:
        UserError: there is none.
    """
    if command not in releases():
        raise unknown_choice("source", command, releases())
    return releases()[command]


def recognised(raw: RawPlace) -> Release:
    """The release whose tables are below a folder or in a database.

    Raises:
        UserError: no known release, or no folder.
    """
    if isinstance(raw, Path) and not raw.is_dir():
        raise UserError(f"{raw} not found: --raw expects the folder that holds the tables of a database")
    problem: UserError | None = None
    for release in releases().values():
        try:
            if release.recognise(raw):
                return release
        except UserError as error:  # such as a duplicate table: reported only if no other release matches
            problem = problem or error
    if problem is not None:
        raise problem
    names = ", ".join(release.name for release in releases().values())
    raise UserError(f"{raw} is no known release: expected the tables of one of {names}; check --raw")


@cache
def own_items() -> dict[str, Items]:
    """Name of a release -> its items, for releases that define their own."""
    return {release.name: release.items for release in releases().values() if release.items}


@cache
def table_names() -> frozenset[str]:
    """The names of all tables of all releases, in lower case."""
    return frozenset(table.name for release in releases().values() for table in release.tables())
