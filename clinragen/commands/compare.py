"""``clinragen compare``: predictions of two or more runs on the same stays, with paired tests."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from clinragen.command_line import answer
from clinragen.options import AsJson, CohortFolder, Overwrite, Seed, Verify, WholeNumber


def command(
    *predictions: Annotated[Path, Parameter(show_default=False)],
    cohort: CohortFolder,
    out: Annotated[Path | None, Parameter(name="--out")] = None,
    overwrite: Overwrite = False,
    replicates: WholeNumber = 1000,
    seed: Seed = 0,
    verify: Verify = False,
    as_json: AsJson = False,
) -> None:
    """Compare predictions of the same stays: differences to the first, by score and by label, with p-values.

    Patients are resampled, the same for all, so differences are paired. Stays that only some predicted are left out.

    Args:
        predictions: Folders written by `clinragen predict` or `clinragen baseline`; the first is the reference.
        out: JSON file for the whole comparison.
        replicates: Bootstrap replicates.
        seed: Seed of the bootstrap.
    """
    from rich.console import Console

    from clinragen.api.comparison import compare
    from clinragen.evaluation.comparison_table import render

    comparison = compare(predictions, cohort, out, replicates=replicates, seed=seed, overwrite=overwrite, verify=verify)
    if as_json:
        answer("", comparison.values, as_json)
        return
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(render(comparison.values))
    if out is not None:
        console.print(f"Written to {out}", highlight=False, soft_wrap=True)
