"""A question in free text as what it says: names, hours, and the words that tell what is asked for."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

from clinragen.dialogue import cues
from clinragen.dialogue.names import Name, Names, replaced
from clinragen.questions.query import LONGEST, Window
from clinragen.verification.numerals import spoken

#: Characters of a question that are read; a question is a sentence or two.
MOST_CHARACTERS = 500
_ORDINALS = {"second": 2.0, "third": 3.0, "fourth": 4.0, "fifth": 5.0, "sixth": 6.0, "seventh": 7.0}
_ORDINALS |= {"2nd": 2.0, "3rd": 3.0, "4th": 4.0, "5th": 5.0, "6th": 6.0, "7th": 7.0}
_TENS = {"twenty-four": 24.0, "thirty-six": 36.0, "forty-eight": 48.0}
_WORDS = re.compile(r"[a-z]{2,}")
_PLACEHOLDER = re.compile(r"<\w+>")
_SPACES = re.compile(r"\s+")


@dataclass(frozen=True)
class Reading:
    """What a question says.

    Attributes:
        text: the question, with its blanks and misspelt names mended.
        masked: with placeholders for names and hours.
        names: what it names.
        windows: hours that it names, in reading order.
        hour: a single hour.
        whole: whether it names the whole stay.
        kind: of ``wording.yaml``; empty where no word tells it. So are the other three.
        extreme: ``highest``, ``lowest``, ``worst`` or ``best``.
        side: ``above``, ``below`` or ``either``.
        moment: ``first`` or ``last``.
        follows: whether it goes on from the question before.
        strange: number of words that are neither names, cues nor usual in questions about a chart.
    """

    text: str
    masked: str
    names: tuple[Name, ...]
    windows: tuple[Window, ...]
    hour: float | None
    whole: bool
    kind: str
    extreme: str
    side: str
    moment: str
    follows: bool
    strange: int

    @property
    def asks(self) -> bool:
        """Whether any word tells what is asked for."""
        return bool(self.kind or self.extreme or self.side or self.moment or self.timed)

    @property
    def timed(self) -> bool:
        """Whether it names hours."""
        return bool(self.windows or self.whole or self.hour is not None)


@dataclass
class _Times:
    """Hours of a question as they are found, each with its place."""

    windows: list[tuple[int, Window]]
    hour: float | None = None
    whole: bool = False


def read(question: str, names: Names) -> Reading:
    """Read a question. Nothing is refused here, and any text can be read.

    Args:
        question: as it was asked; what is beyond ``MOST_CHARACTERS`` is not read.
        names: finds names.
    """
    text = names.spelt(tidied(question))
    named = names.find(text)
    times, masked = _hours(replaced(text, [(name.start, name.end, name.group) for name in named]))
    return Reading(
        text=text,
        masked=masked,
        names=tuple(named),
        windows=tuple(window for _, window in sorted(times.windows, key=lambda pair: pair[0])),
        hour=times.hour,
        whole=times.whole,
        kind=_first("kinds", masked),
        extreme=next((name.extreme for name in named if name.extreme), "") or _first("extremes", masked),
        side=next((name.side for name in named if name.side), "") or _first("sides", masked),
        moment=_first("moments", masked),
        follows=bool(_first("follows", masked)),
        strange=_strange(masked),
    )


def tidied(question: str) -> str:
    """A question on one line, in composed characters, without control characters, and not too long.

    >>> tidied("last\\n K\\u200b ?")
    'last K ?'
    """
    plain = unicodedata.normalize("NFKC", question[: 4 * MOST_CHARACTERS]).replace("’", "'").replace("`", "'")
    visible = "".join(
        " " if letter.isspace() else letter for letter in plain if letter.isspace() or letter.isprintable()
    )
    return _SPACES.sub(" ", visible).strip()[:MOST_CHARACTERS]


def _first(section: str, masked: str) -> str:
    return next((cue.means for cue in cues.wording(section) if cue.pattern.search(masked)), "")


def _strange(masked: str) -> int:
    for section in ("kinds", "extremes", "sides", "moments"):
        for cue in cues.wording(section):
            masked = cue.pattern.sub(" ", masked)
    words = _WORDS.findall(_PLACEHOLDER.sub(" ", masked.lower()))
    return sum(word not in cues.words("usual") for word in words)


def _hours(masked: str) -> tuple[_Times, str]:
    """The hours that a question names, and the question with placeholders for them."""
    times = _Times([])
    for cue in cues.wording("windows"):
        masked = cue.pattern.sub(lambda match, means=cue.means: _noted(match, means, times), masked)
    return times, re.sub(r"\0+", "<time>", masked)


def _noted(match: re.Match[str], means: str, times: _Times) -> str:
    """Take note of an expression of time; what has no meaning stays in the text."""
    groups = match.groupdict()
    n, m = (_number(groups.get(name)) for name in "nm")
    unit = (groups.get("unit") or "h").lower()
    hours = 24.0 if unit.startswith("d") else 1 / 60 if unit.startswith("m") else 1.0
    if means == "whole":
        times.whole = True
    elif means == "hour":
        if n is None or n * hours > LONGEST:
            return match[0]
        times.hour = n * hours
    else:
        windows = _windows(means, n, m, hours)
        if not windows:
            return match[0]
        times.windows += [(match.start(), window) for window in windows]
    return "\0" * len(match[0])


_FORMS: dict[str, Callable[[float, float, float], tuple[tuple[float, float | None], ...]]] = {
    "halves": lambda n, m, unit: ((0, n), (n, n + m)),
    "two days": lambda n, m, unit: ((0, 24), (24, 48)),
    "first": lambda n, m, unit: ((0, n * unit),),
    "first one": lambda n, m, unit: ((0, unit),),
    "after days": lambda n, m, unit: ((unit, None),),
    "day": lambda n, m, unit: ((24 * max(0, n - 1), 24 * max(1, n)),),
    "last": lambda n, m, unit: ((-n * unit, None),),
    "last one": lambda n, m, unit: ((-unit, None),),
    "between": lambda n, m, unit: ((n, m),),
    "after": lambda n, m, unit: ((n * unit, None),),
    "before": lambda n, m, unit: ((0, n * unit),),
}


def _windows(means: str, n: float | None, m: float | None, unit: float) -> list[Window]:
    """The windows that an expression means; none where its numbers make no hours."""
    spans = _FORMS[means](1.0 if n is None else n, 1.0 if m is None else m, unit)
    sound = all(
        (-LONGEST <= start <= LONGEST and start and end is None) or (end is not None and 0 <= start < end <= LONGEST)
        for start, end in spans
    )
    return [Window(start, end) for start, end in spans] if sound else []


def _number(written: str | None) -> float | None:
    if written is None:
        return None
    word = written.lower()
    return _ORDINALS.get(word) or _TENS.get(word) or spoken(word)
