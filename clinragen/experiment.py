"""A published experiment by one command: from raw tables to its table of scores beside the published one.

``configs/experiment/NAME.yaml`` says what is trained and which scores were published. Each step is a command that a
user could type. A step whose result is there, made by the same command, is not run again, and training goes on where
it stopped: the same command continues an experiment that was interrupted.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

import numpy as np
from omegaconf import MISSING
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from clinragen.artifacts import read_json, write_json, write_text
from clinragen.config import load
from clinragen.errors import UserError, unknown_choice
from clinragen.evaluation.stored import load_evaluation
from clinragen.evaluation.table import number
from clinragen.outputs import EXPERIMENT, MANIFEST, check_kind, mark
from clinragen.stages.config import STAGES

STEPS, TABLE, PAGE = "steps.json", "table.json", "table.md"
SCORES = ("micro_f1", "macro_f1")


@dataclass
class Row:
    """A row of the table: which variant after which stage, and the published scores."""

    title: str = MISSING
    variant: str = MISSING
    stage: str = MISSING
    micro_f1: float | None = None
    macro_f1: float | None = None


@dataclass
class ExperimentConfig:
    """``configs/experiment/*.yaml``.

    Attributes:
        release: the command of mimic-prep.
        protocol, prepare: of the preparation, and its overrides.
        teacher: whose rationales are learned; those of ``evidence`` are written if they are not there.
        model: model preset or YAML file.
        seeds: a training of each.
        train: overrides of all stages.
        variants: further overrides of each, by name; those of the model apply to the first stage.
        rows: of the table.
    """

    title: str = MISSING
    release: str = MISSING
    protocol: str = "paper"
    prepare: list[str] = field(default_factory=list)
    teacher: str = "evidence"
    model: str = "paper"
    seeds: list[int] = field(default_factory=lambda: [0])
    train: list[str] = field(default_factory=list)
    variants: dict[str, list[str]] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)

    def check(self, where: str) -> None:
        """Raise a UserError for a row of no variant or stage, and where there is nothing to run."""
        for row in self.rows:
            if row.variant not in self.variants:
                raise unknown_choice(f"{where}: variant of row '{row.title}'", row.variant, list(self.variants))
            if row.stage not in STAGES:
                raise unknown_choice(f"{where}: stage of row '{row.title}'", row.stage, STAGES)
        if not self.rows or not self.seeds:
            raise UserError(f"{where}: expected at least one row and one seed")


@dataclass(frozen=True)
class Step:
    """A command, and the file that is there when it has run to its end."""

    title: str
    command: list[str]
    product: Path


class ScoreRow(TypedDict):
    """A row of ``table.json``: published scores, and those of each seed."""

    title: str
    published: dict[str, float | None]
    reached: dict[str, list[float | None]]


def _set(overrides: Sequence[str]) -> list[str]:
    return [word for override in overrides for word in ("--set", override)]


def plan(config: ExperimentConfig, raw: str, out: Path, encoder: Path | None = None) -> list[Step]:
    """All steps of an experiment, in order.

    Args:
        config: of the experiment.
        raw: the raw tables, a path or an address.
        out: folder of the experiment.
        encoder: for BERTScore; None: none.
    """
    cohort = out / "cohort"
    prepare = ["mimic-prep", config.release, "--raw", raw, "--out", str(cohort), "--protocol", config.protocol]
    rationales = cohort / "rationales"
    teach = ["clinragen", "teach", "--cohort", str(cohort), "--teacher", config.teacher, "--overwrite"]
    steps = [
        Step("Preparation", [*prepare, *_set(config.prepare)], cohort / "manifest.json"),
        Step("Rationales of the teacher", teach, rationales / f"{config.teacher}.json"),
    ]
    for seed in config.seeds:
        trained: set[Path] = set()
        for row in config.rows:
            parent: Path | None = None
            for stage in STAGES[: STAGES.index(row.stage) + 1]:
                run = _folder(out, seed, row.variant) / stage
                if run not in trained:
                    steps.append(_training(config, row.variant, seed, stage, cohort, run, parent))
                trained.add(run)
                parent = run
            steps += _scoring(row, seed, out, cohort, encoder)
    return steps


def _folder(out: Path, seed: int, variant: str) -> Path:
    return out / f"seed{seed}" / variant


def _training(
    config: ExperimentConfig, variant: str, seed: int, stage: str, cohort: Path, run: Path, parent: Path | None
) -> Step:
    overrides = [*config.train, *config.variants[variant]]
    start = ["--parent", str(parent)] if parent else ["--model", config.model]
    if parent:  # the first stage makes the model
        overrides = [override for override in overrides if not override.startswith("model.")]
    words = ["clinragen", "train", stage, "--cohort", str(cohort), "--out", str(run), *start]
    words += ["--teacher", config.teacher, "--seed", str(seed), *_set(overrides)]
    return Step(f"Seed {seed}, {variant}: stage {stage}", words, run / "manifest.json")


def _scoring(row: Row, seed: int, out: Path, cohort: Path, encoder: Path | None) -> list[Step]:
    run = _folder(out, seed, row.variant) / row.stage
    predictions, scores = run.with_name(f"{row.stage}-predictions"), _scores(out, seed, row).parent
    predict = ["clinragen", "predict", "--model", str(run), "--cohort", str(cohort), "--out", str(predictions)]
    evaluate = ["clinragen", "evaluate", "--predictions", str(predictions), "--cohort", str(cohort)]
    evaluate += ["--out", str(scores), "--no-controls", "--reasons", "0", "--overwrite"]
    evaluate += ["--encoder", str(encoder)] if encoder else []
    name = f"Seed {seed}, {row.title}"
    return [
        Step(f"{name}: prediction", [*predict, "--decoding", "free"], predictions / "manifest.json"),
        Step(f"{name}: scores", evaluate, scores / "evaluation.json"),
    ]


def _scores(out: Path, seed: int, row: Row) -> Path:
    return _folder(out, seed, row.variant) / f"{row.stage}-evaluation" / "evaluation.json"


def resolve(
    name: str, model: str | None = None, seeds: Sequence[int] = (), overrides: Sequence[str] = ()
) -> ExperimentConfig:
    """The settings of an experiment.

    Args:
        name: of a shipped experiment, or a YAML file.
        model: another model preset or YAML file.
        seeds: others than its own.
        overrides: ``prepare.KEY=VALUE`` of the preparation; ``stage.KEY=VALUE`` and others of all stages.

    Raises:
        UserError: unknown, or damaged.
    """
    config = load("experiment", name, ExperimentConfig)
    config.check(name)
    config.model = model or config.model
    config.seeds = list(seeds) or config.seeds
    config.prepare += [override.removeprefix("prepare.") for override in overrides if override.startswith("prepare.")]
    config.train += [override for override in overrides if not override.startswith("prepare.")]
    return config


def run_experiment(
    config: ExperimentConfig, raw: str, out: Path, console: Console, encoder: Path | None = None
) -> list[ScoreRow]:
    """Run what of an experiment has not been run, and write its table.

    Args:
        config: of the experiment.
        raw: the raw tables of its release.
        out: folder of the experiment; one that was begun is continued.
        console: for titles, commands and times.
        encoder: folder of an encoder, for BERTScore.

    Raises:
        UserError: a step failed, or ``out`` holds something else or another experiment.
    """
    if out.exists():
        check_kind(out, EXPERIMENT)
    out.mkdir(parents=True, exist_ok=True)
    if not (out / MANIFEST).exists():
        mark(out, EXPERIMENT)
    _run(plan(config, raw, out, encoder), out / STEPS, console)
    rows = [_row(row, config.seeds, out) for row in config.rows]
    write_json(out / TABLE, {"title": config.title, "seeds": config.seeds, "rows": rows})
    write_text(out / PAGE, markdown(config.title, rows))
    return rows


def _run(steps: Sequence[Step], journal: Path, console: Console) -> None:
    """Run the steps whose product is missing; each is written down before it begins."""
    from clinragen import cli
    from mimic_prep import cli as prep_cli

    dispatch: dict[str, Callable[[Sequence[str]], int | None]] = {
        "clinragen": cli.dispatch,
        "mimic-prep": prep_cli.dispatch,
    }
    begun: dict[str, str] = read_json(journal, "the steps of an experiment") if journal.exists() else {}
    for count, step in enumerate(steps, 1):
        line, product = shlex.join(step.command), str(step.product)
        console.rule(f"[bold]{count}/{len(steps)}[/] {step.title}", align="left")
        if product in begun and begun[product] != line:
            raise UserError(
                f"{step.product} was begun by another command ({begun[product]}): choose another --out, or give the "
                "same options as before"
            )
        if step.product.exists():
            console.print("[dim]there already[/]")
            continue
        begun[product] = line
        write_json(journal, begun)
        console.print(f"[dim]$ {escape(line)}[/]", soft_wrap=True)
        start = time.monotonic()
        if code := dispatch[step.command[0]](step.command[1:]):
            raise UserError(f"the step `{line}` ended with code {code}")
        console.print(f"[dim]{time.monotonic() - start:.0f} s[/]")


def _row(row: Row, seeds: Sequence[int], out: Path) -> ScoreRow:
    systems = [load_evaluation(_scores(out, seed, row))["systems"]["model"]["scores"] for seed in seeds]
    return {
        "title": row.title,
        "published": {score: getattr(row, score) for score in SCORES},
        "reached": {score: [scores[f"written_{score}"]["value"] for scores in systems] for score in SCORES},
    }


def _cells(row: ScoreRow) -> list[str]:
    """Published and reached value of each score; of several seeds the mean and the standard deviation."""
    cells = []
    for score in SCORES:
        values = [value for value in row["reached"][score] if value is not None]
        spread = f" ± {number(float(np.std(values, ddof=1)))}" if len(values) > 1 else ""
        reached = number(float(np.mean(values))) + spread if values else number(None)
        cells += [number(row["published"][score]), reached]
    return cells


_TITLES = ("micro F1, published", "micro F1, here", "macro F1, published", "macro F1, here")


def table(title: str, rows: Sequence[ScoreRow]) -> Table:
    """The table for the terminal."""
    shown = Table(title=title)
    for position, column in enumerate(("", *_TITLES)):
        shown.add_column(column.replace(", ", "\n"), justify="right" if position else "left", no_wrap=True)
    for row in rows:
        shown.add_row(row["title"], *_cells(row))
    return shown


def markdown(title: str, rows: Sequence[ScoreRow]) -> str:
    """The table as a page in Markdown."""
    lines = [f"# {title}", "", f"| | {' | '.join(_TITLES)} |", "|---|" + "---:|" * len(_TITLES)]
    return "\n".join([*lines, *(f"| {row['title']} | {' | '.join(_cells(row))} |" for row in rows), ""])
