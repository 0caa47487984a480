"""The run folder: its identity, whether it may be written, and its parent run.

An unfinished run folder holds ``resume/``; the same command continues it. A finished one holds ``manifest.json``.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import lock_descriptor
from omegaconf import OmegaConf

from clinragen import tasks
from clinragen.artifacts import read_json, write_json, write_text
from clinragen.config import load
from clinragen.errors import UserError
from clinragen.manifests import RunManifest, StageManifest
from clinragen.outputs import RUN, check_kind, check_place
from clinragen.stages.config import RunConfig, StageConfig

TOKENS = ".tokens"  # beside the run folders during training; the stages of one distillation share it


@dataclass
class Request:
    """A training request of the user."""

    stage: str
    cohort: Path
    out: Path
    model: str = "tiny"
    parent: Path | None = None
    graph: Path | None = None
    teacher: str = "evidence"
    overrides: tuple[str, ...] = ()
    overwrite: bool = False
    trainer: str = "default"
    pretrained: Path | None = None
    preflight: bool = False
    task: str = tasks.DEFAULT
    questions: Path | None = None  # of stage ask
    finish: bool = False  # keep a finished run of the same settings instead of refusing

    @property
    def inputs(self) -> tuple[Path | None, ...]:
        """The input folders."""
        return self.cohort, self.parent, self.graph, self.pretrained, self.questions


def expected_parent(request: Request) -> RunManifest | None:
    """The manifest of the run to continue; None for a stage that starts a new model.

    Raises:
        UserError: the parent is missing, not expected, or a run of another stage.
    """
    expected = load("stage", request.stage, StageConfig).parent
    expected = next((o.partition("=")[2] for o in request.overrides if o.startswith("stage.parent=")), expected)
    if expected in (None, "null"):
        if request.parent:
            raise UserError(f"--parent {request.parent}: stage '{request.stage}' starts a new model and has no parent")
        return None
    if request.parent is None:
        raise UserError(f"stage '{request.stage}' continues stage '{expected}': pass its run folder with --parent")
    if request.pretrained:
        raise UserError(f"--pretrained {request.pretrained}: only a stage that starts a new model takes an encoder")
    manifest = finished(RunManifest, request.parent, expected)
    if (trained := manifest.task or tasks.DEFAULT) != request.task:
        raise UserError(
            f"--parent {request.parent} learns task '{trained}', not '{request.task}': pass --task {trained}"
        )
    return manifest


def finished_before[M: StageManifest](kind: type[M], request: Request, identity: str) -> M | None:
    """The manifest of a finished run of the same identity, if ``finish`` is set.

    Raises:
        UserError: the finished run is of other data or settings.
    """
    path = request.out / "manifest.json"
    if request.overwrite or not request.finish or not path.exists():
        return None
    manifest = kind.read(path)
    if manifest.identity != identity:
        raise UserError(f"--out {request.out} holds a finished run of other data or settings: pass --overwrite")
    return manifest


def finished[M: StageManifest](kind: type[M], run: Path, stage: str, option: str = "--parent") -> M:
    """The manifest of a finished run of a stage.

    Raises:
        UserError: it is no finished run, of another stage, or its manifest is damaged.
    """
    path = run / "manifest.json"
    stored = read_json(path, f"a finished run of stage '{stage}'")
    if stored.get("stage") != stage:
        raise UserError(f"{option} {run} is a run of stage '{stored.get('stage')}', expected '{stage}'")
    return kind.of_json(stored, path)


def check_folder(out: Path, overwrite: bool, inputs: Iterable[Path | None] = ()) -> None:
    """Refuse a folder that must not be written, before any work. Nothing is changed.

    An existing run folder may be resumed, so its existence is no error.
    """
    check_place(out, inputs)
    if not out.exists() or not any(out.iterdir()):
        return
    if (out / "resume" / "identity.json").exists() and not (out / "manifest.json").exists():
        return
    check_kind(out, RUN)
    if not overwrite:
        raise UserError(f"--out {out} holds a finished run: choose another folder, or pass --overwrite")


def prepare_folder(out: Path, overwrite: bool, identity: str) -> None:
    """Remove what ``--overwrite`` replaces and the partial files of killed writers, and mark the folder as an
    unfinished run with its identity."""
    started = out / "resume" / "identity.json"
    if overwrite and out.exists():
        with alone_in(out):
            shutil.rmtree(out)
    if started.exists() and read_json(started, "the identity of an unfinished run").get("identity") != identity:
        raise UserError(f"--out {out} holds an unfinished run of other data or settings: pass --overwrite to drop it")
    for half in (*out.glob(".*.tmp"), *out.glob(".model.*.old"), *started.parent.glob(".*.tmp")):
        shutil.rmtree(half) if half.is_dir() else half.unlink()
    write_json(started, {"identity": identity})


@contextmanager
def alone_in(out: Path) -> Iterator[None]:
    """Hold a lock on a run folder: a second start of the same command would train the same steps into it.

    The system releases the lock when the process dies.

    Raises:
        UserError: another process holds it.
    """
    handle, free = os.open(out, os.O_RDONLY), True
    try:
        with suppress(OSError):  # a file system without locks: as if alone
            free = lock_descriptor(handle, blocking=False)
        if not free:
            raise UserError(f"--out {out} is being written by another run: wait for it, or choose another folder")
        yield
    finally:
        os.close(handle)


def finish_folder(out: Path, config: RunConfig, manifest: StageManifest) -> None:
    """Mark the folder as a finished run: write settings, then the manifest, and remove the checkpoint."""
    write_text(out / "config.yaml", OmegaConf.to_yaml(OmegaConf.structured(config)))
    write_json(out / "manifest.json", {"kind": RUN.name, **manifest.to_json()})
    shutil.rmtree(out / "resume", ignore_errors=True)
