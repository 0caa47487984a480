"""What the note of a stay says of its patient: phrases that it affirms, weighed against what it denies."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from clinragen.chart.note_mentions import note_mentions
from clinragen.knowledge.graph import ConceptGraph
from clinragen.knowledge.linker import Linker, Mention

Kind = Literal["sign", "past", "drug"]
#: How a phrase is told, in the order of a clause.
KINDS: tuple[Kind, ...] = ("sign", "past", "drug")
# Allergies and habits name drugs and diseases that the patient need not have; the family's diseases are others'.
_SKIPPED_SECTIONS = ("allergies", "social_history", "family_history")
#: Lists that pass from record to record; the other sections were written for this admission.
_CARRIED_OVER = ("past_medical_history", "medications_on_admission")
_DISEASES = ("phenotype", "disease")
_CUTS = re.compile(r"[;.]\s")  # would end a clause of the rationale


@dataclass(frozen=True)
class NoteEvidence:
    """A phrase of the note that affirms a concept, now or in the past: ``text[start:end]`` of the section."""

    concept: str
    section: str
    start: int
    end: int
    phrase: str
    past: bool

    @property
    def kind(self) -> Kind:
        """How the phrase is told."""
        return "drug" if self.concept.startswith("drug:") else "past" if self.past else "sign"

    def as_json(self) -> dict[str, object]:
        """Where the phrase stands; the words themselves stay in the note."""
        return {"concept": self.concept, "section": self.section, "start": self.start, "end": self.end}


@dataclass(frozen=True)
class _Denial:
    """A place at which the note denies a concept: whether in a list carried over, and how far into the note."""

    carried_over: bool
    place: int


def gather(sections: Iterable[tuple[str, str]], linker: Linker, graph: ConceptGraph) -> list[NoteEvidence]:
    """Concepts that the note affirms or records as history, one per concept and standing, in reading order.

    What a note says of a concept in one place and denies in another, counts by two rules. A denial in what was written
    for this admission outweighs a list carried over from earlier records; the reverse does not hold. Of places of equal
    weight any that affirms counts for what happens at a time, a symptom, sign, drug or procedure ("no chest pain on
    arrival, ... developed chest pain overnight"); for a disease, which is a judgement, the last word does ("thought to
    be pneumonia, ... pneumonia was ruled out"). An entry of the past stands beside either.

    Args:
        sections: (section, text) pairs in reading order.
        linker: of the names of the graph.
        graph: gives a concept's name where the note's own words do not speak for themselves.
    """
    affirmed: dict[tuple[str, bool], list[tuple[int, NoteEvidence]]] = {}
    denied: dict[str, list[_Denial]] = {}
    read = [(section, text) for section, text in sections if section not in _SKIPPED_SECTIONS]
    for place, one in enumerate(note_mentions(read, linker)):
        _, section, text, mention = one
        if one.standing == "denied":
            denied.setdefault(mention.concept, []).append(_Denial(section in _CARRIED_OVER, place))
        elif one.standing == "affirmed":
            past = _is_past(mention)
            phrase = _phrase(text, mention, linker, graph)
            evidence = NoteEvidence(mention.concept, section, mention.start, mention.end, phrase, past)
            affirmed.setdefault((mention.concept, past), []).append((place, evidence))
    outcome: list[NoteEvidence] = []
    for (concept, past), places in affirmed.items():
        denials = denied.get(concept, ())
        outcome += [item for place, item in places if past or not _outweighed(item, place, denials)][:1]
    return outcome


def signs(evidence: Iterable[NoteEvidence]) -> list[NoteEvidence]:
    """Present symptoms and findings."""
    return [item for item in evidence if item.concept.split(":")[0] in ("symptom", "finding") and not item.past]


def _outweighed(item: NoteEvidence, place: int, denials: Iterable[_Denial]) -> bool:
    """Whether a denial counts for more than this mention: it stands in a weightier section, or is the last word."""
    carried_over = item.section in _CARRIED_OVER
    judgement = item.concept.split(":")[0] in _DISEASES
    return any(
        carried_over if denial.carried_over != carried_over else judgement and denial.place > place
        for denial in denials
    )


def _phrase(text: str, mention: Mention, linker: Linker, graph: ConceptGraph) -> str:
    """The words of the note, or the concept's name where they do not speak for themselves: the "n" of "n/v"."""
    verbatim = " ".join(text[mention.start : mention.end].split())
    lowered = verbatim.lower() if mention.concept.startswith("drug:") else _lower(verbatim)
    for phrase in (lowered, verbatim):
        read = linker.link(phrase)
        if len(read) == 1 and read[0].concept == mention.concept and not _CUTS.search(phrase):
            return phrase
    return graph.name(mention.concept)


def _is_past(mention: Mention) -> bool:
    # a symptom or drug of the history is told as it stands: "chest pain since 2010" is a sign, "on home oxygen" a drug
    return mention.context == "historical" and mention.concept.split(":")[0] in (*_DISEASES, "procedure")


def _lower(phrase: str) -> str:
    """Lower case, except for words that carry capitals inside, such as COPD or NSTEMI; a whole phrase of capitals not.

    >>> _lower("CHF"), _lower("Acute MI"), _lower("CHEST PAIN")
    ('CHF', 'acute MI', 'chest pain')
    """
    if phrase.isupper() and (" " in phrase or len(phrase) > 6):
        return phrase.lower()
    return " ".join(word if sum(letter.isupper() for letter in word) > 1 else word.lower() for word in phrase.split())
