"""Difficulty of the synthetic hospital: simple baselines on text, on series and on both, on held-out patients.

    mimic-prep synthesize --patients 2000 --seed 0 --out RAW
    mimic-prep mimic-iv --raw RAW --out COHORT
    python benchmarks/synthetic_baselines.py --raw RAW --cohort COHORT

Text: TF-IDF and logistic regression. Series: per-variable statistics and gradient boosting. Both: the statistics and
the out-of-fold text scores of all phenotypes, gradient boosting. The last columns look at the phenotypes planted to be
found together: among the positives and the decoys of one channel, that channel alone should be near 0.5, both not.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import polars as pl
from printed_tables import Console
from rich.table import Table
from scipy.special import logit
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict

from clinragen.baselines import boosting, series_statistics
from clinragen.catalog import phenotypes
from clinragen.schema import CohortPaths


def area(labels: np.ndarray, scores: np.ndarray) -> float:
    """AUROC, or NaN when only one class is there."""
    return float(roc_auc_score(labels, scores)) if 0 < labels.sum() < labels.size else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--raw", type=Path, required=True, help="the folder of mimic-prep synthesize")
    parser.add_argument("--cohort", type=Path, required=True, help="the cohort prepared from it")
    args = parser.parse_args()
    paths = CohortPaths(args.cohort)
    stays = pl.read_parquet(paths.stays).sort("stay_id")
    labels = stays.select("stay_id").join(
        pl.read_parquet(paths.labels), on="stay_id", how="left", maintain_order="left"
    )
    notes = pl.read_parquet(paths.notes).group_by("stay_id", maintain_order=True).agg(pl.col("text").str.join("\n"))
    texts = np.array(stays.join(notes, on="stay_id", how="left", maintain_order="left")["text"].fill_null("").to_list())
    held_out = (stays["split"] == "test").to_numpy()
    train = ~held_out

    words = TfidfVectorizer(ngram_range=(1, 2), min_df=3, sublinear_tf=True).fit(texts[train]).transform(texts)
    series = series_statistics(pl.read_parquet(paths.series), stays.select("stay_id"))
    varied = [len(np.unique(column[~np.isnan(column)])) > 1 for column in series[train].T]
    series = series[:, varied]

    by_text: dict[str, np.ndarray] = {}
    stacked = np.empty((stays.height, len(phenotypes())))
    for position, key in enumerate(phenotypes()):
        target = labels[key].to_numpy()
        model = LogisticRegression(C=10, solver="liblinear")
        folds = np.asarray(cross_val_predict(model, words[train], target[train], cv=3, method="predict_proba"))[:, 1]
        by_text[key] = model.fit(words[train], target[train]).predict_proba(words[held_out])[:, 1]
        stacked[train, position], stacked[held_out, position] = logit(folds), logit(by_text[key])

    truth = pl.read_parquet(args.raw / "truth" / "conditions.parquet")
    oracle = stays.select("stay_id").join(
        pl.read_parquet(args.raw / "truth" / "oracle.parquet"), on="stay_id", how="left", maintain_order="left"
    )
    order = stays.filter(pl.Series(held_out)).select("stay_id")
    table = Table(title=f"AUROC on {held_out.sum()} held-out stays, trained on {train.sum()}")
    headings = ("phenotype", "planted", "share", "text", "series", "both", "oracle")
    for heading in (*headings, "text, among text decoys", "both, there", "series, among series decoys", "both, there"):
        table.add_column(heading, justify="left" if heading in ("phenotype", "planted") else "right")
    figures = []
    for key in phenotypes():
        target = labels[key].to_numpy().astype(bool)
        planted = str(truth.filter(pl.col("condition") == key)["planted"][0])
        joint = np.hstack([series, stacked])
        scores = {
            "note": by_text[key],
            "series": boosting().fit(series[train], target[train]).predict_proba(series[held_out])[:, 1],
            "both": boosting().fit(joint[train], target[train]).predict_proba(joint[held_out])[:, 1],
            "oracle": oracle[key].to_numpy()[held_out],
        }
        tested = target[held_out]
        row = [float(target.mean()), *(area(tested, values) for values in scores.values())]
        for channel in ("note", "series"):
            imitates = pl.col(f"mimics_in_{channel}").list.contains(key) & pl.col("channel").is_in([channel, "both"])
            decoys = order["stay_id"].is_in(truth.filter(imitates)["stay_id"].implode()).to_numpy() & ~tested
            among = (decoys | tested) & (planted == "together" and bool(decoys.any()))
            row += [area(tested[among], scores[channel][among]), area(tested[among], scores["both"][among])]
        figures.append(row)
        table.add_row(key, planted, *("" if np.isnan(value) else f"{value:.3f}" for value in row))
    means = np.nanmean(np.array(figures, dtype=float), axis=0)
    table.add_row("macro mean", "", *(f"{value:.3f}" for value in means), style="bold")
    Console(width=170).print(table)


if __name__ == "__main__":
    main()
