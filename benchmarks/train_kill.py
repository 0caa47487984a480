"""Kill training at random moments, resume it, and compare the weights with those of a run that was left alone.

Every stage is killed with SIGKILL and started again by the same command until it ends, then begins anew until the kills
are used up. Every run that came to its end after a kill must have the weights of the run left alone, within 1e-6 on one
thread. One kill in four falls at a moment drawn evenly over the length of the whole command, start-up included. The
others are drawn evenly over what follows the first step of a start, up to the end of the command: on a busy machine
start-up is most of a short run, and hardly anything would be interrupted in it.

    python benchmarks/train_kill.py --cohort outputs/cohort --kills 20
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is read: sums must not depend on how threads share them

import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

import clinragen.stages.run  # noqa: F401, read once for all children
from clinragen.cli import dispatch
from clinragen.errors import exit_code

MICRO = Path(__file__).parents[1] / "tests" / "micro_model.yaml"
STAGES = ("pretrain", "notes", "series", "multimodal")
FELL = ("before a start's first step", "in training", "after training", "in the middle of a write")


def train(arguments: list[str]) -> None:
    """In the child: the command, in silence."""
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    sys.exit(exit_code(dispatch, arguments))


class Command:
    """A command that trains a stage in a folder, run in processes of its own.

    They are forked, so that the libraries need not be read anew for each kill.
    """

    def __init__(self, arguments: list[str], out: Path):
        self.arguments = [*arguments, "--out", str(out)]
        self.out = out
        self.state = out / "resume" / "state.safetensors"
        self.first_step: float | None = None
        self.spans = (0.0, 0.0)  # seconds of a whole run, and those after its first step

    def start(self) -> None:
        """Begin, or go on with what was interrupted."""
        self.found, self.began, self.first_step = self.written(), time.monotonic(), None
        self.process = multiprocessing.get_context("fork").Process(target=train, args=(self.arguments,))
        self.process.start()

    def written(self) -> int | None:
        """When the checkpoint was written, or None."""
        try:
            return self.state.stat().st_mtime_ns
        except FileNotFoundError:
            return None

    def stepped(self) -> bool:
        """Whether this start has done a step: one of the run is written after each."""
        return self.written() not in (None, self.found)

    def await_step(self) -> None:
        """Return after the first step of this start, or when it ends without one."""
        while self.process.exitcode is None and not self.stepped():
            time.sleep(0.005)
        self.first_step = time.monotonic()

    def ended(self) -> bool:
        """Wait for the end: whether it came by itself and not by a kill."""
        self.process.join()
        if self.process.exitcode == 0 and self.found is None and self.first_step:
            now = time.monotonic()  # the latest whole run counts, for the load of the machine changes
            self.spans = now - self.began, now - self.first_step
        if self.process.exitcode not in (0, -signal.SIGKILL):
            raise SystemExit(f"`clinragen {' '.join(self.arguments)}` ended with code {self.process.exitcode}")
        return self.process.exitcode == 0

    def weights(self) -> dict[str, Tensor]:
        """All weights of the finished run."""
        files = sorted((self.out / "model").glob("*.safetensors"))
        return {name: tensor for file in files for name, tensor in load_file(file).items()}

    def fell(self, epochs: int) -> list[str]:
        """Where a kill fell, by what it left."""
        if not self.stepped():
            return [FELL[0]]
        with safe_open(self.state, "pt") as file:
            trained = json.loads(file.metadata()["place"])["epoch"] == epochs
        return [FELL[2 if trained else 1], *[FELL[3]] * any(self.out.rglob(".*.tmp"))]


def difference(one: Tensor, other: Tensor) -> float:
    """The largest of two tensors; equal infinities do not differ, and what is not a number differs from all."""
    if torch.equal(one, other):
        return 0.0
    return float((one.double() - other.double()).abs().nan_to_num(nan=float("inf")).max())


def torment(command: Command, left_alone: dict[str, Tensor], kills: int, epochs: int, seed: int) -> list[float]:
    """Kill and resume a command: what happened, as a row of the table.

    Args:
        left_alone: the weights of a run that nothing interrupted.
    """
    chance = random.Random(seed)
    where: Counter[str] = Counter()
    done = of_this_run = compared = 0
    apart = 0.0
    while done < kills or of_this_run:
        command.start()
        if done < kills:
            whole, training = command.spans
            if done % 4:
                command.await_step()
                command.process.join(chance.uniform(0, training))
            else:
                command.process.join(chance.uniform(0, whole))
            command.process.kill()
        if not command.ended():
            done, of_this_run = done + 1, of_this_run + 1
            where.update(command.fell(epochs))
            continue
        if of_this_run:
            got = command.weights()
            assert left_alone.keys() == got.keys()
            apart = max([apart, *(difference(left_alone[name], got[name]) for name in got)])
            compared += 1
        shutil.rmtree(command.out)
        of_this_run = 0
    return [done, *(where[place] for place in FELL), compared, apart]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cohort", type=Path, required=True)
    parser.add_argument("--kills", type=int, default=20, help="for each stage")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--stages", nargs="+", default=STAGES, choices=STAGES)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    worst = 0.0
    columns = ["stage", "kills", *FELL, "runs compared", "largest difference of any weight"]
    print("| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        for number, stage in enumerate(STAGES):
            epochs = args.epochs if stage in args.stages else 1
            common = ["train", stage, "--cohort", str(args.cohort), "--set", "stage.precision=32-true"]
            common += ["--set", "stage.batch_size=4", "--set", "stage.patience=99", "--set", "stage.checkpoint_steps=1"]
            common += ["--set", f"stage.epochs={epochs}"]
            common += ["--parent", str(root / STAGES[number - 1])] if number > 1 else ["--model", str(MICRO)]
            whole = Command(common, root / stage)
            whole.start()
            whole.await_step()
            whole.ended()
            if stage not in args.stages:
                continue
            broken = Command(common, root / f"{stage}-killed")
            broken.spans = whole.spans
            row = torment(broken, whole.weights(), args.kills, epochs, args.seed)
            worst = max(worst, row[-1])
            print(f"| `{stage}` | " + " | ".join(map(str, row[:-1])) + f" | {row[-1]:.1e} |", flush=True)
    print(f"largest difference of any weight: {worst:.1e}")
    if worst > 1e-6:
        raise SystemExit("the resumed runs differ")


if __name__ == "__main__":
    main()
