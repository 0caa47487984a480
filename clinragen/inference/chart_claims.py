"""The claims of texts about the stays of a dataset, each checked against the chart of its stay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from clinragen.chart.measurements import SeriesChart, cells_by_stay, measurements
from clinragen.choices import INPUTS, RationaleKind
from clinragen.cohort.sections import sections_by_stay
from clinragen.data.dataset import StayDataset
from clinragen.knowledge.graph import ConceptGraph
from clinragen.verification.claims import ABSENCE, Checked, Verdict
from clinragen.verification.grounds import with_absences
from clinragen.verification.rationale import Verifier


class ChartClaims:
    """Checks rationales of the stays of a dataset.

    Args:
        dataset: the stays.
        graph: by which claims are read.
        series: the measurements that they are checked against; by default all of the cohort's.
    """

    def __init__(self, dataset: StayDataset, graph: ConceptGraph, series: pl.DataFrame | None = None) -> None:
        cohort, ids = dataset.cohort, dataset.stay_ids.tolist()
        self._verifier = Verifier(graph)
        series = cohort.series if series is None else series
        cells = cells_by_stay(series.filter(series["stay_id"].is_in(ids)))
        notes = cohort.notes.filter(cohort.notes["stay_id"].is_in(ids))
        self._sections = sections_by_stay(notes, labels=cohort.label_set, layout=True)
        self._charts: dict[int, SeriesChart] = {stay: measurements(cells.get(stay, {})) for stay in ids}

    def of(self, text: str, kind: RationaleKind, stay: int, listed: Sequence[str]) -> list[Checked]:
        """The claims of a rationale of a stay, beside which these diagnoses are listed."""
        claims = self._verifier.check(text, kind, self._sections.get(stay, []), self._charts[stay], listed)
        return with_absences(text, claims)

    def supported_share(self, texts: Mapping[str, str], stay: int, listed: Sequence[str]) -> float:
        """The share of claims that the chart supports, statements of absence aside; 0 for texts that claim nothing."""
        claims = [claim for kind in INPUTS for claim in self.of(texts.get(kind, ""), kind, stay, listed)]
        verdicts = [claim.verdict for claim in claims if claim.standing != ABSENCE]
        return sum(verdict == Verdict.SUPPORTED for verdict in verdicts) / max(1, len(verdicts))
