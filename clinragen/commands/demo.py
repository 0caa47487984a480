"""``clinragen demo``: run everything on a synthetic hospital."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from clinragen.command_line import answer, only_the_answer
from clinragen.options import AsJson, Flag, MaybeSeed, MaybeWholeNumber, Overwrite


def command(
    *,
    out: Annotated[Path | None, Parameter(name="--out")] = None,
    quick: Flag = False,
    weights: Path | None = None,
    config: Path | None = None,
    patients: MaybeWholeNumber = None,
    seed: MaybeSeed = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Run the whole pipeline on a synthetic hospital and write a report. Needs no data and no download.

    Args:
        out: Folder to write. Default: outputs/demo, and with --quick outputs/quick.
        quick: Train nothing: take the student that an earlier demo left beside --out as demo/student.zip, on new
            patients. Where there is none it is trained first, once.
        weights: The student for --quick: a file or folder that `clinragen export` wrote, or a run folder.
        config: Settings. Default: the shipped configs/demo.yaml.
        patients: Size of the synthetic hospital.
        seed: Seed of the synthetic hospital.
    """
    from rich.console import Console

    from clinragen.demo import run_demo

    with only_the_answer(as_json):
        console = Console(stderr=True)
        out = run_demo(out, config, patients, console, overwrite=overwrite, seed=seed, quick=quick, weights=weights)
    report = out / "report" / "index.html"
    answer(f"Open the report: {report}", {"out": out, "report": report}, as_json)
