"""What a rationale says of the note, and which diagnoses it affirms, against the note and the labels of the stay."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from clinragen.catalog import phenotypes
from clinragen.knowledge.graph import ConceptGraph
from clinragen.verify.claims import ClaimReader, Verdict


@dataclass(frozen=True)
class NoteClaim:
    """A concept that the text affirms or denies: ``text[start:end]``. ``kind``: finding (of the note) or diagnosis."""

    concept: str
    start: int
    end: int
    negated: bool
    kind: str


def verify(
    text: str,
    sections: Iterable[tuple[str, str]],
    diagnoses: Collection[str],
    reader: ClaimReader,
    graph: ConceptGraph,
) -> list[tuple[NoteClaim, Verdict]]:
    """Every claim about the note and every diagnosis named in a text, with its verdict, in reading order.

    A diagnosis that the text says the notes do not show is supported where the note does not affirm it.

    Args:
        sections: (section, text) pairs of the note.
        diagnoses: phenotype keys that may be affirmed.
    """
    mentioned = reader.note(sections)
    checked: list[tuple[NoteClaim, Verdict]] = []
    for mention in reader.concepts(text):
        claim = NoteClaim(mention.concept, mention.start, mention.end, mention.negated, "finding")
        checked.append((claim, against_note(claim, mentioned, graph)))
    for mention in reader.diagnoses(text):
        claim = NoteClaim(mention.concept, mention.start, mention.end, mention.negated, "diagnosis")
        if mention.negated:
            absent = against_note(claim, mentioned, graph) != Verdict.CONTRADICTED
            checked.append((claim, Verdict.SUPPORTED if absent else Verdict.CONTRADICTED))
        elif mention.context in ("affirmed", "historical"):
            checked.append((claim, against_labels(claim, diagnoses)))
    return sorted(checked, key=lambda pair: (pair[0].start, pair[0].kind))


def against_note(claim: NoteClaim, mentioned: dict[str, set[str]], graph: ConceptGraph) -> Verdict:
    """Whether the note mentions the concept, or a narrower one, with the same negation."""
    present = {"affirmed", "historical"}
    contexts = set(mentioned.get(claim.concept, ()))
    if claim.concept in graph.graph:
        for link in graph.into(claim.concept, ("is_a",)):
            contexts |= mentioned.get(link.node, set()) & present  # HFrEF in the note is heart failure
    if not contexts:
        return Verdict.NOT_IN_CHART
    wanted, opposite = ({"negated"}, present) if claim.negated else (present, {"negated"})
    if contexts & wanted:
        return Verdict.SUPPORTED
    return Verdict.CONTRADICTED if contexts & opposite else Verdict.NOT_IN_CHART


def against_labels(claim: NoteClaim, diagnoses: Collection[str]) -> Verdict:
    """Whether an affirmed phenotype is among the diagnoses of the stay."""
    key = claim.concept.removeprefix("phenotype:")
    assert key in phenotypes()  # the graph holds no other phenotypes
    return Verdict.SUPPORTED if key in diagnoses else Verdict.CONTRADICTED
