"""Checks of a finished cohort: leakage of the labels into the inputs, and faults of the data."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import TypedDict

from clinragen.cohort.folder import Cohort
from clinragen.errors import unknown_choice
from mimic_prep.audit import (
    duplicates,
    later,
    later_orders,
    named_diagnoses,
    row_checks,
    single_inputs,
    site_checks,
    value_checks,
)
from mimic_prep.audit.check import STATUSES, Check, CheckRecord, Status
from mimic_prep.audit.cohort_tables import CohortTables


class Audited(TypedDict):
    """Which cohort was audited, and what was allowed."""

    source: str | None
    protocol: str | None
    retrospective: bool
    manifest_sha256: str
    stays: int
    patients: int
    allowed_sections: list[str]


class AuditRecord(TypedDict):
    """``audit.json``; checks by their key."""

    status: Status
    cohort: Audited
    checks: dict[str, CheckRecord]


@dataclass(frozen=True)
class Audit:
    """The checks of one cohort, in the order they are shown."""

    cohort: Audited
    checks: list[Check]

    @property
    def status(self) -> Status:
        """The worst status of any check."""
        statuses: list[Status] = [check.status for check in self.checks]
        return max(statuses, key=STATUSES.index)

    def as_json(self) -> AuditRecord:
        """The audit as JSON values."""
        return {
            "status": self.status,
            "cohort": self.cohort,
            "checks": {check.key: check.as_json() for check in self.checks},
        }


def audit(cohort: Cohort, allow: Collection[str] = (), progress: Callable[[str], None] = lambda _: None) -> Audit:
    """Run every check.

    Args:
        cohort: the cohort to check.
        allow: sections that may name a diagnosis, because it was known when they were written.
        progress: called with the title of each check before it runs.

    Raises:
        UserError: a file of the cohort is missing or damaged, or no note has an allowed section.
    """
    tables = CohortTables.of(cohort)
    sections = set(tables.notes["section"].drop_nulls().unique())
    for section in allow:
        if section not in sections:
            raise unknown_choice("section of --allow", section, sections)
    steps: list[tuple[str, Callable[[], Check]]] = [
        ("files", partial(row_checks.files, tables)),
        ("patients", partial(row_checks.patients, tables)),
        ("times", partial(row_checks.times, tables)),
        ("the course told in text", partial(later.course, tables)),
        ("lists of diagnoses in text", partial(later.lists, tables, allow)),
        ("diagnoses named in text", partial(named_diagnoses.named, tables, allow)),
        ("later orders named in text", partial(later_orders.later_orders, tables)),
        ("inputs that tell a label alone", partial(single_inputs.single, tables, allow)),
        ("near-duplicate text", partial(duplicates.stays, tables)),
        ("near-duplicate notes", partial(duplicates.notes, tables)),
        ("equal measurements", partial(duplicates.measurements, tables)),
        ("units", partial(value_checks.units, tables.series)),
        ("drift", partial(value_checks.drift, tables)),
        ("prevalence", partial(row_checks.prevalence, tables)),
        ("outcomes", partial(row_checks.outcomes, tables)),
    ]
    checks = []
    for title, step in steps:
        progress(title)
        checks.append(step())
    progress("hospitals, networks and periods")
    checks += site_checks.sites(tables)
    manifest = cohort.manifest
    about: Audited = {
        "source": manifest.get("source"),
        "protocol": (manifest.get("protocol") or {}).get("name"),
        "retrospective": bool((manifest.get("protocol") or {}).get("retrospective")),
        "manifest_sha256": cohort.sha256,
        "stays": cohort.stays.height,
        "patients": cohort.stays["subject_id"].n_unique(),
        "allowed_sections": sorted(allow),
    }
    return Audit(about, checks)
