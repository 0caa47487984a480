"""The `pretrain` stage, which needs no labels or notes, and the transfer of its encoder to a new student."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from safetensors import SafetensorError
from safetensors.torch import load_file

from clinragen import __version__
from clinragen.artifacts import read_json, sha256_file, sha256_json, write_json
from clinragen.choices import PRETRAIN
from clinragen.cohort.folder import Cohort
from clinragen.cohort.window import Window
from clinragen.data.series import SeriesStatistics, grid, observed_variables
from clinragen.errors import UserError
from clinragen.manifests import StageManifest
from clinragen.model.config import ModelConfig
from clinragen.model.series_encoder import SeriesEncoder
from clinragen.quiet import phase
from clinragen.stages.config import resolve, shaping
from clinragen.stages.masked import MaskedPatches, MaskedStays, collate
from clinragen.stages.run_dir import Request, finish_folder, finished, finished_before
from clinragen.stages.training import Training, train
from clinragen.tensors import write_tensors

SHARED = ("patch_transformer.", "norm.")  # weights shared by all variables; the others have a row for each


def run_pretrain(request: Request, console: Console, cohort: Cohort) -> StageManifest | None:
    """Train only the series encoder and return the manifest; None on all but the first of several processes."""
    phase(console, "reading the series")
    config = resolve(PRETRAIN, request.model, request.teacher, [*request.overrides], request.trainer)
    torch.manual_seed(config.stage.seed)
    stays = cohort.split("train")
    # there are no rationales, so a part of the window may be read: that of the future student
    window = Window.of(cohort) if config.model.hours is None else Window(config.model.hours)
    config.model.hours = window.hours
    variables = observed_variables(cohort, stays, config.model.series.min_share, window)
    values = grid(cohort, stays, variables, window)
    statistics = SeriesStatistics.fit(values, variables, config.model.series.bins, window)
    data = {
        split: MaskedStays(cohort, split, statistics, config.model.series.patch_hours, config.stage)
        for split in ("train", "validation")
    }
    settings = shaping(config)
    described = {"series": settings["model"]["series"], "hours": config.model.hours, "statistics": statistics.to_json()}
    objective = MaskedPatches(config.model, statistics, config.stage)
    identity = sha256_json({"config": settings, "cohort": cohort.sha256, "series": sha256_file(cohort.paths.series)})
    if done := finished_before(StageManifest, request, identity):
        console.print(f"stage [bold]{PRETRAIN}[/]: finished before, kept")
        return done
    training = Training(
        objective=objective,
        data=data,
        collate=collate,
        width=config.model.series.d_model,
        identity=identity,
        described=f"stage [bold]{PRETRAIN}[/]: {len(variables)} variables; {len(data['train']):,} training and "
        f"{len(data['validation']):,} validation stays",
    )
    state = train(request, config, training, console)
    if state is None:
        return None
    weights = request.out / "model" / "encoder.safetensors"
    write_tensors(weights, objective.encoder.state_dict())
    write_json(weights.with_suffix(".json"), described)
    manifest = StageManifest(
        clinragen=__version__,
        stage=PRETRAIN,
        cohort=str(request.cohort),
        cohort_sha256=cohort.sha256,
        identity=identity,
        model_sha256=sha256_file(weights),
        stays={split: len(rows) for split, rows in data.items()},
        best=state.found("loss") | {"explained": state.history[state.best_epoch]["validation/explained"]},
        seconds=round(state.seconds, 1),
    )
    finish_folder(request.out, config, manifest)
    return manifest


class PretrainedEncoder:
    """A finished run of the stage, to initialise a new student."""

    def __init__(self, run: Path):
        self.run = run
        manifest = finished(StageManifest, run, PRETRAIN, "--pretrained")
        path = run / "model" / "encoder.safetensors"
        self.described = read_json(path.with_suffix(".json"), "the description of a pretrained encoder")
        try:
            self.statistics = SeriesStatistics(**self.described["statistics"])
            self.shape = dict(self.described["series"])
        except (KeyError, TypeError, ValueError):
            raise UserError(f"{path.with_suffix('.json')} is damaged: run the stage again") from None
        try:
            self.weights = load_file(path)
        except (SafetensorError, OSError) as error:
            raise UserError(f"{path} is damaged ({str(error).splitlines()[0]}): run the stage again") from None
        if sha256_file(path) != manifest.model_sha256:
            raise UserError(f"{path} is not the file that this run finished with: run the stage again")

    def check(self, config: ModelConfig, window: Window) -> None:
        """Raise a UserError if the encoder's settings or window differ from the student's."""
        free = ("min_share", "dropout")
        expected = {key: value for key, value in asdict(config.series).items() if key not in free}
        shape = self.shape
        if self.statistics.window != window:
            raise UserError(
                f"--pretrained {self.run}: its encoder reads {self.statistics.window}, this cohort holds {window}: "
                f"pretrain with --set model.hours={window.hours}, or on a cohort of that window"
            )
        if differing := [key for key, value in expected.items() if shape.get(key) != value]:
            key = differing[0]
            raise UserError(
                f"--pretrained {self.run}: its encoder has series.{key} {shape.get(key)}, this model {expected[key]}: "
                "pretrain with the same --model"
            )

    def standardise_alike(self, statistics: SeriesStatistics) -> SeriesStatistics:
        """The student's statistics, with those of the encoder for the variables that both have."""
        row = {name: position for position, name in enumerate(self.statistics.variables)}
        if not row.keys() & set(statistics.variables):
            raise UserError(f"--pretrained {self.run}: it knows none of the variables of this cohort")

        def merged(name: str) -> list[Any]:
            ours, other = getattr(statistics, name), getattr(self.statistics, name)
            return [
                other[row[key]] if key in row else value for key, value in zip(statistics.variables, ours, strict=True)
            ]

        return replace(statistics, centre=merged("centre"), scale=merged("scale"), edges=merged("edges"))

    def load_into(self, encoder: SeriesEncoder, variables: list[str]) -> list[str]:
        """Copy the weights of the variables that both have, and return those variables."""
        row = {name: position for position, name in enumerate(self.statistics.variables)}
        shared = [name for name in variables if name in row]
        mine = torch.tensor([variables.index(name) for name in shared])
        theirs = torch.tensor([row[name] for name in shared])
        state = encoder.state_dict()
        if state.keys() != self.weights.keys():
            differing = sorted(state.keys() ^ self.weights.keys())
            raise UserError(f"--pretrained {self.run}: its encoder is of another version (differs in {differing[0]})")
        with torch.no_grad():
            for name, tensor in state.items():
                source = self.weights[name]
                if name.startswith(SHARED):
                    tensor.copy_(source)
                else:
                    tensor[mine] = source[theirs]
        return shared
