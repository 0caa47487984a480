"""What a language model preferred when it compared the rationales of two authors, each pair in both orders.

A verdict counts where it stays the same when the two change places (Zheng et al., NeurIPS 2023, section 3.4); others
are counted as inconsistent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import combinations
from typing import TypedDict

from clinragen.rating.key import RatingPack
from clinragen.rating.rating_file import Preference, RatingFile


class Comparison(TypedDict):
    """Preferences of a language model between two authors by one criterion, each stay judged in both orders.

    Attributes:
        author_better, other_better, tie: the same verdict in both orders.
        inconsistent: another verdict when the two change places.
        missing: no usable answer in one of the orders.
        first: verdicts for the rationale shown first; of ``decided`` that were no tie.
    """

    rater: str
    author: str
    other: str
    criterion: str
    author_better: int
    other_better: int
    tie: int
    inconsistent: int
    missing: int
    first: int
    decided: int


def comparisons(pack: RatingPack, one: RatingFile) -> Iterator[Comparison]:
    """What a language model's preferences come to, by pair of authors and criterion; nothing for people."""
    if not one.preferences:
        return
    by_order = {(row.item, row.first, row.second): row for row in one.preferences}
    for author, other in combinations([author.name for author in pack.key.authors], 2):
        for criterion in pack.key.criteria:
            tally: Counter[str] = Counter()
            for item in pack.items:
                orders = [by_order.get((item.name, *order)) for order in ((author, other), (other, author))]
                preferred = [_preferred(row, criterion) for row in orders]
                tally[_outcome(preferred, author)] += 1
                for row, name in zip(orders, preferred, strict=True):
                    tally["decided"] += name in (author, other)
                    tally["first"] += row is not None and name == row.first
            yield {
                "rater": one.rater,
                "author": author,
                "other": other,
                "criterion": criterion,
                "author_better": tally["author"],
                "other_better": tally["other"],
                "tie": tally["tie"],
                "inconsistent": tally["inconsistent"],
                "missing": tally["missing"],
                "first": tally["first"],
                "decided": tally["decided"],
            }


def _preferred(preference: Preference | None, criterion: str) -> str | None:
    """The preferred author, ``tie``, or None without a usable answer."""
    verdict = preference.verdicts[criterion] if preference else None
    if preference is None or verdict is None:
        return None
    return {"first": preference.first, "second": preference.second}.get(verdict, "tie")


def _outcome(preferred: list[str | None], author: str) -> str:
    """What the verdicts in both orders come to."""
    one, two = preferred
    if one is None or two is None:
        return "missing"
    if one != two:
        return "inconsistent"
    return one if one == "tie" else "author" if one == author else "other"
