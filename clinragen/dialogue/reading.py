"""A question in free text as what it says: names, hours, and the words that tell what is asked for."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

from clinragen.dialogue import cues
from clinragen.dialogue.names import Name, Names, replaced
from clinragen.questions.query import LONGEST, Window
from clinragen.verification.numerals import decimal

#: Characters of a question that are read; a question is a sentence or two.
MOST_CHARACTERS = 500
_ORDINALS = {
    word: float(number)
    for number, word in enumerate(
        ["second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "eleventh", "twelfth"],
        start=2,
    )
}
_DIGITS = re.compile(r"\d+(?:\.\d+)?")
_DAY, _WEEK = 24.0, 168.0
_WORDS = re.compile(r"[a-z]{2,}")
_PLACEHOLDER = re.compile(r"<\w+>")
_ARROWS = re.compile(r"\s*(?:-+>|→|⇒)\s*")
_SPACES = re.compile(r"\s+")
_HOURS_LEFT = re.compile(r"\b(?:hours?|hrs?|h) ?\d|\d ?-?(?:hours?|hrs?|h|days?)\b", re.IGNORECASE)


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
        measuring: whether it speaks of measurements as such.
        that_hour: whether it asks for the hour of the answer before.
        follows: whether it goes on from the question before.
        grouped: whether it asks about a whole group of things, such as all laboratory values.
        hours_unread: whether it names hours in words that are not read.
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
    measuring: bool
    that_hour: bool
    follows: bool
    grouped: bool
    hours_unread: bool
    strange: int

    @property
    def asks(self) -> bool:
        """Whether any word tells what is asked for."""
        return bool(self.kind or self.extreme or self.side or self.moment or self.timed)

    @property
    def timed(self) -> bool:
        """Whether it names hours."""
        return bool(self.windows or self.whole or self.hour is not None or self.that_hour)


@dataclass
class _Times:
    """Hours of a question as they are found, each with its position.

    Attributes:
        windows: spans of hours.
        relative: spans that count from other hours: what they mean and their length.
        hour: a single hour.
        whole: whether the whole stay is named.
    """

    windows: list[tuple[int, Window]]
    relative: list[tuple[int, str, float | None]]
    hour: float | None = None
    whole: bool = False


def read(question: str, names: Names, around: Window | None = None) -> Reading:
    """Read a question. Nothing is refused here, and any text can be read.

    Args:
        question: as it was asked; what is beyond ``MOST_CHARACTERS`` is not read.
        names: finds names.
        around: the hours of the question before; "the following 12 hours" counts from them.
    """
    text = names.spelt(tidied(question))
    named = names.find(text)
    times, masked = _hours(replaced(text, [(name.start, name.end, name.group) for name in named]), around)
    return Reading(
        text=text,
        masked=masked,
        names=tuple(named),
        windows=tuple(dict.fromkeys(window for _, window in sorted(times.windows, key=lambda pair: pair[0]))),
        hour=times.hour,
        whole=times.whole,
        kind=_first("kinds", masked),
        extreme=next((name.extreme for name in named if name.extreme), "") or _first("extremes", masked),
        side=next((name.side for name in named if name.side), "") or _first("sides", masked),
        moment=_first("moments", masked),
        measuring=bool(_first("measuring", masked)),
        that_hour=bool(_first("that_hour", masked)),
        follows=bool(_first("follows", masked)),
        grouped=bool(_first("groups", masked)),
        hours_unread=bool(_HOURS_LEFT.search(masked)),
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
    return _SPACES.sub(" ", _ARROWS.sub(" to ", visible)).strip()[:MOST_CHARACTERS]


def _first(section: str, masked: str) -> str:
    return next((cue.means for cue in cues.wording(section) if cue.pattern.search(masked)), "")


def _strange(masked: str) -> int:
    for section in ("kinds", "extremes", "sides", "moments", "groups"):
        for cue in cues.wording(section):
            masked = cue.pattern.sub(" ", masked)
    words = _WORDS.findall(_PLACEHOLDER.sub(" ", masked.lower()))
    return sum(word not in cues.words("usual") for word in words)


def _hours(masked: str, around: Window | None) -> tuple[_Times, str]:
    """The hours that a question names, and the question with placeholders for them.

    "The next 12 hours" are hours of the chart only if there are others that they follow; else they stay in the text.
    """
    for relative in (True, False):
        times, text = _Times([], []), masked
        for cue in cues.wording("windows"):
            if relative or cue.means not in _RELATIVE:
                text = cue.pattern.sub(lambda match, means=cue.means, times=times: _noted(match, means, times), text)
        if _resolved(times, around):
            break
    return times, re.sub(r"\0+", "<time>", text)


def _noted(match: re.Match[str], means: str, times: _Times) -> str:
    """Take note of an expression of time; what has no meaning stays in the text."""
    groups = match.groupdict()
    n, m = (_number(groups.get(name)) for name in "nm")
    unit = (groups.get("unit") or "h").lower()
    hours = {"d": _DAY, "w": _WEEK, "m": 1 / 60}.get(unit[0], 1.0)
    if means == "whole":
        times.whole = True
    elif means in _RELATIVE:
        times.relative.append((match.start(), means, None if n is None else n * hours))
    elif means == "hour":
        n = m if n is None else n
        if n is None or n * hours > LONGEST:
            return match[0]
        times.hour = n * hours
    else:
        windows = _windows(means, n, m, hours)
        if not windows:
            return match[0]
        times.windows += [(match.start(), window) for window in windows]
    return "\0" * len(match[0])


_RELATIVE = ("before that", "then")


def _resolved(times: _Times, around: Window | None) -> bool:
    """Put the spans that count from other hours among the windows; whether all of them could be.

    Each counts from the window before it in the question, or else from the first one, or from the hours ``around``.
    """
    for position, means, length in times.relative:
        times.windows.sort(key=lambda pair: pair[0])
        earlier = [window for start, window in times.windows if start < position]
        base = earlier[-1] if earlier else times.windows[0][1] if times.windows else around
        window = None if base is None else (base.after if means == "then" else base.before)(length)
        if window is None:
            return False
        times.windows.append((position, window))
    return True


_FORMS: dict[str, Callable[[float, float, float], tuple[tuple[float, float | None], ...]]] = {
    "halves": lambda n, m, unit: ((0, n), (n, n + m)),
    "two days": lambda n, m, unit: ((0, 24), (24, 48)),
    "first": lambda n, m, unit: ((0, n * unit),),
    "first one": lambda n, m, unit: ((0, unit),),
    "half": lambda n, m, unit: ((0, 12),),
    "week": lambda n, m, unit: ((_WEEK * max(0, max(n, m) - 1), _WEEK * max(n, m)),),
    "nth": lambda n, m, unit: ((max(0, n - 1) * m, n * m),),
    "after days": lambda n, m, unit: ((unit, None),),
    "day": lambda n, m, unit: ((24 * max(0, n - 1), 24 * max(1, n)),),
    "last": lambda n, m, unit: ((-n * unit, None),),
    "last one": lambda n, m, unit: ((-unit, None),),
    "between": lambda n, m, unit: ((n, m),),
    "after": lambda n, m, unit: ((n * unit, None),),
    "before": lambda n, m, unit: ((0, max(n, m) * unit),),
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
    if word in _ORDINALS:
        return _ORDINALS[word]
    digits = _DIGITS.match(word)  # of "4th" the 4
    return float(digits[0]) if digits else float(decimal(word))
