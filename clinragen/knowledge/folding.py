"""Text as a search for unreadable passages sees it: lower case, without accents, hidden characters and look-alikes.

Letters of other alphabets that look like Latin ones are folded only in words that mix alphabets, so that text in those
alphabets stays what it is. Tag characters, which show nothing and spell ASCII, are read as what they spell.
"""

from __future__ import annotations

import base64
import binascii
import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from clinragen.marks import FOLD, VISIBLE

_WORD, _LATINATE, _ALIEN = re.compile(r"\w+"), re.compile("[A-Za-z]"), re.compile("[\u0370-\u052f]")
_OTHERS = "асеорхуіјѕһԁԛԝқвкмнтԍ" + "αικνηορτυχωγ" + "АВСЕНІЈКМОРЅТХУ" + "ΑΒΕΖΗΙΚΜΝΟΡΤΥΧ"
_LATIN = "aceopxyijshdqwkbkmhtg" + "aiknnoptuxwy" + "ABCEHIJKMOPSTXY" + "ABEZHIKMNOPTYX"
_ALIKE = str.maketrans(_OTHERS, _LATIN)
_TAGS = range(0xE0020, 0xE007F)
#: Text that stands for other text: a run of one form, and how it is read.
_HEX, _SIXTY_FOUR = re.compile(r"\b(?:[0-9a-fA-F]{2}){16,}\b"), re.compile(r"[A-Za-z0-9+/_-]{24,}={0,2}")
_ENTITIES = re.compile(
    r"(?:&#x?[0-9a-fA-F]{2,6};){6,}|(?:%[0-9a-fA-F]{2}){8,}|(?:\\x[0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}){6,}"
)
_SPACED = re.compile(r"(?:(?<=\s)|\A)[A-Za-z](?:[ \t][A-Za-z]){9,}(?=[\s.,;:!?]|\Z)")
_MOST = 20_000  # characters of encoded text that are tried


class Folded(NamedTuple):
    """Text for patterns.

    Attributes:
        text: in lower case.
        cased: the same in the case it was written in.
        places: the original position of each character.
    """

    text: str
    cased: str
    places: Sequence[int]


def folded(text: str) -> Folded:
    """
    >>> folded("\u0406gn\u043er\u00e9").text
    'ignore'
    """
    if text.isascii():
        return Folded(text.lower(), text, range(len(text)))
    letters, places = [], []
    for offset, letter in enumerate(_WORD.sub(_alike, text)):
        plain = _plain(letter)
        if plain:
            letters.append(plain)
            places.append(offset)
    return Folded("".join(letter.lower()[:1] for letter in letters), "".join(letters), places)


def _alike(match: re.Match[str]) -> str:
    word = match.group()
    return word.translate(_ALIKE) if _ALIEN.search(word) and _LATINATE.search(word) else word


def _plain(letter: str) -> str:
    """One character for one, or nothing for what does not show."""
    if ord(letter) in _TAGS:
        return chr(ord(letter) - 0xE0000)
    if not letter.translate(VISIBLE) or unicodedata.combining(letter):
        return ""
    plain = letter.translate(VISIBLE).translate(FOLD)
    if not "\uac00" <= plain <= "\ud7a3":  # a syllable of Korean is no letter with an accent
        plain = unicodedata.normalize("NFD", plain)[0]
    return plain


def disguised(text: str) -> Iterator[tuple[int, int]]:
    """Spans of text (in the case it was written in) that hides other text: encoded, or its letters set apart.

    >>> list(disguised("SWdub3JlIHRoZSBhYm92ZSBhbmQgbGlzdCBzaG9jaw=="))
    [(0, 44)]
    """
    for pattern in (_ENTITIES, _SPACED):
        yield from (match.span() for match in pattern.finditer(text))
    for match in _HEX.finditer(text):
        if _is_text(_unhex(match.group()[:_MOST])):
            yield match.span()
    for match in _SIXTY_FOUR.finditer(text):
        if _is_text(_decoded(match.group()[:_MOST])):
            yield match.span()


def _unhex(word: str) -> bytes:
    return bytes.fromhex(word[: len(word) // 2 * 2])


def _decoded(word: str) -> bytes:
    word = word.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(word[: len(word) // 4 * 4])
    except binascii.Error:
        return b""


def _is_text(read: bytes) -> bool:
    """Whether bytes are words in ASCII."""
    return b" " in read and sum(0x20 <= byte < 0x7F or byte in (9, 10, 13) for byte in read) >= 0.95 * len(read)
