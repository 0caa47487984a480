"""Evaluation from Python: scores compared with controls, and claims checked against the chart."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from clinragen.api.values import (
    CohortLike,
    GraphLike,
    cohort_folder,
    console,
    formerly,
    graph_folder,
    open_cohort,
    open_predictions,
    path,
    predictions_folder,
)
from clinragen.artifacts import write_json
from clinragen.choices import EVALUATION_FORMS, HELD_OUT, INPUT_CONTROLS, Control, Device, EvaluationForm, RationaleKind
from clinragen.errors import UserError, unknown_choice
from clinragen.integrity import thorough
from clinragen.manifests import RunManifest
from clinragen.names import teacher_name
from clinragen.outputs import MEDS_DEV, check_output
from clinragen.packed_model import model_folder

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    from rich.console import Console

    from clinragen.evaluation.diagnosis import System
    from clinragen.evaluation.faithfulness import StayClaims
    from clinragen.evaluation.inputs import Predictions, Truth
    from clinragen.evaluation.reasons import Weighed
    from clinragen.evaluation.rows import EvaluationFile
    from clinragen.inference.predict import TrainedModel


@dataclass(frozen=True)
class Evaluation:
    """Scores of predictions.

    Attributes:
        path: ``evaluation.json``.
        values: what it holds: ``systems`` with their ``scores``, ``phenotypes``, ``faithfulness`` and more.
    """

    path: Path
    values: EvaluationFile

    def score(self, name: str, system: str = "model") -> float | None:
        """One number, such as ``score("macro_auroc")``; None where it cannot be computed."""
        return self.values["systems"][system]["scores"][name]["value"]


class CheckedClaim(TypedDict):
    """One claim: ``text`` are the words that make it, ``about`` is its concept or its variables."""

    stay_id: int
    rationale: RationaleKind
    text: str
    kind: str
    about: str
    verdict: str


@dataclass(frozen=True)
class CheckedClaims:
    """Every claim of some rationales, with its verdict against the chart.

    Attributes:
        claims: in the order of the stays.
    """

    claims: list[CheckedClaim]

    def frame(self) -> pl.DataFrame:
        """A polars data frame with one row per claim."""
        import polars as pl

        columns = ("rationale", "text", "kind", "about", "verdict")
        return pl.DataFrame(self.claims, schema={"stay_id": pl.Int64, **dict.fromkeys(columns, pl.String)})

    def to_pandas(self) -> pd.DataFrame:
        """The same in pandas."""
        return self.frame().to_pandas()


@formerly(predictions_shuffled="predictions_permuted")
def evaluate(
    predictions: str | Path | Predictions,
    cohort: CohortLike,
    out: str | Path | None = None,
    *,
    predictions_zeroed: str | Path | None = None,
    predictions_permuted: str | Path | None = None,
    no_controls: bool = False,
    labels_permuted: bool = False,
    reasons: int = 100,
    truth: str | Path | None = None,
    teacher: str | None = None,
    encoder: str | Path | None = None,
    graph: GraphLike = None,
    replicates: int = 1000,
    seed: int = 0,
    form: EvaluationForm = "json",
    device: Device = "auto",
    overwrite: bool = False,
    verify: bool = False,
    progress: bool = False,
) -> Evaluation:
    """Score predictions beside the prevalence guess and controls: the same model with its series zeroed, permuted
    among patients and reversed in time, and with its notes emptied.

    Args:
        predictions: the result of :func:`clinragen.predict`, or its folder.
        cohort: the one they were made from, with labels.
        out: where ``evaluation.json`` and the claims go; the predictions folder by default.
        predictions_zeroed: predictions with zeroed series, instead of running them.
        predictions_permuted: the same with each series taken from another patient.
        no_controls: do not run the model: no altered inputs, and no evidence removed.
        labels_permuted: also fit the classical baseline to permuted training labels: it must come to an AUROC of .5.
        reasons: number of stays, drawn at random, for which cited evidence is removed from the model's input; 0: none.
        truth: the folder ``truth`` of a synthetic hospital, for cause recall.
        teacher: name of the rationale set to compare with; evidence by default, if it exists.
        encoder: folder of a pre-trained encoder, for BERTScore against the teacher's rationales; none by default.
        graph: concept graph for reading claims; the model's by default.
        replicates: number of bootstrap replicates.
        seed: seed of the bootstrap.
        form: json writes ``evaluation.json``; meds-dev also the folder ``meds-dev`` beside it, with predictions and
            results of each label as MEDS-DEV takes them.
        device: where the model runs for the controls.
        overwrite: replace an evaluation; controls that are not run again are kept.
        verify: also check the hashes of large files before reading them.
        progress: report progress on standard error.

    Raises:
        UserError: the folders do not belong together, a patient is in two splits, or the evaluation exists.
    """
    from clinragen.evaluation import faithfulness, meds_dev, stored
    from clinragen.evaluation.bertscore import Encoder, with_likeness
    from clinragen.evaluation.inputs import default_teacher, graph_of, load_truth
    from clinragen.evaluation.reasons import load_causes, strangers
    from clinragen.evaluation.reasons import summarize as summarize_reasons
    from clinragen.evaluation.summary import summarize
    from clinragen.quiet import phase

    bounds = (("replicates", replicates, 1, 1_000_000), ("seed", seed, 0, 2**63 - 1), ("reasons", reasons, 0, 10**9))
    for name, value, least, most in bounds:
        if not least <= value <= most:
            raise UserError(f"--{name} {value}: expected a number from {least} to {most:,}")
    if form not in EVALUATION_FORMS:
        raise unknown_choice("form", form, EVALUATION_FORMS)
    if teacher is not None:
        teacher_name(teacher)
    text_encoder = Encoder(Path(encoder)) if encoder is not None else None
    terminal = console(progress)
    root = predictions_folder(predictions)
    folder = Path(out) if out is not None else root
    altered = {"zeroed": path(predictions_zeroed), "permuted": path(predictions_permuted)}
    with graph_folder(graph) as graph_path, thorough(verify):
        before = stored.replaceable(
            folder, overwrite=overwrite, inputs=(cohort_folder(cohort), graph_path, *altered.values())
        )
        if form == "meds-dev":
            check_output(folder / meds_dev.FOLDER, MEDS_DEV, overwrite=overwrite, inputs=(cohort_folder(cohort),))
        opened = open_predictions(predictions)
        truth_rows = load_truth(opened, open_cohort(cohort))
        truth_rows.cohort.hold_patients_apart()
        concepts = graph_of(opened, graph_path)
        causes = load_causes(Path(truth), concepts) if truth is not None else None
        phase(terminal, f"checking the claims of {len(opened.stay_ids):,} stays")
        checker = faithfulness.ClaimChecker(opened, truth_rows, concepts)
        claims = checker.check()
        student = _Student(opened, device)
        controls = _controls(student, truth_rows, altered, run=not no_controls)
        if labels_permuted:
            controls["labels_permuted"] = _labels_permuted(opened, truth_rows, seed)
        given = None
        if opened.task.argued:
            given = summarize_reasons(
                opened,
                truth_rows,
                claims,
                checker.check(authors=strangers(opened, truth_rows)),
                weighed=(
                    _weighed(student, truth_rows, claims, reasons, seed, terminal)
                    if reasons and not no_controls
                    else None
                ),
                causes=causes,
                replicates=replicates,
                seed=seed,
            )
        phase(terminal, f"scoring stays, sites and groups, with their patients drawn {replicates:,} times")
        evaluation = summarize(
            opened,
            truth_rows,
            controls,
            claims=claims,
            teacher=teacher or default_teacher(truth_rows.cohort),
            reasons=given,
            replicates=replicates,
            seed=seed,
        )
        if text_encoder is not None:
            with console(True).status("BERTScore"):
                text = with_likeness(evaluation["text"], text_encoder, opened, truth_rows, replicates, seed)
            evaluation["text"] = text
        file = folder / stored.FILE
        evaluation = stored.keep_controls(file, before, evaluation)
        write_json(file, evaluation)
        faithfulness.write(file.with_name(stored.CLAIMS), opened, claims)
        if form == "meds-dev":
            meds_dev.write(opened, truth_rows, folder / meds_dev.FOLDER, overwrite=overwrite)
    return Evaluation(file, evaluation)


@dataclass(frozen=True)
class _Student:
    """The model that made the predictions; loaded once, and only where it must run."""

    predictions: Predictions
    device: Device

    @cached_property
    def model(self) -> TrainedModel | None:
        """None, and a word to the user, where it is not here.

        Raises:
            UserError: the model has changed since.
        """
        folder = Path(self.predictions.manifest.model)
        if not folder.exists():
            print(f"model {folder} is not here: no controls are run, and no evidence is removed", file=sys.stderr)
            return None
        if (
            RunManifest.read(model_folder(folder) / "manifest.json").model_sha256
            != self.predictions.manifest.model_hash
        ):
            raise UserError(
                f"{folder} has changed since {self.predictions.root} was predicted: predict anew, or pass --no-controls"
            )
        from clinragen.inference.finished import FinishedRun
        from clinragen.inference.predict import TrainedModel  # torch is imported from here on

        return TrainedModel.load(FinishedRun.open(folder, self.predictions.manifest.task), self.device)


def _controls(student: _Student, truth: Truth, altered: dict[str, Path | None], *, run: bool) -> dict[str, System]:
    """Controls that the user predicted beforehand; the others, of what the model reads, by running it."""
    from clinragen.evaluation.inputs import load_control

    predictions = student.predictions
    predicted = {
        name: load_control(root, name, predictions).system for name, root in altered.items() if root is not None
    }
    absent: list[Control] = [name for name in INPUT_CONTROLS if name not in predicted]
    if not run or not absent or student.model is None:
        return predicted
    import numpy as np

    from clinragen.evaluation.diagnosis import System
    from clinragen.evaluation.table import CONTROL_TITLES
    from clinragen.inference import controls

    # The model predicts the whole split; the predictions may hold only some of its stays.
    rows = np.searchsorted(truth.cohort.split(predictions.manifest.split), predictions.stay_ids)
    with console(True).status("controls") as status:
        probabilities = controls(
            student.model,
            truth.cohort,
            predictions.manifest.split,
            absent,
            lambda name: status.update(f"control: {CONTROL_TITLES[name]}"),
        )
    thresholds = predictions.system.thresholds
    return predicted | {name: System(altered[rows], thresholds) for name, altered in probabilities.items()}


def _labels_permuted(predictions: Predictions, truth: Truth, seed: int) -> System:
    """A baseline that learned permuted labels, on the predicted stays.

    Raises:
        UserError: they are training stays.
    """
    import numpy as np

    from clinragen import baselines
    from clinragen.evaluation.diagnosis import System

    split = predictions.manifest.split
    if split not in HELD_OUT:
        raise UserError(f"--labels-permuted: {predictions.root} are of split '{split}': predict held-out stays")
    rows = np.searchsorted(truth.cohort.split(split), predictions.stay_ids)
    with console(True).status("labels permuted") as status:
        system = baselines.labels_permuted(
            truth.cohort, predictions.task, split, seed, lambda line: status.update(f"labels permuted: {line}")
        )
    order = [list(predictions.task.label_set(truth.cohort)).index(label) for label in predictions.labels]
    return System(system.probabilities[rows][:, order], system.thresholds[order])


def _weighed(
    student: _Student, truth: Truth, claims: list[StayClaims], stays: int, seed: int, terminal: Console
) -> list[Weighed] | None:
    """What the evidence cited for the diagnoses of some stays is worth to the model; None where it is not here."""
    predictions, trained = student.predictions, student.model
    if trained is None:
        return None
    import numpy as np
    from rich.progress import Progress

    from clinragen.attribution.reasons import weigh
    from clinragen.evaluation.faithfulness import citations

    ids = predictions.stay_ids
    drawn = np.sort(np.random.default_rng(seed).permutation(ids)[:stays])
    rows = {int(stay): row for row, stay in enumerate(ids)}
    cited = citations(predictions, claims)
    by_stay = {stay: cited[rows[stay]] for stay in drawn.tolist()}
    with Progress(console=terminal, transient=True) as bar:
        task = bar.add_task("  removing cited evidence", total=len(drawn))
        dataset = trained.stays(truth.cohort, drawn)
        return list(weigh(trained, dataset, by_stay, rows, seed, lambda: bar.advance(task)))


def verify(
    predictions: str | Path | Predictions,
    cohort: CohortLike,
    *,
    graph: GraphLike = None,
    verify: bool = False,
) -> CheckedClaims:
    """Check every claim of the rationales against the measurements and the note of its stay.

    Args:
        predictions: the result of :func:`clinragen.predict`, or its folder.
        cohort: the one they were made from; it needs no labels.
        graph: by which claims are read; the model's by default.
        verify: also check the hashes of large files before reading them.

    Raises:
        UserError: the folders do not belong together.
    """
    from clinragen.evaluation import faithfulness
    from clinragen.evaluation.inputs import graph_of, load_truth

    with graph_folder(graph) as graph_path, thorough(verify):
        opened = open_predictions(predictions)
        truth = load_truth(opened, open_cohort(cohort), needs_labels=False)
        checked = faithfulness.check(opened, truth, graph_of(opened, graph_path))
    return CheckedClaims(
        [
            {
                "stay_id": int(stay),
                "rationale": kind,
                "text": opened.rationales(row)[kind][claim.start : claim.end],
                "kind": claim.kind,
                "about": claim.about,
                "verdict": str(claim.standing),
            }
            for row, stay in enumerate(opened.stay_ids)
            for kind, claims in checked[row].items()
            for claim in claims
        ]
    )
