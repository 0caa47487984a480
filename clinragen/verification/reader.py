"""Read claims about the series from text, by rules. Wording may vary; what is not understood makes no claim.

A sentence becomes a sequence of cues: heads (variables, and terms such as hypotension), states, trends, numbers, times,
frequencies, separators (``times``, ``amounts``, ``figures``, ``cue_phrases``, ``separators``). ``heads`` decides
which names count, ``sharing`` assigns cues to heads, ``assembly`` builds the claims of a head and its cues.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import replace

from clinragen.knowledge.graph import ConceptGraph
from clinragen.verification import amounts, figures, heads, separators, sharing, times
from clinragen.verification.claims import SeriesClaim
from clinragen.verification.cue_phrases import CuePhrases
from clinragen.verification.masked import Cue, Masked
from clinragen.verification.sentences import sentences, squeezed


class SeriesReader:
    """Reads series claims with the names of a concept graph. Building one takes some tenths of a second; reuse it."""

    def __init__(self, graph: ConceptGraph) -> None:
        self._phrases = CuePhrases(graph)

    def read(self, text: str, diagnoses: Sequence[tuple[int, int]] = ()) -> list[SeriesClaim]:
        """Claims in reading order. Any text is read, in time proportional to its length.

        Args:
            text: a rationale of any form and length.
            diagnoses: spans in which a diagnosis is named; a term inside a concluded diagnosis is no claim.
        """
        plain, places = squeezed(text)
        spans = sorted((bisect_left(places, start), bisect_left(places, end)) for start, end in diagnoses)
        claims: list[SeriesClaim] = []
        for start, end in sentences(plain):
            beginning = spans[bisect_left(spans, (start, 0)) : bisect_left(spans, (end, 0))]
            inside = [(a - start, b - start) for a, b in beginning if b <= end]
            for claim in self._sentence(plain[start:end], inside):
                claims.append(replace(claim, start=places[start + claim.start], end=places[start + claim.end - 1] + 1))
        return sorted(claims, key=lambda claim: (claim.start, claim.end))

    def _sentence(self, text: str, diagnoses: Sequence[tuple[int, int]]) -> Iterator[SeriesClaim]:
        named = [cue for cue in self._cues(text) if cue.kind != "sep" or not _inside(cue, diagnoses)]
        cues = heads.without_strangers(text, named)
        for group in sharing.groups(text, heads.settled(text, cues, diagnoses)):
            yield from sharing.claims(text, group)

    def _cues(self, text: str) -> list[Cue]:
        """Every cue of a sentence, in reading order."""
        sentence = Masked(text)
        amounts.find_counts(sentence)
        times.find(sentence)
        amounts.find_changes(sentence)
        figures.find(sentence)
        phrases = list(self._phrases.scan(sentence.text))
        parting = separators.find(sentence.text, phrases)
        return sorted([*sentence.cues, *phrases, *parting], key=lambda cue: (cue.start, cue.end))


def _inside(cue: Cue, spans: Sequence[tuple[int, int]]) -> bool:
    """Whether a cue lies in one of the ascending spans: the "with" of "diabetes with complications" parts nothing."""
    position = bisect_right(spans, cue.start, key=lambda span: span[0]) - 1
    return position >= 0 and cue.end <= spans[position][1]
