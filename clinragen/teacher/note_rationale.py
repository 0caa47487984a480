"""R_m: which words of the note speak for each diagnosis, by the concept graph, and which diagnoses it leaves open."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from clinragen.catalog import phenotypes
from clinragen.knowledge.graph import ConceptGraph
from clinragen.knowledge.linker import Linker, Mention
from clinragen.teacher.wording import Wording, listed, words

OPENING = "Based on the medical notes"
MOST_WORDS = 100
#: Below this strength the note is said not to support the diagnosis.
SUPPORTS = 0.35
MOST_GROUNDS = 3  # of one diagnosis
MOST_SIGNS = 2  # named where nothing was diagnosed
# An acute disease in the history is weak evidence that it is present now.
_PAST_ACUTE = 0.3
#: Of one ground, of several.
LINKS = (("points to", "point to"), ("supports", "support"), ("suggests", "suggest"), ("indicates", "indicate"))
#: Before diagnoses that nothing in the note speaks for: after other clauses, and alone.
CLOSINGS = ("the notes do not show", "the notes alone do not support", "nothing in the notes points to")
NO_FINDING = "no finding supports"
NO_DISEASE = "no disease was diagnosed"
ALTHOUGH = ("although the patient had", "despite", "although the notes mention")
#: How phrases are told, in the order of a clause.
KINDS = ("sign", "past", "drug")
_RECORDED = "the recorded diagnosis"
_SKIPPED_SECTIONS = ("allergies", "social_history", "family_history")
#: Lists that pass from record to record; the other sections were written for this admission.
_CARRIED_OVER = ("past_medical_history", "medications_on_admission")
_DISEASES = ("phenotype", "disease")
_CUTS = re.compile(r"[;.]\s")  # would end a clause of the rationale


@dataclass(frozen=True)
class Evidence:
    """A phrase of the note that speaks for a diagnosis: ``text[start:end]`` of the section."""

    concept: str
    section: str
    start: int
    end: int
    phrase: str
    past: bool

    def as_json(self) -> dict[str, object]:
        """Where the phrase stands; the words themselves stay in the note."""
        return {"concept": self.concept, "section": self.section, "start": self.start, "end": self.end}


def gather(sections: Iterable[tuple[str, str]], linker: Linker, graph: ConceptGraph) -> list[Evidence]:
    """Concepts that the note affirms or records as history, one per concept and standing, in reading order.

    What a note says of a concept in one place and denies in another, counts by two rules. A denial in what was written
    for this admission outweighs a list carried over from earlier records; the reverse does not hold. Of places of equal
    weight any that affirms counts for what happens at a time, a symptom, sign, drug or procedure ("no chest pain on
    arrival, ... developed chest pain overnight"); for a disease, which is a judgement, the last word does ("thought to
    be pneumonia, ... pneumonia was ruled out"). An entry of the past stands beside either.

    Args:
        sections: (section, text) pairs in reading order.
    """
    found: dict[tuple[str, bool], list[tuple[int, Evidence]]] = {}
    denied: dict[str, list[tuple[bool, int]]] = {}
    for place, (section, text, mention) in enumerate(_mentions(sections, linker)):
        if mention.negated:
            denied.setdefault(mention.concept, []).append((section in _CARRIED_OVER, place))
        elif mention.context in ("affirmed", "historical"):
            past = _is_past(mention)
            phrase = _phrase(text, mention, linker, graph)
            evidence = Evidence(mention.concept, section, mention.start, mention.end, phrase, past)
            found.setdefault((mention.concept, past), []).append((place, evidence))
    told: list[Evidence] = []
    for (concept, past), stated in found.items():
        denials = denied.get(concept, ())
        told += [item for place, item in stated if past or not _outweighed(item, place, denials)][:1]
    return told


def _mentions(sections: Iterable[tuple[str, str]], linker: Linker) -> Iterator[tuple[str, str, Mention]]:
    """Every mention in the sections that speak of the patient's own condition."""
    for section, text in sections:
        if section not in _SKIPPED_SECTIONS:
            yield from ((section, text, mention) for mention in linker.link(text, section))


def _outweighed(item: Evidence, place: int, denials: Iterable[tuple[bool, int]]) -> bool:
    """Whether a denial counts for more than this mention. ``denials``: (in a list carried over, place in the note)."""
    carried = item.section in _CARRIED_OVER
    judged = item.concept.split(":")[0] in _DISEASES
    return any(
        carried if listed != carried else judged and there > place  # a weightier section, or the last word
        for listed, there in denials
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


def compose(
    evidence: list[Evidence], noted: bool, diagnoses: list[str], graph: ConceptGraph, wording: Wording
) -> tuple[str, list[Evidence]]:
    """The rationale and the phrases that it uses.

    Args:
        evidence: from ``gather``; ``noted`` tells a silent note from no note at all.
        diagnoses: gold phenotype keys.
    """
    if not diagnoses:
        return _nothing_diagnosed(evidence, noted, wording)
    if not noted:
        return next(text for text in without_note(diagnoses) if words(text) <= MOST_WORDS), []
    ranked = grounds(evidence, diagnoses, graph)
    supported = sorted((key for key in diagnoses if ranked[key]), key=lambda key: (-ranked[key][0][0], key))
    silent = [key for key in diagnoses if not ranked[key]]
    link = wording.pick(LINKS)
    closing = wording.pick(CLOSINGS)
    for most, share in ((MOST_GROUNDS, 1.0), (2, 1.0), (1, 1.0), (1, 0.7), (1, 0.5), (1, 0.3)):
        kept = supported[: max(1, round(len(supported) * share))]
        clauses, used = _clauses(kept, ranked, most, link)
        text = _assemble(clauses, silent, closing)
        if words(text) <= MOST_WORDS:
            return text, used
    return _assemble(clauses, [], closing), used


def grounds(
    evidence: list[Evidence], diagnoses: Collection[str], graph: ConceptGraph
) -> dict[str, list[tuple[float, Evidence]]]:
    """What speaks for each diagnosis by the graph, with its strength, the strongest first; each phrase once."""
    # the exact name of a label that the stay does not carry would read as a diagnosis
    others = {phenotypes()[key].name for key in phenotypes() if key not in diagnoses}
    evidence = [item for item in evidence if item.phrase not in others]
    return {key: _ranked(evidence, key, graph) for key in diagnoses}


def kind(item: Evidence) -> str:
    """How a phrase is told: sign, past or drug."""
    return "drug" if item.concept.startswith("drug:") else "past" if item.past else "sign"


def clause(items: Sequence[Evidence], name: str, link: tuple[str, str]) -> str:
    """What speaks for the diagnosis of this name; its own name is no ground but a record of it."""
    told = {each: [item.phrase for item in items if kind(item) == each and item.phrase != name] for each in KINDS}
    parts = [*told["sign"]]
    if told["past"]:
        parts.append(f"a history of {listed(told['past'])}")
    if told["drug"]:
        parts.append(f"treatment with {listed(told['drug'])}")
    if not parts:
        return f"{'a history of ' if items[0].past else ''}{name} is recorded"
    if any(item.phrase == name for item in items):
        parts.append(_RECORDED)
    return f"{listed(parts)} {link[0] if len(parts) == 1 else link[1]} {name}"


def unsupported(diagnoses: Sequence[str]) -> list[str]:
    """The names of diagnoses that nothing speaks for: all of them, then shorter."""
    names = [phenotypes()[key].name for key in diagnoses]
    short = [f"{names[0]} and {len(names) - 1} other diagnoses"] if len(names) > 2 else []
    return [listed(names, "or"), *short]


def without_note(diagnoses: Sequence[str]) -> list[str]:
    """What is said of diagnoses, or of none, where there is no note: in full, then shorter."""
    if not diagnoses:
        return [f"{OPENING}, {NO_DISEASE}; no note is available."]
    names = listed([phenotypes()[key].name for key in diagnoses], "or")
    return [
        f"{OPENING}, nothing can be said about {of}, as no note is available."
        for of in (names, f"the {len(diagnoses)} diagnoses")
    ]


def undiagnosed(signs: Sequence[Evidence], link: str) -> str:
    """What is said where nothing was diagnosed, in spite of the signs."""
    told = listed([item.phrase for item in signs])
    return f"{OPENING}, {NO_DISEASE}{f', {link} {told}' if told else ''}."


def signs(evidence: Iterable[Evidence]) -> list[Evidence]:
    """Present symptoms and findings."""
    return [item for item in evidence if item.concept.split(":")[0] in ("symptom", "finding") and not item.past]


def _is_past(mention: Mention) -> bool:
    return mention.context == "historical" and mention.concept.split(":")[0] in (*_DISEASES, "procedure")


def _ranked(evidence: list[Evidence], key: str, graph: ConceptGraph) -> list[tuple[float, Evidence]]:
    acute = phenotypes()[key].kind == "acute"
    ranked: list[tuple[float, Evidence]] = []
    for item in evidence:
        strength = graph.strength(item.concept, key)
        if item.past and acute and not item.concept.startswith("procedure:"):
            strength *= _PAST_ACUTE
        if strength >= SUPPORTS:
            ranked.append((strength, item))
    ranked.sort(key=lambda pair: -pair[0])  # stable: reading order among equals
    distinct: dict[str, tuple[float, Evidence]] = {}
    for strength, item in ranked:
        distinct.setdefault(item.phrase, (strength, item))
    return list(distinct.values())


def _clauses(
    keys: list[str], ranked: dict[str, list[tuple[float, Evidence]]], most: int, link: tuple[str, str]
) -> tuple[list[str], list[Evidence]]:
    clauses: list[str] = []
    used: list[Evidence] = []
    for key in keys:
        items = [item for _, item in ranked[key]]
        fresh = [item for item in items if item not in used]
        items = _varied(fresh or items)[:most]
        used += [item for item in items if item not in used]
        clauses.append(clause(items, phenotypes()[key].name, link))
    return clauses, used


def _varied(items: list[Evidence]) -> list[Evidence]:
    """The strongest sign, piece of history and drug first, then the rest."""
    kinds = {kind(item): item for item in reversed(items)}
    first = [item for item in items if item in kinds.values()]
    return first + [item for item in items if item not in first]


def _assemble(clauses: list[str], silent: list[str], closing: str) -> str:
    text = f"{OPENING}, {'; '.join(clauses)}" if clauses else OPENING
    if silent:
        before = f"{text}{'; ' if clauses else ', '}{closing if clauses else NO_FINDING}"
        full = [f"{before} {names}" for names in unsupported(silent)]
        text = next((each for each in full if words(each) <= MOST_WORDS), full[-1])
    return f"{text}."


def _nothing_diagnosed(evidence: list[Evidence], noted: bool, wording: Wording) -> tuple[str, list[Evidence]]:
    if not noted:
        return without_note([])[0], []
    told = signs(evidence)[:MOST_SIGNS]
    return undiagnosed(told, wording.pick(ALTHOUGH)), told


def _lower(phrase: str) -> str:
    """Lower case, except for words that carry capitals inside, such as COPD or NSTEMI; a whole phrase of capitals not.

    >>> _lower("CHF"), _lower("Acute MI"), _lower("CHEST PAIN")
    ('CHF', 'acute MI', 'chest pain')
    """
    if phrase.isupper() and (" " in phrase or len(phrase) > 6):
        return phrase.lower()
    return " ".join(word if sum(letter.isupper() for letter in word) > 1 else word.lower() for word in phrase.split())
