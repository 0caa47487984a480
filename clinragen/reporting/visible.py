"""Show invisible characters: controls, direction marks, zero-width and others.

A note may contain them by accident or on purpose: they can hide words from a reader that a model reads, reverse their
order, or stack accents over other lines. The report shows each as a mark, such as ``⟦U+202E⟧``.
"""

from __future__ import annotations

import re

from markupsafe import Markup

#: Most combining marks on one letter that are shown; no language of notes has more.
_MOST_ACCENTS = 4
_ACCENTS = "\u0300-\u034e\u0350-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
_UNSEEN = (
    "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"  # controls except tab and line ends
    "\u00ad\u034f\u061c\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff"  # zero-width or direction
    "\u2028\u2029\u115f\u1160\u17b4\u17b5\u3164\uffa0"  # other line ends, and blank letters
    "\ufff0-\ufffb\ufffe\uffff\ud800-\udfff\U000e0000-\U000e0fff"  # annotations, tags, selectors, no characters
)
#: One mark for each match.
HIDDEN = re.compile(f"[{_UNSEEN}]|(?<=[{_ACCENTS}]{{{_MOST_ACCENTS}}})[{_ACCENTS}]+")
#: Those that an ASCII text may hold: the search for all takes seven times as long.
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def visible(text: str) -> str:
    """The text with marks in place of invisible characters.

    >>> visible("no \\u202ekcohs")
    'no ⟦U+202E⟧kcohs'
    """
    return text if _plain(text) else HIDDEN.sub(lambda match: _mark(match.group()), text)


def markup(text: str) -> str:
    """The same as HTML, for the content of an element: the text escaped but for quotation marks, the marks muted."""
    if _plain(text):
        return _escaped(text)
    parts, start = [], 0
    for match in HIDDEN.finditer(text):
        parts += [_escaped(text[start : match.start()]), f"<span class=unseen>{_mark(match.group())}</span>"]
        start = match.end()
    return "".join([*parts, _escaped(text[start:])])


def marked_up(text: str) -> Markup:
    """The same, for templates."""
    return Markup(markup(text))


def _plain(text: str) -> bool:
    """Whether nothing is hidden: most texts need no search."""
    if text.isascii():
        return text.isprintable() or not _CONTROLS.search(text)
    return not HIDDEN.search(text)


def _escaped(text: str) -> str:
    if "&" in text or "<" in text or ">" in text:
        return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text


def finalize(value: object) -> object:
    """Applied to all template output; our own markup is not changed."""
    if not isinstance(value, str) or _plain(value):
        return value
    return Markup(visible(str(value))) if isinstance(value, Markup) else visible(value)


def _mark(run: str) -> str:
    if re.match(f"[{_ACCENTS}]", run):
        return f"⟦{len(run)} mark{'s' if len(run) > 1 else ''}⟧"
    return f"⟦U+{ord(run):04X}⟧"
