"""Damage to JSON values, one place at a time, as by a text editor, a partial write or an attacker."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

DEEP: Any = "deep"
for _ in range(200):
    DEEP = [DEEP]
#: Put in the place of values.
WRONG = (
    None,
    True,
    -1,
    0.5,
    10**30,
    1e308,
    float("nan"),
    "",
    "x",
    "\ud800\x00\u202e",
    [],
    {},
    [[]],
    [None],
    {"a": {}},
    DEEP,
)
_GONE = object()


def places(value: Any, place: tuple = ()) -> Iterator[tuple]:
    """Every place in a JSON value; of long lists and mappings the first two entries and the last."""
    if place:
        yield place
    keys: list = list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    for key in dict.fromkeys([*keys[:2], *keys[-1:]]) if len(keys) > 24 else keys:
        yield from places(value[key], (*place, key))


def mutated(value: Any, among: int = 4) -> Iterator[tuple[str, Any]]:
    """(what was done, the damaged value): each place removed, and replaced by some of the wrong values in turn."""
    for number, place in enumerate(places(value)):
        for wrong in (_GONE, *WRONG[number % among :: among]):
            damaged = copy.deepcopy(value)
            inner = damaged
            for key in place[:-1]:
                inner = inner[key]
            if wrong is _GONE:
                del inner[place[-1]]
            else:
                inner[place[-1]] = wrong
            told = "removed" if wrong is _GONE else repr(wrong)[:30]
            yield f"{'.'.join(map(str, place))} {told}", damaged
