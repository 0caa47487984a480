"""Kill training at random moments, resume it, and compare the weights with those of a run that was left alone.

Every stage is killed with SIGKILL, each time at a moment drawn evenly over the length of a run, and started again by
the same command until it ends. On one thread the weights must agree within 1e-6.

    python benchmarks/train_kill.py --cohort outputs/cohort --kills 20
"""

from __future__ import annotations

import argparse
import multiprocessing
import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is read: sums must not depend on how threads share them

import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from safetensors.torch import load_file

import clinragen.stages.run  # noqa: F401, read once for all children
from clinragen.cli import dispatch
from clinragen.errors import exit_code

MICRO = Path(__file__).parents[1] / "tests" / "micro_model.yaml"
STAGES = ("pretrain", "notes", "series", "multimodal")


def train(arguments: list[str]) -> None:
    """In the child: the command, in silence."""
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    sys.exit(exit_code(dispatch, arguments))


def start(arguments: list[str]) -> multiprocessing.Process:
    """The command in a process of its own, forked so that the libraries need not be read anew for each kill."""
    process = multiprocessing.get_context("fork").Process(target=train, args=(arguments,))
    process.start()
    return process


def finish(arguments: list[str]) -> float:
    """Run to the end; the seconds it took."""
    began = time.monotonic()
    process = start(arguments)
    process.join()
    if process.exitcode:
        raise SystemExit(f"`clinragen {' '.join(arguments)}` ended with code {process.exitcode}")
    return time.monotonic() - began


def weights(run: Path) -> dict:
    """All weights of a finished run."""
    return {
        name: tensor
        for file in sorted((run / "model").glob("*.safetensors"))
        for name, tensor in load_file(file).items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cohort", type=Path, required=True)
    parser.add_argument("--kills", type=int, default=20, help="for each stage")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--stages", nargs="+", default=STAGES, choices=STAGES)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    chance = random.Random(args.seed)
    worst = 0.0
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        for number, stage in enumerate(STAGES):
            common = ["train", stage, "--cohort", str(args.cohort), "--set", "stage.precision=32-true"]
            common += ["--set", "stage.batch_size=4", "--set", "stage.patience=99", "--set", "stage.checkpoint_steps=1"]
            common += ["--set", f"stage.epochs={args.epochs if stage in args.stages else 1}"]
            common += ["--parent", str(root / STAGES[number - 1])] if number > 1 else ["--model", str(MICRO)]
            whole = finish([*common, "--out", str(root / stage)])
            if stage not in args.stages:
                continue
            broken = root / f"{stage}-broken"
            kills = resumable = 0
            while kills < args.kills:
                process = start([*common, "--out", str(broken)])
                process.join(chance.uniform(0, whole))
                if process.exitcode is None:
                    process.kill()
                    process.join()
                    kills += 1
                    resumable += (broken / "resume" / "state.safetensors").exists()
                elif process.exitcode:
                    raise SystemExit(f"stage {stage} ended with code {process.exitcode}")
                else:  # it came to its end: start over, so that there is something to kill
                    shutil.rmtree(broken)
            if not (broken / "manifest.json").exists():
                finish([*common, "--out", str(broken)])
            expected, got = weights(root / stage), weights(broken)
            assert expected.keys() == got.keys()
            apart = max(float((expected[name].double() - got[name].double()).abs().max()) for name in expected)
            worst = max(worst, apart)
            print(
                f"{stage:<11} {kills} kills, {resumable} left a place to resume from; weights apart by {apart:.1e}",
                flush=True,
            )
    print(f"largest difference of any weight: {worst:.1e}")
    if worst > 1e-6:
        raise SystemExit("the resumed runs differ")


if __name__ == "__main__":
    main()
