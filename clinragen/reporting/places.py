"""Places of a stay's chart that a page names: each has a number, leads to where it is shown, and is led back to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from clinragen.catalog import variables
from clinragen.chart.measurements import Cells
from clinragen.cohort.sections import section_title
from clinragen.reporting.citations import Passage, passage_id


@dataclass(frozen=True)
class NamedPlace:
    """A place in the chart.

    Attributes:
        number: its number on the page.
        words: what it is called.
        target: id of the element that shows it.
    """

    number: int
    words: str
    target: str


@dataclass
class Places:
    """The places of a stay's chart that its page names, numbered as they are named.

    Attributes:
        sections: (section, text) of the note as written.
        cells: the measurements; evidence that is none of them is not a place.
        last: the number that was given last.
        passages: numbers by passage of the note.
        hours: hours by variable and number.
    """

    sections: Sequence[tuple[str, str]]
    cells: Cells
    last: int = 0
    passages: dict[Passage, list[int]] = field(default_factory=dict)
    hours: dict[str, dict[int, list[float]]] = field(default_factory=dict)

    def named(self, evidence: Sequence[Mapping[str, Any]], text: str, *, grouped: bool = False) -> list[NamedPlace]:
        """The places of some evidence.

        Args:
            evidence: measurements, with ``variable`` and ``hour``; phrases, with ``section``, ``start`` and ``end``.
            text: of what rests on it, which may quote a phrase of the note.
            grouped: all measurements of a variable are one place.

        Raises:
            KeyError, TypeError, ValueError: it is no evidence.
        """
        measured: dict[str, list[float]] = {}
        places: list[NamedPlace] = []
        for one in evidence:
            if "variable" in one:
                variable, hour = str(one["variable"]), float(one["hour"])
                if all(hour != at for at, _ in self.cells.get(variable, ())):
                    continue
                if grouped:
                    measured.setdefault(variable, []).append(hour)
                else:
                    places.append(self._measured(variable, [hour]))
            elif "section" in one and (phrase := self._phrase(one, text)) is not None:
                places.append(phrase)
        return [self._measured(variable, hours) for variable, hours in measured.items()] + places

    def _measured(self, variable: str, hours: list[float]) -> NamedPlace:
        self.last += 1
        self.hours.setdefault(variable, {})[self.last] = hours
        where = f"hour {hours[0]:g}" if len(hours) == 1 else f"{len(hours)} values"
        return NamedPlace(self.last, f"{variables()[variable].label}, {where}", f"chart-{variable}")

    def _phrase(self, one: Mapping[str, Any], text: str) -> NamedPlace | None:
        index = section_of(self.sections, one, text)
        if index is None:
            return None
        name, start, end = self.sections[index][0], int(one["start"]), int(one["end"])
        self.last += 1
        self.passages.setdefault((index, start, end), []).append(self.last)
        return NamedPlace(self.last, f"note: {section_title(name).lower()}", passage_id(index, start))


def section_of(sections: Sequence[tuple[str, str]], phrase: Mapping[str, Any], text: str) -> int | None:
    """Which section a phrase is in: of several of its name the one whose words are quoted, or where it is whole words.

    Args:
        sections: (section, text) of the note as written.
        phrase: its ``section``, ``start`` and ``end``.
        text: of what rests on it, which may quote it.

    Raises:
        KeyError, TypeError, ValueError: it is no phrase.
    """
    name, start, end = str(phrase["section"]), int(phrase["start"]), int(phrase["end"])
    fitting = [
        index for index, (section, body) in enumerate(sections) if section == name and 0 <= start < end <= len(body)
    ]

    def precedence(index: int) -> tuple[bool, bool]:
        body = sections[index][1]
        return body[start:end].casefold() not in text.casefold(), not _words(body, start, end)

    return min(fitting, key=precedence, default=None)


def _words(body: str, start: int, end: int) -> bool:
    """Whether a span of a text holds whole words.

    >>> _words("no fever", 3, 8), _words("no fever", 1, 8)
    (True, False)
    """
    inside = body[start:end]
    return inside == inside.strip() and not (
        (start > 0 and body[start - 1].isalnum() and body[start].isalnum())
        or (end < len(body) and body[end - 1].isalnum() and body[end].isalnum())
    )
