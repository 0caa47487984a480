"""``clinragen export-cohort``: write a cohort for other tools: Hugging Face datasets, MEDS or PyHealth."""

from __future__ import annotations

from clinragen.choices import ExchangeForm
from clinragen.command_line import answer
from clinragen.options import AsJson, CohortFolder, Flag, Out, Overwrite, Verify


def command(
    *,
    cohort: CohortFolder,
    to: ExchangeForm,
    out: Out,
    teacher: str | None = None,
    with_ids: Flag = False,
    with_dates: Flag = False,
    overwrite: Overwrite = False,
    verify: Verify = False,
    as_json: AsJson = False,
) -> None:
    """Write a cohort as a folder that other tools open. It is patient data: the terms of the source hold.

    Args:
        to: huggingface: a Parquet file for each split, a row per stay; meds: a MEDS dataset; pyhealth: samples.
        teacher: Name of the rationale set to write into the rows (huggingface). Default: none.
        with_ids: Write ids of stays, patients, admissions and notes, too (huggingface).
        with_dates: Write dates of stays and notes, too (huggingface).
    """
    from clinragen.api.exchange import export_cohort

    stays = export_cohort(
        cohort,
        out,
        to=to,
        teacher=teacher,
        with_ids=with_ids,
        with_dates=with_dates,
        overwrite=overwrite,
        verify=verify,
        progress=True,
    )
    counts = ", ".join(f"{count:,} {split}" for split, count in stays.items())
    answer(f"{out}: {counts} stays; patient data: do not upload it", {"out": out, "stays": stays}, as_json)
