"""Map items of a raw table to variables, by the catalogue or by the release itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from clinragen.catalog import Variable, per_catalogue, variables
from clinragen.errors import unknown_choice
from mimic_prep.release import Items
from mimic_prep.releases import own_items
from mimic_prep.tables import EventTable


def items_of(variable: Variable, release: str, table: str) -> Mapping[int | str, str | None]:
    """The items of a table that hold a variable, in order of priority: item id or column -> unit (None: canonical).

    Args:
        variable: a variable of the catalogue.
        release: ``Reader.items``: a key in the catalogue, or the name of a release that brings its own items.
        table: the table's name in lower case.
    """
    items = _own(release)
    if items is not None:
        return items.get(table, {}).get(variable.key, {})
    return variable.items.get(release, {}).get(table, {})


def used(events: Iterable[EventTable], release: str) -> tuple[EventTable, ...]:
    """The tables of measurements without those that no variable in use has items in, where only those are read.

    Args:
        events: tables of a release.
        release: as of ``items_of``.
    """
    return tuple(
        source
        for source in events
        if not source.if_used
        or any(items_of(one, source.items or release, source.named) for one in variables().values())
    )


@per_catalogue
def _own(release: str) -> Items | None:
    items = own_items().get(release)
    for table, variables_of_table in (items or {}).items():
        for key in variables_of_table:
            if key not in variables():
                raise unknown_choice(f"variable of {release}, items, {table}:", key, variables())
    return items
