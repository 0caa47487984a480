"""The linear probes of a student, learned by many sites together: note terms, binned series, and their gains.

Four phases of sums (who has how much of what, how summaries are spread, how features are scaled) fix the features;
then the probes are trained in pairs of rounds. In the first round of a pair each site sends the gradient of its mean
loss; in the second it takes a few proximal steps along the mean gradient of all, corrected by what its own gradient has
changed since (FedLin: Mitra et al. 2021, with the penalty as a proximal step). Where the mean gradient and the penalty
balance no site moves, so the fixed point is the elastic net that the pooled rows have, whatever the sites differ in.
Plain federated averaging stops short of it. At last gains, offsets and a threshold are fitted to validation stays by
sums again.

The optimum of F1 is at a threshold of half the best F1 (Lipton et al. 2014), which is found by repetition.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_matrix, hstack
from scipy.special import expit, logit

from clinragen import label_sets, tasks
from clinragen.catalog import shipped_variables
from clinragen.cohort.folder import Cohort
from clinragen.cohort.sections import note_text, sections_by_stay
from clinragen.cohort.window import Window
from clinragen.config import build
from clinragen.data.lexicon import Lexicon
from clinragen.data.mentions import MentionEncoder
from clinragen.data.series import SUMMARIES, SeriesStatistics, grid
from clinragen.federation import statistics as sums
from clinragen.federation.probe import SiteProbe, largest_curvature
from clinragen.federation.update import Tensors, TensorSpec
from clinragen.federation.work import Phase, Statistic
from clinragen.knowledge.relabel import open_graph
from clinragen.model.concepts import concept_ids
from clinragen.model.linear_probes import MENTION_SCALE, PROBES
from clinragen.model.series_encoder import PiecewiseLinear
from clinragen.stages.ensemble import NETS
from clinragen.stages.logistic import ElasticNet

_RATES = 0.02, 0.98  # within which steps stay short enough, and the rate of a label that no site has enough of:
_RARE = 0.05
_START = 0.25  # threshold


@dataclass
class LinearSettings:
    """Settings of the work.

    Attributes:
        labels: keys of the labels, as cohorts have them; by default those of the 25 phenotypes.
        variables: keys of the variables that may be read; by default all shipped ones.
        hours: of the window.
        bins: of each summary of a variable.
        min_share: share of the stays in which a variable must be measured.
        terms: most terms of notes.
        buckets: for the hashes of terms.
        smallest_cell: patients of a site that must have a term for it to be counted there.
        least_sites: that must have a term.
        pairs: pairs of rounds of training.
        local_steps: of the second round of a pair.
        penalties: of the note's and the series' probe, for the summed loss of all sites.
        fusion_rounds, threshold_rounds: of what is fitted to validation stays.
    """

    labels: list[str] = field(default_factory=lambda: list(label_sets.load(label_sets.DEFAULT)))
    variables: list[str] = field(default_factory=lambda: sorted(shipped_variables()))
    hours: int = 48
    bins: int = 6
    min_share: float = 0.1
    terms: int = 2048
    buckets: int = 1 << 17
    smallest_cell: int = 10
    least_sites: int = 2
    pairs: int = 10
    local_steps: int = 10
    penalties: dict[str, float] = field(default_factory=lambda: {"note": 0.3, "series": 100.0})
    fusion_rounds: int = 8
    threshold_rounds: int = 5


@dataclass(frozen=True)
class SiteRows:
    """Features and labels of some stays of a site: matrices by probe, labels and eligible [n, L], patients [n]."""

    matrices: dict[str, csr_matrix | np.ndarray]
    labels: np.ndarray
    eligible: np.ndarray
    patients: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


class LinearProbesWork:
    """The work under the name ``linear``.

    Args:
        settings: of :class:`LinearSettings`, as the manifest has them.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = build(LinearSettings, settings, "settings of work 'linear'")
        self.graph = open_graph(None, label_sets.load(label_sets.DEFAULT))
        self.concepts = concept_ids(self.graph)
        self._rows: dict[tuple[str, bytes], SiteRows] = {}
        self._linker = MentionEncoder(self.graph, self.concepts)

    @property
    def widths(self) -> dict[str, int]:
        """Number of features of each probe."""
        of_variable = len(SUMMARIES) * self.settings.bins + 1
        return {
            "note": self.settings.terms + 2 * len(self.concepts),
            "series": len(self.settings.variables) * of_variable,
        }

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
        unknown = len(PROBES) + labels
        fusion = {"slope": TensorSpec([unknown], real), "bend": TensorSpec([unknown, unknown], real)}
        return [
            Phase("count", "statistics", 1, count),
            Phase("spread", "statistics", 1, spread),
            Phase("scale", "statistics", 1, scale),
            Phase("train", "training", 2 * chosen.pairs, weights),
            Phase("fuse", "statistics", chosen.fusion_rounds, fusion),
            Phase("threshold", "statistics", chosen.threshold_rounds, {"flagged": TensorSpec([3], real)}),
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
            "fusion": np.concatenate([np.ones(len(PROBES)), np.zeros(labels)]),
            "threshold": np.full(1, _START),
        }
        for name, width in self.widths.items():
            start[f"{name}_mean"] = np.zeros(width)
            for kind in ("weights", "gradient"):
                start[f"{name}_{kind}"] = np.zeros((width + 1, labels), np.float32)
        return start

    def statistics(self, cohort: Cohort, tensors: Tensors, phase: str) -> dict[str, Statistic]:
        """A site's sums for a phase."""
        return getattr(self, f"_{phase}")(cohort, tensors)

    def advance(self, tensors: Tensors, totals: dict[str, Statistic], phase: str) -> Tensors:
        """The model after the sums of all sites."""
        values = {name: total.values for name, total in totals.items()}
        return {**tensors, **getattr(self, f"_after_{phase}")(tensors, values)}

    # -- what sites have ---------------------------------------------------------------------------------------------

    def _count(self, cohort: Cohort, tensors: Tensors) -> dict[str, Statistic]:
        stays = stays_of(cohort, "train")
        labels = self._labels(cohort, stays)
        positive = (labels.present & labels.eligible).sum(0).astype(np.int64)
        patients, sites = sums.count_terms(self._terms(cohort), self.settings.buckets)
        count = np.array([len(stays)], np.int64)
        return {
            "stays": Statistic(count, count),
            "positive": Statistic(positive, positive),
            "eligible": Statistic(
                np.where(positive > 0, labels.eligible.sum(0), 0.0), positive
            ),  # of sites that tell the rest
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

    # -- gains, offsets and threshold --------------------------------------------------------------------------------

    def scores(self, rows: SiteRows, tensors: Tensors) -> np.ndarray:
        """Logits of each probe, without offsets, float64 [probes, n, L]."""
        return np.stack([np.asarray(rows.matrices[name] @ tensors[f"{name}_weights"][:-1], float) for name in PROBES])

    def logits(self, rows: SiteRows, tensors: Tensors) -> np.ndarray:
        """Logits of both probes with gains and offsets, float64 [n, L]."""
        gains, offsets = np.split(tensors["fusion"], [len(PROBES)])
        return np.tensordot(gains, self.scores(rows, tensors), axes=1) + offsets

    def _fuse(self, cohort: Cohort, tensors: Tensors) -> dict[str, Statistic]:
        rows = self.rows(cohort, tensors, "validation")
        parts, labels = self.scores(rows, tensors), rows.labels
        chance = expit(self.logits(rows, tensors))
        missed = (chance - labels) * rows.eligible
        doubt = chance * (1 - chance) * rows.eligible
        slope = np.concatenate([(parts * missed).sum((1, 2)), missed.sum(0)])
        across = np.einsum("pnl,nl->pl", parts, doubt)
        bend = np.block([
            [np.einsum("pnl,qnl,nl->pq", parts, parts, doubt), across],
            [across.T, np.diag(doubt.sum(0))],
        ])  # fmt: skip
        return {name: _over(rows, values) for name, values in (("slope", slope), ("bend", bend))}

    def _after_fuse(self, tensors: Tensors, totals: dict[str, np.ndarray]) -> Tensors:
        fusion = tensors["fusion"]
        if not totals["bend"].any():
            return {"fusion": fusion}
        if not fusion[len(PROBES) :].any():  # offsets start where the labels are as common as in training
            return {"fusion": np.concatenate([fusion[: len(PROBES)], logit(tensors["rates"])])}
        ridge = np.diag(np.concatenate([np.full(len(PROBES), 1.0), np.full(len(fusion) - len(PROBES), 0.5)]))
        prior = np.concatenate([np.ones(len(PROBES)), logit(tensors["rates"])])
        step = np.linalg.solve(totals["bend"] + ridge, totals["slope"] + ridge @ (fusion - prior))
        step *= min(1.0, 2.0 / max(np.abs(step).max(), 1e-9))
        moved = fusion - step
        moved[: len(PROBES)] = moved[: len(PROBES)].clip(0)
        return {"fusion": moved}

    def _threshold(self, cohort: Cohort, tensors: Tensors) -> dict[str, Statistic]:
        rows = self.rows(cohort, tensors, "validation")
        flagged = (expit(self.logits(rows, tensors)) >= tensors["threshold"][0]) & rows.eligible
        gold = rows.labels & rows.eligible
        return {"flagged": _over(rows, np.array([(flagged & gold).sum(), flagged.sum(), gold.sum()], np.float64))}

    def _after_threshold(self, tensors: Tensors, totals: dict[str, np.ndarray]) -> Tensors:
        hits, flagged, positive = totals["flagged"]
        f1 = 2 * hits / (flagged + positive) if flagged + positive else 2 * _START
        return {"threshold": np.array([np.clip(f1 / 2, 0.02, 0.5)])}

    # -- features ----------------------------------------------------------------------------------------------------

    def series_statistics(self, tensors: Tensors) -> SeriesStatistics:
        """Standardisation and bins of all variables that may be read, in the order of the settings."""
        return replace(self._unbinned(tensors), edges=tensors["edges"].tolist())

    def read_variables(self, tensors: Tensors) -> list[int]:
        """Which variables are measured in enough stays."""
        share = tensors["means"][:, 0] / max(int(tensors["total"][0]), 1)
        return np.flatnonzero(share >= max(self.settings.min_share, 1e-9)).tolist()

    def terms(self, tensors: Tensors) -> dict[int, str]:
        """The terms of notes, by row of the note's weights."""
        return sums.read_terms(tensors["spelling"], tensors["buckets"], self.settings.buckets)

    def lexicon(self, tensors: Tensors) -> tuple[Lexicon, list[int]]:
        """The terms with their inverse document frequencies, and their rows."""
        terms = self.terms(tensors)
        rows = sorted(terms, key=terms.__getitem__)
        stays = int(tensors["total"][0])
        idf = np.log((1 + stays) / (1 + tensors["bucket_patients"][rows])) + 1
        return Lexicon([terms[row] for row in rows], idf.tolist()), rows

    def rows(self, cohort: Cohort, tensors: Tensors, split: str) -> SiteRows:
        """Features and labels of the stays of a split; read once."""
        stays = stays_of(cohort, split)
        features = ("total", "means", "edges", "buckets", "bucket_patients", "spelling")  # what they are made by
        read = hashlib.sha256(b"".join(part.tobytes() for part in (stays, *(tensors[name] for name in features))))
        key = str(cohort.paths.root), read.digest()
        if key not in self._rows:
            labels = self._labels(cohort, stays)
            matrices = {"note": self._notes(cohort, stays, tensors), "series": self._series(cohort, stays, tensors)}
            self._rows[key] = SiteRows(matrices, labels.present, labels.eligible, patients_of(cohort, stays))
        return self._rows[key]

    def _labels(self, cohort: Cohort, stays: np.ndarray) -> tasks.Labels:
        return tasks.load(tasks.DEFAULT).labels(cohort, stays)

    def _grid(self, cohort: Cohort, stays: np.ndarray) -> np.ndarray:
        return grid(cohort, stays, self.settings.variables, Window(self.settings.hours))

    def _texts(self, cohort: Cohort, stays: np.ndarray) -> list[str]:
        sections = sections_by_stay(cohort.notes, labels=cohort.label_set)
        return [note_text(sections.get(int(stay), [])) for stay in stays]

    def _terms(self, cohort: Cohort) -> dict[int, tuple[str, int]]:
        stays = stays_of(cohort, "train")
        patients = patients_of(cohort, stays).tolist()
        counts = sums.patients_with(self._texts(cohort, stays), patients)
        return sums.by_bucket(counts, self.settings.buckets, self.settings.smallest_cell)

    def _unbinned(self, tensors: Tensors) -> SeriesStatistics:
        means = tensors["means"].copy()
        means[means[:, 0] == 0] = [1.0, 0.0, 1.0]  # nobody has it
        return sums.unbinned(self.settings.variables, means, self.settings.hours)

    def _notes(self, cohort: Cohort, stays: np.ndarray, tensors: Tensors) -> csr_matrix:
        lexicon, rows = self.lexicon(tensors)
        encoded = lexicon.encode(self._texts(cohort, stays)).tocoo()
        columns = np.array(rows, dtype=np.int64)[encoded.col] if rows else encoded.col
        wide = csr_matrix((encoded.data, (encoded.row, columns)), (len(stays), self.settings.terms))
        sections = sections_by_stay(cohort.notes, labels=cohort.label_set, layout=True)
        empty = np.zeros((0, 2 * len(self.concepts)), np.float32)
        mentions = [self._linker(sections.get(int(stay), [])).reshape(1, -1) for stay in stays]
        mentioned = csr_matrix(np.concatenate([empty, *mentions]).astype(np.float32))
        return csr_matrix(hstack([wide, MENTION_SCALE * mentioned]), dtype=np.float32)

    def _series(self, cohort: Cohort, stays: np.ndarray, tensors: Tensors) -> np.ndarray:
        statistics = self.series_statistics(tensors)
        read = sums.summaries(statistics, self._grid(cohort, stays))
        with torch.inference_mode():
            features = PiecewiseLinear(statistics)(torch.from_numpy(read)).numpy()
        absent = np.ones(features.shape[1], dtype=bool)
        absent[self.read_variables(tensors)] = False
        features[:, absent] = 0
        return features.reshape(len(stays), self.widths["series"]).astype(np.float32)


def stays_of(cohort: Cohort, split: str) -> np.ndarray:
    """Ids of the stays of a split, ascending; a small site may have none."""
    return cohort.stays.filter(cohort.stays["split"] == split)["stay_id"].to_numpy()


def patients_of(cohort: Cohort, stays: np.ndarray) -> np.ndarray:
    """Whose the stays are, [n]."""
    return cohort.stays["subject_id"].to_numpy()[np.searchsorted(cohort.stays["stay_id"].to_numpy(), stays)]


def _over(rows: SiteRows, values: np.ndarray) -> Statistic:
    """Sums over all of a site's rows: one cell each, of all its stays."""
    return Statistic(np.asarray(values, np.float64), np.full(values.shape, len(rows), np.int64))
