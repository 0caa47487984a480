"""The whole pipeline on a synthetic hospital, with the commands that a user would type, each printed before it runs."""

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


@dataclass
class DemoConfig:
    """``configs/demo.yaml``: the size of the synthetic hospital and the overrides of each stage."""

    patients: int = 2000
    seed: int = 7
    model: str = "tiny"
    stages: dict[str, list[str]] = field(default_factory=dict)


def steps(config: DemoConfig, out: Path) -> list[tuple[str, list[str]]]:
    """The steps, as (explanation, command line)."""
    raw, cohort, graph = f"{out}/raw", f"{out}/cohort", f"{out}/graph"
    planned = [
        (
            "A synthetic hospital: raw tables in the MIMIC-IV schema",
            ["mimic-prep", "synthesize", "--patients", str(config.patients), "--seed", str(config.seed), "--out", raw],
        ),
        (
            "Preparation: what was known at admission, the first 48 hours, 25 phenotypes, patient-disjoint splits",
            ["mimic-prep", "mimic-iv", "--raw", raw, "--out", cohort],
        ),
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
    predictions = f"{out}/predictions"
    planned += [
        (
            "Batch inference on held-out patients",
            ["clinragen", "predict", "--model", f"{out}/multimodal", "--cohort", cohort, "--out", predictions],
        ),
        (
            "Evaluation: series zeroed, permuted and reversed, notes emptied, cited evidence removed, true causes",
            [
                *["clinragen", "evaluate", "--predictions", predictions, "--cohort", cohort],
                *["--reasons", "50", "--truth", f"{out}/raw/truth", "--out", f"{out}/evaluation"],
            ],
        ),
        (
            "The report",
            [
                *["clinragen", "report", "--predictions", predictions, "--cohort", cohort, "--graph", graph],
                *["--evaluation", f"{out}/evaluation/evaluation.json", "--out", f"{out}/report"],
            ],
        ),
    ]
    return planned


def run_demo(
    out: Path,
    config_path: Path | None,
    patients: int | None,
    console: Console,
    *,
    overwrite: bool = False,
    seed: int | None = None,
) -> None:
    """Run every step; stops at the first that fails.

    Raises:
        UserError: the output folder is in use, or a step failed.
    """
    path = config_path or CONFIG_ROOT / "demo.yaml"
    config = build(DemoConfig, load_yaml(path), str(path))
    if patients is not None:
        config.patients = patients
    if seed is not None:
        config.seed = seed
    if config.patients < 50:
        raise UserError(f"--patients {config.patients}: the demo needs at least 50 to fill three splits")
    check_output(out, DEMO, overwrite=overwrite)
    if out.exists():
        shutil.rmtree(out)
    out.mkdir(parents=True)
    mark(out, DEMO)
    from clinragen import cli
    from mimic_prep import cli as prep_cli

    run: dict[str, Callable[[Sequence[str]], int | None]] = {"clinragen": cli.dispatch, "mimic-prep": prep_cli.dispatch}
    started = time.monotonic()
    planned = steps(config, out)
    for number, (title, command) in enumerate(planned, 1):
        console.rule(f"[bold]{number}/{len(planned)}[/] {title}", align="left")
        console.print(f"[dim]$ {shlex.join(command)}[/]", soft_wrap=True)
        began = time.monotonic()
        if code := run[command[0]](command[1:]):
            raise UserError(f"the step `{shlex.join(command)}` ended with code {code}")
        console.print(f"[dim]{time.monotonic() - began:.0f} s[/]")
    console.rule(align="left")
    console.print(
        f"Done in {(time.monotonic() - started) / 60:.1f} minutes. Open the report: [bold]{out}/report/index.html[/]",
        soft_wrap=True,
    )
