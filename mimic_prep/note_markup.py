"""The text of notes that are HTML or RTF."""

from __future__ import annotations

import re
from html.parser import HTMLParser

_BLOCKS = frozenset(("p", "div", "br", "tr", "li", "h1", "h2", "h3", "h4", "h5", "h6", "table", "ul", "ol", "section"))
_SILENT = frozenset(("script", "style", "head", "title"))
_RTF_WORD = re.compile(
    r"\\([a-z]{1,32})(-?\d{1,10})? ?|\\'([0-9a-f]{2})|\\([^a-z])|([{}])|[\r\n]+|([^\\{}\r\n]+)", re.I
)
_RTF_SILENT = frozenset(
    ("fonttbl", "colortbl", "stylesheet", "info", "pict", "header", "footer", "generator", "listtable")
)
_RTF_BREAKS = {"par": "\n", "line": "\n", "tab": "\t", "row": "\n", "cell": " ", "emdash": "-", "endash": "-",
               "lquote": "'", "rquote": "'", "ldblquote": '"', "rdblquote": '"', "bullet": "-"}  # fmt: skip


class _Plain(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._silent = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self._silent += tag in _SILENT
        if tag in _BLOCKS:
            self.parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in _SILENT and self._silent:
            self._silent -= 1
        if tag in _BLOCKS:
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.parts.append(re.sub(r"\s+", " ", data))


def plain_html(markup: str) -> str:
    """The text of HTML or XHTML, a line for each block.

    >>> plain_html("<div>Past <b>history</b>:<ul><li>COPD</li><li>CHF &amp; AF</li></ul></div>")
    'Past history:\\nCOPD\\nCHF & AF'
    """
    parser = _Plain()
    parser.feed(markup)
    parser.close()
    lines = (" ".join(line.split()) for line in "".join(parser.parts).split("\n"))
    return "\n".join(line for line in lines if line)


class _Rtf:
    """What RTF prints: groups that print nothing are silent; a Unicode letter is followed by its substitute."""

    def __init__(self) -> None:
        self.out: list[str] = []
        self._stack: list[tuple[bool, int]] = []
        self._silent, self._substitutes, self._skip = False, 1, 0

    def read(self, *token: str | None) -> None:
        """Read one token: control word with argument, hexadecimal letter, symbol, brace, or plain text."""
        word, argument, code, symbol, brace, plain = token
        if brace == "{":
            self._stack.append((self._silent, self._substitutes))
        elif brace == "}":
            self._silent, self._substitutes = self._stack.pop() if self._stack else (False, 1)
        elif symbol == "*" or (word and word.lower() in _RTF_SILENT):
            self._silent = True
        elif not self._silent:
            if word:
                self._word(word.lower(), argument)
            else:
                self._letters(code, symbol, plain)

    def _word(self, word: str, argument: str | None) -> None:
        if word == "u" and argument:
            self.out.append(chr(int(argument) % 0x10000))
            self._skip = self._substitutes
        elif word == "uc" and argument:
            self._substitutes = int(argument)
        else:
            self.out.append(_RTF_BREAKS.get(word, ""))

    def _letters(self, code: str | None, symbol: str | None, plain: str | None) -> None:
        if code:
            if not self._skip:
                self.out.append(bytes([int(code, 16)]).decode("cp1252", errors="replace"))
            self._skip = max(self._skip - 1, 0)
        elif symbol:
            self.out.append({"~": " ", "_": "-"}.get(symbol, symbol if symbol in "\\{}" else ""))
        elif plain:
            self.out.append(plain[self._skip :])
            self._skip = 0


def plain_rtf(markup: str) -> str:
    r"""The text of RTF.

    >>> plain_rtf(r"{\rtf1\ansi{\fonttbl{\f0 Arial;}}\b History:\b0\par Fever \'96 3 days}")
    'History:\nFever – 3 days'
    """
    reader = _Rtf()
    for match in _RTF_WORD.finditer(markup):
        reader.read(*match.groups())
    return "\n".join(line.strip() for line in "".join(reader.out).split("\n")).strip()
