"""Reads the list of classes out of a language model's answer, whatever it wrapped the list in."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from clinragen.drugs import drug_of
from clinragen.prescriber.prompts import LISTS
from clinragen.teacher.answers import BadAnswerError
from clinragen.teacher.unwrap import NoAnswerFoundError, unwrap

_LIST = re.compile(rf'"(?:{"|".join(LISTS.values())})"\s*:\s*\[', re.I)
_OBJECT = re.compile(r"\{[^{}]*\}")
_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')
_POINT = re.compile(r"^[ \t]{0,8}(?:[-*•]|\d{1,2}[.)])[ \t]+(?P<name>[^\n]+)$", re.M)
_REASON = re.compile(r"\s+[-–—]\s+|:\s+|\s+because\s+")
_NAME_KEYS = ("drug_class", "class", "name", "drug")
_LONGEST = 400  # characters of a reason


class Entry(NamedTuple):
    """What an answer lists: a name as it is written, and a reason, which may be empty."""

    name: str
    reason: str


@dataclass(frozen=True)
class Listing:
    """The classes that a language model listed for a stay.

    Attributes:
        reasons: the classes in its order, each with the reason that it gave, which may be empty.
        unknown: entries that name no class of the list and no drug that is known.
        repeated: entries whose class stands before them.
        in_force: entries whose class had been ordered, which is no new start.
    """

    reasons: Mapping[str, str] = field(default_factory=dict)
    unknown: int = 0
    repeated: int = 0
    in_force: int = 0


def listing(text: str, names: Mapping[str, str], ordered: Collection[str]) -> Listing:
    """The classes of an answer; a list that was cut counts as far as its entries are whole.

    Args:
        text: the answer.
        names: readable name of each class.
        ordered: classes that have been ordered.

    Raises:
        BadAnswerError: there is no list in it.

    >>> names = {"opioid": "opioid", "laxative": "laxative"}
    >>> listing('Sure! {"start": ["Opioids", "senna", "hope"]}', names, {"opioid"})
    Listing(reasons={'laxative': ''}, unknown=1, repeated=0, in_force=1)
    """
    reasons: dict[str, str] = {}
    unknown = repeated = in_force = 0
    spellings = _spellings(names)
    for entry in _entries(text):
        key = _class_of(entry.name, spellings)
        if key is None:
            unknown += 1
        elif key in ordered:
            in_force += 1
        elif key in reasons:
            repeated += 1
        else:
            reasons[key] = entry.reason
    return Listing(reasons, unknown, repeated, in_force)


def class_of(name: str, names: Mapping[str, str]) -> str | None:
    """The class that a name means: by its readable name or key, or that of the drug that it names.

    >>> class_of("Beta-blockers (oral)", {"beta_blocker": "beta blocker"})
    'beta_blocker'
    >>> class_of("metoprolol 25 mg", {"beta_blocker": "beta blocker"})
    'beta_blocker'
    """
    return _class_of(name, _spellings(names))


def _spellings(names: Mapping[str, str]) -> dict[str, str]:
    """Keys and readable names of the classes in plain form, each with the key."""
    return {_plain(spelling): key for key, name in names.items() for spelling in (key, name)}


def _class_of(name: str, spellings: Mapping[str, str]) -> str | None:
    for spelling in (_plain(name), _plain(name.partition("(")[0])):
        if spelling in spellings:
            return spellings[spelling]
    drug = drug_of(name)
    return spellings.get(_plain(drug.drug_class)) if drug is not None else None


def _plain(name: str) -> str:
    """A name without case, signs and the plural of its last word."""
    words = re.findall(r"\w+", name.casefold().replace("_", " "))
    return " ".join(words).removesuffix("s")


def _entries(text: str) -> Iterator[Entry]:
    try:
        text = unwrap(text, ("{", "["))
    except NoAnswerFoundError:
        raise BadAnswerError("reasoning without an answer") from None
    items = _items(text)
    if items is None:
        raise BadAnswerError("no list of classes")
    for item in items:
        if isinstance(item, Entry):
            yield item
        elif isinstance(item, str):
            yield Entry(item, "")
        elif isinstance(item, dict):
            values = {str(key).strip().casefold(): value for key, value in item.items()}
            name = next((values[key] for key in _NAME_KEYS if isinstance(values.get(key), str)), "")
            reason = values.get("because")
            yield Entry(name, " ".join(reason.split())[:_LONGEST] if isinstance(reason, str) else "")
        else:
            yield Entry("", "")


def _items(text: str) -> list[Any] | None:
    """The items of the list: of whole JSON, of JSON that was cut, or of lines with points or numbers."""
    begins = [start for start in (text.find("{"), text.find("[")) if start >= 0]
    if begins:
        try:
            value, _ = json.JSONDecoder().raw_decode(text[min(begins) :])
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, list):
            return value
        if isinstance(value, dict):
            lists = {str(key).strip().casefold(): inner for key, inner in value.items()}
            return next((lists[name] for name in LISTS.values() if isinstance(lists.get(name), list)), None)
    if (begun := _LIST.search(text)) is not None:
        return _whole_items(text[begun.end() :])
    points = [_REASON.split(match["name"].strip(" *."), maxsplit=1) for match in _POINT.finditer(text)]
    return [Entry(point[0].strip("* "), point[1][:_LONGEST] if len(point) > 1 else "") for point in points] or None


def _whole_items(body: str) -> list[Any]:
    """The whole items of a list that may end in the middle of one."""
    items: list[Any] = []
    for match in _OBJECT.finditer(body):
        try:
            items.append(json.loads(match[0]))
        except (ValueError, RecursionError):
            continue
    return items or [match[1] for match in _STRING.finditer(body.partition("]")[0]) if "{" not in body]
