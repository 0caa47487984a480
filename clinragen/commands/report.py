"""``clinragen report``: write predictions as a static HTML site."""

from __future__ import annotations

from pathlib import Path

from clinragen.command_line import answer
from clinragen.options import AsJson, CohortFolder, Out, Overwrite, PredictionsFolder, Verify


def command(
    *,
    predictions: PredictionsFolder,
    cohort: CohortFolder,
    out: Out,
    graph: Path | None = None,
    evaluation: Path | None = None,
    teacher: str | None = None,
    overwrite: Overwrite = False,
    verify: Verify = False,
    as_json: AsJson = False,
) -> None:
    """Write predictions as a static HTML site: an index, and a page per stay with rationales and plots.

    Args:
        graph: Concept graph, for claims and names. Default: the model's.
        evaluation: Scores to show. Default: evaluation.json beside the predictions, if it exists.
        teacher: Name of the rationale set to show for comparison. Default: evidence, if it exists.
    """
    from clinragen.api.assessment import report

    written = report(
        predictions,
        cohort,
        out,
        graph=graph,
        evaluation=evaluation,
        teacher=teacher,
        overwrite=overwrite,
        verify=verify,
        progress=True,
    )
    answer(f"{written.stays} stays; open {written.index}", {"stays": written.stays, "index": written.index}, as_json)
