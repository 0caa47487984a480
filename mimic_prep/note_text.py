"""Normalise note text: de-identification marks, line breaks, white space."""

from __future__ import annotations

import re

_MARK = re.compile(r"\[\*\*([^\[\]]{0,200})\*\*\]|_{2,}")
_DIGITS = re.compile(r"[\d/\-()]+")
_BRACKETED = re.compile(r"\([^()]*\)")
_PLAIN_MARK = re.compile(r"\[[a-z ]{0,200}\]")
_LETTERS = re.compile(r"[^\W\d_]{2}")
_LIST_ITEM = re.compile(r"(?:[-*#•+]|\d{1,2}[.)])\s")
_WRAPPED = 50  # least characters of a line that was hard-wrapped


def clean(text: str) -> str:
    """De-identification marks in one form, hard-wrapped lines joined, white space collapsed.

    >>> clean("Mr. [**Last Name (un) 12**] was seen\\non ___.")
    'Mr. [last name] was seen on [removed].'
    """
    if "__" in text or "[**" in text:
        text = _MARK.sub(_plain_mark, text)
    paragraphs: list[list[str]] = []  # of lines
    width = 0  # of the last paragraph; a blank line has none
    for raw in text.splitlines():
        line = " ".join(raw.split())
        if not line:
            if width:
                paragraphs.append([])
            width = 0
        elif (
            width
            and (width >= _WRAPPED or line[0].islower())
            and not paragraphs[-1][-1].endswith(":")
            and not _LIST_ITEM.match(line)
        ):
            paragraphs[-1].append(line)
            width += len(line) + 1
        else:
            paragraphs.append([line])
            width = len(line)
    return "\n".join(" ".join(paragraph) for paragraph in paragraphs).strip()


def _plain_mark(mark: re.Match[str]) -> str:
    inner = mark.group(1)
    if inner is None:
        return "[removed]"
    words = " ".join(_DIGITS.sub(" ", _BRACKETED.sub(" ", inner)).split()).lower()
    return f"[{words}]" if words else "[date]"


def says_something(text: str) -> bool:
    """Whether the text contains more than de-identification marks and punctuation."""
    return _LETTERS.search(_PLAIN_MARK.sub("", text) if "[" in text else text) is not None
