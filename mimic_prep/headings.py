"""Find headings among the lines of a clinical note, in any style.

Every step reads a line once, from the left, with bounded look-ahead, so time is linear in the length of the note.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from mimic_prep.heading_words import ADDENDUM, BEFORE, COURSE, OF_ADMISSION, OTHER, SENTENCE, SMALL, exact, owner

_MOST = 120  # characters of a title
_ALONE = 80  # most characters of a title without a colon
_FEW = 9  # most words of one
_MARK = re.compile(r"\[\*\*[^\[\]]{0,200}\*\*\]|_{2,}|<[^<>]{1,40}>")
_ODD = re.compile(r"[^\t\n\r\x20-\x7e]")
_RULES = frozenset("-=~*_\u2014\u2013")
_RULE = re.compile(r"[-=~*_\u2014\u2013\s]{3,}$")
_BULLET = re.compile(
    r"[\s.>|_{\u201c\u2018\u00ab\u2022\u25aa\u25e6\u00b7*#=~+\-\u2014\u2013\[<(\"'\u2610\u2611\u25a0\u25cf]*"
)
_NUMBER = re.compile(
    r"(?:Section|SECTION|Part|PART)\s+\d{1,2}\s*[:.)]\s*|(?:\d{1,2}\.){1,4}\d{1,2}\s+"
    r"|(?:\d{1,2}|[ivxIVX]{1,5}|[A-Za-z])[.)]\s+|\d{1,2}\)\s*"
)
_BREAK = re.compile(r"\s[-\u2013]+\s|\s?\u2014|\s?--|\.{2,}|\.(?=\s)|[;=|]|\t|\s?>+|[\]}\u201d\u2019\u00bb*]+(?=\s|$)")
_CAPS = re.compile(r"(?:[A-Z][A-Z'&/,()\-]{1,24}\s+){1,9}(?=[A-Z]?[a-z]|\d|[A-Z]\s)")
_CAPS_INSIDE = re.compile(r"(?<![A-Za-z])[A-Z][A-Z'&/,()\-]{1,24}(?:[ \t]+[A-Z&/(][A-Z'&/,()\-]{0,24}){0,9}[ \t]*:")
_TITLE_INSIDE = re.compile(r"(?<=[.;!?)])[ \t]+[A-Z][A-Za-z'&/,()\- ]{3,80}?:")
_OPENS_COURSE = re.compile(
    r"on (?:hd|hospital day|pod|post-?op(?:erative)? day) ?#?\d"
    r"|(?:the |his |her |this |their )?(?:patient'?s? )?(?:brief |initial |subsequent |immediate )?"
    r"(?:hospital|hospitalization|post-?operative|post-?op|icu|micu|sicu|ccu|inpatient|clinical) (?:course|stay)\b"
    r"(?!.{0,80}\b(?:at that time|previous|prior|outside|osh|reviewed)\b)",
    re.IGNORECASE,
)
_PLANS = frozenset(
    ("assessment", "plan", "ap", "issues", "problems", "impression", "summary", "events", "narrative", "progress")
)
_HINT = re.compile(r"cours|hosp|disch|histor|medic|exam|addend|illness|allerg|complaint|summar")  # lower case is faster
_COUNTED = ("Section", "SECTION", "Part ", "PART ")
_AFTER = ":.=>;|]}*\u201d\u2019\u00bb\u2013\u2014- \t"  # marks between a title and the text behind it
_TOKEN = re.compile(r"[^\W\d_]+")
_SPACED = re.compile(r"\b(?:[A-Za-z] ){3,}[A-Za-z]\b")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_COLONS = str.maketrans(dict.fromkeys("\uff1a\ufe13\ufe55\ufe30\u2236\ua789\u02d0", ":"))
_HIDDEN = dict.fromkeys(
    code
    for code in [*range(0x20), *range(0x7F, 0xA0), 0xAD, *range(0x200B, 0x2010), *range(0x202A, 0x202F),
                 *range(0x2060, 0x2070), 0xFEFF, 0xFFFD]
    if code != 0x09
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Heading:
    """The heading at the start of a line. ``section`` is its meaning by ``heading_words.owner``."""

    section: str | None
    words: tuple[str, ...]  # of the title, in lower case
    end: int  # its end in the stripped line
    colon: bool
    marked: bool  # underlined, or set off by marks
    listed: bool  # an item of a list
    caps: bool
    titled: bool  # Every Word of It Begins so
    dated: bool  # contains a de-identification mark
    speaks: bool  # part of a sentence


def lines(text: str) -> list[str]:
    """The lines of a note; a line with further known headings after its start is split before each of them."""
    if "\n" not in text and "\r" not in text and "\\n" in text:
        text = text.replace("\\r\\n", "\n").replace("\\n", "\n")
    headings: list[str] = []
    for line in text.splitlines():
        colon = line.find(":")
        if colon > 0 and (colon > _MOST or line.find(":", colon + 1) > 0 or line.find(". ", 0, colon) > 0):
            headings += _cut(line)
        else:
            headings.append(line)
    return headings


def is_rule(line: str) -> bool:
    """Whether a stripped line only underlines the one above it. A few underscores are a removed word, not a rule."""
    if line[-1:] not in _RULES or not _RULE.fullmatch(line):
        return False
    return len(line) > 4 or set(line) != {"_"}


def has_odd(text: str) -> bool:
    """Whether any character of a note must be normalised or removed."""
    return _ODD.search(text) is not None


def read(line: str, *, blank_before: bool, underlined: bool, odd: bool = True) -> tuple[Heading, str] | None:
    """The heading at the start of a line, and the text after it; None for ordinary text.

    Args:
        line: not blank, and without white space at its ends.
        blank_before: it begins a paragraph.
        underlined: the next line is a rule.
        odd: the result of ``has_odd`` for the note.
    """
    text = _plain(line).strip() if odd and _ODD.search(line) else line
    counted = (
        _NUMBER.match(text) if text[:1] in "SP" and text.startswith(_COUNTED) else None
    )  # "Section 5: Hospital course"
    colon = text.find(":", counted.end() if counted else 0, _MOST)
    if colon < 0 and not blank_before and not underlined and not _may_open(text):
        return None
    head = text[: colon + 1] if colon >= 0 else text if len(text) <= _ALONE else text[:_MOST]
    heading = _heading(head, blank_before, underlined)
    if heading is None:
        return None
    following = text[heading.end :].lstrip(": \t" if heading.colon else _AFTER)
    if heading.marked and heading.colon:
        following = following.lstrip("*=~]> \t")
    return heading, following if text is line else _as_written(line, text, following)


def _may_open(text: str) -> bool:
    """Whether a line inside a paragraph and without a colon may be a heading; most lines of prose are not."""
    first = text[:1]
    if not first.islower() and (not first.isupper() or text[1:2].isupper() or len(text) <= _ALONE // 2):
        return True
    return _HINT.search(text[: _ALONE // 2].lower()) is not None


@lru_cache(maxsize=1 << 14)
def _heading(text: str, blank_before: bool, underlined: bool) -> Heading | None:
    """The heading at the start of ``text``: a line up to its first colon, or a whole short line."""
    start, dated = 0, False
    while mark := _MARK.match(text, start):  # "[**Hospital 18**] COURSE:"
        start, dated = _blank(text, mark.end()), dated or mark.group()[0] != "<"
    framed = start
    start = _BULLET.match(text, start).end()  # type: ignore[union-attr]  # it may be empty, but always matches
    if text.startswith("[**", start - 1):
        start -= 1
    lead = text[framed:start]
    number = _NUMBER.match(text, start)
    start = number.end() if number else start
    marked = underlined or lead.startswith(("##", "**", "==", "--", "~~", "[", "<"))
    listed = bool(number) or (bool(lead.strip()) and not marked)
    stop, colon = _title_end(text, start, blank_before or marked, marked, listed and "#" not in lead)
    if stop is None:
        opens = blank_before and _OPENS_COURSE.match(text, start)
        return Heading(COURSE, ("course",), 0, False, False, listed, False, False, False, False) if opens else None
    title = text[start:stop]
    base, whole = _words(title)
    if not whole:
        only_a_date = colon and dated
        return Heading(None, (), stop, True, False, listed, False, False, True, False) if only_a_date else None
    letters = [word for word in _MARK.sub(" ", title).split() if word[:1].isalpha()]
    return Heading(
        owner(" ".join(base), " ".join(whole)), whole, stop, colon, marked, listed,
        caps=title.isupper() or all(word.isupper() for word in letters),
        titled=all(not word[0].islower() or word.lower() in SMALL for word in letters),
        dated=dated or "[**" in title or "__" in title,
        speaks=not SENTENCE.isdisjoint(whole),
    )  # fmt: skip


def _blank(text: str, start: int) -> int:
    while text[start : start + 1].isspace():
        start += 1
    return start


def _title_end(text: str, start: int, free: bool, marked: bool, listed: bool) -> tuple[int | None, bool]:
    """End of the title that begins at ``start``, and whether a colon ends it; None without a title."""
    colon = text.find(":", start)
    stop = _BREAK.search(text, start + 1)
    if (
        stop
        and (colon < 0 or stop.start() < colon)
        and text.count(" ", start, stop.start()) < _FEW
        and _opens(text[start : stop.start()], loose=stop.group().strip() != ".")
    ):
        return stop.start(), False
    if colon >= 0:
        return (colon, True) if text[start].isalnum() or colon == start else (None, False)
    run = _CAPS.match(text, start)
    if run and _opens(run.group(), loose=False):
        return run.end(), False
    bare = text[start:].rstrip("*=#~_-]>: \t.")
    if len(bare) <= _ALONE and bare.count(" ") < _FEW and _stands_alone(bare, free, marked, listed):
        return len(text), False
    return None, False


def _opens(title: str, *, loose: bool) -> bool:
    """Whether a title without a colon is that of a known section: its exact words or, if ``loose``, similar ones."""
    base, whole = _words(title)
    if not base:
        return False
    if len(base) > 1 and exact(" ".join(base)):
        return title[:1].isupper() or loose
    section = owner(" ".join(base), " ".join(whole))
    if section in (COURSE, ADDENDUM):
        return loose or title.isupper() or len(base) <= 3
    return section not in (None, OTHER, BEFORE) and len(base) > 1 and title.isupper()


def _stands_alone(title: str, free: bool, marked: bool, listed: bool) -> bool:
    """Whether a line without a colon is a heading: known words, or heading style at the start of a paragraph."""
    base, whole = _words(title)
    if not base or title[-1] in ",;":
        return False
    section = owner(" ".join(base), " ".join(whole))
    begins, is_exact = not title[0].islower(), bool(exact(" ".join(base)))
    if section and section not in (OTHER, BEFORE) and (is_exact or section not in OF_ADMISSION):
        if marked or (free and begins) or title.isupper():
            return True
        return begins if section not in OF_ADMISSION else len(base) > 1
    if not SENTENCE.isdisjoint(whole):
        return marked
    words = [word for word in title.split() if word[:1].isalpha() and word.lower() not in SMALL]
    titled = bool(words) and all(not word[0].islower() for word in words)
    if section == OTHER and titled and not _PLANS.isdisjoint((base[0], base[-1])):
        return True
    return marked or (titled and not listed and (free or title.isupper()))


def _words(title: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The words of a title in lower case, without and with those in parentheses."""
    if not title.isascii():
        folded = unicodedata.normalize("NFKD", title)
        title = "".join(char for char in folded if not unicodedata.combining(char))
    if "__" in title or "[**" in title or "<" in title:
        title = _MARK.sub(" ", title)
    if "  " in title or title[1:2] == " ":
        title = _SPACED.sub(lambda match: match.group().replace(" ", ""), title)
    if not title.isupper() and not title.islower():
        title = _CAMEL.sub(" ", title)
    low = title.lower().replace("'s", "")
    if "/" in low or "&" in low:
        low = low.replace("d/c", "discharge").replace("a/p", "ap").replace("a&p", "ap").replace("a & p", "ap")
    low = re.sub(r"\bdc(?:'?d|ed)?\b", "discharge", low) if "dc" in low else low
    whole = tuple(_TOKEN.findall(low))
    cut = low.find("(")
    if cut < 0:
        return whole, whole
    end = low.find(")", cut)
    return tuple(_TOKEN.findall(low[:cut] + " " + (low[end + 1 :] if end > 0 else ""))), whole


def _cut(line: str) -> Iterator[str]:
    starts = {0}
    indent = len(line) - len(line.lstrip(" \t#*-0123456789.()\u2022"))  # start of the line's own title
    for pattern in (_CAPS_INSIDE, _TITLE_INSIDE):
        for match in pattern.finditer(line, indent):
            at = _known_from(line, match.start(), match.end() - 1, caps=pattern is _CAPS_INSIDE)
            if at is not None and match.start() > indent:
                starts.add(at)
    ordered = sorted(starts)
    return (line[start:end] for start, end in zip(ordered, [*ordered[1:], len(line)], strict=True))


def _known_from(line: str, start: int, end: int, *, caps: bool) -> int | None:
    """Start of the longest known heading within ``start`` to ``end``, a colon; None without one."""
    for match in re.finditer(r"\S+", line[start:end]):
        base, whole = _words(line[start + match.start() : end])
        is_exact = exact(" ".join(base))
        if (is_exact and (caps or len(base) > 1)) or owner(" ".join(base), " ".join(whole)) in (COURSE, ADDENDUM):
            return start + match.start()
        if not caps:
            return None
    return None


def _plain(line: str) -> str:
    """A line with normalised characters: no hidden ones, no full-width ones, only ordinary blanks."""
    text = line.translate(_HIDDEN).translate(_COLONS)
    return "".join(_narrow(char) for char in text) if not text.isascii() else text


def _narrow(char: str) -> str:
    code = ord(char)
    if 0xFF01 <= code <= 0xFF5E:
        return chr(code - 0xFEE0)
    if char.isspace():
        return " " if char != "\t" else char
    folded = unicodedata.normalize("NFKC", char)
    return folded if len(folded) == 1 else char


def _as_written(line: str, text: str, following: str) -> str:
    """``following``, the end of ``text``, in the original characters: hidden ones stay, so that readers see them."""
    if not following:
        return ""
    written = [position for position, char in enumerate(line) if ord(char) not in _HIDDEN]
    blank = len(_plain(line)) - len(_plain(line).lstrip())
    return line[written[blank + len(text) - len(following)] :]
