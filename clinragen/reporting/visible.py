"""Characters that are not seen, shown: controls, marks of direction, zero-width and other invisible characters.

A note may hold any of them, by accident or by intent: they can hide words from a reader that a model reads, turn their
order round, or let accents grow over other lines. The report shows each as a mark, such as ``⟦U+202E⟧``.
"""

from __future__ import annotations

import re

from markupsafe import Markup, escape

#: Combining marks on one letter that are still shown; no language that notes are written in stacks more.
_MOST_ACCENTS = 4
_ACCENTS = "\u0300-\u034e\u0350-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
_UNSEEN = (
    "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"  # controls but tab and line ends
    "\u00ad\u034f\u061c\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff"  # no width, or a direction
    "\u2028\u2029\u115f\u1160\u17b4\u17b5\u3164\uffa0"  # line ends of another kind, and letters without ink
    "\ufff0-\ufffb\ufffe\uffff\ud800-\udfff\U000e0000-\U000e0fff"  # annotations, tags, selectors, no characters
)
#: One mark for each match.
HIDDEN = re.compile(f"[{_UNSEEN}]|(?<=[{_ACCENTS}]{{{_MOST_ACCENTS}}})[{_ACCENTS}]+")


def visible(text: str) -> str:
    """The text with marks in the place of what is not seen.

    >>> visible("no \\u202ekcohs")
    'no ⟦U+202E⟧kcohs'
    """
    return HIDDEN.sub(lambda match: _mark(match.group()), text)


def marked_up(text: str) -> Markup:
    """The same as HTML: the text escaped, the marks muted."""
    parts, start = [], 0
    for match in HIDDEN.finditer(text):
        parts += [escape(text[start : match.start()]), Markup(f'<span class="unseen">{_mark(match.group())}</span>')]
        start = match.end()
    return Markup("").join([*parts, escape(text[start:])])


def finalize(value: object) -> object:
    """Of whatever a template writes; markup of our own stays markup."""
    if not isinstance(value, str) or not HIDDEN.search(value):
        return value
    return Markup(visible(str(value))) if isinstance(value, Markup) else visible(value)


def _mark(run: str) -> str:
    if re.match(f"[{_ACCENTS}]", run):
        return f"⟦{len(run)} mark{'s' if len(run) > 1 else ''}⟧"
    return f"⟦U+{ord(run):04X}⟧"
