"""One student that learns several tasks, told apart by the instruction that it reads before the note.

Language model, series encoder and attention are the same weights for all tasks; each task with labels has a label head
of its own. A task is learned by the objective that a stage for it alone has, so the tasks differ only in whose turn it
is: each optimiser step is of one task, in an order that follows from seed and epoch.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from clinragen import tasks
from clinragen.artifacts import atomic_folder, sha256_file, sha256_json
from clinragen.choices import ASK, CAPTIONS
from clinragen.cohort.folder import Cohort
from clinragen.data.caption_stays import CaptionStays
from clinragen.data.dataset import StayDataset, collate
from clinragen.data.familiarity import Familiarity
from clinragen.data.sampler import MixedPlan, TaskRows
from clinragen.inference.captions import supported_shares, write_captions
from clinragen.inference.predict import device, write_calibration
from clinragen.knowledge.relabel import open_graph
from clinragen.manifests import RunManifest
from clinragen.model.clinragen import ClinRaGen
from clinragen.model.query_reader import Tokens
from clinragen.model.task_heads import for_task, save_head, save_instruction, with_head
from clinragen.questions.outline import Outliner
from clinragen.quiet import phase
from clinragen.stages import ask
from clinragen.stages.build import list_wording, new_model, open_parent, stays
from clinragen.stages.calibration import calibrated
from clinragen.stages.checkpoint import TrainState
from clinragen.stages.config import RunConfig, resolve
from clinragen.stages.loop import Examples, Objective
from clinragen.stages.mixed import CaptionSeries, Mixture, SeveralTasks
from clinragen.stages.mixed import collate as collate_mixed
from clinragen.stages.mixture import instruction, labelled, weights_of
from clinragen.stages.module import StageModule
from clinragen.stages.pretrain import PretrainedEncoder
from clinragen.stages.record import Trained, identity_of, run_manifest
from clinragen.stages.run_dir import Request, finish_folder, finished_before
from clinragen.stages.training import Training, train

#: Validation stays whose captions are written and checked at the end.
CHECKED = 64
#: How often fixed words count in the training of a tokenizer, as in that of a student of one task.
_TIMES = 20

type Pairs = dict[str, list[ask.Pair]]


def run_generalist(request: Request, console: Console, cohort: Cohort, store: Path | None) -> RunManifest | None:
    """Train a student of several tasks; return the manifest, None on all but the first of several processes.

    Args:
        request: the stage, its inputs and its run folder.
        console: where progress is shown.
        cohort: the training cohort.
        store: keeps the tokens of stays for the next run.
    """
    parent = RunManifest.read(request.parent / "manifest.json") if request.parent else None
    parent_model = open_parent(request.parent, parent) if request.parent and parent else None
    config = resolve(
        request.stage, parent_model.config if parent_model else request.model, request.teacher,
        [*request.overrides], request.trainer,
    )  # fmt: skip
    weights = weights_of(config.stage, cohort, questions=request.questions is not None)
    config.stage.mixture, config.task = weights, labelled(weights)[0]
    phase(console, "reading the questions" if ASK in weights else "making the model")
    pairs = _questions(request, cohort) if ASK in weights else {}
    torch.manual_seed(config.stage.seed)
    pretrained = PretrainedEncoder(request.pretrained) if request.pretrained else None
    texts = [] if parent_model else _texts(weights, cohort, pairs)
    model = parent_model or new_model(config, cohort, request.graph, pretrained, texts)
    model.config = config.model
    students = _students(model, labelled(weights), cohort, request.parent)
    for student in students.values():
        student.check_context()
    phase(console, f"reading notes and series for {len(students)} tasks")
    data = {
        name: {split: stays(student, _of_task(config, name), cohort, split, store) for split in ("train", "validation")}
        for name, student in students.items()
    }
    identity = sha256_json(
        [
            identity_of(config, cohort, model, parent),
            {name: instruction(name) for name in weights},
            request.questions and sha256_file(request.questions / "questions.jsonl"),
            request.pretrained and sha256_file(request.pretrained / "manifest.json"),
        ]
    )
    if done := finished_before(RunManifest, request, identity):
        console.print(f"stage [bold]{config.stage_name}[/]: finished before, kept")
        return done
    for student in students.values():
        student.head.reset()
    mixtures = _examples(config, students[config.task], data, pairs)
    training = _training(config, students, data, mixtures, identity)
    state = train(request, config, training, console)
    if state is None:
        return None
    first = data[config.task]
    described = {name: _described(name, weights, mixtures, state) for name in weights}
    with atomic_folder(request.out / "model", replace=True) as folder:
        for name, student in students.items():
            calibration, fusion = calibrated(student.eval(), data[name], config.stage, console)
            familiarity = Familiarity.fit([data[name]["train"], data[name]["validation"]])
            described[name]["fusion"] = fusion
            save_head(student, part := folder / tasks.FOLDER / name)
            write_calibration(part, calibration, familiarity)
            if name == config.task:
                student.save_pretrained(folder)
                write_calibration(folder, calibration, familiarity)
        for name in weights.keys() - students.keys():
            follows = name == ASK and ask.go_on(pairs)
            save_instruction(folder / tasks.FOLDER / name, instruction(name), follows=follows)
    if CAPTIONS in weights:
        described[CAPTIONS]["supported"] = _supported(model, first["validation"], console)
    fusion = described[config.task]["fusion"]
    manifest = run_manifest(request, config, cohort, Trained(model, first, state, parent, identity, fusion))
    count = sum(weight.numel() for weight in training.objective.parameters())
    manifest = replace(manifest, tasks=described, parameters=count)
    finish_folder(request.out, config, manifest)
    return manifest


def _questions(request: Request, cohort: Cohort) -> Pairs:
    """The outlines of the questions of each split."""
    assert request.questions is not None  # held by the checks before training
    graph = open_graph(request.graph, cohort.label_set, cohort.added)
    return ask.outlined_splits(request.questions, Outliner(graph))


def _texts(weights: dict[str, float], cohort: Cohort, pairs: Pairs) -> list[str]:
    """What the tokenizer of a new student has to spell beside what that of the first task has to."""
    fixed = [instruction(name) for name in weights]
    fixed += [text for name in labelled(weights)[1:] for text in list_wording(tasks.load(name), cohort)]
    return fixed * _TIMES + [text for pair in pairs.get("train", []) for text in (pair[0], " ".join(pair[1]))]


def _students(model: ClinRaGen, names: list[str], cohort: Cohort, parent: Path | None) -> dict[str, ClinRaGen]:
    """The student of each task with labels; all weights but the label heads are shared.

    Heads go on learning: the model's own, and those of a parent of several tasks. A task without one gets a new head.
    """
    students: dict[str, ClinRaGen] = {}
    for name in names:
        task = tasks.load(name)
        labels, folder = task.label_set(cohort), parent and parent / "model" / tasks.FOLDER / name
        former = with_head(model, folder) if folder and folder.is_dir() else model
        if (labels.names, task.wording) == (former.labels.names, former.wording):
            students[name] = former.instructed(instruction(name))
        else:
            students[name] = for_task(model, labels, task.wording, instruction(name))
    return students


def _of_task(config: RunConfig, name: str) -> RunConfig:
    """The configuration of a run that learned this task alone."""
    sections = tasks.load(name).sections
    targets = [target for target in config.stage.targets if target in sections]
    return replace(config, task=name, stage=replace(config.stage, targets=targets))


def _examples(
    config: RunConfig, model: ClinRaGen, data: dict[str, dict[str, StayDataset]], pairs: Pairs
) -> dict[str, Mixture]:
    """The examples of all tasks of each split, in the order of the tasks."""
    stage, weights = config.stage, config.stage.mixture or {}
    examples: dict[str, dict[str, Examples]] = {
        split: {name: part[split] for name, part in data.items()} for split in ("train", "validation")
    }
    if ASK in weights:
        tokens = Tokens(model.tokenizer)
        for split, noise in (("train", stage.masked), ("validation", 0.0)):
            examples[split][ASK] = ask.Questions(pairs[split], tokens, noise, stage.seed, instruction(ASK))
    if CAPTIONS in weights:
        for split, part in data[config.task].items():
            examples[split][CAPTIONS] = CaptionStays(part)
    return {split: Mixture(parts) for split, parts in examples.items()}


def _training(
    config: RunConfig,
    students: dict[str, ClinRaGen],
    data: dict[str, dict[str, StayDataset]],
    mixtures: dict[str, Mixture],
    identity: str,
) -> Training:
    """The objective of each task, and how the steps are shared out."""
    weights = config.stage.mixture or {}
    model, parts = students[config.task], mixtures["train"].parts
    pad = model.tokenizer.pad_token_id
    objectives: dict[str, Objective] = {
        name: StageModule.of(student, _of_task(config, name).stage, data[name]) for name, student in students.items()
    }
    collates: dict[str, Any] = dict.fromkeys(weights, partial(collate, pad_token_id=pad))
    if ASK in weights:
        objectives[ASK] = ask.ReadQuestions(model.language_model, config)
        collates[ASK] = partial(ask.collate, pad=pad)
    if CAPTIONS in weights:
        objectives[CAPTIONS] = CaptionSeries(model.instructed(instruction(CAPTIONS)))
    rows = [TaskRows(len(part), weights[name]) for name, part in parts.items()]
    counts = ", ".join(f"{name} {weights[name]:g} ({len(part):,})" for name, part in parts.items())
    return Training(
        objective=SeveralTasks(objectives, weights),
        data=mixtures,
        collate=partial(collate_mixed, collates=collates),
        width=model.language_model.hidden_size,
        identity=identity,
        described=f"stage [bold]{config.stage_name}[/]: tasks by weight, with training examples: {counts}",
        planned=partial(MixedPlan, mixture=rows, passes=len(parts[config.task])),
    )


def _described(name: str, weights: dict[str, float], mixtures: dict[str, Mixture], state: TrainState) -> dict[str, Any]:
    """What the manifest says of a task."""
    best = state.history[state.best_epoch]
    prefix = f"validation/{name}/"
    return {
        "weight": weights[name],
        "examples": {split: len(part.parts[name]) for split, part in mixtures.items()},
        "best": {key: best[prefix + key] for key in ("loss", "macro_auroc") if prefix + key in best},
    }


def _supported(model: ClinRaGen, validation: StayDataset, console: Console) -> float:
    """The mean share of supported claims in captions of some validation stays."""
    phase(console, "writing captions of validation stays")
    some = replace(validation, stay_ids=validation.stay_ids[:CHECKED], store=None, teacher=None)
    writer = model.instructed(instruction(CAPTIONS)).to(device()).eval()
    return round(float(supported_shares(some, write_captions(writer, some), writer).mean()), 4)
