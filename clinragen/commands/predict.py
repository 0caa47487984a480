"""``clinragen predict``: diagnose stays and write rationales, as JSONL and Parquet."""

from __future__ import annotations

import sys

from clinragen.choices import Decoding, SeriesInput
from clinragen.command_line import answer
from clinragen.options import (
    AsJson,
    CohortFolder,
    Flag,
    MaybeWholeNumber,
    ModelFolder,
    OneOfDevices,
    Out,
    Overwrite,
    Split,
    Verify,
    WholeNumber,
)


def command(
    *,
    model: ModelFolder,
    cohort: CohortFolder,
    out: Out,
    split: Split = "test",
    series_input: SeriesInput = "observed",
    decoding: Decoding = "constrained",
    batch_size: WholeNumber = 64,
    limit: MaybeWholeNumber = None,
    explain: Flag = False,
    device: OneOfDevices = "auto",
    overwrite: Overwrite = False,
    verify: Verify = False,
    as_json: AsJson = False,
) -> int:
    """Diagnose the stays of a split and write their rationales, as JSONL and Parquet.

    Ends with exit code 1 if none of the outputs can be parsed into rationales and diagnoses.

    Args:
        split: The split to predict.
        series_input: Series to use; zeroed and permuted are controls.
        decoding: constrained: only statements that note and series support; free: without this constraint.
        batch_size: Stays per batch.
        limit: Only the first stays.
        explain: Also write what each diagnosis rests on (attributions.jsonl); slower.
    """
    from clinragen.api.prediction import predict
    from clinragen.quiet import quiet_libraries

    quiet_libraries()
    predictions = predict(
        model,
        cohort,
        out,
        split=split,
        series_input=series_input,
        decoding=decoding,
        batch_size=batch_size,
        limit=limit,
        explain=explain,
        device=device,
        overwrite=overwrite,
        verify=verify,
        progress=True,
    )
    stays, parsed = predictions.manifest.stays, predictions.manifest.parsed
    answer(
        f"{out}: {stays} stays, {parsed} parsed into rationales and diagnoses",
        {"out": out, "stays": stays, "parsed": parsed, "remarks": predictions.manifest.remarks},
        as_json,
    )
    if not parsed:
        print(
            f"warning: nothing that {model} wrote can be read as rationales and diagnoses: train it longer; its "
            "probabilities do not depend on its text",
            file=sys.stderr,
        )
    return 0 if parsed else 1
