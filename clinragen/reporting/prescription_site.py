"""The site of suggestions of drugs: an index, and a page for each stay."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from clinragen.cohort.folder import Cohort
from clinragen.outputs import REPORT, output_folder
from clinragen.reporting import views
from clinragen.reporting.assets import SHARED, Assets, environment_of
from clinragen.reporting.prescriptions import PrescriptionView, PrescriptionViews, StoredPrescriptions


def write_prescription_site(
    stored: StoredPrescriptions,
    cohort: Cohort,
    out: Path,
    *,
    single_file: bool = False,
    overwrite: bool = False,
    progress: Callable[[int], object] = lambda count: None,
) -> int:
    """Write the site and return the number of stays.

    Args:
        stored: the suggestions.
        cohort: the one they were made from.
        out: folder to write.
        single_file: make each page a single file that needs no other.
        overwrite: replace an existing folder.
        progress: called with the number of further stays that are done.

    Raises:
        UserError: ``out`` exists and may not be replaced, or a line of the suggestions is damaged.
    """
    assets, order = Assets(single_file), list(stored.rows)
    environment = environment_of(assets)
    turn = dict(zip(order, zip([None, *order[:-1]], [*order[1:], None], strict=True), strict=True))
    common: dict[str, Any] = {"manifest": stored.manifest, "stated": stored.stated}
    rows: list[dict[str, Any]] = []
    with output_folder(out, REPORT, overwrite=overwrite) as folder:
        (folder / "stays").mkdir()
        template = environment.get_template("prescription.html")
        for view in PrescriptionViews(stored, cohort):
            before, after = turn[view.stay_id]
            page = template.render(stay=view, before=before, after=after, **common)
            (folder / "stays" / f"{view.stay_id}.html").write_bytes(page.encode())
            rows.append(_row(view))
            progress(1)
        provenance = {
            "Suggestions": views.flatten({k: v for k, v in stored.manifest.items() if k != "unchecked"}),
            "Cohort": views.flatten({k: v for k, v in cohort.manifest.items() if isinstance(v, str | int | float)}),
        }
        unchecked = stored.manifest.get("unchecked", [])
        index = environment.get_template("prescriptions.html")
        page = index.render(rows=rows, unchecked=unchecked, provenance=provenance, **common)
        (folder / "index.html").write_text(page, encoding="utf-8")
        if not single_file:
            assets.write(folder / SHARED)
    return len(rows)


def _row(view: PrescriptionView) -> dict[str, Any]:
    """A row of the index: what is not of the note and series, which need not stay in memory."""
    return {
        "stay_id": view.stay_id,
        "age": view.age,
        "sex": view.sex,
        "complaint": view.complaint,
        "orders_known": view.orders_known,
        "in_force": view.in_force,
        "first": [(one.name, one.probability, one.in_chart, one.gravest) for one in view.suggestions],
        "cautioned": view.cautioned,
        "withheld": len(view.withheld),
    }
