"""The whole pipeline on a synthetic hospital, with the commands that a user would type, each printed before it runs.

The long way trains a student. The quick way takes one that was trained before, from the one file that the long way
writes, and goes on with patients that it has never seen.
"""

from __future__ import annotations

import shlex
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from clinragen.config import CONFIG_ROOT, build, load_yaml
from clinragen.errors import UserError
from clinragen.outputs import DEMO, check_output, mark
from clinragen.stages.config import STAGES

#: what the long way is called and writes, beside which the quick way looks
LONG, QUICK, STUDENT = "demo", "quick", "student.zip"
FEWEST = 50  # patients that fill three splits

#: an explanation, and the command line that it explains
Step = tuple[str, list[str]]


@dataclass
class DemoConfig:
    """``configs/demo.yaml``: the size of the synthetic hospital and the overrides of each stage.

    Attributes:
        patients: of the hospital that the student is trained in.
        seed: of that hospital.
        model: preset of the student.
        stages: settings of each stage.
        quick_patients: of the hospital of the quick way, whose seed is the next.
        quick_replicates: of the bootstrap of the quick way.
    """

    patients: int = 2000
    seed: int = 7
    model: str = "tiny"
    stages: dict[str, list[str]] = field(default_factory=dict)
    quick_patients: int = 150
    quick_replicates: int = 200


def training(config: DemoConfig, out: Path) -> list[Step]:
    """The steps from nothing to a student in one file."""
    raw, cohort, graph = f"{out}/raw", f"{out}/cohort", f"{out}/graph"
    planned = [
        *_hospital(raw, cohort, config.patients, config.seed),
        ("The medical concept graph", ["clinragen", "graph", "build", "--out", graph]),
        (
            "Teacher rationales, composed from the chart",
            ["clinragen", "teach", "--cohort", cohort, "--graph", graph, "--teacher", "evidence"],
        ),
    ]
    titles = {
        "notes": "Stage 1: learn to write both rationales and the diagnoses from the notes",
        "series": "Stage 2: the language model is frozen, the series encoder learns prefix prompts for it",
        "multimodal": "Stage 3: everything together",
    }
    for position, stage in enumerate(STAGES):
        command = ["clinragen", "train", stage, "--cohort", cohort, "--out", f"{out}/{stage}"]
        command += (
            ["--parent", f"{out}/{STAGES[position - 1]}"] if position else ["--model", config.model, "--graph", graph]
        )
        for override in config.stages.get(stage, []):
            command += ["--set", override]
        planned.append((titles[stage], command))
    return [
        *planned,
        (
            "The student as one file, to be shared",
            ["clinragen", "export", "--model", f"{out}/{STAGES[-1]}", "--out", f"{out}/{STUDENT}"],
        ),
    ]


def _hospital(raw: str, cohort: str, patients: int, seed: int) -> list[Step]:
    return [
        (
            "A synthetic hospital: raw tables in the MIMIC-IV schema",
            ["mimic-prep", "synthesize", "--patients", str(patients), "--seed", str(seed), "--out", raw],
        ),
        (
            "Preparation: what was known at admission, the first 48 hours, 25 phenotypes, patient-disjoint splits",
            ["mimic-prep", "mimic-iv", "--raw", raw, "--out", cohort],
        ),
    ]


def _use(out: Path, model: str, graph: Sequence[str], evaluation: Sequence[str]) -> list[Step]:
    """The steps from a student to the report."""
    cohort, predictions = f"{out}/cohort", f"{out}/predictions"
    return [
        (
            "Batch inference on held-out patients",
            ["clinragen", "predict", "--model", model, "--cohort", cohort, "--out", predictions],
        ),
        (
            "Evaluation: series zeroed, permuted and reversed, notes emptied, cited evidence removed, true causes",
            [
                *["clinragen", "evaluate", "--predictions", predictions, "--cohort", cohort],
                *[*evaluation, "--truth", f"{out}/raw/truth", "--out", f"{out}/evaluation"],
            ],
        ),
        (
            "The report",
            [
                *["clinragen", "report", "--predictions", predictions, "--cohort", cohort, *graph],
                *["--evaluation", f"{out}/evaluation/evaluation.json", "--out", f"{out}/report"],
            ],
        ),
    ]


def steps(config: DemoConfig, out: Path) -> list[Step]:
    """The steps of the long way."""
    graph = ["--graph", f"{out}/graph"]
    return training(config, out) + _use(out, f"{out}/{STAGES[-1]}", graph, ["--reasons", "50"])


def quick_steps(config: DemoConfig, out: Path, student: Path) -> list[Step]:
    """The steps of the quick way, with a student that was trained before, on patients of another hospital."""
    evaluation = ["--reasons", "5", "--replicates", str(config.quick_replicates)]
    hospital = _hospital(f"{out}/raw", f"{out}/cohort", config.quick_patients, config.seed + 1)
    return hospital + _use(out, str(student), [], evaluation)


def run_demo(
    out: Path | None,
    config_path: Path | None,
    patients: int | None,
    console: Console,
    *,
    overwrite: bool = False,
    seed: int | None = None,
    quick: bool = False,
    weights: Path | None = None,
) -> Path:
    """Run every step; stops at the first that fails.

    Args:
        out: folder to write; by default ``outputs/demo``, and ``outputs/quick`` of the quick way.
        config_path: settings in place of the shipped ones.
        patients: size of the hospital, in place of the settings'.
        console: where the steps are printed.
        overwrite: replace what an earlier demo wrote.
        seed: of the hospital that the student is trained in; the quick way takes the next.
        quick: take a student that was trained before.
        weights: the file of that student; by default that of an earlier demo beside ``out``, which is trained if it is
            not there.

    Returns:
        The folder.

    Raises:
        UserError: the output folder is in use, the student cannot be read, or a step failed.
    """
    path = config_path or CONFIG_ROOT / "demo.yaml"
    config = build(DemoConfig, load_yaml(path), str(path))
    if seed is not None:
        config.seed = seed
    if weights is not None and not quick:
        raise UserError("--weights belongs to --quick: the long way trains its own")
    out = out or Path("outputs") / (QUICK if quick else LONG)
    if not quick:
        config.patients = _enough(config.patients if patients is None else patients)
        _run(steps(config, out), out, console, overwrite=overwrite)
        return out
    config.quick_patients = _enough(config.quick_patients if patients is None else patients)
    check_output(out, DEMO, overwrite=overwrite, inputs=(weights,))
    student = weights or _student(config, out.with_name(LONG), out, console)
    from clinragen.inference.finished import FinishedRun

    FinishedRun.open(student)
    _run(quick_steps(config, out, student), out, console, overwrite=overwrite)
    return out


def _student(config: DemoConfig, long: Path, out: Path, console: Console) -> Path:
    """The student of an earlier demo; trained now where there was none."""
    student = long / STUDENT
    if student.is_file():
        return student
    if long.exists() or long == out:
        raise UserError(f"{student} not found: run `clinragen demo --overwrite`, or name a student with --weights")
    console.print(f"No student yet: one is trained, once, in some minutes, and kept in {student}", soft_wrap=True)
    _run(training(config, long), long, console)
    return student


def _enough(patients: int) -> int:
    if patients < FEWEST:
        raise UserError(f"--patients {patients}: the demo needs at least {FEWEST} to fill three splits")
    return patients


def _run(planned: list[Step], out: Path, console: Console, *, overwrite: bool = False) -> None:
    """Run steps that write into a folder, which is emptied before."""
    check_output(out, DEMO, overwrite=overwrite)
    if out.exists():
        shutil.rmtree(out)
    out.mkdir(parents=True)
    mark(out, DEMO)
    from clinragen import cli
    from mimic_prep import cli as prep_cli

    run: dict[str, Callable[[Sequence[str]], int | None]] = {"clinragen": cli.dispatch, "mimic-prep": prep_cli.dispatch}
    started = time.monotonic()
    for number, (title, command) in enumerate(planned, 1):
        console.rule(f"[bold]{number}/{len(planned)}[/] {title}", align="left")
        console.print(f"[dim]$ {shlex.join(command)}[/]", soft_wrap=True)
        began = time.monotonic()
        if code := run[command[0]](command[1:]):
            raise UserError(f"the step `{shlex.join(command)}` ended with code {code}")
        console.print(f"[dim]{time.monotonic() - began:.0f} s[/]")
    console.rule(align="left")
    console.print(f"Done in {(time.monotonic() - started) / 60:.1f} minutes.", soft_wrap=True)
