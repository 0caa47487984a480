"""Models from Python: load, predict diagnoses and rationales, explain, export."""

from __future__ import annotations

import shutil
import sys
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

from clinragen.api.values import CohortLike, ModelLike, cohort_folder, console, open_cohort, path
from clinragen.choices import (
    ENGINES,
    FORMER_SERIES_INPUTS,
    Decoding,
    Device,
    EngineName,
    NumberFormat,
    SeriesInput,
    Split,
)
from clinragen.errors import UserError, hint, unknown_choice
from clinragen.integrity import thorough

if TYPE_CHECKING:
    from clinragen.cohort.folder import Cohort
    from clinragen.evaluation.explanation import Explanation
    from clinragen.evaluation.inputs import Predictions
    from clinragen.inference.engines import Engine
    from clinragen.inference.finished import FinishedRun
    from clinragen.inference.predict import TrainedModel
    from clinragen.inference.prediction import Prediction
    from clinragen.inference.ray_engine import RayCluster
    from clinragen.manifests import PredictionsManifest, RunManifest
    from clinragen.model.language_model import HasLanguageModel


def load(
    run: str | Path, *, task: str | None = None, device: Device = "auto", sharing: HasLanguageModel | None = None
) -> TrainedModel:
    """Open a run folder written by :func:`clinragen.train`, or a model written by :func:`clinragen.export`.

    Runs of several tasks with low-rank adapters on one language model can hold its weights once, all loaded at a time:

        diagnosis = clinragen.load("outputs/diagnosis")
        mortality = clinragen.load("outputs/mortality", sharing=diagnosis)

    Predictions are the same bit by bit. Only weights below adapters whose bytes are equal are shared; how many bytes
    these are is in ``mortality.language_model.shared_bytes``, 0 if there are none.

    Args:
        run: the folder, or the file of an exported model.
        task: which task to predict, of a student of several; by default its first. ``of_task`` of the loaded model
            gives that of another task, with the same weights in memory.
        device: where the model will run; ``auto`` is the first accelerator, or the CPU without one; or where
            ``sharing`` is.
        sharing: a loaded model, also of stage ``ask``, whose weights this one shares.

    Raises:
        UserError: not a finished run of a stage that predicts, or damaged; or another device than that of ``sharing``.
    """
    from clinragen.inference.finished import FinishedRun

    finished = FinishedRun.open(run, task)
    from clinragen.inference.predict import TrainedModel

    trained = TrainedModel.load(finished, device, sharing)
    if sharing is not None and not trained.language_model.shared_bytes:
        print(f"note: {run} shares no weights: only runs with adapters on one language model do", file=sys.stderr)
    return trained


def predict(
    model: ModelLike,
    cohort: CohortLike,
    out: str | Path | None = None,
    *,
    task: str | None = None,
    split: Split = "test",
    series_input: SeriesInput = "observed",
    decoding: Decoding = "constrained",
    batch_size: int = 64,
    limit: int | None = None,
    explain: bool = False,
    diagnoses_only: bool = False,
    beams: int = 1,
    samples: int | None = None,
    temperature: float | None = None,
    seed: int | None = None,
    precision: NumberFormat = "auto",
    engine: EngineName = "local",
    workers: int | None = None,
    attestation: str | Path | None = None,
    device: Device = "auto",
    overwrite: bool = False,
    verify: bool = False,
    progress: bool = False,
) -> Predictions:
    """Diagnose the stays of a split and write their rationales.

    Stays are predicted in parts, which bounds the memory. When it is stopped, the same call goes on with the next part.

    Args:
        model: a run folder, a folder or file of :func:`export`, or the result of :func:`load`.
        cohort: whose stays are diagnosed; it needs no labels.
        out: folder to write; without one the predictions exist as long as the returned object.
        task: which task to predict, of a student of several; by default its first.
        split: train, validation or test.
        series_input: observed; zeroed, permuted or reversed as a control.
        decoding: constrained allows only statements that note and series support; free does not.
        batch_size: stays per batch.
        limit: only the first stays.
        explain: also write what each diagnosis rests on; slower.
        diagnoses_only: write no rationales, which takes a fraction of the time.
        beams: with ``decoding="free"``: beams of a stay, of which the likeliest is written; 1 decodes greedily.
        samples: with ``decoding="free"``: texts that are drawn of a stay; that whose claims the chart supports best is
            written.
        temperature: of the samples, by default 1.
        seed: of the samples, by default 0.
        precision: numbers in which the language model computes; auto is bf16 on a GPU that has it, else fp32.
        engine: ``local`` predicts in this process, ``ray`` on several GPUs or machines; ``vllm`` writes free
            text of causal language models with vLLM.
        workers: of Ray, each with the model; by default one for each of its GPUs, or CPUs without any.
        attestation: a file that allows the cluster of RAY_ADDRESS to read patient text.
        device: where a model that is given as a folder runs.
        overwrite: replace earlier predictions in ``out``.
        verify: also check the hashes of large files before reading them.
        progress: report progress on standard error.

    Returns:
        The predictions; ``frame()`` and ``to_pandas()`` give them as a table, one row per stay.

    Raises:
        UserError: a model or cohort that cannot be read or do not fit each other, or a folder that may not be written.
    """
    from clinragen.evaluation.inputs import load_predictions
    from clinragen.inference.prediction import Prediction
    from clinragen.inference.search import Search

    if series_input in FORMER_SERIES_INPUTS:
        hint(f"series_input {series_input!r} is now {FORMER_SERIES_INPUTS[series_input]!r}")
        series_input = FORMER_SERIES_INPUTS[series_input]
    prediction = Prediction(
        split,
        series_input,
        decoding,
        batch_size,
        limit,
        diagnoses_only,
        search=Search.of_options(beams, samples, temperature, seed),
        precision=precision,
    )
    scratch = mkdtemp(prefix="clinragen-predictions-") if out is None else None
    folder = Path(scratch) / "predictions" if scratch else Path(str(out))
    try:
        write(
            model,
            cohort,
            folder,
            prediction,
            task=task,
            explain=explain,
            engine=engine,
            workers=workers,
            attestation=attestation,
            device=device,
            overwrite=overwrite,
            verify=verify,
            progress=progress,
        )
        predictions = load_predictions(folder)
    except BaseException:
        if scratch:
            shutil.rmtree(scratch, ignore_errors=True)
        raise
    if scratch:
        weakref.finalize(predictions, shutil.rmtree, scratch, ignore_errors=True)
    return predictions


def write(
    model: ModelLike,
    cohort: CohortLike,
    out: Path,
    prediction: Prediction,
    *,
    task: str | None = None,
    explain: bool = False,
    engine: EngineName = "local",
    workers: int | None = None,
    attestation: str | Path | None = None,
    device: Device = "auto",
    overwrite: bool = False,
    verify: bool = False,
    progress: bool = False,
) -> PredictionsManifest | None:
    """Predictions as files, of which no more than a part is in memory.

    Args:
        model: a run folder, or the result of :func:`load`.
        cohort: whose stays are diagnosed.
        out: folder to write.
        prediction: which stays to predict, and how.
        task: which task to predict, of a student of several; by default its first.
        explain: also write what each diagnosis rests on.
        engine: ``local`` predicts in this process, ``ray`` on several GPUs or machines; ``vllm`` writes free
            text of causal language models with vLLM.
        workers: of Ray, each with the model; by default one for each of its GPUs, or CPUs without any.
        attestation: a file that allows the cluster of RAY_ADDRESS to read patient text.
        device: where a model that is given as a folder runs.
        overwrite: replace earlier predictions in ``out``.
        verify: also check the hashes of large files before reading them.
        progress: report progress on standard error.

    Returns:
        Their manifest; None if this was a shard and parts of others are missing.

    Raises:
        UserError: a model or cohort that cannot be read or do not fit each other, or a folder that may not be written.
    """
    from clinragen.outputs import PREDICTIONS, check_output
    from clinragen.quiet import phase, remark

    terminal = console(progress)
    inputs = (path(model) if isinstance(model, str | Path) else model.folder, cohort_folder(cohort))
    check_output(out, PREDICTIONS, overwrite=overwrite, inputs=inputs)
    cluster = _cluster(engine, workers, path(attestation), device)
    if engine == "vllm" and (prediction.decoding != "free" or prediction.diagnoses_only):
        raise UserError("--engine vllm writes free text: pass --decoding free, or use --engine local")
    if engine == "vllm" and (prediction.search.samples or prediction.search.beams > 1):
        raise UserError("--engine vllm decodes greedily: leave --beams and --samples out, or use --engine local")
    with thorough(verify):
        model = model if task is None or isinstance(model, str | Path) else model.of_task(task)
        finished, opened = _finished(model, task), open_cohort(cohort)
        opened.split(prediction.split)
        remarks = finished.remarks(opened, prediction.decoding)
        remarks += [cluster.remark] if cluster and cluster.remark else []
        for text in remarks:
            remark(terminal, text)
        phase(terminal, "loading torch and the model")
        from clinragen.attribution.explain import explanations
        from clinragen.inference.predict import LocalEngine, TrainedModel, write_predictions
        from clinragen.inference.ray_engine import RayEngine

        here = device if cluster is None else "cpu"
        trained = TrainedModel.load(finished, here) if isinstance(model, str | Path) else model
        attributions = explanations if explain else None
        predicting: Engine = RayEngine(cluster, attributions, verify) if cluster else LocalEngine(attributions)
        if engine == "vllm":
            from clinragen.inference.vllm_engine import VllmEngine

            predicting = VllmEngine(attributions)
        return write_predictions(
            trained,
            opened,
            prediction,
            out,
            terminal,
            overwrite=overwrite,
            remarks=remarks,
            engine=predicting,
        )


def _cluster(engine: EngineName, workers: int | None, attestation: Path | None, device: Device) -> RayCluster | None:
    """The cluster that predicts; None if it is this process."""
    if engine not in ENGINES:
        raise unknown_choice("engine", engine, ENGINES)
    if engine != "ray":
        if workers is not None or attestation is not None:
            raise UserError("--workers and --attestation belong to --engine ray: pass that, too")
        return None
    from clinragen.attestation import Attestation
    from clinragen.inference.ray_engine import RayCluster

    return RayCluster.of(workers, device, Attestation.read(attestation) if attestation else None)


@dataclass(frozen=True)
class Explanations:
    """Attributions of the diagnoses of some stays; iterating computes one stay after the other.

    Attributes:
        labels: label key -> name.
        concepts: concept id -> name, of the model's graph.
    """

    labels: dict[str, str]
    concepts: dict[str, str]
    _stays: Iterator[Explanation]

    def __iter__(self) -> Iterator[Explanation]:
        """One dict per stay: ``stay_id``, and ``diagnoses`` with occlusion and attention of each."""
        return self._stays


def explain(
    model: ModelLike,
    cohort: CohortLike,
    *,
    stay: Sequence[int] = (),
    split: Split = "test",
    limit: int | None = None,
    diagnosis: Sequence[str] = (),
    device: Device = "auto",
    verify: bool = False,
    progress: bool = False,
) -> Explanations:
    """Which concepts, variables and hours the diagnoses of a stay rest on.

    Args:
        model: a run folder, or the result of :func:`load`.
        cohort: whose stays are explained.
        stay: stay ids; without any, the stays of ``split``.
        split: train, validation or test.
        limit: without ``stay``, only the first stays.
        diagnosis: phenotypes by key, name or published name; by default those above their threshold, or the likeliest.
        device: where a model that is given as a folder runs.
        verify: also check the hashes of large files before reading them.
        progress: report progress on standard error.

    Raises:
        UserError: an unknown stay or diagnosis, or a model or cohort that cannot be read.
    """
    from clinragen.attribution import chosen_stays
    from clinragen.quiet import phase, remark

    if limit is not None and limit < 1:
        raise UserError("--limit must be at least 1")
    terminal = console(progress)
    with thorough(verify):
        finished, opened = _finished(model), open_cohort(cohort)
        remarks = finished.remarks(opened)
        stays = chosen_stays(opened, split, stay, diagnosis, limit)
        for text in remarks:
            remark(terminal, text)
        phase(terminal, "loading torch and the model")
        from clinragen.inference.predict import TrainedModel

        trained = TrainedModel.load(finished, device) if isinstance(model, str | Path) else model
        phase(terminal, f"explaining {len(stays):,} stays")
    nodes = trained.model.graph.nodes
    names = {key: node["name"] for key, node in nodes.items()}
    return Explanations(
        trained.model.labels.names,
        names,
        _explained(trained, opened, split, list(stay), list(diagnosis), limit, verify),
    )


def _explained(
    trained: TrainedModel,
    cohort: Cohort,
    split: Split,
    stay: list[int],
    diagnosis: list[str],
    limit: int | None,
    verify: bool,
) -> Iterator[Explanation]:
    from clinragen.attribution.explain import explain_cohort

    with thorough(verify):
        yield from explain_cohort(trained, cohort, split, stay, diagnosis, limit)


def export(
    model: str | Path,
    out: str | Path,
    *,
    evaluation: str | Path | None = None,
    title: str | None = None,
    overwrite: bool = False,
    verify: bool = False,
    progress: bool = False,
) -> RunManifest:
    """Write a finished run as a folder in Hugging Face layout: merged weights in safetensors, and a model card.

    Args:
        model: run folder.
        out: folder to write; with the suffix ``.zip`` one file, to be shared, which is opened like the folder.
        evaluation: ``evaluation.json`` of this model, for the card.
        title: title of the card; the folder's name by default.
        overwrite: replace the folder if it exists.
        verify: also check the hashes of large files before reading them.
        progress: report progress on standard error.

    Returns:
        The manifest of the folder.

    Raises:
        UserError: a run or evaluation that cannot be read, or a folder that may not be written.
    """
    from clinragen.evaluation.stored import load_evaluation
    from clinragen.inference.finished import FinishedRun
    from clinragen.integrity import thorough
    from clinragen.packed_model import check_export
    from clinragen.quiet import phase

    run, card = Path(model), path(evaluation)
    check_export(Path(out), overwrite=overwrite, inputs=(run, card))
    with thorough(verify):
        FinishedRun.open(run)
        if card:
            load_evaluation(card)
        phase(console(progress), "loading torch and the model")
        from clinragen.inference.export import export as write_export

        return write_export(run, Path(out), evaluation=card, title=title, overwrite=overwrite)


def _finished(model: ModelLike, task: str | None = None) -> FinishedRun:
    from clinragen.inference.finished import FinishedRun

    return FinishedRun.open(model, task) if isinstance(model, str | Path) else model.run
