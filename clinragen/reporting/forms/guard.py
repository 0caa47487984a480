"""Cells of text that a spreadsheet program cannot take for a formula (CSV injection).

A note or a model may write ``=HYPERLINK(...)``. As OWASP advises, an apostrophe goes before what a spreadsheet might
calculate: a sign ``= + - @``, also full-width, possibly behind blanks, quotation marks or invisible characters, and a
tab, line end or NUL in front. The same holds after a semicolon, tab or line end within the text, where a program with
other separators would begin a new cell. Text that has an apostrophe there gets another one, so that the guard is
removed without loss: delete one apostrophe at the start, and one after each semicolon, tab and line end.
"""

from __future__ import annotations

import re

_STARTS = r"(?:\A|(?<=[;\t\r\n]))"
_SIGNS = r"=+\-@\uff1d\uff0b\uff0d\uff20\ufe66\ufe62\ufe63\ufe6b\u2212"
# blanks, quotation marks and invisible characters that may precede a sign, but nothing that begins a new cell
_BEFORE = (
    "\\x00-\\x08\\x0b\\x0c\\x0e-\\x20\\x7f-\\xa0\\xad\\u1680\\u2000-\\u200f\\u2028-\\u202f\\u205f-\\u206f\\u3000\\ufeff"
    "\"'`\\xab\\u2018-\\u201f"
)
_GUARDED = re.compile(f"{_STARTS}(?=[\\t\\r\\n\\0']|[{_BEFORE}]*[{_SIGNS}])")
_GUARDS = re.compile(f"{_STARTS}'")


def guarded(text: str) -> str:
    """The text as a cell that is not calculated.

    >>> guarded("=1+1"), guarded("hyper-tension"), guarded("a;@b")
    ("'=1+1", 'hyper-tension', "a;'@b")
    """
    return _GUARDED.sub("'", text)


def unguarded(cell: str) -> str:
    """The text of a cell.

    >>> unguarded(guarded("'tis a quote"))
    "'tis a quote"
    """
    return _GUARDS.sub("", cell)
