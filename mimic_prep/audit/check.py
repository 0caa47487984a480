"""Result of a check of the audit: a status, one sentence, and a table of counts. It never contains patient text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict

Status = Literal["pass", "note", "warning", "leak"]
STATUSES: tuple[Status, ...] = ("pass", "note", "warning", "leak")


@dataclass(frozen=True)
class Field:
    """A column of a check's table. ``kind``: text, count, share (0..1, with a bar), percent (0..1), number."""

    key: str
    title: str
    kind: Literal["text", "count", "share", "percent", "number"] = "text"


class CheckRecord(TypedDict):
    """A check in ``audit.json``."""

    title: str
    asks: str
    status: Status
    says: str
    rows: list[Mapping[str, object]]


@dataclass(frozen=True)
class Check:
    """One check. ``rows`` map the keys of ``columns`` to values; ``flagged`` in a row marks it for attention."""

    key: str
    title: str
    asks: str  # what is checked, and what would be wrong
    status: Status
    says: str
    columns: tuple[Field, ...] = ()
    rows: Sequence[Mapping[str, object]] = ()

    def as_json(self) -> CheckRecord:
        """The check without its wording of columns."""
        return {
            "title": self.title,
            "asks": self.asks,
            "status": self.status,
            "says": self.says,
            "rows": list(self.rows),
        }


def plural(count: int, one: str, many: str | None = None) -> str:
    """A count with its noun.

    >>> plural(1, "stay"), plural(2000, "stay")
    ('1 stay', '2,000 stays')
    """
    return f"{count:,} {one if count == 1 else many or one + 's'}"
