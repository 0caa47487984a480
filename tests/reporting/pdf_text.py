"""Pages, title and text of a PDF that Chromium wrote: enough of the format to test with, and no library needed."""

from __future__ import annotations

import re
import zlib
from pathlib import Path

_OBJECT = re.compile(rb"(?:^|\n)(\d+) 0 obj\n(.*?)\nendobj", re.S)
_STREAM = re.compile(rb"stream\r?\n(.*)\nendstream", re.S)


def pdf_text(path: Path) -> tuple[int, str, str]:
    """Number of pages, title, and the text with the blanks that were written."""
    objects = {int(number): body for number, body in _OBJECT.findall(path.read_bytes())}
    pages = [body for body in objects.values() if re.search(rb"/Type /Page\b(?!s)", body)]
    title = next((m for body in objects.values() if (m := re.search(rb"/Title \(((?:[^\\)]|\\.)*)\)", body))), None)
    text = []
    for page in pages:
        fonts = {
            name.decode(): _letters(objects, int(number)) for name, number in re.findall(rb"/(F\d+) (\d+) 0 R", page)
        }
        contents = re.search(rb"/Contents (\d+) 0 R", page)
        assert contents
        text.append(_shown(_data(objects[int(contents[1])]).decode("latin-1"), fonts))
    return len(pages), title[1].decode("latin-1") if title else "", "\n".join(text)


def _data(body: bytes) -> bytes:
    stream = _STREAM.search(body)
    assert stream
    return zlib.decompress(stream[1]) if b"/FlateDecode" in body else stream[1]


def _letters(objects: dict[int, bytes], font: int) -> dict[str, str]:
    """Glyph in hexadecimal digits -> letters, by the font's map to Unicode."""
    to_unicode = re.search(rb"/ToUnicode (\d+) 0 R", objects[font])
    if not to_unicode:
        return {}
    mapping = _data(objects[int(to_unicode[1])]).decode("latin-1")
    letters = {}
    for block in re.findall(r"beginbfchar\n(.*?)endbfchar", mapping, re.S):
        for glyph, code in re.findall(r"<(\w+)> <(\w+)>", block):
            letters[glyph.upper()] = bytes.fromhex(code).decode("utf-16-be")
    for block in re.findall(r"beginbfrange\n(.*?)endbfrange", mapping, re.S):
        for low, high, code in re.findall(r"<(\w+)> <(\w+)> <(\w+)>", block):
            for offset in range(int(high, 16) - int(low, 16) + 1):
                letters[f"{int(low, 16) + offset:0{len(low)}X}"] = chr(int(code, 16) + offset)
    return letters


def _shown(content: str, fonts: dict[str, dict[str, str]]) -> str:
    text, letters = [], {}
    for token in re.finditer(r"/(F\d+) [\d.]+ Tf|<([0-9A-Fa-f]+)>|\bET\b", content):
        if token[1]:
            letters = fonts.get(token[1], {})
        elif token[2]:
            width = len(next(iter(letters), "0000"))
            glyphs = token[2].upper()
            text.append("".join(letters.get(glyphs[at : at + width], "") for at in range(0, len(glyphs), width)))
        else:
            text.append("\n")
    return "".join(text)
