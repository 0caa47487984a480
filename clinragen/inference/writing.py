"""Write the reports of a batch: held to the chart, or free: greedily, among beams, or as the best of samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from transformers import LogitsProcessorList

from clinragen.data.batch import Batch
from clinragen.data.dataset import StayDataset
from clinragen.data.evidence_pieces import StayEvidence
from clinragen.inference.chart_claims import ChartClaims
from clinragen.inference.contributions import Contributions, contributions
from clinragen.inference.decode import DecodedReport, ReportGrammar, read_report
from clinragen.inference.draws import Draws
from clinragen.inference.grounded_report import GroundedReports
from clinragen.inference.prediction import Prediction
from clinragen.model.clinragen import Output

if TYPE_CHECKING:
    from clinragen.inference.predict import TrainedModel


def grounded_sections(trained: TrainedModel, prediction: Prediction) -> list[str]:
    """The grounded sections: rationales of the modalities that the model reads."""
    if prediction.decoding == "free" or prediction.diagnoses_only:
        return []
    sections = trained.model.target_format(trained.run.sections(prediction.decoding)).sections
    return [name for name in sections if name in trained.manifest.inputs]


@dataclass(frozen=True)
class Writer:
    """Writes the reports of a dataset's stays.

    Attributes:
        trained: the model.
        dataset: the stays.
        prediction: how they are predicted.
        reports: what the grammars of grounded sections need.
        claims: checks what was sampled; None where nothing is.
    """

    trained: TrainedModel
    dataset: StayDataset
    prediction: Prediction
    reports: GroundedReports
    claims: ChartClaims | None

    @classmethod
    def of(cls, trained: TrainedModel, dataset: StayDataset, prediction: Prediction) -> Writer:
        """Build for the stays of a dataset."""
        reports = GroundedReports.of(dataset, grounded_sections(trained, prediction))
        claims = None
        if prediction.search.samples > 1:
            claims = ChartClaims(dataset, trained.model.graph, dataset.measurements())
        return cls(trained, dataset, prediction, reports, claims)

    def contributed(self, batch: Batch, output: Output, indices: Sequence[int]) -> list[Contributions]:
        """What the evidence of each stay of a batch contributes to its logits; nothing where no section is grounded."""
        if not self.reports.sections:
            return []
        evidence = [StayEvidence(self.dataset, index, self.trained.manifest.inputs) for index in indices]
        return contributions(self.trained.model, batch, output, evidence)

    def written(
        self, batch: Batch, output: Output, beliefs: np.ndarray, contributed: Sequence[Contributions]
    ) -> list[DecodedReport]:
        """What is written about each stay: nothing but the called diagnoses if no rationales are wanted.

        Args:
            batch: B stays.
            output: what the model made of them when asked to explain.
            beliefs: [B, L], probability of each diagnosis; those above one half are called.
            contributed: what each stay's evidence contributes to the logits.
        """
        if self.prediction.diagnoses_only:
            return [DecodedReport({}, np.flatnonzero(row > 0.5).tolist(), parsed=True) for row in beliefs]
        if self.prediction.search.samples:
            return self._sampled(batch, output, beliefs)
        model, search = self.trained.model, self.prediction.search
        target = model.target_format(self.trained.run.sections(self.prediction.decoding))
        grounded = None
        if contributed:
            grounded = self.reports.grammars(model, target, batch, beliefs, model.rationale_tokens, contributed)
        # grounded rationales argue for what the head calls: the list must not name anything else
        listed = (beliefs > 0.5).astype(float) if grounded else beliefs
        grammar = ReportGrammar(
            target, self._free_tokens, model.language_model.decoder_start, listed, grounded, search.beams
        )
        inputs = self.trained.manifest.inputs
        if search.beams == 1 and model.language_model.writer is None:
            ids = model.guided(batch, inputs, grammar, output=output)
        else:
            processors = LogitsProcessorList([grammar])
            ids = model.generate(batch, inputs, processors, grammar.longest, output=output, beams=search.beams)
        return [read_report(target, row.tolist()) for row in ids]

    def _sampled(self, batch: Batch, output: Output, beliefs: np.ndarray) -> list[DecodedReport]:
        """The best of the reports that are drawn of each stay."""
        model, search = self.trained.model, self.prediction.search
        start, count = model.language_model.decoder_start, search.samples
        target = model.target_format(self.trained.run.sections(self.prediction.decoding))
        grammar = ReportGrammar(target, self._free_tokens, start, beliefs.repeat(count, axis=0))
        stays = np.repeat(batch.stay_ids.cpu().numpy(), count).tolist()
        numbers = [*range(count)] * len(batch)
        draws = Draws(stays, numbers, search.seed, search.temperature, start, grammar.longest)
        processors, inputs = LogitsProcessorList([grammar, draws]), self.trained.manifest.inputs
        ids = model.generate(batch, inputs, processors, grammar.longest, output=output, copies=count)
        drawn = [read_report(target, row.tolist()) for row in ids]
        ranks = [
            (*self._merit(stay, report), likely)
            for stay, report, likely in zip(stays, drawn, draws.likelihood, strict=True)
        ]
        groups = [range(first, first + count) for first in range(0, len(drawn), count)]
        return [drawn[max(group, key=lambda row: (*ranks[row], -row))] for group in groups]

    def _merit(self, stay: int, report: DecodedReport) -> tuple[bool, float]:
        """Whether a report can be read back, and the share of its claims that the chart supports."""
        if self.claims is None:
            return report.parsed, 0.0
        labels = list(self.trained.model.labels)
        listed = [labels[at] for at in report.diagnoses]
        return report.parsed, self.claims.supported_share(report.rationales, stay, listed)

    @property
    def _free_tokens(self) -> int:
        """Most tokens of one rationale that is not held to a chart."""
        return self.trained.model.config.max_target_tokens // 2
