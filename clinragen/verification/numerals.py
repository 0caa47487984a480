"""Numbers as people write them: digits with commas, points and blanks, and number words."""

from __future__ import annotations

import re

from clinragen.verification import units

SMALL = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
#: Number words -> digits.
NUMERALS = {word: str(number) for number, word in enumerate(SMALL)} | {
    word: str(10 * number) for number, word in enumerate(TENS, start=2)
}

#: Pattern of digits. Their number is limited: no value has more, and a run of a thousand digits is no number.
DIGITS = (
    r"(?:\d{1,3}(?:,\d{3}){1,3}(?!\d)(?:\.\d{1,4}(?!\d))?"  # 1,200
    r"|\d{1,3}(?: \d{3}){1,2}(?= ?(?:/|[µμ]L|[x×] ?10))"  # 24 000/µL
    r"|\d{1,4},\d{1,2}(?![\d,])"  # 3,1: a decimal comma
    r"|\.\d{1,4}(?!\d)|\d{1,9}(?!\d|,\d)(?:\.\d{1,6}(?!\d))?)"  # .6, 3.1
)
#: Pattern of digits that are a number by themselves: no adjacent letters except those of a unit.
NUMBER = (
    rf"(?<![\w.,\0])[-−]?{DIGITS}(?!\.\d|\+(?: |$))"
    rf"(?:(?=(?:{units.PATTERN})(?![A-Za-z]))|(?!\w{{0,9}}[A-Za-z]{{3}}))"
)
#: Pattern of a number in words, to ninety-nine.
SPELT = rf"(?:{'|'.join(TENS)})(?:[- ](?:{'|'.join(SMALL[1:10])}))?|{'|'.join(SMALL)}"


def spoken(written: str) -> float | None:
    """A number in plain digits or one number word; None where it is neither.

    >>> spoken("24"), spoken("twelve"), spoken("few")
    (24.0, 12.0, None)
    """
    digits = NUMERALS.get(written.lower(), written)
    return float(digits) if re.fullmatch(r"\d{1,30}(?:\.\d{1,9})?", digits) else None


def decimal(written: str, *, thousands: bool = False) -> str:
    """A written number in digits with a decimal point.

    Args:
        written: digits or number words, with a sign or without.
        thousands: a point before three digits is a thousands separator, as in much of Europe.

    >>> decimal("1,200"), decimal("3,1"), decimal("1.200", thousands=True), decimal("twenty-four"), decimal("−5")
    ('1200', '3.1', '1200', '24', '-5')
    """
    head, _, tail = written.lower().replace("-", " ").replace("−", " -").partition(" ")
    if head in NUMERALS:
        return str(int(NUMERALS[head]) + int(NUMERALS.get(tail, "0")))
    text = written.replace("−", "-")
    if re.fullmatch(r"-?\d+,\d{1,2}", text):
        return text.replace(",", ".")
    if thousands and re.fullmatch(r"-?[1-9]\d{0,2}\.\d{3}", text):
        return text.replace(".", "")
    return text.replace(",", "").replace(" ", "")
