"""The linear probes of a student, learned by many sites together: note terms, binned series, and their gains.

Four phases of sums (who has how much of what, how summaries are spread, how features are scaled) fix the features;
then the probes are trained in pairs of rounds. In the first round of a pair each site sends the gradient of its mean
loss; in the second it takes a few proximal steps along the mean gradient of all, corrected by what its own gradient has
changed since (FedLin: Mitra et al. 2021, with the penalty as a proximal step). Where the mean gradient and the penalty
balance no site moves, so the fixed point is the elastic net that the pooled rows have, whatever the sites differ in.
Plain federated averaging stops short of it. At last gains, offsets and a threshold are fitted to validation stays by
sums again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import logit

from clinragen.cohort.folder import Cohort
from clinragen.config import build
from clinragen.data.series import SUMMARIES
from clinragen.federation import statistics as sums
from clinragen.federation.features import LinearSettings, SharedFeatures, SiteRows, stays_of
from clinragen.federation.fusion import Fusion
from clinragen.federation.probe import SiteProbe, largest_curvature
from clinragen.federation.student import Student, new_student, set_probes, tokenizer_of
from clinragen.federation.update import Tensors, TensorSpec
from clinragen.federation.work import Phase, Statistic
from clinragen.model.linear_probes import PROBES
from clinragen.stages.config import resolve
from clinragen.stages.ensemble import NETS
from clinragen.stages.logistic import ElasticNet

_RATES = 0.02, 0.98  # within which steps stay short enough, and the rate of a label that no site has enough of:
_RARE = 0.05


class LinearProbesWork(SharedFeatures):
    """The work under the name ``linear``.

    Args:
        settings: of :class:`~clinragen.federation.features.LinearSettings`, as the manifest has them.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__(build(LinearSettings, settings, "settings of work 'linear'"))
        labels = len(self.settings.labels)
        rounds = self.settings.fusion_rounds, self.settings.threshold_rounds
        self.fusion = Fusion((1.0,) * len(PROBES), labels, *rounds)

    @property
    def nets(self) -> dict[str, ElasticNet]:
        """What is penalised in each probe."""
        group = self.widths["series"] // len(self.settings.variables)
        return {"note": ElasticNet(*NETS["note"]), "series": ElasticNet(*NETS["series"], group=group)}

    def phases(self) -> Sequence[Phase]:
        """Sums of three kinds, training, and sums for gains and threshold."""
        chosen, labels, variables = self.settings, len(self.settings.labels), len(self.settings.variables)
        whole, real = "I64", "F64"
        count = {
            "stays": TensorSpec([1], whole),
            "positive": TensorSpec([labels], whole),
            "eligible": TensorSpec([labels], real),
            "means": TensorSpec([variables, 3], real),
            "term_patients": TensorSpec([chosen.buckets], whole),
            "term_sites": TensorSpec([chosen.buckets], real),
        }
        spread = {
            "summaries": TensorSpec([variables, len(SUMMARIES), 3], real),
            "spelling": TensorSpec([chosen.terms, 1 + sums.SPELLING], real),
        }
        scale = {f"{name}_mean": TensorSpec([width], real) for name, width in self.widths.items()}
        scale["curvature"] = TensorSpec([len(PROBES)], real)
        weights = {
            f"{name}_{kind}": TensorSpec([width + 1, labels])
            for name, width in self.widths.items()
            for kind in ("weights", "gradient")
        }
        return [
            Phase("count", "statistics", 1, count),
            Phase("spread", "statistics", 1, spread),
            Phase("scale", "statistics", 1, scale),
            Phase("train", "training", 2 * chosen.pairs, weights),
            *self.fusion.phases(),
        ]

    def start(self) -> Tensors:
        """A model that knows nothing."""
        labels, variables = len(self.settings.labels), len(self.settings.variables)
        start: dict[str, np.ndarray] = {
            "total": np.zeros(1, np.int64),
            "rates": np.full(labels, _RARE),
            "means": np.zeros((variables, 3)),
            "edges": np.zeros((variables, len(SUMMARIES), self.settings.bins + 1)),
            "buckets": np.full(self.settings.terms, -1, np.int64),
            "bucket_patients": np.zeros(self.settings.terms, np.int64),
            "spelling": np.zeros((self.settings.terms, 1 + sums.SPELLING)),
            "curvature": np.ones(len(PROBES)),
            **self.fusion.start(),
        }
        for name, width in self.widths.items():
            start[f"{name}_mean"] = np.zeros(width)
            for kind in ("weights", "gradient"):
                start[f"{name}_{kind}"] = np.zeros((width + 1, labels), np.float32)
        return start

    def statistics(self, cohort: Cohort, tensors: Tensors, phase: str) -> dict[str, Statistic]:
        """A site's sums for a phase."""
        if phase in ("fuse", "threshold"):
            rows = self.rows(cohort, tensors, "validation")
            return self.fusion.statistics(self.scores(rows, tensors), rows, tensors, phase)
        return getattr(self, f"_{phase}")(cohort, tensors)

    def advance(self, tensors: Tensors, totals: dict[str, Statistic], phase: str) -> Tensors:
        """The model after the sums of all sites."""
        values = {name: total.values for name, total in totals.items()}
        if phase in ("fuse", "threshold"):
            return {**tensors, **self.fusion.advance(tensors, values, phase)}
        return {**tensors, **getattr(self, f"_after_{phase}")(tensors, values)}

    # -- what sites have ---------------------------------------------------------------------------------------------

    def _count(self, cohort: Cohort, tensors: Tensors) -> dict[str, Statistic]:
        stays = stays_of(cohort, "train")
        labels = self._labels(cohort, stays)
        positive = (labels.present & labels.eligible).sum(0).astype(np.int64)
        eligible = labels.eligible.sum(0)
        patients, sites = sums.count_terms(self._terms(cohort), self.settings.buckets)
        count = np.array([len(stays)], np.int64)
        return {
            "stays": Statistic(count, count),
            "positive": Statistic(positive, positive, of=eligible),
            "eligible": Statistic(  # of sites that tell how many are positive
                np.where(positive > 0, eligible, 0.0), positive, of=eligible
            ),
            "means": sums.value_moments(self._grid(cohort, stays), self.settings.variables),
            "term_patients": patients,
            "term_sites": sites,
        }

    def _after_count(self, tensors: Tensors, totals: dict[str, np.ndarray]) -> Tensors:
        chosen = sums.choose_buckets(
            totals["term_patients"], totals["term_sites"], self.settings.least_sites, self.settings.terms
        )
        rates = np.where(totals["eligible"] > 0, totals["positive"] / np.maximum(totals["eligible"], 1), _RARE)
        return {
            "total": totals["stays"],
            "rates": np.clip(rates, *_RATES),
            "means": totals["means"],
            "buckets": chosen,
            "bucket_patients": np.where(chosen >= 0, totals["term_patients"][chosen], 0),
        }

    def _spread(self, cohort: Cohort, tensors: Tensors) -> dict[str, Statistic]:
        values = self._grid(cohort, stays_of(cohort, "train"))
        return {
            "summaries": sums.moments(sums.summaries(self._unbinned(tensors), values)),
            "spelling": sums.spell_terms(self._terms(cohort), tensors["buckets"]),
        }

    def _after_spread(self, tensors: Tensors, totals: dict[str, np.ndarray]) -> Tensors:
        binned = sums.with_edges(self._unbinned(tensors), totals["summaries"], self.settings.bins)
        return {"edges": np.nan_to_num(np.array(binned.edges)), "spelling": totals["spelling"]}

    def _scale(self, cohort: Cohort, tensors: Tensors) -> dict[str, Statistic]:
        rows = self.rows(cohort, tensors, "train")
        totals, curvature = {}, []
        for name in PROBES:
            matrix = rows.matrices[name]
            total = np.asarray(matrix.sum(0), dtype=np.float64).ravel()
            behind = np.bincount(matrix.nonzero()[1], minlength=len(total)).astype(np.int64)
            totals[f"{name}_mean"] = Statistic(total, behind)
            curvature.append(len(rows) * largest_curvature(matrix))
        stays = np.full(len(PROBES), len(rows), np.int64)
        return totals | {"curvature": Statistic(np.array(curvature), stays)}

    def _after_scale(self, tensors: Tensors, totals: dict[str, np.ndarray]) -> Tensors:
        stays = max(int(tensors["total"][0]), 1)
        after = {name: total / stays for name, total in totals.items()}
        for name in PROBES:
            weights = tensors[f"{name}_weights"].copy()
            weights[-1] = logit(tensors["rates"])
            after[f"{name}_weights"] = weights
        return after

    # -- training ----------------------------------------------------------------------------------------------------

    def train(self, cohort: Cohort, tensors: Tensors, round_number: int) -> tuple[Tensors, int]:
        """In odd rounds of the phase the site's gradient, in even ones its steps along the mean gradient of all."""
        rows = self.rows(cohort, tensors, "train")
        steps = (round_number - self.first_round) % 2 == 1
        trained: dict[str, np.ndarray] = {}
        for name in PROBES:
            weights, gradient = tensors[f"{name}_weights"], tensors[f"{name}_gradient"]
            probe = self.probe(rows, tensors, name)
            if steps:
                weights = probe.steps(weights, gradient, self.settings.local_steps)
            else:
                gradient = probe.gradient(weights)
            trained |= {f"{name}_weights": weights, f"{name}_gradient": gradient}
        return trained, len(rows)

    @property
    def first_round(self) -> int:
        """Number of the first round of training within the federation, from 1."""
        before = [phase.rounds for phase in self.phases()]
        return 1 + sum(before[: [phase.kind for phase in self.phases()].index("training")])

    def probe(self, rows: SiteRows, tensors: Tensors, name: str) -> SiteProbe:
        """The loss of a site's stays for one probe."""
        stays = max(int(tensors["total"][0]), 1)
        return SiteProbe(
            rows.matrices[name], rows.labels, rows.eligible, tensors[f"{name}_mean"].astype(np.float32),
            self.nets[name], self.settings.penalties[name] / stays,
            float(tensors["curvature"][PROBES.index(name)]), tensors["rates"],
        )  # fmt: skip

    def scores(self, rows: SiteRows, tensors: Tensors) -> np.ndarray:
        """Logits of each probe, without offsets, float64 [probes, n, L]."""
        return np.stack([np.asarray(rows.matrices[name] @ tensors[f"{name}_weights"][:-1], float) for name in PROBES])

    def logits(self, rows: SiteRows, tensors: Tensors) -> np.ndarray:
        """Logits of both probes with gains and offsets, float64 [n, L]."""
        return self.fusion.logits(self.scores(rows, tensors), tensors)

    def finished(self, tensors: Tensors) -> Student:
        """The student: its network is new and has gain 0, the probes alone predict."""
        config = resolve("multimodal", "tiny", "evidence", ["stage.parent=null", "stage.targets=[diagnoses]"])
        rows = self.read_variables(tensors)
        model = new_student(self, tensors, config, rows, tokenizer_of(self, tensors, config)).eval()
        return Student(model, set_probes(model, self, tensors, rows, self.fusion), config)
