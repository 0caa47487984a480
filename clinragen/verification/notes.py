"""Note claims and affirmed diagnoses of a rationale, checked against the note and the labels of the stay."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from clinragen.chart.note_mentions import note_mentions
from clinragen.knowledge.graph import ConceptGraph
from clinragen.knowledge.linker import Linker, Mention
from clinragen.verification.claims import NoteClaim, NotePassage, Verdict

#: concept -> where a note mentions it, and how: affirmed, negated, historical, family or hypothetical.
Mentioned = dict[str, list[tuple[str, NotePassage]]]
_PRESENT = frozenset(("affirmed", "historical"))
#: Words after which a clause concludes on diagnoses.
_LINKING = re.compile(
    r"\b(pointing to|points? to|supporting|supports?|consistent with|suggesting|suggests?|indicat\w+|due to|"
    r"not show|not support)\b",
    re.I,
)


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
            mentions.setdefault(mention.concept, []).append((mention.context, passage))
        return mentions

    def mentions(self, text: str) -> list[Mention]:
        """Every concept that a rationale names."""
        return self._linker.link(text)

    def claims(self, text: str, mentions: list[Mention] | None = None) -> list[NoteClaim]:
        """Findings that a rationale gives as grounds, and the diagnoses that it affirms or denies, in reading order."""
        claims: list[NoteClaim] = []
        for mention in self.mentions(text) if mentions is None else mentions:
            concludes = concluded(text, mention)
            if not concludes and mention.context not in ("family", "hypothetical"):
                claims.append(NoteClaim(mention.concept, mention.start, mention.end, mention.negated, "finding"))
            diagnosed = mention.concept.startswith("phenotype:") and (concludes or self._named(text, mention))
            if diagnosed and mention.context in (*_PRESENT, "negated"):
                claims.append(NoteClaim(mention.concept, mention.start, mention.end, mention.negated, "diagnosis"))
        return sorted(claims, key=lambda claim: (claim.start, claim.kind))

    def against_note(self, claim: NoteClaim, mentioned: Mentioned) -> tuple[Verdict, tuple[NotePassage, ...]]:
        """Whether the note mentions the concept, or a narrower one, with the same negation, and where.

        A denied diagnosis is supported by a note that does not affirm it as present, or that denies it in one place
        and affirms it in another.
        """
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


def against_labels(claim: NoteClaim, diagnoses: Collection[str]) -> Verdict:
    """Whether an affirmed phenotype is among the diagnoses of the stay."""
    diagnosed = claim.concept.removeprefix("phenotype:") in diagnoses
    return Verdict.SUPPORTED if diagnosed else Verdict.CONTRADICTED


def concluded(text: str, mention: Mention) -> bool:
    """Whether the mention is a conclusion: it stands after "pointing to" and the like in its clause."""
    clause = re.split(r"[;.]\s", text[: mention.start])[-1]
    return _LINKING.search(clause) is not None


def _trimmed(text: str, span: tuple[int, int]) -> tuple[int, int]:
    """A sentence span without surrounding blanks."""
    words = text[span[0] : span[1]]
    return span[0] + len(words) - len(words.lstrip()), span[0] + len(words.rstrip())
