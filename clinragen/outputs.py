"""Output of commands, and the rule of ``--overwrite``.

A command replaces only a folder that it wrote itself, according to the folder's ``manifest.json``, that contains
nothing else, and that is or contains none of its inputs. This is checked before the work and again after it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from clinragen.artifacts import atomic_folder, read_json, write_json
from clinragen.errors import UserError

MANIFEST = "manifest.json"
_KIND = "kind"


@dataclass(frozen=True)
class OutputKind:
    """A kind of folder that a command writes.

    Attributes:
        name: its name in the manifest.
        command: the command that writes it.
        contents: patterns of top-level names that may be lost with it: output of the command, and what other commands
            derive from it and can write again.
    """

    name: str
    command: str
    contents: tuple[str, ...]


COHORT = OutputKind(
    "cohort", "mimic-prep",
    ("*.parquet", "attrition.svg", "audit", "rationales", "*_to_fill.yaml", "identities.csv", "drugs_*.csv"),
)  # fmt: skip
AUDIT = OutputKind("audit", "mimic-prep audit", ("audit.json", "audit.html"))
SYNTHETIC = OutputKind("synthetic hospital", "mimic-prep synthesize", ("hosp", "icu", "note", "truth"))
GRAPH = OutputKind("concept graph", "clinragen graph build", ("nodes.parquet", "edges.parquet"))
RUN = OutputKind(
    "run", "clinragen train",
    ("model", "resume", "config.yaml", "metrics.csv", "curve.*", "encoder.*", "tensorboard", "wandb", "mlruns",
     "mlflow*", "lightning_logs", "samples.jsonl"),
)  # fmt: skip
PREDICTIONS = OutputKind(
    "predictions", "clinragen predict",
    ("predictions.*", "attributions.jsonl", "evaluation.json", "claims.jsonl", "evaluation", "meds-dev"),
)  # fmt: skip
PRESCRIPTIONS = OutputKind("prescriptions", "clinragen prescribe", ("prescriptions.jsonl",))
INDEX = OutputKind("similarity index", "clinragen index build", ("vectors.safetensors", "encoders.json"))
ZERO_SHOT = OutputKind("zero-shot scores", "clinragen zeroshot", ("zeroshot.parquet", "evaluation.json"))
QUESTIONS = OutputKind("questions", "clinragen teach questions", ("questions.jsonl",))
ANSWERS = OutputKind("answers", "clinragen ask", ("answers.jsonl",))
EVALUATION = OutputKind("evaluation", "clinragen evaluate", ("evaluation.json", "claims.jsonl", "meds-dev"))
REPORT = OutputKind(
    "report", "clinragen report", ("index.html", "stays", "shared", "*.css", "*.js", "*.json", "*.csv", "*.ndjson")
)
EXPORT = OutputKind(
    "exported model", "clinragen export", ("*.json", "*.safetensors", "*.model", "*.jinja", "*.txt", "*.npz",
    "README.md", "graph", "language_model", "tokenizer", "model"),
)  # fmt: skip
RATING_PACK = OutputKind("rating pack", "clinragen rate pack", ("key.json", "items.json", "raters", "judges"))
RATINGS = OutputKind("ratings", "clinragen rate import", ("ratings.json",))
MEDS = OutputKind("MEDS dataset", "clinragen export-cohort --to meds", ("data", "metadata", "labels", "label_set.json"))
HUGGING_FACE = OutputKind(
    "Hugging Face dataset", "clinragen export-cohort --to huggingface",
    ("train.parquet", "validation.parquet", "test.parquet", "README.md"),
)  # fmt: skip
PYHEALTH = OutputKind(
    "PyHealth samples", "clinragen export-cohort --to pyhealth",
    ("samples.json", "train.parquet", "validation.parquet", "test.parquet"),
)  # fmt: skip
MEDS_DEV = OutputKind("MEDS-DEV results", "clinragen evaluate --form meds-dev", ("results", "predictions"))
DEMO = OutputKind(
    "demo", "clinragen demo",
    ("raw", "cohort", ".cohort.work", ".tokens", "graph", "notes", "series", "multimodal", "student.zip", "predictions",
     ".predictions.parts", "evaluation", "report"),
)  # fmt: skip
EXPERIMENT = OutputKind(
    "experiment", "clinragen experiment",
    ("cohort", ".cohort.work", "seed*", "steps.json", "table.json", "table.md"),
)  # fmt: skip


def check_output(
    out: Path, kind: OutputKind, *, overwrite: bool = False, inputs: Iterable[Path | None] = (), option: str = "--out"
) -> None:
    """Check an output folder before the work. Nothing is changed.

    Args:
        out: the folder that is to be written.
        kind: what the command writes.
        overwrite: whether a folder of this kind may be replaced.
        inputs: folders and files that the command reads; None for one that was not given.
        option: the user's option for the folder.

    Raises:
        UserError: it may not be written, with the reason and what to do.
    """
    check_place(out, inputs, option)
    if not out.exists():
        return
    if not out.is_dir():
        raise UserError(f"{option} {out} is a file, expected a folder: choose another name")
    if not overwrite:
        raise UserError(f"{option} {out} already exists: choose another folder, or pass --overwrite to replace it")
    if any(out.iterdir()):
        check_kind(out, kind, option)


def check_kind(out: Path, kind: OutputKind, option: str = "--out") -> None:
    """Raise a UserError unless a folder was written by this command and contains nothing else."""
    manifest = out / MANIFEST
    content = read_json(manifest, f"the manifest of a folder written by `{kind.command}`") if manifest.is_file() else {}
    actual = content.get(_KIND)
    if actual != kind.name:
        other = f"it is a {actual}" if isinstance(actual, str) else "no manifest says so"
        raise UserError(
            f"{option} {out} is no folder that `{kind.command}` wrote ({other}), so it is left alone: choose another"
        )
    patterns = (MANIFEST, *kind.contents)
    if alien := sorted(path.name for path in out.iterdir() if not any(fnmatch(path.name, one) for one in patterns)):
        raise UserError(
            f"{option} {out} also holds {', '.join(alien[:3])}{' and more' * (len(alien) > 3)}, which "
            f"`{kind.command}` did not write: move it away, or choose another folder"
        )


def check_parent(out: Path, inputs: Iterable[Path | None], option: str = "--out") -> None:
    """Check a folder in which a command creates subfolders, and which may contain other files of the user.

    Raises:
        UserError: its place is not allowed, it is no folder, or it is itself the output of a command.
    """
    check_place(out, inputs, option)
    if out.exists() and not out.is_dir():
        raise UserError(f"{option} {out} is a file, expected a folder: choose another name")
    if (out / MANIFEST).exists():
        raise UserError(f"{option} {out} holds a {MANIFEST}, so it is what one command wrote: choose another folder")


def check_output_file(
    out: Path,
    begins: tuple[bytes, ...],
    *,
    overwrite: bool = False,
    inputs: Iterable[Path | None] = (),
    option: str = "--out",
) -> None:
    """Check an output file before the work: it may replace a file of its kind on request, and never an input.

    Args:
        out: the file that is to be written.
        begins: first bytes of files of this kind.
        overwrite: whether a file of this kind may be replaced.
        inputs: folders and files that the command reads; None for one that was not given.
        option: the user's option for the file.

    Raises:
        UserError: it may not be written.
    """
    check_place(out, inputs, option)
    if out.is_dir():
        raise UserError(f"{option} {out} is a folder, expected the name of a file")
    if out.exists() and not overwrite:
        raise UserError(f"{option} {out} already exists: choose another file, or pass --overwrite to replace it")
    if out.exists():
        with open(out, "rb") as file:
            start = file.read(64)
        if start and not start.startswith(begins):
            raise UserError(f"{option} {out} is no file that this command wrote, so it is left alone: choose another")


def check_place(out: Path, inputs: Iterable[Path | None], option: str = "--out") -> None:
    """Raise a UserError unless the place is allowed for a folder or file, independent of what is there now."""
    if out.is_symlink():
        raise UserError(f"{option} {out} is a symbolic link: name the place it stands for")
    real = Path(os.path.realpath(out))
    if real in (Path.cwd(), *Path.cwd().parents):
        raise UserError(f"{option} {out} is the current folder or holds it: name a folder to write")
    for path in inputs:
        if path is None:
            continue
        source = Path(os.path.realpath(path))
        if source == real or real in source.parents:
            verb = "is" if source == real else "holds"
            raise UserError(f"{option} {out} {verb} what the command reads ({path}): choose another place")
    for parent in real.parents:
        if parent.exists():
            if not parent.is_dir():
                raise UserError(f"{option} {out}: {parent} is a file, so nothing can be written below it")
            if not os.access(parent, os.W_OK | os.X_OK):
                raise UserError(f"{option} {out}: {parent} cannot be written to")
            break


@contextmanager
def output_folder(
    out: Path, kind: OutputKind, *, overwrite: bool = False, inputs: Iterable[Path | None] = ()
) -> Iterator[Path]:
    """A folder to fill, which replaces ``out`` when it is complete and has its kind in ``manifest.json``.

    Raises:
        UserError: ``out`` may not be written, or was written by something else in the meantime.
    """
    check_output(out, kind, overwrite=overwrite, inputs=inputs)
    with atomic_folder(out.absolute(), replace=out.exists()) as folder:
        yield folder
        mark(folder, kind)


def mark(folder: Path, kind: OutputKind) -> None:
    """Write the kind of a folder into its manifest, which may be new."""
    path = folder / MANIFEST
    content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    write_json(path, {_KIND: kind.name, **content})
