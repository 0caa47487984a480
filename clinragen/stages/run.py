"""Run one stage: check, train, select the best epoch by validation, calibrate, write the run folder."""

from __future__ import annotations

from pathlib import Path

import torch
from rich.console import Console

from clinragen.artifacts import atomic_folder, room_in, sha256_file, sha256_json
from clinragen.choices import ASK, PRETRAIN
from clinragen.cohort import rationale_authors
from clinragen.cohort.folder import Cohort
from clinragen.data.dataset import StayDataset, collate
from clinragen.data.familiarity import Familiarity
from clinragen.data.store import private_store
from clinragen.errors import UserError
from clinragen.inference.predict import write_calibration
from clinragen.manifests import RunManifest, StageManifest
from clinragen.model.clinragen import ClinRaGen
from clinragen.quiet import phase
from clinragen.stages import preflight
from clinragen.stages.align import AlignModule, aligner
from clinragen.stages.ask import run_ask
from clinragen.stages.build import load_parent, new_model, stays
from clinragen.stages.calibration import calibrated
from clinragen.stages.config import RunConfig, resolve, settings_of
from clinragen.stages.generalist import run_generalist
from clinragen.stages.module import StageModule
from clinragen.stages.pretrain import PretrainedEncoder, run_pretrain
from clinragen.stages.record import Trained, identity_of, run_manifest
from clinragen.stages.refine import run_refine
from clinragen.stages.run_dir import TOKENS, Request, finish_folder, finished_before
from clinragen.stages.training import Training, train

__all__ = ["Request", "run_stage"]


def run_stage(request: Request, console: Console, cohort: Cohort | None = None) -> StageManifest | None:
    """Train one stage and return its manifest; None on all but the first of several processes.

    Args:
        request: the stage, its inputs and its run folder.
        console: where progress is shown.
        cohort: result of ``preflight.check`` for this request; without it everything is checked first.

    Raises:
        UserError: any error of settings or data, reported before training where it can be known before.
    """
    with room_in(request.out, "the last checkpoint"):
        cohort = cohort or preflight.check(request)
        if request.stage == PRETRAIN:
            return run_pretrain(request, console, cohort)
        if request.stage == ASK:
            return run_ask(request, console, cohort)
        if request.preflight:
            return _run_stage(request, console, cohort, None)
        with private_store(request.out.absolute().parent / TOKENS) as store:
            return _run_stage(request, console, cohort, store)


def _run_stage(request: Request, console: Console, cohort: Cohort, store: Path | None) -> StageManifest | None:
    if caution := rationale_authors.warning(cohort.paths, request.teacher):
        console.print(f"warning: {caution}", soft_wrap=True, markup=False)
    settings = settings_of(request.stage, request.overrides)
    if settings.refine is not None:
        return run_refine(request, console, cohort)
    if settings.mixture is not None:
        return run_generalist(request, console, cohort, store)
    pretrained = PretrainedEncoder(request.pretrained) if request.pretrained else None
    phase(console, "making the model" if request.parent is None else f"opening {request.parent}")
    parent = load_parent(request)
    model_config = parent[0].config if parent else request.model
    config = resolve(request.stage, model_config, request.teacher, [*request.overrides], request.trainer, request.task)
    torch.manual_seed(config.stage.seed)

    model = parent[0] if parent else new_model(config, cohort, request.graph, pretrained)
    model.config = config.model
    model.check_context()
    count = len(cohort.split("train")) + len(cohort.split("validation"))
    phase(console, f"reading notes and series of {count:,} stays")
    data = {split: stays(model, config, cohort, split, store) for split in ("train", "validation")}
    if config.stage.token_weight and not data["train"].alignment.aligned:
        raise UserError(
            f"{cohort.paths.logprobs(config.teacher)}: no token of the targets of stage '{config.stage_name}' has "
            "log-probabilities: teach the training stays with them, or set stage.token_weight=0"
        )
    origin = str(request.pretrained and sha256_file(request.pretrained / "manifest.json"))
    identity = sha256_json([identity_of(config, cohort, model, parent[1] if parent else None), origin])
    if done := finished_before(RunManifest, request, identity):
        console.print(f"stage [bold]{config.stage_name}[/]: finished before, kept")
        return done
    module = aligner(model, config.stage, data) if config.stage.align else StageModule.of(model, config.stage, data)
    model.head.reset()
    pad = model.tokenizer.pad_token_id
    training = Training(
        objective=module,
        data=data,
        collate=lambda rows: collate(rows, pad),
        width=model.language_model.hidden_size,
        identity=identity,
        described=_described(config, model, data),
    )
    state = train(request, config, training, console)
    if state is None:
        return None
    model.eval()
    calibration, fusion = calibrated(model, data, config.stage, console)
    with atomic_folder(request.out / "model", replace=True) as folder:
        model.save_pretrained(folder)
        if isinstance(module, AlignModule):
            module.alignment.save(folder)
        write_calibration(folder, calibration, Familiarity.fit([data["train"], data["validation"]]))
    trained = Trained(model, data, state, parent[1] if parent else None, identity, fusion)
    manifest = run_manifest(request, config, cohort, trained)
    finish_folder(request.out, config, manifest)
    return manifest


def _described(config: RunConfig, model: ClinRaGen, data: dict[str, StayDataset]) -> str:
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    cuts = data["train"].cuts
    text = (
        f"stage [bold]{config.stage_name}[/]: reads {' + '.join(config.stage.inputs)}, writes "
        f"{' + '.join(config.stage.targets)}; {trained:,} of {sum(p.numel() for p in model.parameters()):,} parameters "
        f"trained; {len(data['train']):,} training and {len(data['validation']):,} validation stays"
    )
    if cuts.notes or cuts.targets:
        text += f"\n  {cuts.notes} notes and {cuts.targets} targets were cut to fit the context"
    if config.stage.token_weight:
        alignment = data["train"].alignment
        text += (
            f"\n  soft targets at {alignment.aligned:,} of {alignment.tokens:,} tokens of rationales; "
            f"{alignment.spelt:,} of {alignment.rationales:,} rationales have log-probabilities"
        )
    return text
