"""Note claims and affirmed diagnoses of a rationale, checked against the note and the labels of the stay."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from clinragen.chart.note_mentions import note_mentions
from clinragen.knowledge.ages import age_mentions
from clinragen.knowledge.graph import ConceptGraph
from clinragen.knowledge.linker import Linker, Mention
from clinragen.verification.arguments import way_of
from clinragen.verification.claims import NoteClaim, NotePassage, Verdict

#: concept, or an age -> where a note mentions it, and how: affirmed, negated, historical, family or hypothetical.
Mentioned = dict[str, list[tuple[str, NotePassage]]]
_AGE = "age="  # key of an age in what a note mentions
_PRESENT = frozenset(("affirmed", "historical"))


class NoteReader:
    """Reads notes, and the note claims of rationales, with the names of a concept graph."""

    def __init__(self, graph: ConceptGraph) -> None:
        self._graph = graph
        self._linker = Linker(graph)

    def note(self, sections: Iterable[tuple[str, str]]) -> Mentioned:
        """The mentions of each concept in a note, over all its (section, text) pairs."""
        mentions: Mentioned = {}
        for index, section, text, mention in note_mentions(sections, self._linker):
            passage = NotePassage(index, section, *_trimmed(text, mention.sentence))
            mentions.setdefault(_key(mention.concept, mention.value), []).append((mention.context, passage))
        return mentions

    def mentions(self, text: str) -> list[Mention]:
        """Every concept that a rationale names."""
        ages = age_mentions(text, self._linker.circumstances)
        return sorted([*self._linker.link(text), *ages], key=lambda mention: mention.start)

    def claims(self, text: str, mentions: list[Mention] | None = None) -> list[NoteClaim]:
        """Findings that a rationale gives as grounds, and the diagnoses that it affirms, denies or argues against, in
        reading order."""
        claims: list[NoteClaim] = []
        for mention in self.mentions(text) if mentions is None else mentions:
            way = way_of(text, mention.start)
            if way is None and mention.context not in ("family", "hypothetical"):
                span = mention.start, mention.end, mention.negated
                claims.append(NoteClaim(mention.concept, *span, "finding", mention.value))
            diagnosed = mention.concept.startswith("phenotype:") and (way or self._named(text, mention))
            if diagnosed and mention.context in (*_PRESENT, "negated"):
                kind = "rebuttal" if way == "against" else "diagnosis"
                negated = mention.negated and kind == "diagnosis"  # "against" denies nothing
                claims.append(NoteClaim(mention.concept, mention.start, mention.end, negated, kind))
        return sorted(claims, key=lambda claim: (claim.start, claim.kind))

    def against_note(self, claim: NoteClaim, mentioned: Mentioned) -> tuple[Verdict, tuple[NotePassage, ...]]:
        """Whether the note mentions the concept, or a narrower one, with the same negation, and where.

        A denied diagnosis is supported by a note that does not affirm it as present, or that denies it in one place
        and affirms it in another.
        """
        if claim.value is not None:
            return _against_age(claim, mentioned)
        of_concept, narrower = mentioned.get(claim.concept, []), []
        if claim.concept in self._graph.graph:  # HFrEF in the note is heart failure
            narrower = [mentioned.get(link.node, []) for link in self._graph.into(claim.concept, ("is_a",))]
        here = [*of_concept, *(row for rows in narrower for row in rows if row[0] in _PRESENT)]
        present = tuple(dict.fromkeys(passage for context, passage in here if context in _PRESENT))
        denied = tuple(dict.fromkeys(passage for context, passage in here if context == "negated"))
        alike, opposite = (denied, present) if claim.negated else (present, denied)
        if claim.kind == "diagnosis":  # an old stroke does not contradict "the notes do not show a stroke"
            held = [rows for rows in [of_concept, *narrower] if not any(context == "negated" for context, _ in rows)]
            opposite = tuple(dict.fromkeys(p for rows in held for context, p in rows if context == "affirmed"))
            return (Verdict.CONTRADICTED, opposite) if opposite and not alike else (Verdict.SUPPORTED, alike)
        if alike:
            return Verdict.SUPPORTED, alike
        return (Verdict.CONTRADICTED, opposite) if opposite else (Verdict.NOT_IN_CHART, ())

    def _named(self, text: str, mention: Mention) -> bool:
        """Whether a phenotype is mentioned by its exact name."""
        return text[mention.start : mention.end].casefold() == self._graph.name(mention.concept).casefold()


def _key(concept: str, value: int | None) -> str:
    """What a mention is kept under: an age by its number of years."""
    return concept if value is None else f"{_AGE}{value}"


def _against_age(claim: NoteClaim, mentioned: Mentioned) -> tuple[Verdict, tuple[NotePassage, ...]]:
    """Whether the note gives the patient this age, to the year, and where it gives one."""
    ages = {key: tuple(passage for _, passage in rows) for key, rows in mentioned.items() if key.startswith(_AGE)}
    alike = ages.get(_key(claim.concept, claim.value))
    if alike:
        return Verdict.SUPPORTED, alike
    other = next(iter(ages.values()), ())
    return (Verdict.CONTRADICTED if other else Verdict.NOT_IN_CHART), other


def against_labels(claim: NoteClaim, diagnoses: Collection[str]) -> Verdict:
    """Whether an affirmed phenotype is among the diagnoses of the stay."""
    diagnosed = claim.concept.removeprefix("phenotype:") in diagnoses
    return Verdict.SUPPORTED if diagnosed else Verdict.CONTRADICTED


def _trimmed(text: str, span: tuple[int, int]) -> tuple[int, int]:
    """A sentence span without surrounding blanks."""
    words = text[span[0] : span[1]]
    return span[0] + len(words) - len(words.lstrip()), span[0] + len(words.rstrip())
