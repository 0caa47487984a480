"""Allergy lists: free text such as "Penicillins (hives) / sulfa / codeine - nausea" as entries with drug and reaction.

The phrases are in ``configs/safety/allergies.yaml`` and the names of groups in ``groups.yaml``. Nothing is guessed: an
entry whose words are none of them is ``unread``, and ``screen.unchecked`` tells it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Literal, get_args

from clinragen.drugs import Drug, drug_of
from clinragen.safety.cautions import NotePhrase
from clinragen.safety.rules import Reaction, rules

Meaning = Literal["none", "except", "elsewhere", "filler", "tolerated", "denied", "treatment", "drug_name", "not_drug"]
_Mode = Literal["allergen", "tolerated", "denied", "treatment"]
_SECTION = "allergies"
_WORD = re.compile(r"[^\W_]+|_{2,}|[()\[\]]")
#: Between entries. After a strong one a reaction no longer concerns the entries before it.
_STRONG = re.compile(r"[;\n•]|(?<=\s)/(?=\s)|\.(?=\s)")
_WEAK = re.compile(r",|\band\b|&", re.IGNORECASE)
_REACTIONS: tuple[Reaction, ...] = get_args(Reaction)
_SUPPLIES = ("supply", "diluent")
#: Meanings that an entry keeps, since they tell what it is.
_TOLD: frozenset[Meaning] = frozenset({"none", "elsewhere", "not_drug", "tolerated"})


@dataclass(frozen=True)
class Allergy:
    """One entry of an allergy list.

    Attributes:
        phrase: where it is written.
        groups: groups of drugs that it names ("penicillins").
        drug: the drug that it names, if any.
        reaction: the gravest reaction that is written; without any an allergic reaction is assumed.
        stated: whether a reaction is written.
    """

    phrase: NotePhrase
    groups: frozenset[str]
    drug: Drug | None
    reaction: Reaction
    stated: bool


@dataclass(frozen=True)
class AllergyList:
    """What the allergy lists of a stay say.

    Attributes:
        allergies: entries that name a drug or a group of drugs.
        tolerated: drugs that the patient took without harm, or whose allergy is denied.
        none: whether a list says that there is no allergy.
        elsewhere: entries that point to another record, or say that nothing is known.
        unread: entries that name nothing that is recognised.
    """

    allergies: tuple[Allergy, ...] = ()
    tolerated: frozenset[str] = frozenset()
    none: bool = False
    elsewhere: tuple[NotePhrase, ...] = ()
    unread: tuple[NotePhrase, ...] = ()


@dataclass
class _Phrase:
    """What a phrase means: nothing, or several of these."""

    meanings: set[Meaning] = field(default_factory=set)
    groups: set[str] = field(default_factory=set)
    reactions: set[Reaction] = field(default_factory=set)


@dataclass
class _Entry:
    """An entry while its list is read."""

    phrase: NotePhrase
    block: int
    groups: set[str] = field(default_factory=set)
    drug: Drug | None = None
    tolerated: set[str] = field(default_factory=set)
    reactions: set[Reaction] = field(default_factory=set)
    meanings: set[Meaning] = field(default_factory=set)
    words: bool = False  # some that mean nothing here

    @property
    def allergen(self) -> bool:
        return bool(self.groups) or self.drug is not None


def read_allergies(notes: Iterable[tuple[str, str]]) -> AllergyList:
    """The allergy lists of a stay.

    Args:
        notes: (note_id, text) of each section ``allergies``.

    >>> read = read_allergies([("note", "Penicillins (hives), codeine - nausea")])
    >>> [(sorted(a.groups) or a.drug.ingredient, a.reaction) for a in read.allergies]
    [(['penicillins'], 'allergic'), ('codeine', 'intolerance')]
    """
    entries: list[_Entry] = []
    for note_id, text in notes:
        entries += _entries(note_id, text)
    tolerated = {name for entry in entries for name in entry.tolerated}
    return AllergyList(
        allergies=tuple(_allergy(entry) for entry in entries if entry.allergen),
        tolerated=frozenset(tolerated),
        none=any("none" in entry.meanings for entry in entries),
        elsewhere=tuple(entry.phrase for entry in entries if "elsewhere" in entry.meanings and not entry.allergen),
        unread=tuple(entry.phrase for entry in entries if _unread(entry)),
    )


def _allergy(entry: _Entry) -> Allergy:
    written: list[Reaction] = [kind for kind in _REACTIONS if kind in entry.reactions] or ["allergic"]
    return Allergy(entry.phrase, frozenset(entry.groups), entry.drug, written[0], bool(entry.reactions))


def _unread(entry: _Entry) -> bool:
    silent = not entry.allergen and not entry.tolerated and not entry.reactions
    return silent and entry.words and not entry.meanings & {"none", "elsewhere", "not_drug"}


def _entries(note_id: str, text: str) -> list[_Entry]:
    """The entries of one list; a reaction alone belongs to the entry before it."""
    entries: list[_Entry] = []
    for start, end, block in _spans(text):
        entry = _entry(NotePhrase(note_id, _SECTION, start, end, text[start:end]), block)
        names_something = entry.allergen or entry.tolerated or entry.meanings & {"none", "elsewhere", "not_drug"}
        previous = entries[-1] if entries and entries[-1].block == block else None
        if entry.reactions and not names_something and previous is not None:
            previous.reactions |= entry.reactions
            previous.phrase = replace(previous.phrase, end=end, text=text[previous.phrase.start : end])
            entry = previous
        elif "tolerated" in entry.meanings and not names_something and previous is not None and previous.allergen:
            _all_tolerated(previous)
        else:
            entries.append(entry)
        if "severe" in entry.reactions:  # "penicillin, sulfa: anaphylaxis" may mean both
            for other in entries:
                if other.block == block and other.allergen and not other.reactions:
                    other.reactions.add("severe")
    return entries


def _spans(text: str) -> Iterator[tuple[int, int, int]]:
    """(start, end, block) of each entry without the blanks around it."""
    start = depth = block = 0
    position = 0
    while position <= len(text):
        strong = _STRONG.match(text, position)
        weak = _WEAK.match(text, position) if depth == 0 else None
        if strong is not None and (depth == 0 or text[position] in ";\n"):
            yield from _trimmed(text, start, position, block)
            start, depth, block = strong.end(), 0, block + 1
        elif weak is not None:
            yield from _trimmed(text, start, position, block)
            start = weak.end()
        elif position < len(text):
            depth = max(depth + (text[position] in "([") - (text[position] in ")]"), 0)
        position = max(position + 1, start)
    yield from _trimmed(text, start, len(text), block)


def _trimmed(text: str, start: int, end: int, block: int) -> Iterator[tuple[int, int, int]]:
    entry = text[start:end]
    stripped = entry.strip(" \t\r.?:-*")
    if stripped:
        begin = start + entry.index(stripped)
        yield begin, begin + len(stripped), block


def _entry(phrase: NotePhrase, block: int) -> _Entry:
    """What one entry names and says."""
    entry = _Entry(phrase, block)
    words: dict[_Mode, list[str]] = {"allergen": [], "tolerated": [], "denied": [], "treatment": []}
    groups: dict[_Mode, set[str]] = {mode: set() for mode in words}
    for mode, word, item in _in_modes(phrase.text):
        if mode == "allergen":
            entry.reactions |= item.reactions
        entry.meanings |= item.meanings & _TOLD
        groups[mode] |= item.groups
        if item.groups or "drug_name" in item.meanings or not (item.meanings or item.reactions):
            words[mode].append(word)
    drugs = {mode: _drug(" ".join(spoken)) for mode, spoken in words.items()}
    entry.words = any(len(word) > 1 for spoken in words.values() for word in spoken)
    entry.groups, entry.drug = groups["allergen"], drugs["allergen"]
    if entry.drug is not None and entry.drug.drug_class in _SUPPLIES:
        entry.drug = None
        entry.meanings.add("not_drug")
    for mode in ("tolerated", "denied"):
        entry.tolerated |= groups[mode] | {drug.ingredient for drug in (drugs[mode],) if drug is not None}
    if "tolerated" in entry.meanings and not entry.tolerated and entry.allergen:
        _all_tolerated(entry)
    return entry


def _in_modes(text: str) -> Iterator[tuple[_Mode, str, _Phrase]]:
    """(what it is about, text, meanings) of each phrase: a cue governs what follows, up to a closing bracket."""
    mode: _Mode = "allergen"
    for start, end, item in _items(text):
        word = text[start:end]
        if word in ")]":
            mode = "allergen"
        elif word not in "([":
            yield mode, word, item
            cue: _Mode
            for cue in ("tolerated", "denied", "treatment"):
                if cue in item.meanings:
                    mode = cue
            if "except" in item.meanings:
                mode = "allergen"


def _all_tolerated(entry: _Entry) -> None:
    """What the entry names was tolerated."""
    entry.tolerated |= entry.groups
    if entry.drug is not None:
        entry.tolerated.add(entry.drug.ingredient)
    entry.groups, entry.drug = set(), None


def _drug(text: str) -> Drug | None:
    """The drug that the words name, as they are or without a final s."""
    if not text:
        return None
    return drug_of(text) or drug_of(" ".join(map(_singular, text.split())))


def _items(text: str) -> Iterator[tuple[int, int, _Phrase]]:
    """(start, end, meanings) of each phrase, the longest at each word, and of each other word."""
    words = [(match.start(), match.end(), _singular(match[0])) for match in _WORD.finditer(text)]
    phrases, longest = _phrases()
    position = 0
    while position < len(words):
        for length in range(min(longest, len(words) - position), 0, -1):
            key = tuple(word for _, _, word in words[position : position + length])
            if key in phrases:
                yield words[position][0], words[position + length - 1][1], phrases[key]
                position += length
                break
        else:
            yield words[position][0], words[position][1], _Phrase()
            position += 1


@cache
def _phrases() -> tuple[dict[tuple[str, ...], _Phrase], int]:
    """Phrase, as words -> what it means; and the length of the longest, in words."""
    phrases: dict[tuple[str, ...], _Phrase] = defaultdict(_Phrase)

    def of(phrase: str) -> _Phrase:
        return phrases[tuple(_singular(word) for word in _WORD.findall(phrase))]

    words = rules().allergy_words
    lists: dict[Meaning, tuple[str, ...]] = {
        "none": words.none, "except": words.except_, "elsewhere": words.elsewhere, "filler": words.filler,
        "tolerated": words.tolerated, "denied": words.denied, "treatment": words.treatment,
        "drug_name": words.drug_names, "not_drug": words.not_drugs,
    }  # fmt: skip
    for meaning, listed in lists.items():
        for phrase in listed:
            of(phrase).meanings.add(meaning)
    for key, group in rules().groups.items():
        for phrase in group.words:
            of(phrase).groups.add(key)
    for reaction, listed in words.reactions.items():
        for phrase in listed:
            of(phrase).reactions.add(reaction)
    return dict(phrases), max(map(len, phrases))


def _singular(word: str) -> str:
    """A word in lower case without a final s.

    >>> _singular("Penicillins"), _singular("SJS")
    ('penicillin', 'sjs')
    """
    word = word.casefold()
    return word[:-1] if len(word) > 3 and word.endswith("s") else word
