"""Run all stages with one command: keep finished ones, resume an interrupted one, refuse changed settings."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from rich.console import Console

from clinragen.choices import PRETRAIN
from clinragen.data.store import private_store
from clinragen.errors import UserError, unknown_choice
from clinragen.manifests import StageManifest
from clinragen.outputs import check_parent
from clinragen.quiet import phase, remark
from clinragen.stages import preflight
from clinragen.stages.config import REFINE, STAGES, RunConfig, resolve
from clinragen.stages.run_dir import TOKENS, Request


@dataclass
class Chain:
    """The runs of a distillation, in folders named after their stages.

    Attributes:
        base: settings that all stages share; its ``out`` is the folder of the runs.
        unlabelled: a cohort to pretrain the series encoder on, or None.
        overrides: overrides of single stages, in addition to those of ``base``.
        refined: whether the last stage learns from its own samples.
    """

    base: Request
    unlabelled: Path | None
    overrides: dict[str, list[str]]
    refined: bool = False

    def requests(self) -> list[Request]:
        """One request for each stage, each continuing the previous one."""
        base, requests = self.base, []
        if self.unlabelled:
            overrides = self._overrides(PRETRAIN)
            requests.append(
                replace(base, stage=PRETRAIN, cohort=self.unlabelled, out=base.out / PRETRAIN, overrides=overrides)
            )
        pretrained = base.out / PRETRAIN if self.unlabelled else None
        parent = None
        for stage in (*STAGES, REFINE) if self.refined else STAGES:
            mine = replace(base, stage=stage, out=base.out / stage, parent=parent, overrides=self._overrides(stage))
            if parent is None:
                mine = replace(mine, pretrained=pretrained)
            else:  # the first stage defines the model
                shape = tuple(o for o in mine.overrides if not o.startswith("model."))
                rates = tuple(o for o in mine.overrides if o.startswith("model.learning_rate"))
                mine = replace(mine, overrides=shape + rates)
            requests.append(mine)
            parent = mine.out
        return requests

    def _overrides(self, stage: str) -> tuple[str, ...]:
        return (*self.base.overrides, *self.overrides.get(stage, []))


def split_overrides(overrides: list[str]) -> tuple[tuple[str, ...], dict[str, list[str]]]:
    """``notes.stage.epochs=5`` applies to one stage, ``stage.epochs=5`` to all.

    >>> split_overrides(["stage.epochs=2", "series.stage.epochs=9"])
    (('stage.epochs=2',), {'series': ['stage.epochs=9']})
    """
    common: list[str] = []
    by_stage: dict[str, list[str]] = {}
    for override in overrides:
        stage, _, setting = override.partition(".")
        if stage in (PRETRAIN, *STAGES, REFINE):
            by_stage.setdefault(stage, []).append(setting)
        elif stage in ("stage", "model", "trainer"):
            common.append(override)
        else:
            groups = ("stage", "model", "trainer", PRETRAIN, *STAGES, REFINE)
            raise unknown_choice(f"group in --set {override}:", stage, groups)
    return tuple(common), by_stage


def distill(chain: Chain, console: Console) -> StageManifest | None:
    """Run every stage; with ``preflight``, only check all and rehearse the first.

    Returns:
        The manifest of the last stage; None if it ran as a command of its own, and after ``preflight``.
    """
    check_parent(chain.base.out, (*chain.base.inputs, chain.unlabelled))
    requests = chain.requests()
    phase(console, "checking settings and cohort")
    cohort = preflight.check(requests[0], requests[1:], say=partial(remark, console))
    phase(console, "loading torch")
    from clinragen.stages.run import run_stage

    manifest: StageManifest | None = None
    with nullcontext() if chain.base.preflight else private_store(chain.base.out.absolute() / TOKENS):
        for request in requests:
            config = resolve(request.stage, "tiny", request.teacher, _free(request), request.trainer, request.task)
            if _spawns(config):
                _apart(request)
                manifest = None
            else:
                opened = cohort if request is requests[0] else None  # others are checked together with their parents
                manifest = run_stage(request, console, opened)
            if request.preflight:
                break
    return manifest


def _free(request: Request) -> list[str]:
    return [override for override in request.overrides if not override.startswith("model.")]


def _spawns(config: RunConfig) -> bool:
    """Whether a stage launches processes, which would run this whole command again."""
    return config.trainer.devices * config.trainer.num_nodes > 1 and "TORCHELASTIC_RUN_ID" not in os.environ


def _apart(request: Request) -> None:
    """Run a stage as a separate command."""
    arguments = ["--cohort", request.cohort, "--out", request.out, "--model", request.model]
    arguments += ["--teacher", request.teacher, "--task", request.task, "--trainer", request.trainer, "--finish"]
    for option in ("parent", "graph", "pretrained"):
        if value := getattr(request, option):
            arguments += [f"--{option}", value]
    for override in request.overrides:
        arguments += ["--set", override]
    arguments += ["--overwrite"] * request.overwrite + ["--preflight"] * request.preflight
    program = Path(sys.argv[0]).with_name("clinragen") if Path(sys.argv[0]).name == "clinragen" else Path(sys.argv[0])
    done = subprocess.run([sys.executable, str(program), "train", request.stage, *map(str, arguments)], check=False)
    if done.returncode:
        raise UserError(f"stage '{request.stage}' ended with code {done.returncode}: see above")
