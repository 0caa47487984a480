"""Edges learned from a cohort: findings that training stays with a phenotype show more often than those without it.

Only stays of the training split are read, so that no information of held-out patients enters the graph. Edges say
"occurs with" and carry the counts; those based on few patients are left out, as they might identify one.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from clinragen.artifacts import sha256_file
from clinragen.catalog import variables
from clinragen.knowledge.concepts import ConceptIndex, Contribution, Edge, finding_id
from clinragen.knowledge.sources.source import Source
from clinragen.schema import CohortPaths

FILES = ("stays.parquet", "series.parquet", "labels.parquet")
LICENCE = "as the cohort's: do not share the graph where the cohort may not be shared"
CITE = "Learned by clinragen from the training split of the cohort (Fisher's exact test, Bonferroni)"
_LEAST_STAYS = 20  # patients with both finding and phenotype
_LEAST_RATIO = 1.5  # least difference of the shares with and without the phenotype
_ALPHA = 1e-3
_MOST_WEIGHT = 0.5


def contribute(files: dict[str, Path], index: ConceptIndex) -> Contribution:
    """Edges finding -> phenotype (``associated_with``) of findings and phenotypes of the core.

    The weight is half the difference of the two shares, so at most 0.5.
    """
    paths = CohortPaths(files["stays.parquet"].parent)
    train = pl.read_parquet(paths.stays, columns=["stay_id", "split"]).filter(pl.col("split") == "train")
    labels = pl.read_parquet(paths.labels).join(train.select("stay_id"), on="stay_id", how="semi").sort("stay_id")
    by_finding = _shown(paths.series, labels["stay_id"], index)
    keys = [key for key in labels.columns if key != "stay_id" and f"phenotype:{key}" in index.kinds]
    edges = [
        edge
        for finding in sorted(by_finding)
        for key in keys
        if (edge := _edge(finding, key, by_finding[finding], labels, len(by_finding) * len(keys))) is not None
    ]
    hashes = {path.name: sha256_file(path) for path in files.values()}
    version = f"{labels.height} training stays"
    return Contribution("cohort", version, LICENCE, [], edges, {"cohort": CITE}, hashes)


def _shown(series: Path, stays: pl.Series, index: ConceptIndex) -> dict[str, tuple[set[int], set[int]]]:
    """finding -> (training stays that show it at least once, those in which its variable was measured)."""
    by_finding: dict[str, tuple[set[int], set[int]]] = {}
    rows = pl.scan_parquet(series).filter(pl.col("stay_id").is_in(stays.implode()))
    ranges = rows.group_by("variable", "stay_id").agg(
        pl.col("value").min().alias("low"), pl.col("value").max().alias("high")
    )
    for (key,), part in ranges.collect().group_by("variable"):
        spec = variables().get(str(key))
        if spec is None:
            continue
        measured = set(part["stay_id"])
        for side, sign in (("high", 1), ("low", -1)):
            if finding_id(spec.key, side) in index.kinds:
                values = zip(part["stay_id"], part[side], strict=True)
                shows = {stay for stay, value in values if spec.direction(float(value)) == sign}
                by_finding[finding_id(spec.key, side)] = (shows, measured)
    return by_finding


def _edge(finding: str, key: str, stays: tuple[set[int], set[int]], labels: pl.DataFrame, tests: int) -> Edge | None:
    from scipy.stats import hypergeom

    shows, measured = stays
    positive = set(labels.filter(pl.col(key))["stay_id"]) & measured
    negative = measured - positive
    both = len(shows & positive)
    if both < _LEAST_STAYS or not negative:
        return None
    with_it, without = both / len(positive), len(shows & negative) / len(negative)
    if with_it < _LEAST_RATIO * without:
        return None
    # Fisher's exact test, one-sided: the upper tail of the hypergeometric distribution
    if float(hypergeom.sf(both - 1, len(measured), len(positive), len(shows))) * tests > _ALPHA:
        return None
    weight = _MOST_WEIGHT * (with_it - without)
    evidence = f"in {with_it:.0%} of {len(positive)} training stays with it, {without:.0%} of {len(negative)} without"
    return Edge(finding, f"phenotype:{key}", "associated_with", weight, "cohort", evidence, "cohort")


SOURCE = Source(
    name="cohort",
    files=FILES,
    licence=LICENCE,
    version="the cohort's",
    adds="findings over-represented with a phenotype in training stays",
    get="a cohort folder of mimic-prep; its training split alone is read",
    read=contribute,
)
