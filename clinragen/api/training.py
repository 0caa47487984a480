"""Training from Python: one stage, or all stages of a distillation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from clinragen.api.values import (
    CohortLike,
    GraphLike,
    SettingsLike,
    cohort_folder,
    console,
    graph_folder,
    overrides,
    path,
)
from clinragen.choices import Device
from clinragen.integrity import thorough
from clinragen.names import teacher_name

if TYPE_CHECKING:
    from clinragen.inference.predict import TrainedModel
    from clinragen.manifests import StageManifest


@dataclass(frozen=True)
class TrainedRun:
    """A finished run.

    Attributes:
        folder: holds the model, its settings and its metrics.
        manifest: ``stage``, ``best``, ``stays``, ``parameters`` and the hashes of the inputs.
    """

    folder: Path
    manifest: StageManifest

    @property
    def best(self) -> dict[str, float]:
        """The best epoch, counted from 0, and its metrics on the validation stays."""
        return self.manifest.best or {}

    def load(self) -> TrainedModel:
        """The model, ready to predict.

        Raises:
            UserError: a run of stage ``pretrain``, which has only a series encoder.
        """
        from clinragen.api.prediction import load

        return load(self.folder)


def train(
    stage: str,
    cohort: CohortLike,
    out: str | Path,
    *,
    model: str = "tiny",
    parent: str | Path | TrainedRun | None = None,
    graph: GraphLike = None,
    teacher: str = "evidence",
    task: str = "diagnosis",
    tasks: str | Mapping[str, float] | None = None,
    set: SettingsLike = (),
    trainer: str = "default",
    pretrained: str | Path | TrainedRun | None = None,
    questions: str | Path | None = None,
    seed: int | None = None,
    device: Device = "auto",
    preflight: bool = False,
    finish: bool = False,
    overwrite: bool = False,
    verify: bool = False,
    progress: bool = False,
) -> TrainedRun | None:
    """Train one stage of the distillation; an unfinished run in ``out`` is resumed.

    Args:
        stage: pretrain, notes, series, multimodal, refine, align, ask or generalist, or a YAML file of your own.
        cohort: training data, with rationales of the teacher.
        out: run folder to write.
        model: preset or YAML file, for a stage that starts a new model.
        parent: run of the previous stage, for a stage that continues one.
        graph: concept graph; the curated core by default.
        teacher: name of the rationale set to learn from.
        task: what to predict: a file of ``clinragen.tasks``.
        tasks: of stage generalist: weight of each task, as ``{"diagnosis": 1, "ask": 0.5}`` or ``"diagnosis,ask=0.5"``.
        set: settings to override, as ``{"stage.epochs": 5}`` or ``["stage.epochs=5"]``.
        trainer: hardware preset or YAML file.
        pretrained: run of stage pretrain whose series encoder initialises a new model.
        questions: folder of ``teach_questions``, for stages ask and generalist.
        seed: seed of initial weights and of the order of stays; shorthand for ``stage.seed``.
        device: shorthand for ``trainer.accelerator``.
        preflight: check settings and data, and do not train.
        finish: keep a finished run of the same settings instead of refusing.
        overwrite: replace a finished run, or drop an unfinished one.
        verify: also check the hashes of large files before reading them.
        progress: report progress on standard error.

    Returns:
        The finished run; None after ``preflight``, and on all but the first of several processes.

    Raises:
        UserError: any error of settings or data, reported before training where it can be known before.
    """
    from clinragen.quiet import phase, remark
    from clinragen.stages import preflight as checks
    from clinragen.stages.mixture import as_settings
    from clinragen.stages.run_dir import Request

    teacher_name(teacher)
    terminal = console(progress)
    with graph_folder(graph) as graph_path, thorough(verify):
        request = Request(
            stage=stage,
            cohort=cohort_folder(cohort),
            out=Path(out),
            model=model,
            parent=_run_folder(parent),
            graph=graph_path,
            teacher=teacher,
            task=task,
            overrides=(*overrides(set), *([] if tasks is None else as_settings(tasks)), *_shorthands(seed, device)),
            overwrite=overwrite,
            trainer=trainer,
            pretrained=_run_folder(pretrained),
            questions=path(questions),
            preflight=preflight,
            finish=finish,
        )
        phase(terminal, "checking settings and cohort")
        opened = checks.check(request, say=partial(remark, terminal))
        phase(terminal, "loading torch")
        from clinragen.stages.run import run_stage

        manifest = run_stage(request, terminal, opened)
    return None if manifest is None or preflight else TrainedRun(Path(out), manifest)


def distill(
    cohort: CohortLike,
    out: str | Path,
    *,
    model: str = "tiny",
    unlabelled: str | Path | None = None,
    refine: bool = False,
    graph: GraphLike = None,
    teacher: str = "evidence",
    task: str = "diagnosis",
    set: SettingsLike = (),
    trainer: str = "default",
    seed: int | None = None,
    device: Device = "auto",
    preflight: bool = False,
    overwrite: bool = False,
    verify: bool = False,
    progress: bool = False,
) -> TrainedRun | None:
    """Run all stages of the distillation; called again, it keeps finished stages and resumes an unfinished one.

    Args:
        cohort: training data, with rationales of the teacher.
        out: folder for the runs, one for each stage.
        model: preset or YAML file.
        unlabelled: cohort to pretrain the series encoder on.
        refine: whether the student then learns from rationales of its own that the verifier rewards.
        graph: concept graph; the curated core by default.
        teacher: name of the rationale set to learn from.
        task: what to predict: a file of ``clinragen.tasks``.
        set: settings to override; ``notes.stage.epochs`` applies to one stage, ``stage.epochs`` to all.
        trainer: hardware preset or YAML file.
        seed: shorthand for ``stage.seed``.
        device: shorthand for ``trainer.accelerator``.
        preflight: check settings and data, and do not train.
        overwrite: replace finished runs, and drop unfinished ones.
        verify: also check the hashes of large files before reading them.
        progress: report progress on standard error.

    Returns:
        The run of the last stage; None after ``preflight``, and on all but the first of several processes.

    Raises:
        UserError: any error of settings or data.
    """
    from clinragen.stages.distill import Chain, split_overrides
    from clinragen.stages.distill import distill as run_stages
    from clinragen.stages.run_dir import Request

    teacher_name(teacher)
    common, by_stage = split_overrides([*overrides(set), *_shorthands(seed, device)])
    with graph_folder(graph) as graph_path, thorough(verify):
        base = Request(
            stage="notes",
            cohort=cohort_folder(cohort),
            out=Path(out),
            model=model,
            graph=graph_path,
            teacher=teacher,
            task=task,
            overrides=common,
            overwrite=overwrite,
            trainer=trainer,
            preflight=preflight,
            finish=True,
        )
        chain = Chain(base, path(unlabelled), by_stage, refine)
        manifest = run_stages(chain, console(progress))
    return TrainedRun(chain.requests()[-1].out, manifest) if manifest and not preflight else None


def _run_folder(run: str | Path | TrainedRun | None) -> Path | None:
    return run.folder if isinstance(run, TrainedRun) else path(run)


def _shorthands(seed: int | None, device: Device) -> list[str]:
    """The settings for which ``seed`` and ``device`` are shorthands."""
    settings = [] if seed is None else [f"stage.seed={seed}"]
    return settings if device == "auto" else [*settings, f"trainer.accelerator={device}"]
