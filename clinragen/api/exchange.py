"""Cohorts for other tools, from Python."""

from __future__ import annotations

from pathlib import Path

from clinragen.api.values import CohortLike, console, open_cohort
from clinragen.choices import EXCHANGE_FORMS, ExchangeForm
from clinragen.errors import UserError, unknown_choice
from clinragen.integrity import thorough
from clinragen.names import teacher_name


def export_cohort(
    cohort: CohortLike,
    out: str | Path,
    *,
    to: ExchangeForm,
    teacher: str | None = None,
    with_ids: bool = False,
    with_dates: bool = False,
    overwrite: bool = False,
    verify: bool = False,
    progress: bool = False,
) -> dict[str, int]:
    """Write a cohort as a folder that another tool opens.

    Args:
        cohort: the cohort, or its folder.
        out: folder to write.
        to: ``huggingface``, a row per stay, which the library datasets opens; ``meds``, the events of a MEDS dataset;
            ``pyhealth``, samples of PyHealth's models, which :func:`clinragen.adapters.pyhealth.open_samples` opens.
        teacher: whose rationales the rows hold; only of huggingface.
        with_ids: also write ids of stays, patients, admissions and notes; only of huggingface.
        with_dates: also write dates of stays and notes; only of huggingface.
        overwrite: replace an earlier export.
        verify: also check the hashes of large files before reading them.
        progress: report progress on standard error.

    Returns:
        The number of stays of each split that has any.

    Raises:
        UserError: a cohort that cannot be read or lacks what the form needs, an option of another form, a package that
            is not installed, or a folder that may not be written.
    """
    from clinragen.adapters.readable import until_prediction
    from clinragen.quiet import phase, remark

    if to not in EXCHANGE_FORMS:
        raise unknown_choice("form", to, EXCHANGE_FORMS)
    given = {"--teacher": teacher is not None, "--with-ids": with_ids, "--with-dates": with_dates}
    if to != "huggingface" and (foreign := [option for option, is_given in given.items() if is_given]):
        raise UserError(f"{foreign[0]} belongs to --to huggingface: leave it out, or pass that")
    if teacher is not None:
        teacher_name(teacher)
    target, terminal = Path(out), console(progress)
    with thorough(verify):
        opened = open_cohort(cohort)
        if late := opened.series.height - until_prediction(opened).series.height:
            remark(terminal, f"{late:,} rows of the series after the prediction time are left out: audit the cohort")
        phase(terminal, f"writing {opened.stays.height:,} stays")
        if to == "huggingface":
            from clinragen.adapters import huggingface

            columns = huggingface.Columns(with_ids, with_dates, teacher)
            return huggingface.export_cohort(opened, target, columns, overwrite=overwrite)
        if to == "pyhealth":
            from clinragen.adapters.pyhealth import export_samples

            return export_samples(opened, target, overwrite=overwrite)
        from clinragen.adapters import meds

        meds.export_cohort(opened, target, overwrite=overwrite)
        return dict(opened.stays.group_by("split").len().sort("split").iter_rows())
