"""The key of a rating pack: which rater sees which stay when, and which letter stands for whom.

It stays with whoever leads the study: raters get the pages alone.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from string import ascii_uppercase
from typing import Literal, cast

from clinragen import versions
from clinragen.artifacts import read_json, write_json
from clinragen.errors import UserError
from clinragen.integrity import hold_output
from clinragen.outputs import MANIFEST, RATING_PACK
from clinragen.rating import items
from clinragen.rating.criteria import Criterion, Rated, criteria
from clinragen.rating.items import Item
from clinragen.shape import differs, of

FILE = "key.json"
#: The rater whose ratings a language model gives.
JUDGE = "judge"
#: The most authors that a page compares.
MOST_AUTHORS = len(ascii_uppercase)
_ANEW = "write the pack anew with `clinragen rate pack`"

RaterKind = Literal["human", "llm"]


@dataclass(frozen=True)
class Placing:
    """A stay on a rater's page.

    Attributes:
        item: neutral name of the stay.
        authors: in the order in which the page shows them, as A, B and so on.
    """

    item: str
    authors: list[str]

    def author(self, letter: str) -> str | None:
        """Who stands behind a letter; None for a letter that the page does not have."""
        return dict(zip(ascii_uppercase, self.authors, strict=False)).get(letter)

    def letter(self, author: str) -> str:
        """The letter that stands for an author."""
        return ascii_uppercase[self.authors.index(author)]


@dataclass(frozen=True)
class RaterKey:
    """One rater.

    Attributes:
        rater: the name in files.
        kind: human, or llm for the language model that judges.
        secret: seals the rater's file, so that a change after saving is noticed.
        placings: the stays in the order of the page.
    """

    rater: str
    kind: RaterKind
    secret: str
    placings: list[Placing]

    def placing(self, item: str) -> Placing | None:
        """The stay of this name; None if the page does not have it."""
        return next((placing for placing in self.placings if placing.item == item), None)


@dataclass(frozen=True)
class AuthorKey:
    """An author, and the rationale set or predictions folder of its rationales."""

    name: str
    source: str


@dataclass(frozen=True)
class PackKey:
    """What is needed to read ratings of a pack.

    Attributes:
        pack: the name of the pack, a hash of what is rated and of all orders.
        seed: by which it was drawn.
        cohort: folder of the stays.
        authors: in the order of tables.
        raters: humans first, then the language model.
        rated: what is rated; None stands for rationales.
    """

    pack: str
    seed: int
    cohort: str
    authors: list[AuthorKey]
    raters: list[RaterKey]
    rated: Rated | None = None

    @property
    def criteria(self) -> dict[str, Criterion]:
        """By which it is rated."""
        return criteria(self.rated or "rationales")

    def rater(self, name: str) -> RaterKey | None:
        """The rater of this name; None if there is none."""
        return next((rater for rater in self.raters if rater.rater == name), None)


@dataclass(frozen=True)
class RatingPack:
    """A pack on disk: its folder, key and stays."""

    root: Path
    key: PackKey
    items: list[Item]


def write_key(folder: Path, key: PackKey) -> None:
    """Write ``key.json``."""
    write_json(folder / FILE, {name: value for name, value in asdict(key).items() if value is not None})


def read_pack(root: Path) -> RatingPack:
    """Read a folder written by ``clinragen rate pack``.

    Raises:
        UserError: no pack, of another version, or a file of it was changed.
    """
    manifest = read_json(root / MANIFEST, "the manifest of a rating pack, written by `clinragen rate pack`")
    if manifest.get("kind") != RATING_PACK.name:
        raise UserError(f"--pack {root} is no folder that `{RATING_PACK.command}` wrote: name one")
    versions.RATING_PACK.check(manifest, root / MANIFEST)
    for name in (FILE, items.FILE):
        hold_output(root / name, manifest, remedy=_ANEW)
    stored = read_json(root / FILE, "the key of a rating pack")
    if mismatch := differs(stored, of(PackKey)):
        raise UserError(f"{root / FILE}: {mismatch}: {_ANEW}")
    raters = [
        RaterKey(
            rater=entry["rater"],
            kind=cast(RaterKind, entry["kind"]),
            secret=entry["secret"],
            placings=[Placing(**placing) for placing in entry["placings"]],
        )
        for entry in stored["raters"]
    ]
    key = PackKey(
        pack=stored["pack"],
        seed=stored["seed"],
        cohort=stored["cohort"],
        authors=[AuthorKey(**author) for author in stored["authors"]],
        raters=raters,
        rated=stored.get("rated"),
    )
    return RatingPack(root, key, items.read_items(root))
