"""What is recorded of the training of a student: the identity of the run, and the manifest when it is finished."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from clinragen import __version__
from clinragen.artifacts import sha256_file, sha256_json
from clinragen.cohort.folder import Cohort
from clinragen.data.dataset import StayDataset
from clinragen.integrity import record
from clinragen.manifests import RunManifest
from clinragen.model.clinragen import ClinRaGen
from clinragen.stages.checkpoint import TrainState
from clinragen.stages.config import RunConfig, shaping
from clinragen.stages.run_dir import Request


def identity_of(config: RunConfig, cohort: Cohort, model: ClinRaGen, parent: RunManifest | None) -> str:
    """Everything that affects the result of a run: only a run of the same identity is resumed."""
    shapes = {
        "config": shaping(config),
        "cohort": cohort.sha256,
        "rationales": sha256_file(cohort.paths.rationales(config.teacher)),
        "parent": parent.model_sha256 if parent else None,
        "concepts": model.concepts.to_json(),
    }
    if config.stage.token_weight:
        shapes["logprobs"] = sha256_file(cohort.paths.logprobs(config.teacher))
    if model.language_model.base:  # adapters are valid only with their base weights
        shapes["base"] = model.language_model.base
    return sha256_json(shapes)


@dataclass(frozen=True)
class Trained:
    """A stage that is trained, before it is described.

    Attributes:
        model: the student.
        data: stays of ``train`` and ``validation``.
        state: of the training.
        parent: manifest of the run that it continues.
        identity: hash of everything that shaped the run.
        fusion: gains of the linear paths.
        refined: what came of sampling, of a stage that learns from its own samples.
    """

    model: ClinRaGen
    data: dict[str, StayDataset]
    state: TrainState
    parent: RunManifest | None
    identity: str
    fusion: dict[str, Any] | None
    refined: dict[str, float] | None = None


def run_manifest(request: Request, config: RunConfig, cohort: Cohort, trained: Trained) -> RunManifest:
    """The manifest of a finished run, whose model has been written."""
    data, state, parent = trained.data, trained.state, trained.parent
    return RunManifest(
        clinragen=__version__,
        stage=config.stage_name,
        inputs=config.stage.inputs,
        targets=config.stage.targets,
        teacher=config.teacher,
        task=config.task,
        cohort=str(request.cohort),
        cohort_sha256=cohort.sha256,
        source=cohort.manifest.get("source"),
        protocol=cohort.manifest.get("protocol"),
        parent=str(request.parent) if request.parent else None,
        pretrained=str(request.pretrained) if request.pretrained else None,
        parent_stages=[*(parent.parent_stages or []), parent.stage] if parent else [],
        identity=trained.identity,
        model_sha256=sha256_file(request.out / "model" / "model.safetensors"),
        files=record(request.out / "model"),
        parameters=sum(p.numel() for p in trained.model.parameters()),
        stays={split: len(stays) for split, stays in data.items()},
        notes_cut=data["train"].cuts.notes,
        targets_cut=data["train"].cuts.targets,
        soft_targets=asdict(data["train"].alignment) if config.stage.token_weight else None,
        fusion=trained.fusion,
        refined=trained.refined,
        best=state.found(config.stage.monitor),
        seconds=round(state.seconds, 1),
    )
