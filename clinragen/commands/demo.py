"""``clinragen demo``: run everything on a synthetic hospital."""

from __future__ import annotations

from pathlib import Path

from clinragen.command_line import answer, only_the_answer
from clinragen.options import AsJson, MaybeSeed, MaybeWholeNumber, Out, Overwrite


def command(
    *,
    out: Out = Path("outputs/demo"),
    config: Path | None = None,
    patients: MaybeWholeNumber = None,
    seed: MaybeSeed = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Run the whole pipeline on a synthetic hospital and write a report. Needs no data and no download.

    Args:
        config: Settings. Default: the shipped configs/demo.yaml.
        patients: Size of the synthetic hospital.
        seed: Seed of the synthetic hospital.
    """
    from rich.console import Console

    from clinragen.demo import run_demo

    with only_the_answer(as_json):
        run_demo(out, config, patients, Console(stderr=True), overwrite=overwrite, seed=seed)
    answer("", {"out": out, "report": out / "report" / "index.html"}, as_json)
