"""``clinragen evaluate``: score predictions, and compare them with control experiments."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from clinragen.choices import EvaluationForm
from clinragen.command_line import answer
from clinragen.options import (
    AsJson,
    CohortFolder,
    Flag,
    OneOfDevices,
    Overwrite,
    PredictionsFolder,
    Seed,
    Verify,
    WholeNumber,
)


def command(
    *,
    predictions: PredictionsFolder,
    cohort: CohortFolder,
    predictions_zeroed: Path | None = None,
    predictions_permuted: Path | None = None,
    no_controls: Flag = False,
    labels_permuted: Flag = False,
    reasons: WholeNumber = 100,
    truth: Path | None = None,
    teacher: str | None = None,
    encoder: Path | None = None,
    graph: Path | None = None,
    out: Annotated[Path | None, Parameter(name="--out")] = None,
    overwrite: Overwrite = False,
    replicates: WholeNumber = 1000,
    seed: Seed = 0,
    form: EvaluationForm = "json",
    device: OneOfDevices = "auto",
    verify: Verify = False,
    as_json: AsJson = False,
) -> None:
    """Score predictions beside the prevalence guess and the same model with altered inputs.

    The controls: series zeroed, permuted among patients, and reversed in time; notes emptied.

    Controls that are not run again are kept by --overwrite.

    Args:
        predictions_zeroed: Predictions with zeroed series, instead of running them.
        predictions_permuted: The same with each series taken from another patient.
        no_controls: Do not run the model: no altered inputs, no evidence removed.
        labels_permuted: Also fit the classical baseline to permuted training labels: it must come to an AUROC of .5.
        reasons: Stays for which cited evidence is removed from the model's input, drawn at random; 0: none.
        truth: Folder `truth` of a synthetic hospital, for cause recall.
        teacher: Name of the rationale set to compare with. Default: evidence, if it exists.
        encoder: Folder of an encoder such as MiniLM, for BERTScore against the teacher's rationales.
        graph: Concept graph for reading claims. Default: the model's.
        out: Folder for evaluation.json. Default: the predictions folder.
        replicates: Bootstrap replicates.
        seed: Seed of the bootstrap.
        form: json: evaluation.json; meds-dev: beside it a folder meds-dev, for MEDS-DEV and meds-evaluation.
    """
    from rich.console import Console

    from clinragen.api.assessment import evaluate
    from clinragen.evaluation.table import render

    evaluation = evaluate(
        predictions,
        cohort,
        out,
        predictions_zeroed=predictions_zeroed,
        predictions_permuted=predictions_permuted,
        no_controls=no_controls,
        labels_permuted=labels_permuted,
        reasons=reasons,
        truth=truth,
        teacher=teacher,
        encoder=encoder,
        graph=graph,
        replicates=replicates,
        seed=seed,
        form=form,
        device=device,
        overwrite=overwrite,
        verify=verify,
        progress=True,
    )
    if as_json:
        answer("", evaluation.values, as_json)
        return
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(render(evaluation.values))
    console.print(f"Written to {evaluation.path}", highlight=False, soft_wrap=True)
