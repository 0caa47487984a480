"""Runs one stage: check everything, train, keep the best epoch by validation, calibrate, write the run folder.

An unfinished run folder holds ``resume/``; the same command continues it. A finished one holds ``manifest.json``.
"""

from __future__ import annotations

import math
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import OmegaConf
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger
from rich.console import Console
from torch.utils.data import DataLoader

from clinragen import __version__
from clinragen.artifacts import atomic_folder, read_json, sha256_file, sha256_json, write_json, write_text
from clinragen.data.cohort import Cohort
from clinragen.data.dataset import StayDataset, collate
from clinragen.data.lexicon import Lexicon
from clinragen.data.mentions import MentionEncoder
from clinragen.data.sampler import BucketedBatches
from clinragen.data.series import SeriesStatistics, grid, observed_variables
from clinragen.data.targets import MARKERS, NO_DIAGNOSIS
from clinragen.data.text import note_text, sections_by_stay
from clinragen.errors import UserError
from clinragen.inference.calibrate import fit_calibration
from clinragen.inference.predict import score
from clinragen.model.clinragen import ClinRaGen, assemble
from clinragen.model.language_model import train_tokenizer
from clinragen.stages.fusion import fit_linear_paths
from clinragen.stages.module import StageModule
from clinragen.stages.plan import RunConfig, as_dict, resolve
from clinragen.stages.progress import StageProgress


@dataclass
class Request:
    """What the user asked to train."""

    stage: str
    cohort: Path
    out: Path
    model: str = "tiny"
    parent: Path | None = None
    graph: Path | None = None
    teacher: str = "evidence"
    overrides: tuple[str, ...] = ()
    overwrite: bool = False


def run_stage(request: Request, console: Console) -> dict[str, Any]:
    """Train one stage and return its manifest.

    Raises:
        UserError: anything the user can mend, before compute is spent where it can be known before.
    """
    cohort = Cohort.load(request.cohort)
    parent = load_parent(request)
    config = resolve(
        request.stage, parent[0].config if parent else request.model, request.teacher, [*request.overrides]
    )
    _check_folder(request)
    pl.seed_everything(config.stage.seed, verbose=False)

    model = parent[0] if parent else _new_model(config, cohort, request)
    model.config = config.model
    model.check_context()
    datasets = {split: _dataset(model, config, cohort, split) for split in ("train", "validation")}
    if not datasets["validation"].labels.any():
        raise UserError(f"{cohort.paths.labels}: no validation stay has a phenotype: calibration needs more stays")
    identity = {
        "config": as_dict(config),
        "cohort": cohort.sha256,
        "rationales": sha256_file(cohort.paths.rationales(config.teacher)),
        "parent": parent[1]["model_sha256"] if parent else None,
        "concepts": asdict(model.concepts),
    }
    identity = sha256_json(identity)
    _prepare_folder(request, identity)
    _describe(console, request, config, model, datasets)
    if model.head.linear is not None:
        model.head.linear.reset()
    best = _fit(model, config, datasets, request, console)
    fusion = fit_linear_paths(model, datasets, config.stage.inputs, config.stage.batch_size)

    logits, labels = score(model, datasets["validation"], config.stage.inputs, config.stage.batch_size)
    calibration = fit_calibration(logits, labels, list(model.labels))
    with atomic_folder(request.out / "model", replace=True) as folder:
        model.save_pretrained(folder)
        write_json(folder / "calibration.json", calibration.to_json())
    write_text(request.out / "config.yaml", OmegaConf.to_yaml(OmegaConf.structured(config)))
    manifest = {
        "clinragen": __version__,
        "stage": config.stage_name,
        "inputs": config.stage.inputs,
        "targets": config.stage.targets,
        "teacher": config.teacher,
        "identity": identity,
        "cohort": str(request.cohort),
        "cohort_sha256": cohort.sha256,
        "protocol": cohort.manifest.get("protocol"),
        "parent": str(request.parent) if request.parent else None,
        "parent_stages": ([*parent[1]["parent_stages"], parent[1]["stage"]] if parent else []),
        "model_sha256": sha256_file(request.out / "model" / "model.safetensors"),
        "parameters": sum(p.numel() for p in model.parameters()),
        "stays": {split: len(dataset) for split, dataset in datasets.items()},
        "notes_cut": datasets["train"].cuts.notes,
        "targets_cut": datasets["train"].cuts.targets,
        "best": best,
        "fusion": fusion,
    }
    write_json(request.out / "manifest.json", manifest)
    shutil.rmtree(request.out / "resume", ignore_errors=True)
    return manifest


def load_parent(request: Request) -> tuple[ClinRaGen, dict[str, Any]] | None:
    """The parent's model and manifest; a wrong parent stage is refused."""
    from clinragen.config import load
    from clinragen.stages.plan import StageConfig

    wanted = load("stage", request.stage, StageConfig).parent
    wanted = next((o.partition("=")[2] for o in request.overrides if o.startswith("stage.parent=")), wanted)
    if wanted in (None, "null"):
        if request.parent:
            raise UserError(f"--parent {request.parent}: stage '{request.stage}' starts a new model and has no parent")
        return None
    if request.parent is None:
        raise UserError(f"stage '{request.stage}' continues stage '{wanted}': pass its run folder with --parent")
    manifest = read_json(request.parent / "manifest.json", f"a finished run of stage '{wanted}'")
    if manifest.get("stage") != wanted:
        raise UserError(f"--parent {request.parent} is a run of stage '{manifest.get('stage')}', expected '{wanted}'")
    return ClinRaGen.from_pretrained(request.parent / "model"), manifest


def _check_folder(request: Request) -> None:
    """Refuse a folder that is not ours to write, before any work. Nothing is changed."""
    out = request.out
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file, expected a folder")
    if not out.exists() or not any(out.iterdir()):
        return
    finished = (out / "manifest.json").exists()
    if finished and not request.overwrite:
        raise UserError(f"--out {out} holds a finished run: choose another folder, or pass --overwrite")
    if not finished and not (out / "resume" / "identity.json").exists():
        raise UserError(f"--out {out} is not empty and not a run of clinragen: choose another folder")


def _prepare_folder(request: Request, identity: str) -> None:
    """Drop what ``--overwrite`` drops, and mark the folder as an unfinished run with everything that shapes it."""
    started = request.out / "resume" / "identity.json"
    if request.overwrite and request.out.exists():
        shutil.rmtree(request.out)
    if started.exists() and read_json(started, "the identity of an unfinished run").get("identity") != identity:
        raise UserError(
            f"--out {request.out} holds an unfinished run of other data or settings: pass --overwrite to drop it"
        )
    write_json(started, {"identity": identity})


def _new_model(config: RunConfig, cohort: Cohort, request: Request) -> ClinRaGen:
    from clinragen.knowledge.relabel import open_graph

    train = cohort.split("train")
    variables = observed_variables(cohort, train, config.model.series.min_share, config.model.hours)
    values = grid(cohort, train, variables, config.model.hours)
    statistics = SeriesStatistics.fit(values, variables, config.model.series.bins)
    graph = open_graph(request.graph)
    tokenizer = None
    if config.model.language_model.scratch:
        tokenizer = train_tokenizer(
            _training_text(cohort, config.teacher, graph), config.model.language_model.vocabulary
        )
    lexicon = None
    if config.model.head.linear:
        sections = sections_by_stay(cohort.notes)
        lexicon = Lexicon.fit([note_text(sections.get(int(stay), [])) for stay in train], config.model.head.lexicon)
    return assemble(config.model, statistics, graph, tokenizer, lexicon)


def _training_text(cohort: Cohort, teacher: str, graph: Any) -> list[str]:
    """What a tokenizer from scratch is trained on: training stays, and the fixed words of targets and graph."""
    import polars

    from clinragen.catalog import phenotypes
    from clinragen.data.text import SECTIONS, section_title

    mine = polars.col("stay_id").is_in(cohort.split("train"))
    texts = cohort.notes.filter(mine)["text"].to_list() + cohort.rationales(teacher).filter(mine)["text"].to_list()
    fixed = [*MARKERS.values(), NO_DIAGNOSIS, *(f" {p.name};" for p in phenotypes().values())]
    fixed += [f"{section_title(section)}:" for section in SECTIONS]
    fixed += [data["name"] for _, data in graph.nodes(data=True)]
    return texts + fixed * 20


def _dataset(model: ClinRaGen, config: RunConfig, cohort: Cohort, split: str) -> StayDataset:
    return StayDataset(
        cohort,
        cohort.split(split),
        model.tokenizer,
        MentionEncoder(model.graph, model.concepts.ids),
        model.statistics,
        model.target_format(config.stage.targets),
        config.model.max_note_tokens,
        config.model.max_target_tokens,
        teacher=config.teacher,
        lexicon=model.lexicon,
    )


def _describe(
    console: Console, request: Request, config: RunConfig, model: ClinRaGen, data: dict[str, StayDataset]
) -> None:
    trained = sum(
        p.numel()
        for name, p in model.named_parameters()
        if not any(name.startswith(f"{part}.") for part in config.stage.frozen)
    )
    train = data["train"]
    console.print(
        f"stage [bold]{config.stage_name}[/]: reads {' + '.join(config.stage.inputs)}, writes "
        f"{' + '.join(config.stage.targets)}; {trained:,} of {sum(p.numel() for p in model.parameters()):,} parameters "
        f"trained; {len(train):,} training and {len(data['validation']):,} validation stays"
    )
    if train.cuts.notes or train.cuts.targets:
        console.print(f"  {train.cuts.notes} notes and {train.cuts.targets} targets were cut to fit the context")


def precision(wanted: str) -> Any:
    """Lightning's precision: ``auto`` is bf16 autocast where the hardware computes in it, else 32 bit."""
    if wanted != "auto":
        return wanted
    if torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "32-true"
    return "bf16-mixed" if torch.cpu._is_amx_tile_supported() else "32-true"


def _logger(out: Path) -> CSVLogger:
    """Writes ``metrics.csv``; the rows of an interrupted run, which Lightning would delete, are kept."""
    path = out / "metrics.csv"
    earlier = path.read_text(encoding="utf-8") if path.exists() else ""
    logger = CSVLogger(out, name="", version="")
    if earlier:
        logger.experiment.metrics_keys = earlier.splitlines()[0].split(",")
        path.write_text(earlier, encoding="utf-8")
    return logger


def _fit(
    model: ClinRaGen, config: RunConfig, data: dict[str, StayDataset], request: Request, console: Console
) -> dict[str, float]:
    stage = config.stage
    pad = model.tokenizer.pad_token_id

    def loader(split: str) -> DataLoader:
        lengths = [data[split].length(i) for i in range(len(data[split]))]
        batches = BucketedBatches(lengths, stage.batch_size, stage.seed, shuffle=split == "train")
        return DataLoader(
            data[split],
            batch_sampler=batches,
            collate_fn=lambda stays: collate(stays, pad),
            num_workers=stage.workers,
            generator=torch.Generator().manual_seed(stage.seed),  # its draws must not shift those of dropout
        )

    steps = math.ceil(len(data["train"]) / stage.batch_size / stage.accumulate) * stage.epochs
    module = StageModule(model, stage, steps)
    mode = "min" if stage.monitor == "loss" else "max"
    best = ModelCheckpoint(
        request.out / "resume",
        filename="best",
        monitor=f"validation/{stage.monitor}",
        mode=mode,
        save_last=True,
        save_on_train_epoch_end=True,  # at the end of validation the epoch is not over, and a resumed run would differ
        enable_version_counter=False,
    )
    trainer = pl.Trainer(
        max_epochs=stage.epochs,
        precision=precision(stage.precision),
        accumulate_grad_batches=stage.accumulate,
        gradient_clip_val=stage.clip,
        callbacks=[best, EarlyStopping(best.monitor or "", patience=stage.patience, mode=mode), StageProgress(console)],
        logger=_logger(request.out),
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        deterministic="warn",
        default_root_dir=request.out,
    )
    last = request.out / "resume" / "last.ckpt"
    if last.exists():
        console.print("  resuming the unfinished run")
    trainer.fit(
        module, loader("train"), loader("validation"), ckpt_path=last if last.exists() else None, weights_only=True
    )
    saved = torch.load(best.best_model_path, weights_only=True, map_location="cpu")
    module.load_state_dict(saved["state_dict"], strict=True)
    model.eval()
    return {"epoch": saved["epoch"], stage.monitor: float(best.best_model_score or math.nan)}
