"""Rationales without some of their claims: statements are taken out whole, and what read on from them goes, too."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from clinragen.verification.claims import Checked

#: Separators between statements that can stand alone, and between parts of one.
_STATEMENTS = re.compile(r";\s+|(?<=[.!?])\s+")
_PARTS = re.compile(r";\s+|(?<=[.!?])\s+|,\s+(?:and\s+|but\s+|with\s+)?|\s+and\s+")
_DANGLING = re.compile(
    r"\A(?:pointing|adding to|supporting|suggesting|consistent|indicating|which|this|these|and|but)\b", re.I
)


def clauses_of(text: str, claims: Sequence[Checked]) -> list[str]:
    """The clauses that contain claims, to tell a teacher what to leave out."""
    clauses = []
    for start, end in _pieces(text, _PARTS):
        if any(start < claim.end and claim.start < end for claim in claims):
            clauses.append(text[start:end].strip(" .;,"))
    return clauses


def without_claims(text: str, doubtful: Sequence[Checked], opening: str) -> Iterator[str]:
    """A rationale without claims that its chart does not bear out: first without whole statements, then parts of them.

    What is left may be less than was meant, or read on from what is gone: it must be checked again.

    Args:
        text: the rationale.
        doubtful: the claims that must go.
        opening: the words that a rationale of its kind begins with.
    """
    for separators in (_STATEMENTS, _PARTS):
        shorter = _without(text, doubtful, opening, separators)
        if shorter is not None:
            yield shorter


def _without(text: str, doubtful: Sequence[Checked], opening: str, separators: re.Pattern[str]) -> str | None:
    """The opening, followed by the pieces without a doubtful claim."""
    pieces = _standing(text, doubtful, separators)
    if not pieces:
        return None
    body = text[pieces[0][0] : pieces[0][1]]
    for (_, end), (start, stop) in pairwise(pieces):
        between = text[end:start] if _adjacent(text, end, start, separators) else ", "
        body += between + text[start:stop]
    body = body.strip(" ,;")
    if not body.startswith(opening):
        body = f"{opening}{'' if opening.startswith('Lab') else ','} {_lower_first(body)}"
    if body.rstrip(".") == opening:
        return None
    return body if body[-1] in ".!?" else f"{body}."


def _standing(text: str, doubtful: Sequence[Checked], separators: re.Pattern[str]) -> list[tuple[int, int]]:
    """Pieces without a doubtful claim; one that continues a removed piece ("pointing to ...") is removed, too."""
    standing: list[tuple[int, int]] = []
    grounded = False
    for start, end in _pieces(text, separators):
        sound = not any(start < claim.end and claim.start < end for claim in doubtful)
        dangling = _DANGLING.match(text[start:end]) is not None
        if sound and (grounded or not dangling):
            standing.append((start, end))
        grounded = sound and (grounded or not dangling)
    return standing


def _adjacent(text: str, end: int, start: int, separators: re.Pattern[str]) -> bool:
    return separators.fullmatch(text[end:start]) is not None


def _pieces(text: str, separators: re.Pattern[str]) -> list[tuple[int, int]]:
    pieces, start = [], 0
    for match in separators.finditer(text):
        pieces.append((start, match.start()))
        start = match.end()
    return [(a, b) for a, b in [*pieces, (start, len(text))] if b > a]


def _lower_first(body: str) -> str:
    first = body.split(maxsplit=1)[0]
    return body if sum(letter.isupper() for letter in first) > 1 else body[0].lower() + body[1:]
