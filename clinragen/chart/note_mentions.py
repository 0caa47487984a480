"""Every concept that a note mentions, and whether the note affirms it, denies it or leaves it open."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

from clinragen.knowledge.ages import age_mentions
from clinragen.knowledge.linker import Linker, Mention

#: affirmed, now or in the past; denied of this patient; open: of a relative, or feared, planned or possible.
Standing = Literal["affirmed", "denied", "open"]

_ABOUT_OTHERS = ("family_history",)


class NoteMention(NamedTuple):
    """A concept named in a note.

    Attributes:
        position: index of the section among those given.
        section: name of the section.
        text: text of the whole section, to which the mention's offsets refer.
    """

    position: int
    section: str
    text: str
    mention: Mention

    @property
    def standing(self) -> Standing:
        """Whether the note affirms or denies the concept here, or leaves it open."""
        return standing(self.mention)


def note_mentions(sections: Iterable[tuple[str, str]], linker: Linker) -> Iterator[NoteMention]:
    """The mentions of a note in reading order.

    Args:
        sections: (section, text) pairs.
        linker: finds the names.
    """
    aged = False  # the first age is the patient's; later ones may be a relative's, or of another time
    for index, (section, text) in enumerate(sections):
        mentions = linker.link(text, section)
        age = None if aged or section in _ABOUT_OTHERS else next(age_mentions(text, linker.circumstances), None)
        if age is not None:
            aged = True
            mentions = sorted([*mentions, age], key=lambda mention: mention.start)
        yield from (NoteMention(index, section, text, mention) for mention in mentions)


def standing(mention: Mention) -> Standing:
    """Whether the text affirms or denies the concept at this mention, or leaves it open."""
    if mention.negated:
        return "denied"
    return "affirmed" if mention.context in ("affirmed", "historical") else "open"
