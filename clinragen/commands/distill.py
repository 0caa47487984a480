"""``clinragen distill``: run all distillation stages."""

from __future__ import annotations

from pathlib import Path

from clinragen.command_line import answer
from clinragen.options import (
    AsJson,
    CohortFolder,
    Flag,
    GraphFolder,
    MaybeSeed,
    OneOfDevices,
    Out,
    Overwrite,
    Settings,
    Verify,
)


def command(
    *,
    cohort: CohortFolder,
    out: Out,
    model: str = "tiny",
    unlabelled: Path | None = None,
    refine: Flag = False,
    graph: GraphFolder = None,
    teacher: str = "evidence",
    task: str = "diagnosis",
    settings: Settings = (),
    trainer: str = "default",
    seed: MaybeSeed = None,
    device: OneOfDevices = "auto",
    overwrite: Overwrite = False,
    preflight: Flag = False,
    verify: Verify = False,
    as_json: AsJson = False,
) -> None:
    """Run all stages of the distillation. Run it again to keep finished stages and resume an unfinished one.

    The folder --out gets one run for each stage.

    Args:
        model: Model preset, YAML file or language model.
        unlabelled: Cohort to pretrain the series encoder on.
        refine: Add the stage that learns from the student's own rationales, rewarded by the verifier.
        teacher: Name of the rationale set to learn from.
        task: What to predict: diagnosis, mortality, length_of_stay_over_7_days, or a task of your own.
        settings: Override a setting, of all stages (stage.epochs=5) or of one (notes.stage.epochs=5).
        trainer: Hardware preset or YAML file: default, ddp, fsdp, multi-node.
        seed: Shorthand for --set stage.seed=N.
        preflight: Check settings and data, print the plan, and do not train.
    """
    from clinragen.api.training import distill
    from clinragen.quiet import quiet_libraries

    quiet_libraries()
    run = distill(
        cohort,
        out,
        model=model,
        unlabelled=unlabelled,
        refine=refine,
        graph=graph,
        teacher=teacher,
        task=task,
        set=settings,
        trainer=trainer,
        seed=seed,
        device=device,
        overwrite=overwrite,
        preflight=preflight,
        verify=verify,
        progress=True,
    )
    if not preflight:
        last = run.folder if run else out / "multimodal"
        answer(f"{last}: the last stage", {"last": last}, as_json)
