"""The largest experiments in order of value, as many as fit into N minutes of whatever accelerator there is.

    python benchmarks/on_gpu.py --out outputs/on_gpu --minutes 25 [--raw PATH/TO/eicu-demo] [--device cuda]

Each experiment is a command of its own: one of the other benchmarks, whose finished cells are kept. What it costs is
estimated from the speed of training that the first experiments measure; one that does not fit into the time left is
skipped, and one that runs out of time is stopped. The table and ``results.json`` hold what is finished, also after an
experiment that failed. The same command again goes on where it stopped.

Without ``--raw`` there are only synthetic patients, and nothing has to be downloaded. ``--toy`` runs everything in a
few minutes, at a size that shows only that it runs.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from printed_tables import Console
from rich.table import Table

from clinragen.artifacts import read_json, write_json

HERE = Path(__file__).parent
MARGIN = 20.0  # seconds for stopping the last experiment and printing the table
SHOWN = 40  # lines of output kept of an experiment
PREPARE = """
import sys; from pathlib import Path; import stage_ablation
stage_ablation.prepare(Path(sys.argv[1]), int(sys.argv[2]), 11)
"""
#: Unpacks SmolLM2 where vLLM can read it, and lets it teach.
VLLM = """
import sys; import llama_server; from clinragen.cli import main
from clinragen.model.config import LanguageModelConfig; from clinragen.model.pretrained import load_pretrained
file, (folder, cohort) = llama_server.smollm2(), sys.argv[1:]
config = LanguageModelConfig(architecture="causal", name=str(file.parent), gguf_file=file.name)
for part in load_pretrained(config, fetch=False): part.save_pretrained(folder)
sys.exit(main(["teach", "--cohort", cohort, "--teacher", "vllm", "--overwrite", "--set", f"engine.model={folder}"]))
"""


@dataclass(frozen=True)
class Experiment:
    """One command.

    Attributes:
        name: under which its result is kept.
        title: what it shows.
        command: arguments of the Python interpreter.
        stays: stays that it reads forward and backward, for the estimate of its time.
        model: the language model that reads them: ``tiny`` or ``smollm2``.
        fixed: seconds for everything else, which an accelerator does not shorten.
        needs: modules that it imports beyond those of training.
        after: a file without which it cannot run: another experiment writes it.
        budgeted: whether the command takes ``--minutes``, keeps what it finished, and can be given any time.
        quiet: whether its output is no result.
    """

    name: str
    title: str
    command: tuple[str, ...]
    stays: int = 0
    model: str = "smollm2"
    fixed: float = 30.0
    needs: tuple[str, ...] = ()
    after: Path | None = None
    budgeted: bool = False
    quiet: bool = False


@dataclass
class Place:
    """Where and with what the experiments run."""

    out: Path
    raw: Path | None
    device: str
    toy: bool
    deadline: float
    results: dict[str, Any] = field(default_factory=dict)

    @property
    def left(self) -> float:
        """Seconds left."""
        return self.deadline - time.monotonic()

    def keep(self) -> None:
        write_json(self.out / "results.json", {"device": self.device, "experiments": self.results})


def experiments(place: Place) -> Iterator[Experiment]:
    """All experiments, the most valuable first."""
    toy, out = place.toy, place.out
    model, patients, stays = ("tiny", 60, 6) if toy else ("smollm2", 300, 64)
    cohort = out / "gain" / f"synthetic{patients}" / "cohort"  # where `rationale_gain.py` looks for it
    prepare = (PREPARE, str(cohort.parent), str(patients))
    yield Experiment("hospital", "a synthetic hospital", ("-c", *prepare), fixed=5 if toy else 60, quiet=True)

    def throughput(name: str, title: str, variants: tuple[str, ...], of: str = model, **more: Any) -> Experiment:
        given = ("--cohort", cohort, "--model", of, "--stays", stays, "--variants", *variants, "--json")
        options = [word for key, value in more.pop("options", {}).items() for word in (key, value)]
        command = (HERE / "train_throughput.py", *given, out / f"{name}.json", *options)
        passes = 2 * stays * len(variants) * int(more.pop("repeats", 1))
        return Experiment(name, title, tuple(map(str, command)), passes, of, **more)

    yield throughput("speed", "speed of training, for the estimates", ("ours",))
    if not toy:
        yield throughput("speed_tiny", "speed of training, preset tiny", ("ours",), "tiny")
    checks = ("ours", "ddp") if toy else ("ours", "checkpointed", "compiled", "ddp")
    yield throughput("bf16", "bf16; checkpointed, compiled, in a group", checks, options={"--precision": "bf16-mixed"})
    yield throughput("fp32", "the same loss in 32 bit", ("ours",), options={"--precision": "32-true"})
    if not toy:
        turns = {"--repeats": "3"}
        yield throughput(
            "trl", "beside TRL's SFTTrainer", ("ours", "trl"), options=turns, repeats=3, needs=("trl", "datasets")
        )
    if place.raw:
        for number in range(1, 6):
            models = "text,series,both,added,smollm2"
            given = ("--raw", place.raw, "--out", out / "eicu", "--splits", number, "--models", models)
            command = tuple(map(str, (HERE / "eicu_table.py", *given)))
            title = f"SmolLM2 on {number} of 5 splits of the eICU demo"
            yield Experiment(f"eicu{number}", title, command, 6_000, fixed=240)
    yield gain("smollm2_gain", "do rationales help SmolLM2?", place, model, patients, "labels,joint,conditioned", 8_000)
    if not toy:
        parent = out / "gain" / f"synthetic{patients}" / model / "seed0" / "runs" / "joint"
        refine = ("--parent", parent, "--cohort", parent.parents[3] / "cohort", "--out", out / "refine", "--limit", 80)
        command = tuple(map(str, (HERE / "refine.py", *refine)))
        done = parent / "manifest.json"
        yield Experiment("refine", "free text before and after refining", command, 6_000, fixed=120, after=done)
    rows = "labels,joint" if toy else "labels,joint,separate,conditioned,half_wrong,several,tokens,rationales_alone"
    yield gain("tiny_gain", "do rationales help with many stays?", place, "tiny", 60 if toy else 5000, rows, 12_000)
    vllm = ("-c", VLLM, str(out / "vllm"), str(cohort))
    yield Experiment("vllm", "SmolLM2 as teacher in vLLM", vllm, fixed=180, needs=("vllm",))


def gain(name: str, title: str, place: Place, model: str, patients: int, rows: str, stays: int) -> Experiment:
    """Rows of `rationale_gain.py`; ``stays`` is what must fit, of which the command makes as much as it can."""
    given = ("--out", place.out / "gain", "--patients", patients, "--model", model, "--rows", rows)
    small = ("--epochs", "1", "--samples", "1") if place.toy else ()
    command = tuple(map(str, (HERE / "rationale_gain.py", *given, *small)))
    return Experiment(name, title, command, 0 if place.toy else stays, model, fixed=60, budgeted=True)


def estimate(experiment: Experiment, place: Place) -> float:
    """Seconds that an experiment will take; infinite before the speed of training is known."""
    if not experiment.stays or experiment.name.startswith("speed"):
        return experiment.fixed
    measured = place.out / ("speed_tiny.json" if experiment.model == "tiny" and not place.toy else "speed.json")
    if not measured.exists():
        return float("inf")
    rate = json.loads(measured.read_text(encoding="utf-8"))["ours"][0]["rate"]
    return experiment.fixed + experiment.stays / rate


def perform(experiment: Experiment, place: Place) -> dict[str, Any]:
    """Run a command until it ends or the time is over; its result, with the last lines that it printed."""
    if absent := [name for name in experiment.needs if importlib.util.find_spec(name) is None]:
        return {"state": f"skipped: {', '.join(absent)} is not installed"}
    if experiment.after and not experiment.after.exists():
        return {"state": "skipped: what it continues is not finished"}
    if (needed := estimate(experiment, place)) > place.left:
        known = needed < float("inf")
        return {"state": f"skipped: takes about {needed / 60:.1f} minutes" if known else "skipped: speed not measured"}
    command = [sys.executable, *experiment.command]
    if experiment.budgeted:
        command += ["--minutes", f"{0.6 * place.left / 60:.2f}"]  # a cell that was started takes a while to end
    log = place.out / "logs" / f"{experiment.name}.txt"
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])}
    if place.device == "cpu":
        environment["CUDA_VISIBLE_DEVICES"] = ""
    began = time.monotonic()
    with open(log, "w", encoding="utf-8") as written:
        run = subprocess.Popen(
            command, stdout=written, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )
        try:
            code: int | None = run.wait(max(1.0, place.left))
        except subprocess.TimeoutExpired:
            os.killpg(run.pid, signal.SIGTERM)
            try:
                run.wait(MARGIN / 2)
            except subprocess.TimeoutExpired:
                os.killpg(run.pid, signal.SIGKILL)
            code = None
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-SHOWN:]
    state = "stopped: out of time" if code is None else "finished" if code == 0 else f"failed with code {code}"
    if state == "finished" and any(line.startswith("not finished") for line in lines):
        state = "in part: run again to go on"
    return {"state": state, "seconds": round(time.monotonic() - began, 1), "output": lines}


def show(place: Place, all_: list[Experiment]) -> None:
    """The output of every finished experiment, and a table of all."""
    console = Console(width=250, markup=False, highlight=False)
    table = Table(title=f"experiments on {place.device}")
    for heading in ("experiment", "shows", "state", "seconds"):
        table.add_column(heading)
    for experiment in all_:
        result = place.results.get(experiment.name, {"state": "not reached"})
        if result["state"].startswith(("finished", "in part")) and not experiment.quiet:
            console.print(f"\n== {experiment.title}", *result["output"], sep="\n")
        table.add_row(experiment.name, experiment.title, result["state"], str(result.get("seconds", "")))
    console.print(table)


def found_device(wanted: str) -> str:
    """``cuda`` or ``cpu``: what was asked for, or what there is."""
    if wanted == "cpu":
        return wanted
    import torch

    there = torch.cuda.is_available()
    if wanted == "cuda" and not there:
        raise SystemExit("--device cuda: this machine has none")
    return "cuda" if there else "cpu"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="cohorts, runs, logs and results; run again to go on")
    parser.add_argument("--minutes", type=float, required=True, help="ends before so long")
    parser.add_argument("--raw", type=Path, help="the folder of the eICU demo")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--only", help="names of experiments, separated by commas")
    parser.add_argument("--toy", action="store_true", help="as small as possible: shows only that it runs")
    args = parser.parse_args()
    deadline = time.monotonic() + 60 * args.minutes - MARGIN
    place = Place(args.out.absolute(), args.raw, found_device(args.device), args.toy, deadline)
    if (place.out / "results.json").exists():
        place.results = read_json(place.out / "results.json", "results of this script")["experiments"]
    wanted = args.only.split(",") if args.only else None
    all_ = [each for each in experiments(place) if wanted is None or each.name in wanted]
    for experiment in all_:
        if place.results.get(experiment.name, {}).get("state") != "finished":
            print(f"{experiment.name}: {experiment.title}", file=sys.stderr, flush=True)
            place.results[experiment.name] = perform(experiment, place)
            place.keep()
    show(place, all_)


if __name__ == "__main__":
    main()
