"""A question about one stay as data, with a small grammar that a language model can write.

highest heart_rate 0-24          time first_above lactate         note symptom:chest_pain
value at 12 creatinine           compare heart_rate 0-12 12-24    why septicemia
value last creatinine last:6     range below systolic_bp          count lactate 24-
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, get_args

from clinragen.catalog import variables
from clinragen.errors import UserError, unknown_choice

Kind = Literal["value", "highest", "lowest", "mean", "trend", "time", "count", "compare", "range", "note", "why"]
KINDS: tuple[Kind, ...] = get_args(Kind)

LONGEST: Final = 1 << 16  # hours; no stay is longer
_MOST_CHARACTERS = 300  # of a query in a message


class Form(NamedTuple):
    """What queries of one kind have.

    Attributes:
        subject: what the subject names.
        which: the choices of ``which``; empty where there is none.
        windows: how many windows may be given.
        example: a query of this kind.
    """

    subject: Literal["variable", "concept", "label"]
    which: tuple[str, ...]
    windows: int
    example: str


#: What queries of each kind have: the whole grammar, beside the form of a window.
FORMS: dict[Kind, Form] = {
    "value": Form("variable", ("first", "last", "at"), 1, "value last creatinine 0-24"),
    "highest": Form("variable", (), 1, "highest heart_rate 0-24"),
    "lowest": Form("variable", (), 1, "lowest spo2 24-48"),
    "mean": Form("variable", (), 1, "mean heart_rate last:6"),
    "trend": Form("variable", (), 1, "trend creatinine"),
    "time": Form(
        "variable",
        ("first", "last", "highest", "lowest", "first_above", "first_below"),
        1,
        "time first_above lactate",
    ),
    "count": Form("variable", (), 1, "count lactate"),
    "compare": Form("variable", (), 2, "compare heart_rate 0-12 12-24"),
    "range": Form("variable", ("above", "below"), 1, "range below systolic_bp"),
    "note": Form("concept", (), 0, "note symptom:chest_pain"),
    "why": Form("label", (), 0, "why septicemia"),
}

#: Every kind, with each choice of ``which`` where there are any: "value first", ..., "why".
HEADS: tuple[str, ...] = tuple(
    f"{kind} {which}".strip() for kind, form in FORMS.items() for which in (form.which or ("",))
)

_NUMBER = r"\d{1,5}(?:\.\d{1,2})?"
_WINDOW = re.compile(rf"(?:(?P<start>{_NUMBER})-(?P<end>{_NUMBER})?|last:(?P<last>{_NUMBER}))")
_HOUR = re.compile(_NUMBER)
_NAME = re.compile(r"[^\s:]+")
_CONCEPT = re.compile(r"[a-z]+:[^\s]+")


def _rounded(hour: float) -> float:
    if not math.isfinite(hour) or abs(hour) > LONGEST:
        raise UserError(f"hours of a stay lie between 0 and {LONGEST:,}")
    return round(float(hour), 2) + 0.0  # no -0.0


def written_hour(hour: float) -> str:
    """An hour in digits, to hundredths.

    >>> written_hour(12.0), written_hour(0.5)
    ('12', '0.5')
    """
    return f"{hour:.2f}".rstrip("0").rstrip(".")


@dataclass(frozen=True)
class Window:
    """Hours from intime, from ``start`` to before ``end``: the window 0-24 holds the hours 0 to 23.

    Hours are rounded to hundredths.

    Attributes:
        start: first hour; below 0 it counts back from the prediction time, and there is no ``end``.
        end: hour after the last; None is up to the prediction time.

    Raises:
        UserError: no hours, or not in this order.

    >>> str(Window(0, 24)), str(Window(24)), str(Window(-6)), str(Window())
    ('0-24', '24-', 'last:6', '')
    """

    start: float = 0.0
    end: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "start", _rounded(self.start))
        object.__setattr__(self, "end", None if self.end is None else _rounded(self.end))
        if self.end is not None and not 0 <= self.start < self.end:
            raise UserError(f"a window of hours ends after it starts, not {self.start:g} to {self.end:g}")

    @property
    def whole(self) -> bool:
        """Whether it is the whole stay up to the prediction time."""
        return self.start == 0 and self.end is None

    def before(self, hours: float | None = None) -> Window | None:
        """So many hours right before it, or all of them; None where there are none, or it counts from the end.

        >>> str(Window(6, 10).before()), str(Window(6, 10).before(4)), Window(0, 4).before()
        ('0-6', '2-6', None)
        """
        if self.start <= 0:
            return None
        return Window(0.0 if hours is None else max(0.0, self.start - hours), self.start)

    def after(self, hours: float | None = None) -> Window | None:
        """So many hours right after it, or all of them; None where it ends at the prediction time.

        >>> str(Window(0, 12).after()), str(Window(0, 12).after(6)), Window(6).after()
        ('12-', '12-18', None)
        """
        return None if self.end is None else Window(self.end, None if hours is None else self.end + hours)

    def __str__(self) -> str:
        if self.whole:
            return ""
        if self.start < 0:
            return f"last:{written_hour(-self.start)}"
        return f"{written_hour(self.start)}-{'' if self.end is None else written_hour(self.end)}"

    @classmethod
    def parse(cls, text: str) -> Window:
        """The window that ``str`` wrote.

        Raises:
            UserError: anything else.
        """
        match = _WINDOW.fullmatch(text)
        if match is None:
            raise UserError(f"'{_short(text)}' is no window of hours: write 0-24, 24- or last:6")
        if match["last"]:
            if not float(match["last"]):
                raise UserError("a window of hours is not empty: write 0-24, 24- or last:6")
            return cls(-float(match["last"]))
        return cls(float(match["start"]), float(match["end"]) if match["end"] else None)


@dataclass(frozen=True)
class Query:
    """A question about one stay.

    Attributes:
        kind: what is asked for.
        subject: key of a variable; a concept of the graph for ``note``; key of a label for ``why``.
        which: one of ``FORMS[kind].which``, where there are any.
        hour: of ``value at``: the measurement nearest to it is meant.
        window: hours that are asked about; the whole stay for ``note`` and ``why``.
        other: of ``compare``: the mean of ``window`` is held against its mean.

    Raises:
        UserError: unknown kind or variable, or a part that the kind does not have.
    """

    kind: Kind
    subject: str
    which: str | None = None
    hour: float | None = None
    window: Window = Window()
    other: Window | None = None

    def __post_init__(self) -> None:
        if self.kind not in FORMS:
            raise unknown_choice("kind of question", self.kind, KINDS)
        form = FORMS[self.kind]
        if self.which not in (form.which or (None,)):
            raise self._fault(f"after '{self.kind}' write one of: {', '.join(form.which)}" if form.which else "")
        if (self.hour is not None) != (self.which == "at"):
            raise self._fault("'at', and only 'at', has an hour")
        if self.hour is not None:
            object.__setattr__(self, "hour", _rounded(self.hour))
            if self.hour < 0:
                raise self._fault("an hour is not below 0")
        if (self.other is not None) != (form.windows == 2):
            raise self._fault("'compare', and only 'compare', has two windows")
        if not form.windows and not self.window.whole:
            raise self._fault(f"'{self.kind}' has no window")
        self._check_subject(form)

    def _check_subject(self, form: Form) -> None:
        if form.subject == "variable" and self.subject not in variables():
            raise unknown_choice("variable", _short(self.subject), variables())
        if form.subject == "concept" and not _CONCEPT.fullmatch(self.subject):
            raise self._fault("a concept is written as kind:name")
        if form.subject == "label" and not _NAME.fullmatch(self.subject):
            raise self._fault("a label is one word")

    def _fault(self, why: str) -> UserError:
        return UserError(f"no such query of kind '{self.kind}'{f': {why}' if why else ''}; {_example(self.kind)}")

    def text(self) -> str:
        """The query in one line; ``parse`` reads it.

        >>> Query("value", "creatinine", "at", 12, Window(0, 24)).text()
        'value at 12 creatinine 0-24'
        """
        hour = "" if self.hour is None else written_hour(self.hour)
        parts = [self.kind, self.which or "", hour, self.subject]
        if self.other is None:
            parts.append(str(self.window))
        else:
            parts += [str(self.window) or "0-", str(self.other) or "0-"]
        return " ".join(part for part in parts if part)

    @classmethod
    def parse(cls, text: str) -> Query:
        """The query of a line in this grammar.

        Raises:
            UserError: anything else; the message says what is expected and gives an example.

        >>> Query.parse("compare heart_rate 0-12 12-24").other
        Window(start=12.0, end=24.0)
        """
        kind, *words = text.split() or [""]
        if kind not in FORMS:
            raise unknown_choice("kind of question", _short(kind), KINDS)
        form = FORMS[kind]
        which = words.pop(0) if form.which and words else None
        if which not in (form.which or (None,)):
            raise UserError(f"after '{kind}' write one of: {', '.join(form.which)}; {_example(kind)}")
        hour = None
        if which == "at":
            if not words or not _HOUR.fullmatch(words[0]):
                raise UserError(f"'at' needs an hour: {_example(kind)}")
            hour = float(words.pop(0))
        if not words or len(words) > 1 + form.windows or (form.windows == 2 and len(words) != 3):
            raise UserError(f"'{_short(text)}' is no query of kind '{kind}': {_example(kind)}")
        windows = [Window.parse(word) for word in words[1:]] or [Window()]
        return cls(kind, words[0], which, hour, windows[0], windows[1] if form.windows == 2 else None)

    @property
    def head(self) -> str:
        """Its kind, and which of its kind: "value last"."""
        return f"{self.kind} {self.which}" if self.which else self.kind


def _example(kind: Kind) -> str:
    return f"write, for example, '{FORMS[kind].example}'"


def _short(text: str) -> str:
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}..."
