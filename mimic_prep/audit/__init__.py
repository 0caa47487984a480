"""Checks of a finished cohort: what leaks from the answer into the question, and what looks wrong with the data."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import Any

import polars as pl
from polars.exceptions import PolarsError

from clinragen.data.cohort import Cohort
from clinragen.errors import UserError, unknown_choice
from clinragen.schema import SERIES
from mimic_prep.audit import duplicates, names, rows, values
from mimic_prep.audit.check import STATUSES, Check, Status


@dataclass(frozen=True)
class Audit:
    """The checks of one cohort, in the order they are shown."""

    cohort: dict[str, Any]
    checks: list[Check]

    @property
    def status(self) -> Status:
        """The worst status of any check."""
        statuses: list[Status] = [check.status for check in self.checks]
        return max(statuses, key=STATUSES.index)

    def as_json(self) -> dict[str, Any]:
        """The audit as JSON values."""
        return {
            "status": self.status,
            "cohort": self.cohort,
            "checks": {check.key: check.as_json() for check in self.checks},
        }


def audit(cohort: Cohort, allow: Collection[str] = (), progress: Callable[[str], None] = lambda _: None) -> Audit:
    """Run every check.

    Args:
        allow: sections that may name a diagnosis, because it was known when they were written.
        progress: told the title of each check before it runs.

    Raises:
        UserError: a file of the cohort is missing or damaged, or no note has an allowed section.
    """
    sections = set(cohort.notes["section"].unique())
    for section in allow:
        if section not in sections:
            raise unknown_choice("section of --allow", section, sections)
    series = _series(cohort)
    steps: list[tuple[str, Callable[[], Check]]] = [
        ("files", partial(rows.files, cohort)),
        ("patients", partial(rows.patients, cohort)),
        ("times", partial(rows.times, cohort, series)),
        ("diagnoses named in text", partial(names.named, cohort, allow)),
        ("near-duplicate text", partial(duplicates.stays, cohort)),
        ("near-duplicate notes", partial(duplicates.notes, cohort)),
        ("units", partial(values.units, series)),
        ("drift", partial(values.drift, cohort, series)),
        ("prevalence", partial(rows.prevalence, cohort)),
    ]
    checks = []
    for title, step in steps:
        progress(title)
        checks.append(step())
    manifest = cohort.manifest
    about = {
        "source": manifest.get("source"),
        "protocol": (manifest.get("protocol") or {}).get("name"),
        "retrospective": bool((manifest.get("protocol") or {}).get("retrospective")),
        "manifest_sha256": cohort.sha256,
        "stays": cohort.stays.height,
        "patients": cohort.stays["subject_id"].n_unique(),
        "allowed_sections": sorted(allow),
    }
    return Audit(about, checks)


def _series(cohort: Cohort) -> pl.LazyFrame:
    """The series file, not in memory: a whole release has a hundred million rows."""
    path = cohort.paths.series
    if not path.is_file():
        raise UserError(f"{path} not found")
    try:
        have = pl.scan_parquet(path).collect_schema().names()
    except (PolarsError, OSError) as error:
        raise UserError(f"{path} cannot be read as Parquet ({str(error).splitlines()[0]}): make it anew") from None
    if missing := [name for name in SERIES.names if name not in have]:
        raise UserError(f"{path}: column '{missing[0]}' is missing; it has {have}")
    return pl.scan_parquet(path).select(SERIES.names)
