"""Evidence in the note of a stay: phrases that it affirms, after weighing them against denials."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from clinragen.chart.note_mentions import note_mentions
from clinragen.knowledge.graph import ConceptGraph
from clinragen.knowledge.linker import Linker, Mention

Kind = Literal["sign", "past", "drug"]
#: Kinds of phrase, in the order in which a clause lists them.
KINDS: tuple[Kind, ...] = ("sign", "past", "drug")
# Allergies and habits name drugs and diseases that the patient may not have; family history is about relatives.
_SKIPPED_SECTIONS = ("allergies", "social_history", "family_history")
#: Lists that are copied from record to record; the other sections were written for this admission.
_CARRIED_OVER = ("past_medical_history", "medications_on_admission")
_DISEASES = ("phenotype", "disease")
_CUTS = re.compile(r"[;.]\s")  # characters that would end a clause of the rationale


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
        """The kind of phrase."""
        return "drug" if self.concept.startswith("drug:") else "past" if self.past else "sign"

    def as_json(self) -> dict[str, object]:
        """The position of the phrase, without its text."""
        return {"concept": self.concept, "section": self.section, "start": self.start, "end": self.end}


@dataclass(frozen=True)
class _Denial:
    """A denial of a concept in the note: whether it is in a copied list, and its position."""

    carried_over: bool
    position: int


def gather(sections: Iterable[tuple[str, str]], linker: Linker, graph: ConceptGraph) -> list[NoteEvidence]:
    """Concepts that the note affirms or records as history, one per concept and standing, in reading order.

    If a note affirms a concept in one place and denies it in another, two rules apply. First, a denial written for this
    admission outweighs a list copied from earlier records, but not the reverse. Second, between places of equal weight:
    a symptom, sign, drug or procedure happens at a time, so any affirmation counts ("no chest pain on arrival, ...
    developed chest pain overnight"); a disease is a judgement, so the last mention counts ("thought to be pneumonia,
    ... pneumonia was ruled out"). Entries of the past are kept in either case.

    Args:
        sections: (section, text) pairs in reading order.
        linker: finds the names of the graph.
        graph: gives a concept's name where the note's own words cannot stand alone.
    """
    affirmed: dict[tuple[str, bool], list[tuple[int, NoteEvidence]]] = {}
    denied: dict[str, list[_Denial]] = {}
    present = [(section, text) for section, text in sections if section not in _SKIPPED_SECTIONS]
    for position, one in enumerate(note_mentions(present, linker)):
        _, section, text, mention = one
        if one.standing == "denied":
            denied.setdefault(mention.concept, []).append(_Denial(section in _CARRIED_OVER, position))
        elif one.standing == "affirmed":
            past = _is_past(mention)
            phrase = _phrase(text, mention, linker, graph)
            evidence = NoteEvidence(mention.concept, section, mention.start, mention.end, phrase, past)
            affirmed.setdefault((mention.concept, past), []).append((position, evidence))
    outcome: list[NoteEvidence] = []
    for (concept, past), places in affirmed.items():
        denials = denied.get(concept, ())
        outcome += [item for position, item in places if past or not _outweighed(item, position, denials)][:1]
    return outcome


def signs(evidence: Iterable[NoteEvidence]) -> list[NoteEvidence]:
    """Present symptoms and findings."""
    return [item for item in evidence if item.concept.split(":")[0] in ("symptom", "finding") and not item.past]


def _outweighed(item: NoteEvidence, position: int, denials: Iterable[_Denial]) -> bool:
    """Whether a denial outweighs this mention: it is in a section of more weight, or comes later."""
    carried_over = item.section in _CARRIED_OVER
    judgement = item.concept.split(":")[0] in _DISEASES
    return any(
        carried_over if denial.carried_over != carried_over else judgement and denial.position > position
        for denial in denials
    )


def _phrase(text: str, mention: Mention, linker: Linker, graph: ConceptGraph) -> str:
    """The words of the note, or the concept's name where they cannot stand alone: the "n" of "n/v"."""
    verbatim = " ".join(text[mention.start : mention.end].split())
    lowered = verbatim.lower() if mention.concept.startswith("drug:") else _lower(verbatim)
    for phrase in (lowered, verbatim):
        mentions = linker.link(phrase)
        if len(mentions) == 1 and mentions[0].concept == mention.concept and not _CUTS.search(phrase):
            return phrase
    return graph.name(mention.concept)


def _is_past(mention: Mention) -> bool:
    # a symptom or drug of the history keeps its kind: "chest pain since 2010" is a sign, "on home oxygen" a drug
    return mention.context == "historical" and mention.concept.split(":")[0] in (*_DISEASES, "procedure")


def _lower(phrase: str) -> str:
    """Lower case, except for words with capitals inside, such as COPD or NSTEMI; a phrase all in capitals is lowered.

    >>> _lower("CHF"), _lower("Acute MI"), _lower("CHEST PAIN")
    ('CHF', 'acute MI', 'chest pain')
    """
    if phrase.isupper() and (" " in phrase or len(phrase) > 6):
        return phrase.lower()
    return " ".join(word if sum(letter.isupper() for letter in word) > 1 else word.lower() for word in phrase.split())
