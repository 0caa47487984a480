"""The grid of a cohort's series over its window, and its standardisation, fitted on training stays only."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from clinragen.catalog import variable
from clinragen.cohort.folder import Cohort
from clinragen.cohort.manifest import WindowKind
from clinragen.cohort.window import Window
from clinragen.errors import UserError

#: Per-variable summaries of a stay, in the order of ``SeriesStatistics.edges``.
SUMMARIES = ("mean", "min", "max", "first", "last", "count")


def grid(cohort: Cohort, stay_ids: np.ndarray, variables: list[str], window: Window) -> np.ndarray:
    """Values in canonical units, NaN where not measured; a bin of several hours has the mean of its hourly values.

    Args:
        cohort: cohort of the series.
        stay_ids: ascending int64 [n].
        variables: keys of the variables, in the order of the rows of the grid.
        window: the hours to read, and their bins.

    Returns:
        float32 [n, variables, bins of the window].
    """
    _check_memory(len(stay_ids), len(variables), window)
    rows = rows_within(cohort, stay_ids, variables, window)
    if window.wide:
        keys = ["stay_id", "variable", "bin"]
        rows = rows.sort(*keys, "hour").group_by(keys, maintain_order=True).agg(pl.col("value").mean())
    values = np.full((len(stay_ids), len(variables), window.bins), np.nan, dtype=np.float32)
    column = {name: position for position, name in enumerate(variables)}
    stay = np.searchsorted(stay_ids, rows["stay_id"].to_numpy())
    name = rows["variable"].replace_strict(column, return_dtype=pl.Int64).to_numpy()
    values[stay, name, rows["bin"].to_numpy()] = rows["value"].to_numpy()
    return values


def _check_memory(stays: int, variables: int, window: Window) -> None:
    """Raise a UserError for a grid that exceeds memory: the system would kill the process without a message."""
    needed = 5 * stays * variables * window.bins  # four bytes for a value, one for the mask
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > machine:
        raise UserError(
            f"{window} of {stays:,} stays with {variables} variables need {needed / 2**30:.1f} GiB of memory, and this "
            f"machine has {machine / 2**30:.1f}: prepare a shorter window, or raise model.series.min_share"
        )


def rows_within(cohort: Cohort, stay_ids: np.ndarray, variables: list[str] | None, window: Window) -> pl.DataFrame:
    """Rows of the cohort's series that lie in the window, with their ``bin``.

    Args:
        cohort: cohort of the series.
        stay_ids: ascending int64 [n].
        variables: keys of the variables; None for all.
        window: the hours to read, and their bins.
    """
    rows = cohort.series.filter(pl.col("stay_id").is_in(stay_ids))
    if variables is not None:
        rows = rows.filter(pl.col("variable").is_in(variables))
    first = window.first_hours(cohort, stay_ids)[np.searchsorted(stay_ids, rows["stay_id"].to_numpy())]
    bins = window.bin_of(np.floor(rows["hour"].to_numpy()) - first)
    return rows.with_columns(pl.Series("bin", bins, dtype=pl.Int64)).filter(pl.col("bin") >= 0)


def observed_variables(cohort: Cohort, stay_ids: np.ndarray, min_share: float, window: Window) -> list[str]:
    """Catalogue variables measured within the window in at least ``min_share`` of the stays, in name order."""
    counts = (
        rows_within(cohort, stay_ids, None, window)
        .group_by("variable")
        .agg(pl.col("stay_id").n_unique().alias("stays"))
    )
    names = counts.filter(pl.col("stays") >= max(1, min_share * len(stay_ids)))["variable"].sort().to_list()
    if not names:
        raise UserError(
            f"{cohort.paths.series}: no variable is measured in {min_share:.1%} of the training stays within {window}"
        )
    for name in names:
        variable(name)  # an unknown variable name fails here, with the valid ones listed
    return names


def summarise(values: Tensor, observed: Tensor) -> Tensor:
    """Summaries of each variable over the hours, [..., variables, len(SUMMARIES)]; NaN where never measured.

    Args:
        values: [..., variables, hours]; ignored where not observed.
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
    """Standardisation and binning of a model's series. Fitted once, saved with the model.

    Attributes:
        variables: catalogue keys, the order of the variable axis.
        hours, kind: of the window that is read (:class:`~clinragen.cohort.window.Window`).
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
    kind: WindowKind = "first"

    @property
    def window(self) -> Window:
        """The hours that the model reads."""
        return Window(self.hours, self.kind)

    @classmethod
    def fit(cls, values: np.ndarray, variables: list[str], bins: int, window: Window | None = None) -> SeriesStatistics:
        """Fit on the training grid, float32 [n, variables, bins of the window] with NaN for missing.

        Args:
            values: the training grid, in canonical units.
            variables: keys of the variables, in the order of the grid.
            bins: number of bins of the piecewise-linear encoding of each summary.
            window: window of the grid; by default its bins are the first hours.
        """
        window = window or Window(values.shape[-1])
        centre, scale = [], []
        for position in range(len(variables)):
            finite = values[:, position][np.isfinite(values[:, position])]
            low, middle, high = np.quantile(finite, [0.05, 0.5, 0.95])
            centre.append(float(middle))
            scale.append(float(max((high - low) / 3.29, 1e-3 * max(1.0, abs(middle)))))  # 3.29 sd span 90 % of a normal
        unbinned = cls(variables, window.hours, centre, scale, edges=[], kind=window.kind)
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
        """Standardised values (0 where missing) and the observed mask, both [n, variables, bins of the window]."""
        observed = np.isfinite(values)
        centre = np.asarray(self.centre, dtype=np.float32)[:, None]
        scale = np.asarray(self.scale, dtype=np.float32)[:, None]
        with np.errstate(over="ignore"):  # what is beyond any number is clipped like the rest
            scaled = np.clip((values - centre) / scale, -self.clip, self.clip)
        return np.where(observed, scaled, 0).astype(np.float32), observed

    def to_json(self) -> dict[str, Any]:
        """The statistics as plain values for a JSON file, in canonical units."""
        return asdict(self)


def _edges(values: np.ndarray, bins: int, bounds: list[float]) -> list[float]:
    """``bins + 1`` ascending edges from quantiles, with reference bounds in place of the nearest inner edge."""
    finite = values[np.isfinite(values)]
    edges = np.quantile(finite, np.linspace(0, 1, bins + 1))
    for bound in bounds:
        if edges[0] < bound < edges[-1]:
            inner = 1 + int(np.abs(edges[1:-1] - bound).argmin())
            edges[inner] = bound
    edges = np.sort(edges)
    return [float(edge) for edge in edges]
