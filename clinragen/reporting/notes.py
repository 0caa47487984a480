"""The note as the page shows it: passages that claims rest on, and text that no model reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from clinragen.cohort.sections import section_title
from clinragen.knowledge.readable import Unreadable, unreadable
from clinragen.label_sets import LabelSet


@dataclass(frozen=True)
class NotePart:
    """Words of a note.

    Attributes:
        text: the words.
        start: their offset in the section.
        cited: numbers of the claims that rest on the passage which ends with these words, possibly none.
        within: whether the words belong to a passage that a claim rests on.
        opens: whether such a passage begins here.
        unread: why no model reads them; empty if it does.
    """

    text: str
    start: int
    cited: tuple[int, ...] = ()
    within: bool = False
    opens: bool = False
    unread: str = ""


def note_parts(
    text: str, cited: Mapping[tuple[int, int], Sequence[int]], unread: Sequence[Unreadable] = ()
) -> list[NotePart]:
    """A section of the note split at passages that claims rest on, and at unreadable parts.

    Args:
        text: the section as written.
        cited: numbers of the claims by (start, end) of the passage.
        unread: the parts that no model reads, in order and apart from each other.

    >>> [(p.text, p.cited) for p in note_parts("Fever. No cough.", {(0, 6): [1]})]
    [('Fever.', (1,)), (' No cough.', ())]
    """
    cuts = {0, len(text), *(offset for span in (*cited, *unread) for offset in span[:2])}
    reaches: dict[int, int] = {}  # by the start of cited passages: where the longest ends
    ending: dict[int, set[int]] = {}
    for (start, end), numbers in cited.items():
        reaches[start] = max(end, reaches.get(start, 0))
        ending.setdefault(end, set()).update(numbers)
    parts, reach, struck = [], 0, 0
    for start, end in pairwise(sorted(cuts)):
        reach = max(reach, reaches.get(start, 0))
        while struck < len(unread) and unread[struck].end <= start:
            struck += 1
        parts.append(
            NotePart(
                text=text[start:end],
                start=start,
                cited=tuple(sorted(ending.get(end, ()))),
                within=start < reach,
                opens=start in reaches,
                unread=unread[struck].reason if struck < len(unread) and unread[struck].start <= start else "",
            )
        )
    return parts


def section_parts(
    sections: Sequence[tuple[str, str]],
    read: Sequence[str],
    passages: Mapping[tuple[int, int, int], Sequence[int]],
    labels: LabelSet,
) -> list[tuple[str, list[NotePart]]]:
    """Title and parts of each section of a stay.

    Args:
        sections: (section, text) as written.
        read: the text of each as it is read, with blanks in place of what is not.
        passages: numbers of the claims by (index of the section, start, end) of the passage.
        labels: of the cohort, by which lists of diagnoses are told.
    """
    cited: dict[int, dict[tuple[int, int], Sequence[int]]] = {}
    for (section, start, end), numbers in passages.items():
        cited.setdefault(section, {})[start, end] = numbers
    parts = []
    for index, ((key, text), legible) in enumerate(zip(sections, read, strict=True)):
        left = unreadable(text, key, labels) if text != legible else []
        parts.append((section_title(key), note_parts(text, cited.get(index, {}), left)))
    return parts
