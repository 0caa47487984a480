"""The hourly grid of a cohort's series and the statistics that standardise it, fitted on training stays only."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from clinragen.catalog import variable
from clinragen.data.cohort import Cohort
from clinragen.errors import UserError

#: Per-variable summaries of a stay, in the order of ``SeriesStatistics.edges``.
SUMMARIES = ("mean", "min", "max", "first", "last", "count")


def grid(cohort: Cohort, stay_ids: np.ndarray, variables: list[str], hours: int) -> np.ndarray:
    """Hourly values in canonical units, NaN where nothing was measured.

    Args:
        stay_ids: ascending int64 [n].

    Returns:
        float32 [n, variables, hours]; bins at or after ``hours`` are left out.
    """
    values = np.full((len(stay_ids), len(variables), hours), np.nan, dtype=np.float32)
    column = {name: position for position, name in enumerate(variables)}
    rows = cohort.series.filter(
        pl.col("stay_id").is_in(stay_ids)
        & pl.col("variable").is_in(variables)
        & pl.col("hour").is_between(0, hours, closed="left")
    )
    stay = np.searchsorted(stay_ids, rows["stay_id"].to_numpy())
    name = rows["variable"].replace_strict(column, return_dtype=pl.Int64).to_numpy()
    values[stay, name, rows["hour"].to_numpy().astype(np.int64)] = rows["value"].to_numpy()
    return values


def observed_variables(cohort: Cohort, stay_ids: np.ndarray, min_share: float, hours: int) -> list[str]:
    """Catalogue variables measured within ``hours`` in at least ``min_share`` of the stays, in name order."""
    counts = (
        cohort.series.filter(pl.col("stay_id").is_in(stay_ids) & pl.col("hour").is_between(0, hours, closed="left"))
        .group_by("variable")
        .agg(pl.col("stay_id").n_unique().alias("stays"))
    )
    kept = counts.filter(pl.col("stays") >= max(1, min_share * len(stay_ids)))["variable"].sort().to_list()
    if not kept:
        raise UserError(
            f"{cohort.paths.series}: no variable is measured in {min_share:.1%} of the training stays "
            f"within {hours} hours"
        )
    for name in kept:
        variable(name)  # an alien variable name fails here, with the valid ones listed
    return kept


def summarise(values: Tensor, observed: Tensor) -> Tensor:
    """Summaries of each variable over the hours, [..., variables, len(SUMMARIES)]; NaN where never measured.

    Args:
        values: [..., variables, hours], any number where not observed.
        observed: bool, the same shape.
    """
    count = observed.sum(-1)
    ever = count > 0
    last_hour = values.shape[-1] - 1
    hour = torch.arange(values.shape[-1], device=values.device)
    first_at = torch.where(observed, hour, last_hour).amin(-1, keepdim=True)
    last_at = torch.where(observed, hour, 0).amax(-1, keepdim=True)
    columns = {
        "mean": torch.where(observed, values, 0).sum(-1) / count.clamp_min(1),
        "min": torch.where(observed, values, torch.inf).amin(-1),
        "max": torch.where(observed, values, -torch.inf).amax(-1),
        "first": values.gather(-1, first_at)[..., 0],
        "last": values.gather(-1, last_at)[..., 0],
        "count": count.to(values.dtype),
    }
    stacked = torch.stack([columns[name] for name in SUMMARIES], dim=-1)
    return torch.where(ever[..., None], stacked, torch.nan)


@dataclass(frozen=True)
class SeriesStatistics:
    """What standardises the series of a model. Fitted once, saved with it.

    Attributes:
        variables: catalogue keys, the order of the variable axis.
        hours: bins per stay.
        centre, scale: per variable; a standardised value is (value - centre) / scale, clipped to ±``clip``.
        edges: bin edges of the piecewise-linear encodings of the standardised summaries,
            [variables][summaries][bins + 1], ascending: quantiles of the training stays and, where they fall inside,
            the reference bounds.
    """

    variables: list[str]
    hours: int
    centre: list[float]
    scale: list[float]
    edges: list[list[list[float]]]
    clip: float = 8.0

    @classmethod
    def fit(cls, values: np.ndarray, variables: list[str], bins: int) -> SeriesStatistics:
        """Fit on the training grid, float32 [n, variables, hours] with NaN for missing."""
        centre, scale = [], []
        for position in range(len(variables)):
            seen = values[:, position][np.isfinite(values[:, position])]
            low, middle, high = np.quantile(seen, [0.05, 0.5, 0.95])
            centre.append(float(middle))
            scale.append(float(max((high - low) / 3.29, 1e-3 * max(1.0, abs(middle)))))  # 3.29 sd hold 90 % of a normal
        unbinned = cls(variables, values.shape[-1], centre, scale, edges=[])
        standardised, observed = unbinned.standardise(values)
        summaries = summarise(torch.from_numpy(standardised), torch.from_numpy(observed)).numpy()
        edges = []
        for position, name in enumerate(variables):
            bounds = [
                (bound - centre[position]) / scale[position]
                for bound in (variable(name).low, variable(name).high)
                if bound is not None
            ]
            edges.append(
                [
                    _edges(summaries[:, position, s], bins, [] if kind == "count" else bounds)
                    for s, kind in enumerate(SUMMARIES)
                ]
            )
        return replace(unbinned, edges=edges)

    def standardise(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Standardised values (0 where missing) and the observed mask, both [n, variables, hours]."""
        observed = np.isfinite(values)
        centre = np.asarray(self.centre, dtype=np.float32)[:, None]
        scale = np.asarray(self.scale, dtype=np.float32)[:, None]
        scaled = np.clip((values - centre) / scale, -self.clip, self.clip)
        return np.where(observed, scaled, 0).astype(np.float32), observed

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def _edges(values: np.ndarray, bins: int, bounds: list[float]) -> list[float]:
    """``bins + 1`` ascending edges from quantiles, with reference bounds in place of the nearest inner edge."""
    seen = values[np.isfinite(values)]
    edges = np.quantile(seen, np.linspace(0, 1, bins + 1))
    for bound in bounds:
        if edges[0] < bound < edges[-1]:
            inner = 1 + int(np.abs(edges[1:-1] - bound).argmin())
            edges[inner] = bound
    edges = np.sort(edges)
    return [float(edge) for edge in edges]
