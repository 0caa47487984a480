"""Where the predictions of a report come from, in groups of rows for a table."""

from __future__ import annotations

from clinragen.reporting import views
from clinragen.reporting.stay import ReportInput


def provenance_groups(report: ReportInput) -> dict[str, list[tuple[str, str]]]:
    """Where the predictions come from, in groups."""
    manifest = report.predictions.manifest
    entries = manifest.to_json()
    apart = ("training", "thresholds", "labels", "label_set")
    cohort = {k: v for k, v in report.truth.cohort.manifest.items() if isinstance(v, str | int | float)}
    thresholds = {report.predictions.labels[k].name: f"{v:.3f}" for k, v in manifest.thresholds.items()}
    groups = {
        "Predictions": views.flatten({k: v for k, v in entries.items() if k not in apart}),
        "Training": views.flatten(manifest.training or {}),
        "Cohort": views.flatten(cohort),
        "Thresholds": views.flatten(thresholds),
        "Questions": _questions(report),
    }
    return {title: rows for title, rows in groups.items() if rows}


def _questions(report: ReportInput) -> list[tuple[str, str]]:
    """Where the questions come from, and who read them."""
    if report.questions is None:
        return []
    apart = ("outputs", "sizes", "graph", "kind", "cohort_hash")
    return views.flatten({k: v for k, v in report.questions.manifest.items() if k not in apart})
