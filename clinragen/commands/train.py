"""``clinragen train STAGE``: one distillation stage."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "Train one distillation stage. An unfinished run is resumed by the same command."


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("stage", help="pretrain, notes, series or multimodal")
    parser.add_argument("--cohort", type=Path, required=True, help="cohort folder made by mimic-prep")
    parser.add_argument("--out", type=Path, required=True, help="run folder to write")
    parser.add_argument("--parent", type=Path, help="run folder of the stage before (series, multimodal)")
    parser.add_argument(
        "--model", default="tiny", help="model preset or YAML file, for a stage that starts a new model"
    )
    parser.add_argument("--graph", type=Path, help="concept graph folder (default: the curated core)")
    parser.add_argument("--teacher", default="evidence", help="whose rationales to imitate (default: evidence)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override a setting: stage.epochs=5, model.hours=24, trainer.devices=2",
    )
    parser.add_argument("--pretrained", type=Path, help="run of stage pretrain whose series encoder a new model takes")
    parser.add_argument(
        "--trainer", default="default", help="hardware preset or YAML file: default, ddp, fsdp, multi-node"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a finished run, or drop an unfinished one")


def run(args: argparse.Namespace) -> None:
    """Train and say where the result is."""
    from rich.console import Console

    from clinragen.stages.quiet import quiet_libraries
    from clinragen.stages.run import Request, run_stage

    quiet_libraries()
    console = Console(stderr=True)
    request = Request(
        args.stage,
        args.cohort,
        args.out,
        args.model,
        args.parent,
        args.graph,
        args.teacher,
        tuple(args.set),
        args.overwrite,
        args.trainer,
        args.pretrained,
    )
    manifest = run_stage(request, console)
    if manifest is None:  # not the first of several processes
        return
    best = ", ".join(f"{name} {value:.3f}" for name, value in manifest["best"].items() if name != "epoch")
    print(f"{args.out}: best epoch {manifest['best']['epoch'] + 1} by validation {best}")
