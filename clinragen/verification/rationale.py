"""Check a rationale against the chart: claims with verdicts and evidence. Used by teachers, evaluation and report."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from clinragen.chart.measurements import SeriesChart
from clinragen.choices import RationaleKind
from clinragen.knowledge.graph import ConceptGraph
from clinragen.verification import notes, series
from clinragen.verification.claims import Checked, Verdict
from clinragen.verification.reader import SeriesReader
from clinragen.verification.rebuttals import REBUTTAL, judged


class Verifier:
    """Checks rationales with the names of a concept graph. Building one takes some tenths of a second; reuse it."""

    def __init__(self, graph: ConceptGraph) -> None:
        self._graph = graph
        self._notes = notes.NoteReader(graph)
        self._series = SeriesReader(graph)

    def check(
        self,
        text: str,
        kind: RationaleKind,
        sections: Iterable[tuple[str, str]],
        chart: SeriesChart,
        diagnoses: Collection[str],
    ) -> list[Checked]:
        """Claims in reading order. ``grounds.with_absences`` adds statements of absence.

        Args:
            text: the rationale.
            kind: ``note``: findings are checked against the note, diagnoses against note and labels; ``series``:
                statements about variables are checked against the chart, affirmed diagnoses against the labels.
            sections: (section, text) pairs of the note; read for ``note`` only.
            chart: the measurements of the stay; read for ``series`` only.
            diagnoses: phenotype keys that may be affirmed.
        """
        claims = self._of_note(text, sections, diagnoses) if kind == "note" else self._of_series(text, chart, diagnoses)
        return sorted(judged(text, claims, self._graph), key=lambda claim: (claim.start, claim.end, claim.kind))

    def _of_note(self, text: str, sections: Iterable[tuple[str, str]], diagnoses: Collection[str]) -> list[Checked]:
        mentioned = self._notes.note(sections)
        checked = []
        for claim in self._notes.claims(text):
            if claim.kind == REBUTTAL:
                verdict, places = Verdict.NOT_IN_CHART, ()  # judged by what its clause states
            elif claim.kind == "diagnosis" and not claim.negated:
                verdict, places = notes.against_labels(claim, diagnoses), ()
            else:
                verdict, places = self._notes.against_note(claim, mentioned)
            absence = claim.kind == "diagnosis" and claim.negated  # a statement that nothing supports it
            span = (claim.start, claim.end, claim.kind, claim.concept)
            checked.append(Checked(*span, verdict, claim.negated, places=places, absence=absence))
        return checked

    def _of_series(self, text: str, chart: SeriesChart, diagnoses: Collection[str]) -> list[Checked]:
        checked = []
        mentions = self._notes.mentions(text)
        for claim in self._notes.claims(text, mentions):
            if claim.kind not in ("diagnosis", REBUTTAL):
                continue
            span = (claim.start, claim.end, claim.kind, claim.concept)
            if claim.kind == REBUTTAL:
                checked.append(Checked(*span, Verdict.NOT_IN_CHART))  # judged by what its clause states
            elif claim.negated:  # "no value points to shock": measurements cannot refute it
                checked.append(Checked(*span, Verdict.SUPPORTED, negated=True, absence=True))
            else:
                checked.append(Checked(*span, notes.against_labels(claim, diagnoses)))
        named = [(m.start, m.end) for m in mentions if m.concept.split(":")[0] in ("phenotype", "disease")]
        for read in self._series.read(text, named):
            verdict = series.check(read, chart)
            measured = tuple(series.telling(read, chart)) if verdict != Verdict.NOT_IN_CHART else ()
            absence = read.denies_all  # a denied sign is a claim: "no fever"
            span = (read.start, read.end, "series", ",".join(read.variables))
            checked.append(Checked(*span, verdict, read.negated, measured, absence=absence))
        return checked
