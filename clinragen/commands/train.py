"""``clinragen train STAGE``: one distillation stage."""

from __future__ import annotations

import argparse
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clinragen.names import teacher_name

if TYPE_CHECKING:
    from clinragen.stages.folder import Request

HELP = "Train one distillation stage. An unfinished run is resumed by the same command."


def add_common(parser: argparse.ArgumentParser, out: str) -> None:
    """Options of one stage and of all."""
    parser.add_argument("--cohort", type=Path, required=True, help="cohort folder made by mimic-prep")
    parser.add_argument("--out", type=Path, required=True, help=out)
    parser.add_argument(
        "--model", default="tiny", help="model preset or YAML file, for a stage that starts a new model"
    )
    parser.add_argument("--graph", type=Path, help="concept graph folder (default: the curated core)")
    parser.add_argument(
        "--teacher", type=teacher_name, default="evidence", help="whose rationales to imitate (default: evidence)"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override a setting: stage.epochs=5, model.learning_rate=0.001, trainer.devices=2",
    )
    parser.add_argument(
        "--trainer", default="default", help="hardware preset or YAML file: default, ddp, fsdp, multi-node"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a finished run, or drop an unfinished one")
    parser.add_argument("--preflight", action="store_true", help="check everything, tell the plan, and train nothing")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("stage", help="pretrain, notes, series or multimodal")
    add_common(parser, "run folder to write")
    parser.add_argument("--parent", type=Path, help="run folder of the stage before (series, multimodal)")
    parser.add_argument("--pretrained", type=Path, help="run of stage pretrain whose series encoder a new model takes")
    parser.add_argument(
        "--finish", action="store_true", help="a finished run of the same settings is kept, not refused"
    )


def request_of(args: argparse.Namespace, **other: Any) -> Request:
    """The request that the options make, with values for what they do not tell."""
    from clinragen.stages.folder import Request

    known = {field.name for field in fields(Request)}
    told = {name: value for name, value in vars(args).items() if name in known}
    return Request(**{"overrides": tuple(args.set), **told, **other})


def run(args: argparse.Namespace) -> None:
    """Train and say where the result is."""
    from rich.console import Console

    from clinragen.stages import preflight
    from clinragen.stages.quiet import phase, quiet_libraries, remark

    quiet_libraries()
    console, request = Console(stderr=True), request_of(args)
    phase(console, "checking settings and cohort")
    cohort = preflight.check(request, say=partial(remark, console))
    phase(console, "loading torch")
    from clinragen.stages.run import run_stage

    manifest = run_stage(request, console, cohort)
    if manifest is None or args.preflight:  # not the first of several processes
        return
    best = ", ".join(f"{name} {value:.3f}" for name, value in manifest["best"].items() if name != "epoch")
    print(f"{args.out}: best epoch {manifest['best']['epoch'] + 1} by validation {best}")
