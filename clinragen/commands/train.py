"""``clinragen train``: run one stage: pretrain, notes, series, multimodal, refine, align, ask or generalist."""

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
    stage: str,
    /,
    *,
    cohort: CohortFolder,
    out: Out,
    model: str = "tiny",
    parent: Path | None = None,
    pretrained: Path | None = None,
    questions: Path | None = None,
    graph: GraphFolder = None,
    teacher: str = "evidence",
    task: str = "diagnosis",
    tasks: str | None = None,
    settings: Settings = (),
    trainer: str = "default",
    seed: MaybeSeed = None,
    device: OneOfDevices = "auto",
    overwrite: Overwrite = False,
    preflight: Flag = False,
    finish: Flag = False,
    verify: Verify = False,
    as_json: AsJson = False,
) -> None:
    """Train one distillation stage. An unfinished run is resumed by the same command.

    Args:
        stage: pretrain, notes, series, multimodal, refine, align, ask or generalist, or a YAML file of your own.
        model: Model preset, YAML file or language model, for a stage that starts a new model.
        parent: Run folder of the previous stage (series, multimodal, refine); ask, generalist: of any student.
        pretrained: Run of stage pretrain whose series encoder initialises a new model.
        questions: Folder of `clinragen teach questions` (ask, generalist).
        teacher: Name of the rationale set to learn from.
        task: What to predict: diagnosis, mortality, length_of_stay_over_7_days, or a task of your own.
        tasks: What to predict (generalist): weights of tasks, and of captions and ask, as in diagnosis=1,captions=0.25.
            Default: all that can be learned from the cohort.
        settings: Override a setting, as in stage.epochs=5 or trainer.devices=2; may be repeated.
        trainer: Hardware preset or YAML file: default, ddp, fsdp, multi-node.
        seed: Shorthand for --set stage.seed=N.
        preflight: Check settings and data, print the plan, and do not train.
        finish: Keep a finished run of the same settings instead of refusing.
    """
    from clinragen.api.training import train
    from clinragen.quiet import quiet_libraries

    quiet_libraries()
    run = train(
        stage,
        cohort,
        out,
        model=model,
        parent=parent,
        pretrained=pretrained,
        questions=questions,
        graph=graph,
        teacher=teacher,
        task=task,
        tasks=tasks,
        set=settings,
        trainer=trainer,
        seed=seed,
        device=device,
        overwrite=overwrite,
        preflight=preflight,
        finish=finish,
        verify=verify,
        progress=True,
    )
    if run is None:  # a preflight, or not the first of several processes
        return
    best = ", ".join(f"{name} {value:.3f}" for name, value in run.best.items() if name != "epoch")
    answer(
        f"{out}: best epoch {int(run.best['epoch']) + 1} by validation {best}",
        {"out": out, "stage": run.manifest.stage, "best": run.best, "stays": run.manifest.stays},
        as_json,
    )
