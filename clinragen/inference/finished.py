"""A finished run as far as it can be read without torch, so that errors appear before anything is loaded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from clinragen import tasks
from clinragen.added_variables import NONE, AddedVariables, opened
from clinragen.artifacts import read_json
from clinragen.choices import ASK, PRETRAIN, WITHOUT_LABELS, Decoding, Target
from clinragen.cohort.folder import Cohort
from clinragen.cohort.window import KINDS, Window
from clinragen.errors import UserError
from clinragen.integrity import hold_folder
from clinragen.label_sets import LabelSet, of_model
from clinragen.manifests import RunManifest
from clinragen.packed_model import model_folder, weights_folder
from clinragen.tasks import Task

FILES = ("clinragen.json", "calibration.json", "model.safetensors")


@dataclass(frozen=True)
class FinishedRun:
    """A run folder written by ``clinragen train``, or a folder or file written by ``clinragen export``.

    Attributes:
        folder: run folder, or the file.
        model: folder of its weights.
        head: folder of what belongs to the task alone: ``model`` unless another task of several was asked for.
        manifest: the manifest of the training run.
        window: the hours that the model reads.
        labels: label set, in the order of the logits.
        task: the predicted task.
        added: the variables beside the catalogue's that the model was trained with.
    """

    folder: Path
    model: Path
    head: Path
    manifest: RunManifest
    window: Window
    labels: LabelSet
    task: Task
    added: AddedVariables = NONE

    @classmethod
    def open(cls, run: str | Path, task: str | None = None) -> FinishedRun:
        """Open a run and check whether it can be used.

        Args:
            run: its folder or file.
            task: which of its tasks is wanted, of a student of several; by default its first.

        Raises:
            UserError: not a finished run of a stage that predicts, or damaged; or it does not predict the task.
        """
        opened = cls._open(run)
        return opened if task is None else opened.of_task(task)

    @classmethod
    def _open(cls, run: str | Path) -> FinishedRun:
        run = Path(run)
        if not run.exists():
            raise UserError(f"{run} is not a folder: expected a run folder written by `clinragen train`")
        unpacked = model_folder(run)
        path = unpacked / "manifest.json"
        if not path.exists() and (inside := [one.parents[1] for one in sorted(run.glob("*/model/clinragen.json"))]):
            last = run / "multimodal" if run / "multimodal" in inside else inside[-1]
            raise UserError(
                f"{run} holds {len(inside)} runs, as `clinragen distill` writes them: name one, such as {last}"
            )
        stored = read_json(path, RunManifest.DESCRIBED)
        if stored.get("stage") == PRETRAIN:
            raise UserError(
                f"{run} is a run of stage 'pretrain', which has only a series encoder: a student starts from it "
                f"(clinragen train notes --pretrained {run}), and predicts"
            )
        if stored.get("stage") == ASK:
            raise UserError(f"{run} is a run of stage 'ask', which reads questions and predicts nothing")
        manifest = RunManifest.of_json(stored, path)
        folder = weights_folder(run)
        hold_folder(folder, manifest.files, remedy="copy the run anew, or train anew")
        for name in FILES:
            if not (folder / name).is_file():
                raise UserError(f"{folder / name} not found: expected a model written by `clinragen train`")
        path = folder / "clinragen.json"
        described = read_json(path, "the description of a clinragen model")
        try:
            window = Window(described["statistics"]["hours"], described["statistics"].get("kind", "first"))
        except (KeyError, TypeError, ValueError, AttributeError):
            raise UserError(f"{path} is damaged (statistics): train anew") from None
        if window.kind not in KINDS or not isinstance(window.hours, int) or window.hours < 1:
            raise UserError(f"{path} is damaged (statistics.hours, statistics.kind): train anew")
        added = opened(described, path, "train anew")
        task = tasks.load(manifest.task or tasks.DEFAULT)
        return cls(run, folder, folder, manifest, window, of_model(path), task, added)

    @property
    def predicts(self) -> list[str]:
        """Names of the tasks whose labels it predicts."""
        return [name for name in self.manifest.tasks or [self.task.name] if name not in WITHOUT_LABELS]

    def of_task(self, name: str) -> FinishedRun:
        """The same run, to predict another of its tasks.

        Raises:
            UserError: it does not predict the task, or its files are damaged.
        """
        task = tasks.load(name)
        if name not in self.predicts:
            raise UserError(f"{self.folder} predicts task {' or '.join(self.predicts)}, not '{name}'")
        if name == self.task.name:
            return self
        head = self.model / tasks.FOLDER / name
        targets = [target for target in self.manifest.targets if target in task.sections]
        manifest = replace(self.manifest, task=name, targets=targets)
        labels = of_model(head / tasks.DESCRIPTION)
        return replace(self, head=head, manifest=manifest, labels=labels, task=task)

    def sections(self, decoding: Decoding) -> list[Target]:
        """The sections to generate, of those that the model was trained to write.

        A model cannot know a modality that it does not read. A model of stage ``notes``, whose targets include series
        rationales, therefore generates none, unless decoding is ``free``.

        Raises:
            UserError: nothing is left.
        """
        inputs, targets = self.manifest.inputs, self.manifest.targets
        sections: list[Target] = [
            name for name in targets if decoding == "free" or name == "diagnoses" or name in inputs
        ]
        if not sections:
            raise UserError(
                f"{self.folder}: stage '{self.manifest.stage}' was trained to write {' + '.join(targets)} only, of "
                f"which it reads nothing (it reads {' + '.join(inputs)}): pass --decoding free for unsupported text"
            )
        return sections

    def remarks(self, cohort: Cohort, decoding: Decoding = "constrained") -> list[str]:
        """Remarks on predictions for a cohort, as sentences; empty if there is nothing unusual.

        Raises:
            UserError: the model cannot read the cohort.
        """
        self.task.label_set(cohort).check_same(self.labels.names, self.folder)
        left_out = [name for name in self.manifest.targets if name not in self.sections(decoding)]
        unread = f"the model reads no {' or '.join(left_out)}: it writes no rationale of it" if left_out else None
        candidates = [self.window.check(cohort), self._other_source(cohort), *self._other_variables(cohort), unread]
        return [remark for remark in candidates if remark]

    def _other_variables(self, cohort: Cohort) -> list[str]:
        """Remarks on variables that only the model or only the cohort has; of the others the meaning is the same."""
        unknown = sorted(cohort.added.rows.keys() - self.added.rows.keys())
        lacking = sorted(self.added.rows.keys() - cohort.added.rows.keys())
        return [
            *([f"the model was trained without {', '.join(unknown)}, and does not read it"] if unknown else []),
            *([f"{cohort.paths.root} has no {', '.join(lacking)}: never measured to the model"] if lacking else []),
        ]

    def _other_source(self, cohort: Cohort) -> str | None:
        """A remark if the source differs: hospitals and releases chart, code and write differently."""
        trained, source = self.manifest.source, cohort.manifest.get("source")
        if not trained or not source or trained == source:
            return None
        return (
            f"the model was trained on {trained}, {cohort.paths.root} is of {source}: its probabilities are not "
            "calibrated there"
        )
