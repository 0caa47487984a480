"""Reports from Python: pages, PDF, FHIR, CSV and JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clinragen.api.values import (
    CohortLike,
    GraphLike,
    ModelLike,
    PredictionsLike,
    cohort_folder,
    console,
    graph_folder,
    open_cohort,
    open_predictions,
    path,
    predictions_folder,
)
from clinragen.choices import ReportForm
from clinragen.errors import UserError
from clinragen.integrity import thorough
from clinragen.names import teacher_name

if TYPE_CHECKING:
    from clinragen.api.asking import StayAnswers
    from clinragen.api.assessment import Evaluation
    from clinragen.api.prescription import Prescriptions
    from clinragen.api.similarity import IndexLike
    from clinragen.cohort.folder import Cohort

MOST_CASES = 5  # that a page shows


@dataclass(frozen=True)
class WrittenReport:
    """A report on disk.

    Attributes:
        index: what to open first: the page, the list or table of stays, or the folder of PDFs.
        stays: number of stays in it.
    """

    index: Path
    stays: int


def report(
    predictions: PredictionsLike,
    cohort: CohortLike,
    out: str | Path,
    *,
    form: ReportForm = "html",
    stays: Sequence[int] = (),
    with_recorded_codes: bool = False,
    graph: GraphLike = None,
    evaluation: str | Path | Evaluation | None = None,
    teacher: str | None = None,
    questions: str | Path | StayAnswers | None = None,
    index: IndexLike | None = None,
    model: ModelLike | None = None,
    single_file: bool = False,
    processes: int = 1,
    overwrite: bool = False,
    verify: bool = False,
    progress: bool = False,
) -> WrittenReport:
    """Write predictions with their checked rationales: as pages, PDF, FHIR R4 bundles, CSV or JSON.

    Args:
        predictions: the result of :func:`clinragen.predict`, or its folder.
        cohort: the one they were made from.
        out: folder to write the report to.
        form: ``html``, an index and a page per stay with rationales and plots; ``pdf``, these pages printed; ``fhir``,
            ``csv`` or ``json``, what they state.
        stays: ids of the stays to report; all by default.
        with_recorded_codes: forms other than html say what was coded, too.
        graph: concept graph, for claims and names; the model's by default.
        evaluation: the result of :func:`clinragen.evaluate`, or its file; by default the one beside the predictions.
        teacher: name of the rationale set to show for comparison; evidence by default, if it exists.
        questions: the result of :func:`clinragen.ask_stays`, or a folder or file of it or of
            :func:`clinragen.teach_questions`: pages and PDF show the questions about each stay, with their answers.
        index: the result of :func:`clinragen.build_index`, or its folder: pages and PDF show the cases most like each
            stay.
        model: the one that the index was built with, where charts are compared by one.
        single_file: make each page a single file that needs no other, to be sent or kept by itself.
        processes: how many write the pages of many stays; more than one only in a program whose main module does its
            work under ``if __name__ == "__main__"``.
        overwrite: replace the folder if it exists.
        verify: also check the hashes of large files before reading them.
        progress: show a bar on standard error.

    Raises:
        UserError: the folders do not belong together, a stay was not predicted, the output exists, or there is no
            Chromium to print with.
    """
    from rich.progress import Progress

    from clinragen.evaluation import faithfulness
    from clinragen.evaluation.inputs import default_teacher, graph_of, load_truth
    from clinragen.outputs import REPORT, check_output
    from clinragen.questions.answered import StoredAnswers
    from clinragen.reporting.build import check_evaluation, write_report
    from clinragen.reporting.forms.write import FIRST, check_form, write_form
    from clinragen.reporting.stay import ReportInput

    if teacher is not None:
        teacher_name(teacher)
    answers = questions if isinstance(questions, str | Path | None) else questions.path
    check_form(form, with_recorded_codes=with_recorded_codes, with_questions=answers is not None)
    if index is not None and form not in ("html", "pdf"):
        raise UserError(f"--index: similar cases are shown on pages: they do not go with --form {form}")
    if model is not None and index is None:
        raise UserError("--model is read for --index alone: give both, or neither")
    root = predictions_folder(predictions)
    scores_path = path(evaluation) if isinstance(evaluation, str | Path | None) else evaluation.path
    with graph_folder(graph) as graph_path, thorough(verify):
        inputs = (root, cohort_folder(cohort), graph_path, scores_path, path(answers))
        check_output(Path(out), REPORT, overwrite=overwrite, inputs=inputs)
        opened = open_predictions(predictions)
        file = scores_path or root / "evaluation.json"
        scores = check_evaluation(file, opened) if scores_path or file.is_file() else None
        opened = opened.of_stays(stays) if stays else opened
        truth = load_truth(opened, open_cohort(cohort), needs_labels=False)
        concepts = graph_of(opened, graph_path)
        with Progress(console=console(progress), transient=True) as bar:

            def counted(title: str) -> Callable[..., None]:
                task = bar.add_task(title, total=len(opened.stay_ids))
                return lambda count=1: bar.advance(task, count)

            content = ReportInput(
                predictions=opened,
                truth=truth,
                claims=None,
                nodes=dict(concepts.nodes),
                evaluation=scores,
                teacher=teacher or default_teacher(truth.cohort),
                graph=concepts,
                questions=StoredAnswers.load(answers, truth.cohort, opened.stay_ids.tolist()) if answers else None,
                similar=_similar(index, truth.cohort, opened.stay_ids.tolist(), graph_path, model),
            )
            if form == "html":
                write_report(
                    content,
                    Path(out),
                    single_file=single_file,
                    processes=processes,
                    overwrite=overwrite,
                    progress=counted("stays"),
                )
            else:
                claims = faithfulness.check(opened, truth, concepts, counted("claims"))
                write_form(
                    replace(content, claims=claims),
                    Path(out),
                    form,
                    with_recorded_codes=with_recorded_codes,
                    overwrite=overwrite,
                    progress=counted("stays"),
                )
    return WrittenReport(Path(out) / FIRST[form], len(opened.stay_ids))


def _similar(
    index: IndexLike | None, cohort: Cohort, stay_ids: Sequence[int], graph: Path | None, model: ModelLike | None
) -> dict[int, list[dict[str, Any]]]:
    """The cases most like each stay, as values of JSON; none without an index."""
    from clinragen.api.similarity import open_index, similar

    if index is None:
        return {}
    opened = open_index(index, graph=graph, model=model)
    return {stay: [case.as_json() for case in similar(opened, cohort, stay, count=MOST_CASES)] for stay in stay_ids}


def report_prescriptions(
    prescriptions: str | Path | Prescriptions,
    cohort: CohortLike,
    out: str | Path,
    *,
    stays: Sequence[int] = (),
    single_file: bool = False,
    overwrite: bool = False,
    verify: bool = False,
    progress: bool = False,
) -> WrittenReport:
    """Write suggestions of drugs as pages: ranks, grounds that lead to their places in the chart, cautions.

    Args:
        prescriptions: the result of :func:`clinragen.prescribe`, which was written, or its folder.
        cohort: the one they were made from.
        out: folder to write the pages to.
        stays: ids of the stays to show; all by default.
        single_file: make each page a single file that needs no other.
        overwrite: replace the folder if it exists.
        verify: also check the hashes of large files before reading them.
        progress: show a bar on standard error.

    Raises:
        UserError: no suggestions, suggestions of another cohort, a stay without any, or the output exists.
    """
    from rich.progress import Progress

    from clinragen.outputs import REPORT, check_output
    from clinragen.reporting.prescription_site import write_prescription_site
    from clinragen.reporting.prescriptions import StoredPrescriptions

    folder = Path(prescriptions) if isinstance(prescriptions, str | Path) else prescriptions.folder
    if folder is None:
        raise UserError("these suggestions were not written: call prescribe with a folder")
    check_output(Path(out), REPORT, overwrite=overwrite, inputs=(folder, cohort_folder(cohort)))
    with thorough(verify), Progress(console=console(progress), transient=True) as bar:
        opened = open_cohort(cohort)
        stored = StoredPrescriptions.load(folder, opened, stays)
        task = bar.add_task("stays", total=len(stored.rows))
        written = write_prescription_site(
            stored,
            opened,
            Path(out),
            single_file=single_file,
            overwrite=overwrite,
            progress=lambda count: bar.advance(task, count),
        )
    return WrittenReport(Path(out) / "index.html", written)
