"""The reasons that a language model gives, checked against the chart by the verifier of rationales."""

from __future__ import annotations

from clinragen.chart.measurements import measurements
from clinragen.knowledge.graph import ConceptGraph
from clinragen.prescription.charts import PatientChart
from clinragen.prescription.grounds import Ground
from clinragen.verification.claims import Checked, Verdict
from clinragen.verification.rationale import Verifier

_PHENOTYPE = "phenotype:"


class ReasonChecker:
    """Turns reasons into grounds. Building one takes tenths of a second; reuse it.

    Args:
        graph: has the names that reasons are read with.
        model: who gave the reasons.
    """

    def __init__(self, graph: ConceptGraph, model: str) -> None:
        self._verifier, self._model = Verifier(graph), model

    def ground(self, reason: str, chart: PatientChart) -> Ground | None:
        """A reason as a ground with its places in the chart; None where the chart does not bear it out.

        Every statement in it must hold, and at least one must have a place. A diagnosis holds if the note affirms it:
        no label of the stay is read.
        """
        if not reason or not reason.isprintable():
            return None
        affirmed = {item.concept.removeprefix(_PHENOTYPE) for item in chart.signs.note if not item.denied}
        of_note = self._verifier.check(reason, "note", chart.sections, {}, affirmed)
        of_series = self._verifier.check(reason, "series", [], measurements(chart.cells), affirmed)
        claims = [*of_note, *(claim for claim in of_series if claim.kind == "series")]
        if any(claim.verdict != Verdict.SUPPORTED for claim in claims):
            return None
        evidence = [shown for claim in claims for shown in _evidence(claim)]
        if not evidence:
            return None
        return Ground("stated", f"“{reason}”", f"words of {self._model}, which the chart bears out", tuple(evidence))


def _evidence(claim: Checked) -> list[dict[str, object]]:
    if claim.absence:
        return []
    measured: list[dict[str, object]] = [
        {"variable": variable, "hour": hour, "value": value} for variable, hour, value in claim.measured[:1]
    ]
    note: list[dict[str, object]] = [
        {"concept": claim.about, "section": passage.name, "start": passage.start, "end": passage.end}
        for passage in claim.places[:1]
    ]
    return measured + note
