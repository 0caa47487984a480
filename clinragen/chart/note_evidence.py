"""Evidence in the note of a stay: phrases that it affirms, after weighing them against denials."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from clinragen.chart.note_mentions import NoteMention, note_mentions
from clinragen.knowledge.ages import age_phrase
from clinragen.knowledge.graph import ConceptGraph
from clinragen.knowledge.linker import Linker, Mention

Kind = Literal["sign", "past", "drug", "circumstance"]
#: Kinds of phrase, in the order in which a clause lists them.
KINDS: tuple[Kind, ...] = ("sign", "past", "drug", "circumstance")
#: Allergies and habits name drugs and diseases that the patient may not have; family history is about relatives.
SKIPPED_SECTIONS = ("allergies", "social_history", "family_history")
#: Lists that are copied from record to record; the other sections were written for this admission.
_CARRIED_OVER = ("past_medical_history", "medications_on_admission")
_DISEASES = ("phenotype", "disease")
_CUTS = re.compile(r"[;.]\s")  # characters that would end a clause of the rationale


@dataclass(frozen=True)
class NoteEvidence:
    """A phrase of the note that affirms or denies a concept, now or in the past: ``text[start:end]`` of the section."""

    concept: str
    section: str
    start: int
    end: int
    phrase: str
    past: bool
    denied: bool = False

    @property
    def kind(self) -> Kind:
        """The kind of phrase."""
        named = self.concept.partition(":")[0]
        if named == "drug" or named == "circumstance":
            return named
        return "past" if self.past else "sign"

    def as_json(self) -> dict[str, object]:
        """The position of the phrase, without its text."""
        return {"concept": self.concept, "section": self.section, "start": self.start, "end": self.end}


@dataclass(frozen=True)
class NoteReading:
    """What a note says of the patient.

    Attributes:
        evidence: concepts that it affirms or records as history, one per concept and standing, in reading order.
        denials: symptoms and findings that it denies and nowhere affirms, one per concept, in reading order.
    """

    evidence: list[NoteEvidence]
    denials: list[NoteEvidence]


def read_note(sections: Iterable[tuple[str, str]], linker: Linker, graph: ConceptGraph) -> NoteReading:
    """What a note affirms and denies.

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
    present = [(section, text) for section, text in sections if section not in SKIPPED_SECTIONS]
    mentions = list(note_mentions(present, linker))
    return NoteReading(_affirmed(mentions, linker, graph), _denied(mentions, linker, graph))


def gather(sections: Iterable[tuple[str, str]], linker: Linker, graph: ConceptGraph) -> list[NoteEvidence]:
    """What a note affirms, without its denials: see :func:`read_note`."""
    return read_note(sections, linker, graph).evidence


def _affirmed(mentions: list[NoteMention], linker: Linker, graph: ConceptGraph) -> list[NoteEvidence]:
    affirmed: dict[tuple[str, bool], list[tuple[int, NoteMention]]] = {}
    denied: dict[tuple[str, bool], int] = {}  # where the last denial of a concept is, in a copied list or elsewhere
    for position, one in enumerate(mentions):
        concept = one.mention.concept
        if one.standing == "denied":
            denied[concept, one.section in _CARRIED_OVER] = position
        elif one.standing == "affirmed":
            affirmed.setdefault((concept, _is_past(one.mention)), []).append((position, one))
    outcome: list[NoteEvidence] = []
    for (concept, past), places in affirmed.items():
        holds = (one for position, one in places if past or not _outweighed(one, position, denied))
        if (first := next(holds, None)) is not None:
            phrase = _phrase(first.text, first.mention, linker, graph)
            span = first.mention.start, first.mention.end
            outcome.append(NoteEvidence(concept, first.section, *span, phrase, past))
    return outcome


def _denied(mentions: list[NoteMention], linker: Linker, graph: ConceptGraph) -> list[NoteEvidence]:
    denied: dict[str, NoteEvidence] = {}
    affirmed: set[str] = set()
    for _, section, text, mention in mentions:
        if mention.concept.partition(":")[0] not in ("symptom", "finding"):
            continue
        if not mention.negated:
            affirmed.add(mention.concept)
        elif mention.concept not in denied:
            phrase = _phrase(text, mention, linker, graph)
            if [one.negated for one in linker.link(f"no {phrase}")] == [True]:
                span = mention.start, mention.end
                denied[mention.concept] = NoteEvidence(mention.concept, section, *span, phrase, past=False, denied=True)
    return [item for concept, item in denied.items() if concept not in affirmed]


def signs(evidence: Iterable[NoteEvidence]) -> list[NoteEvidence]:
    """Present symptoms and findings."""
    return [item for item in evidence if item.concept.split(":")[0] in ("symptom", "finding") and not item.past]


def _outweighed(one: NoteMention, position: int, denied: Mapping[tuple[str, bool], int]) -> bool:
    """Whether a denial outweighs this mention: it is in a section of more weight, or comes later."""
    carried_over, concept = one.section in _CARRIED_OVER, one.mention.concept
    if carried_over and (concept, False) in denied:
        return True
    return concept.split(":")[0] in _DISEASES and denied.get((concept, carried_over), -1) > position


def _phrase(text: str, mention: Mention, linker: Linker, graph: ConceptGraph) -> str:
    """The words of the note, or the concept's name where they cannot stand alone: the "n" of "n/v"."""
    if mention.value is not None:
        return age_phrase(mention.value)
    if mention.concept.startswith("circumstance:"):
        return graph.name(mention.concept)
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
