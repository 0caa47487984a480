"""R_m: which words of the note speak for each diagnosis, by the concept graph, and which diagnoses it leaves open."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from clinragen.catalog import phenotypes
from clinragen.knowledge.graph import ConceptGraph
from clinragen.knowledge.linker import Linker, Mention
from clinragen.teacher.wording import Wording, listed, words

OPENING = "Based on the medical notes"
MOST_WORDS = 100
#: Below this strength the note is said not to support the diagnosis.
SUPPORTS = 0.35
# An acute disease in the history is weak evidence that it is present now.
_PAST_ACUTE = 0.3
_LINKS = (("points to", "point to"), ("supports", "support"), ("suggests", "suggest"), ("indicates", "indicate"))
_RECORDED = "the recorded diagnosis"
_SKIPPED_SECTIONS = ("allergies", "social_history", "family_history")


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


def gather(sections: Iterable[tuple[str, str]], linker: Linker) -> list[Evidence]:
    """Concepts that the note affirms or records as history, one per concept and standing, in reading order.

    Args:
        sections: (section, text) pairs.
    """
    found: dict[tuple[str, bool], Evidence] = {}
    denied: set[str] = set()
    for section, text in sections:
        if section in _SKIPPED_SECTIONS:
            continue
        for mention in linker.link(text, section):
            if mention.negated:
                denied.add(mention.concept)
            elif mention.context in ("affirmed", "historical"):
                past = _is_past(mention)
                phrase = " ".join(text[mention.start : mention.end].split())
                drug = mention.concept.startswith("drug:")
                phrase = phrase.lower() if drug else _lower(phrase)
                evidence = Evidence(mention.concept, section, mention.start, mention.end, phrase, past)
                found.setdefault((mention.concept, past), evidence)
    return [item for item in found.values() if item.past or item.concept not in denied]


def compose(
    evidence: list[Evidence], noted: bool, diagnoses: list[str], graph: ConceptGraph, wording: Wording
) -> tuple[str, list[Evidence]]:
    """The rationale and the phrases that it uses.

    Args:
        evidence: from ``gather``; ``noted`` tells a silent note from no note at all.
        diagnoses: gold phenotype keys.
    """
    if not diagnoses:
        return _nothing_diagnosed(evidence, noted, graph, wording)
    if not noted:
        names = listed([phenotypes()[key].name for key in diagnoses], "or")
        text = f"{OPENING}, nothing can be said about {names}, as no note is available."
        if words(text) > MOST_WORDS:
            text = f"{OPENING}, nothing can be said about the {len(diagnoses)} diagnoses, as no note is available."
        return text, []
    # the exact name of a label that the stay does not carry would read as a diagnosis
    others = {phenotypes()[key].name for key in phenotypes() if key not in diagnoses}
    evidence = [item for item in evidence if item.phrase not in others]
    ranked = {key: _ranked(evidence, key, graph) for key in diagnoses}
    supported = sorted((key for key in diagnoses if ranked[key]), key=lambda key: (-ranked[key][0][0], key))
    silent = [key for key in diagnoses if not ranked[key]]
    link = wording.pick(_LINKS)
    closing = wording.pick(
        ("the notes do not show", "the notes alone do not support", "nothing in the notes points to")
    )
    for most, share in ((3, 1.0), (2, 1.0), (1, 1.0), (1, 0.7), (1, 0.5), (1, 0.3)):
        kept = supported[: max(1, round(len(supported) * share))]
        clauses, used = _clauses(kept, ranked, most, link)
        text = _assemble(clauses, silent, closing)
        if words(text) <= MOST_WORDS:
            return text, used
    return _assemble(clauses, [], closing), used


def _is_past(mention: Mention) -> bool:
    return mention.context == "historical" and mention.concept.split(":")[0] in ("phenotype", "disease", "procedure")


def _ranked(evidence: list[Evidence], key: str, graph: ConceptGraph) -> list[tuple[float, Evidence]]:
    ties = graph.evidence[key]
    acute = phenotypes()[key].kind == "acute"
    ranked: list[tuple[float, Evidence]] = []
    for item in evidence:
        strength = ties.get(item.concept, (0.0, ""))[0]
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
        name = phenotypes()[key].name
        parts = _parts(items, name)
        if parts == [_RECORDED]:
            clauses.append(f"{'a history of ' if items[0].past else ''}{name} is recorded")
        else:
            clauses.append(f"{listed(parts)} {link[0] if len(parts) == 1 else link[1]} {name}")
    return clauses, used


def _varied(items: list[Evidence]) -> list[Evidence]:
    """The strongest sign, piece of history and drug first, then the rest."""
    kinds = {("drug" if item.concept.startswith("drug:") else item.past): item for item in reversed(items)}
    first = [item for item in items if item in kinds.values()]
    return first + [item for item in items if item not in first]


def _parts(items: list[Evidence], name: str) -> list[str]:
    """Phrases as grounds for a diagnosis; its own name is no ground but a record of it."""
    recorded = [_RECORDED] if any(item.phrase == name for item in items) else []
    items = [item for item in items if item.phrase != name]
    present = [item.phrase for item in items if not item.past and not item.concept.startswith("drug:")]
    past = [item.phrase for item in items if item.past]
    drugs = [item.phrase for item in items if item.concept.startswith("drug:")]
    parts = [*present]
    if past:
        parts.append(f"a history of {listed(past)}")
    if drugs:
        parts.append(f"treatment with {listed(drugs)}")
    return parts + recorded


def _assemble(clauses: list[str], silent: list[str], closing: str) -> str:
    text = f"{OPENING}, {'; '.join(clauses)}" if clauses else OPENING
    if silent:
        names = listed([phenotypes()[key].name for key in silent], "or")
        phrase = closing if clauses else "no finding supports"
        full = f"{text}{'; ' if clauses else ', '}{phrase} {names}"
        if words(full) > MOST_WORDS and len(silent) > 2:
            names = f"{listed([phenotypes()[key].name for key in silent[:1]])} and {len(silent) - 1} other diagnoses"
            full = f"{text}{'; ' if clauses else ', '}{phrase} {names}"
        text = full
    return f"{text}."


def _nothing_diagnosed(
    evidence: list[Evidence], noted: bool, graph: ConceptGraph, wording: Wording
) -> tuple[str, list[Evidence]]:
    if not noted:
        return f"{OPENING}, no disease was diagnosed; no note is available.", []
    told = [item for item in evidence if item.concept.split(":")[0] in ("symptom", "finding") and not item.past][:2]
    if not told:
        return f"{OPENING}, no disease was diagnosed.", []
    link = wording.pick(("although the patient had", "despite", "although the notes mention"))
    return f"{OPENING}, no disease was diagnosed, {link} {listed([item.phrase for item in told])}.", told


def _lower(phrase: str) -> str:
    """Lower case, except for words that carry capitals inside, such as COPD or NSTEMI; a whole phrase of capitals not.

    >>> _lower("CHF"), _lower("Acute MI"), _lower("CHEST PAIN")
    ('CHF', 'acute MI', 'chest pain')
    """
    if phrase.isupper() and (" " in phrase or len(phrase) > 6):
        return phrase.lower()
    return " ".join(word if sum(letter.isupper() for letter in word) > 1 else word.lower() for word in phrase.split())
