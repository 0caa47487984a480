"""How well the model does at each hospital, in each network of hospitals and in each period.

A site's macro AUROC is over those labels that some of its stays carry and others do not: so it is over fewer labels
than that of all stays, and over others at each site. Sites with too few stays for figures of their own are taken
together in one row.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from clinragen.evaluation.diagnosis import METRICS, System, bootstrap, interval
from clinragen.evaluation.inputs import Predictions, Truth
from clinragen.evaluation.rows import SiteRow, SitesPart, SiteTable
from clinragen.schema import SITES

SCORES = ("macro_auroc", "micro_auroc", "thresholded_micro_f1", "written_micro_f1", "ece")
FEWEST = 20  # stays of a site that is scored on its own


def summarize(predictions: Predictions, truth: Truth, replicates: int = 1000, seed: int = 0) -> SitesPart | None:
    """Scores by hospital, network and period, where there are several and any is large enough; None where none is.

    Args:
        predictions: of ``n`` stays.
        truth: their labels, and the cohort that says where they were.
        replicates: of the bootstrap, which resamples patients.
        seed: of the bootstrap.
    """
    stays = truth.stays.select("stay_id")
    sites = stays.join(truth.cohort.sites, on="stay_id", how="left", maintain_order="left")
    names = [name for name in SITES.names[1:] if sites[name].drop_nulls().n_unique() > 1]
    large = [name for name in names if max(sites[name].drop_nulls().value_counts()["count"].to_list()) >= FEWEST]
    tables = [_table(name, sites[name], predictions.system, truth, replicates, seed) for name in large]
    return {"clock": truth.cohort.clock, "fewest": FEWEST, "tables": tables} if tables else None


def _table(by: str, names: pl.Series, system: System, truth: Truth, replicates: int, seed: int) -> SiteTable:
    counts = names.drop_nulls().value_counts().sort([by, "count"]).rows()
    order = [(name, count) for name, count in counts if count >= FEWEST]
    if by != "period":
        order.sort(key=lambda pair: -pair[1])  # by name among equals
    small = [name for name, count in counts if count < FEWEST]
    parts = [(name, (names == name).fill_null(False).to_numpy()) for name, _ in order]
    if small:
        parts.append((None, names.is_in(small).fill_null(False).to_numpy()))
    return {
        "by": by,
        "unknown": names.null_count(),
        "rows": [_row(name, rows, system, truth, replicates, seed) for name, rows in parts],
        "small": len(small),
    }


def _row(name: str | None, rows: np.ndarray, system: System, truth: Truth, replicates: int, seed: int) -> SiteRow:
    """One site, or with the name None all small ones together."""
    patients = truth.stays["subject_id"].to_numpy()[rows]
    gold, eligible = truth.gold[rows], truth.eligible[rows]
    row: SiteRow = {
        "name": name,
        "stays": int(rows.sum()),
        "patients": len(np.unique(patients)),
        "labels": int((gold.any(axis=0) & (~gold & eligible).any(axis=0)).sum()),
        "scores": None,
    }
    if row["stays"] < FEWEST:
        return row
    scored = bootstrap(gold, {"model": system.take(rows)}, patients, replicates, seed, eligible)["model"]
    columns = {score: METRICS.index(score) for score in SCORES}
    row["scores"] = {score: interval(scored.value[i], scored.replicates[:, i]) for score, i in columns.items()}
    return row
