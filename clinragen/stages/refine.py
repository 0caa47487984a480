"""The stage ``refine``: a student samples rationales, the verifier rewards them, and it learns from the best and worst.

Only its language model is trained. Label head, linear paths and calibration remain those of the parent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress
from torch.utils.data import DataLoader

from clinragen.artifacts import atomic_folder, read_json
from clinragen.choices import RationaleKind
from clinragen.cohort.folder import Cohort
from clinragen.data.dataset import StayDataset
from clinragen.errors import UserError
from clinragen.inference.calibrate import Calibration
from clinragen.inference.finished import FinishedRun
from clinragen.inference.predict import TrainedModel, device, score
from clinragen.manifests import RunManifest
from clinragen.model.language_model import Sampling
from clinragen.quiet import phase
from clinragen.stages.build import load_parent
from clinragen.stages.config import RunConfig, resolve
from clinragen.stages.hardware import precision
from clinragen.stages.preferences import Judge, PreferenceDataset, collate_pairs, prefer
from clinragen.stages.record import Trained, identity_of, run_manifest
from clinragen.stages.refine_objective import RefineModule
from clinragen.stages.run_dir import Request, finish_folder, finished_before, prepare_folder
from clinragen.stages.samples import SampleJournal, draw, origin_of
from clinragen.stages.training import Training, train

JOURNAL = "samples.jsonl"  # in the run folder, also when it is finished: it says what was learned from


def run_refine(request: Request, console: Console, cohort: Cohort) -> RunManifest | None:
    """Refine the parent and return the manifest; None after a preflight.

    Raises:
        UserError: the parent is damaged, or its samples leave nothing to learn.
    """
    phase(console, f"opening {request.parent}")
    parent = load_parent(request)
    assert parent is not None  # preflight refuses a stage that refines nothing
    assert request.parent is not None
    model, manifest = parent
    config = resolve(request.stage, model.config, request.teacher, [*request.overrides], request.trainer, request.task)
    refine = config.stage.refine
    assert refine is not None
    model.config = config.model
    identity = identity_of(config, cohort, model, manifest)
    if done := finished_before(RunManifest, request, identity):
        console.print(f"stage [bold]{config.stage_name}[/]: finished before, kept")
        return done
    run = FinishedRun.open(request.parent)
    stored = read_json(run.model / "calibration.json", "the calibration of the model")
    where = device("cpu" if config.trainer.accelerator == "cpu" else "auto")
    trained = TrainedModel(model, Calibration.from_json(stored, list(model.labels)), run, where)
    most = {"train": refine.stays, "validation": refine.validation_stays}
    data = {split: trained.stays(cohort, spread(cohort.split(split), count)) for split, count in most.items()}
    if request.preflight:
        console.print(_described(config, {split: len(stays) for split, stays in data.items()}))
        return None
    model.to(where)  # not later, in inference mode: what is moved there cannot be trained
    prepare_folder(request.out, request.overwrite, identity)
    pairs, refined = _preferences(request, config, trained, data, console)
    before, _ = score(model, data["validation"], config.stage.inputs, where=where)
    objective = RefineModule(model, config.stage, refine)
    refer(objective, list(pairs.values()), config, where)
    training = Training(
        objective=objective,
        data=pairs,
        collate=partial(collate_pairs, pad_token_id=model.tokenizer.pad_token_id),
        width=model.language_model.hidden_size,
        identity=identity,
        described=_described(config, {split: len(each) for split, each in pairs.items()}),
    )
    state = train(replace(request, overwrite=False), config, training, console)
    assert state is not None  # this is the only process
    phase(console, "writing the model, with the calibration of its parent")
    after, _ = score(model, data["validation"], config.stage.inputs, where=where)
    moved = trained.calibration.probabilities(after) - trained.calibration.probabilities(before)
    refined["moved"] = round(float(np.abs(moved).mean()), 6)
    with atomic_folder(request.out / "model", replace=True) as folder:
        model.cpu().eval().save_pretrained(folder)
        trained.write_calibration(folder)
    finished = Trained(model, data, state, manifest, identity, manifest.fusion, refined)
    result = run_manifest(request, config, cohort, finished)
    finish_folder(request.out, config, result)
    return result


def spread(ids: np.ndarray, most: int) -> np.ndarray:
    """At most ``most`` of some ids, evenly spread.

    >>> spread(np.arange(7), 3).tolist()
    [0, 2, 4]
    """
    return ids[np.arange(most) * len(ids) // most] if most < len(ids) else ids


def _described(config: RunConfig, counts: dict[str, int]) -> str:
    refine = config.stage.refine
    assert refine is not None
    return (
        f"stage [bold]{config.stage_name}[/]: {refine.samples} samples a stay, method {refine.method}; learns from "
        f"{counts['train']:,} training and {counts['validation']:,} validation stays"
    )


def _preferences(
    request: Request, config: RunConfig, trained: TrainedModel, data: dict[str, StayDataset], console: Console
) -> tuple[dict[str, PreferenceDataset], dict[str, float]]:
    """Preferences of each split, and figures of the training stays' samples for the manifest."""
    refine = config.stage.refine
    assert refine is not None
    sampling, seed = Sampling(refine.temperature, refine.top_p), config.stage.seed
    kinds: Sequence[RationaleKind] = [kind for kind in ("note", "series") if kind in config.stage.targets]
    target = trained.model.target_format(trained.run.sections("free"))
    origin = origin_of(trained, data["train"].cohort.sha256, sampling, seed)
    pairs: dict[str, PreferenceDataset] = {}
    figures: dict[str, float] = {}
    with SampleJournal(Path(refine.journal) if refine.journal else request.out / JOURNAL, origin) as journal:
        for split, stays in data.items():
            with Progress(console=console, transient=True) as progress:
                bar = progress.add_task(f"  sampling rationales of {split} stays", total=len(stays))
                done = partial(progress.advance, bar)
                drawn = draw(trained, stays, refine.samples, sampling, seed, journal, done)
            phase(console, f"rewarding {len(stays) * refine.samples:,} reports of {split} stays")
            judge = Judge(stays, trained.model.graph, refine.others)
            judged = prefer(drawn, judge, kinds, refine.least_gap, refine.least_reward, mend=refine.mend)
            usable = [each for each in judged.preferences if each.sound or refine.method != "rft"]
            if not usable:
                raise UserError(
                    f"--parent {request.parent}: none of its samples of {len(stays)} {split} stays is worth learning: "
                    "train the parent longer, or raise stage.refine.samples"
                )
            pairs[split] = PreferenceDataset(stays, usable, target, list(trained.model.labels))
            figures |= {
                f"{split}_stays": len(stays),
                f"{split}_learned": len(usable),
                f"{split}_sound": sum(each.sound for each in judged.preferences),
                f"{split}_reward": round(judged.mean, 4),
                f"{split}_best_reward": round(judged.best, 4),
            }
    return pairs, figures


@torch.inference_mode()
def refer(objective: RefineModule, splits: Sequence[PreferenceDataset], config: RunConfig, where: torch.device) -> None:
    """Store what the parent makes of each pair, before anything is trained: every step needs it, and it never changes.

    Args:
        objective: holds the parent's weights.
        splits: the pairs, which are filled in.
        config: of the run; probabilities are computed in its precision, so that differences are those of the weights.
        where: device of the model.
    """
    objective.to(where).freeze()
    model = objective.model
    half = precision(config.stage.precision, model.language_model.hidden_size)
    kind = torch.float16 if half.startswith("16") else torch.bfloat16
    for pairs in splits:
        order = sorted(range(len(pairs)), key=pairs.length)
        size = config.stage.batch_size
        groups = [order[start : start + size] for start in range(0, len(order), size)]
        collate = partial(collate_pairs, pad_token_id=model.tokenizer.pad_token_id)
        for rows, batch in zip(groups, DataLoader(pairs, batch_sampler=groups, collate_fn=collate), strict=True):
            with torch.autocast(where.type, kind, enabled=half.endswith("mixed")):
                log_probs, _, logits = objective.read(batch._replace(stays=batch.stays.to(where)))
            pairs.log_probs[rows] = log_probs.float().cpu()
            pairs.logits[rows] = logits.float().cpu()
