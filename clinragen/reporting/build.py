"""The report's folder: ``index.html``, one page per stay, and beside them what the pages share."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from markupsafe import Markup

from clinragen.errors import UserError
from clinragen.evaluation.inputs import Predictions
from clinragen.evaluation.rows import EvaluationFile, GroupTable, SiteTable
from clinragen.evaluation.stored import load_evaluation
from clinragen.evaluation.table import (
    CONTROL_TITLES,
    GROUP_SCORES,
    SITE_SCORES,
    by_label_lines,
    group_note,
    reason_lines,
    site_note,
)
from clinragen.outputs import REPORT, output_folder
from clinragen.reporting import charts
from clinragen.reporting.assets import SHARED, Assets, environment_of, harmless, source_hash
from clinragen.reporting.index import Index, names_for_search
from clinragen.reporting.pages import write_pages
from clinragen.reporting.provenance import provenance_groups
from clinragen.reporting.stay import ReportInput


def check_evaluation(path: Path, predictions: Predictions) -> EvaluationFile:
    """The evaluation, if it belongs to these predictions.

    Raises:
        UserError: no evaluation, or of other predictions.
    """
    evaluation = load_evaluation(path)
    if evaluation["predictions"]["sha256"] != predictions.table_hash:
        raise UserError(f"{path} evaluates other predictions than {predictions.root}: run clinragen evaluate again")
    return evaluation


def write_report(
    report: ReportInput,
    out: Path,
    *,
    single_file: bool = False,
    processes: int = 1,
    overwrite: bool = False,
    progress: Callable[[int], object] = lambda count: None,
) -> int:
    """Write the site and return the number of stays.

    Args:
        report: content of the report.
        out: folder to write.
        single_file: make each page a single file that needs no other; otherwise they share style and scripts.
        processes: how many write pages; from two on they are new processes, which import the program's main module.
        overwrite: replace an existing folder.
        progress: called with the number of stays of each part that is done.

    Raises:
        UserError: ``out`` exists and may not be replaced.
    """
    assets, predictions = Assets(single_file), report.predictions
    with output_folder(out, REPORT, overwrite=overwrite) as folder:
        (folder / "stays").mkdir()
        index, warrants = write_pages(
            report, folder / "stays", single_file=single_file, processes=processes, progress=progress
        )
        rows = _rows(index)
        page = (
            environment_of(assets)
            .get_template("index.html")
            .render(
                index=index,
                rows=Markup(rows),
                rows_hash=source_hash(rows),
                task=predictions.task,
                manifest=predictions.manifest,
                remarks=predictions.manifest.remarks or [],
                evaluation=report.evaluation,
                controls=CONTROL_TITLES,
                reliability=_reliability(report.evaluation),
                reasons=reason_lines(report.evaluation.get("reasons")) if report.evaluation else [],
                by_label=_by_label(report.evaluation),
                by_site=_by_site(report.evaluation),
                site_scores=SITE_SCORES,
                by_group=_by_group(report.evaluation),
                group_scores=GROUP_SCORES,
                provenance=provenance_groups(report),
                sources=sorted(set(report.graph.manifest.citations.values())) if report.graph else [],
            )
        )
        (folder / "index.html").write_text(page, encoding="utf-8")
        if not single_file:
            assets.write(folder / SHARED, rows=rows, warrants=warrants.script)
    return index.stays


def _rows(index: Index) -> str:
    """The stays of the index, as a script."""
    content = {
        "labels": list(index.labels.names.values()),
        "also": names_for_search(index.labels),
        "rows": index.rows,
    }
    return f"const INDEX = {harmless(json.dumps(content, separators=(',', ':'), ensure_ascii=True))};\n"


def _by_label(evaluation: EvaluationFile | None) -> list[str]:
    """How often a whole list of diagnoses is right, and what is not defined."""
    if evaluation is None or (scored := evaluation.get("by_label")) is None:
        return []
    return by_label_lines(scored, {row["key"]: row["name"] for row in evaluation["phenotypes"]})


def _by_site(evaluation: EvaluationFile | None) -> list[tuple[SiteTable, str]]:
    """The tables by hospital, network and period, each with what it does not show."""
    part = evaluation.get("sites") if evaluation else None
    return [(table, site_note(table, part)) for table in part["tables"]] if part else []


def _by_group(evaluation: EvaluationFile | None) -> list[tuple[GroupTable, str]]:
    """The tables by age, sex, length of stay and care unit, each with how it is to be read."""
    part = evaluation.get("groups") if evaluation else None
    return [(table, group_note(table, part)) for table in part["tables"]] if part else []


def _reliability(evaluation: EvaluationFile | None) -> Markup | None:
    if evaluation is None:
        return None
    return charts.reliability_chart(evaluation["systems"]["model"]["calibration_curve"])
