"""``clinragen predict``: diagnose stays and write rationales, as JSONL and Parquet."""

from __future__ import annotations

import sys
from pathlib import Path

from clinragen.choices import Decoding, EngineName, NumberFormat, SeriesInput
from clinragen.command_line import answer
from clinragen.options import (
    AsJson,
    CohortFolder,
    Flag,
    MaybeNumber,
    MaybeSeed,
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
    task: str | None = None,
    split: Split = "test",
    series_input: SeriesInput = "observed",
    decoding: Decoding = "constrained",
    batch_size: WholeNumber = 64,
    limit: MaybeWholeNumber = None,
    explain: Flag = False,
    diagnoses_only: Flag = False,
    shard: str = "1/1",
    beams: WholeNumber = 1,
    samples: MaybeWholeNumber = None,
    temperature: MaybeNumber = None,
    seed: MaybeSeed = None,
    precision: NumberFormat = "auto",
    engine: EngineName = "local",
    workers: MaybeWholeNumber = None,
    attestation: Path | None = None,
    device: OneOfDevices = "auto",
    overwrite: Overwrite = False,
    verify: Verify = False,
    as_json: AsJson = False,
) -> int:
    """Diagnose the stays of a split and write their rationales, as JSONL and Parquet.

    A stopped command goes on where it stopped when it is run again. Ends with exit code 1 if none of the outputs can be
    parsed into rationales and diagnoses.

    Args:
        task: Which task to predict, of a student of several (stage generalist). Default: its first, diagnosis.
        split: The split to predict.
        series_input: Series to use; zeroed, permuted and reversed are controls.
        decoding: constrained: only statements that note and series support; free: without this constraint.
        batch_size: Texts per batch: stays, or as many fewer as a stay has beams or samples.
        limit: Only the first stays.
        explain: Also write what each diagnosis rests on (attributions.jsonl); slower.
        diagnoses_only: Write no rationales: one pass of the model over each stay, and nothing generated.
        shard: Which part of the work to do, such as 2/4 for the second of four processes that write the same --out.
        beams: With --decoding free: beams of a stay, of which the likeliest is written; 1 decodes greedily.
        samples: With --decoding free: texts to draw of a stay; that whose claims the chart supports best is written.
        temperature: Of the samples: above 1 they differ more, below 1 less. Default: 1.
        seed: Of the samples; those of a stay depend on nothing else. Default: 0.
        precision: Numbers in which the language model computes. auto: bf16 on a GPU that has it, else fp32.
        engine: local: in this process; ray: on several GPUs or machines, on the cluster of RAY_ADDRESS or here; vllm:
            in this process, with vLLM for the free text of a causal language model.
        workers: Workers of Ray, each with the model. Default: one for each GPU, or CPU without any.
        attestation: YAML file that allows the cluster of RAY_ADDRESS to read patient text (docs/privacy.md).
    """
    from clinragen.api.prediction import write
    from clinragen.inference.memory import map_large_blocks
    from clinragen.inference.prediction import Prediction, Shard
    from clinragen.inference.search import Search
    from clinragen.quiet import quiet_libraries

    quiet_libraries()
    map_large_blocks()
    search = Search.of_options(beams, samples, temperature, seed)
    prediction = Prediction(
        split, series_input, decoding, batch_size, limit, diagnoses_only, Shard.parse(shard), search, precision
    )
    manifest = write(
        model,
        cohort,
        out,
        prediction,
        task=task,
        explain=explain,
        engine=engine,
        workers=workers,
        attestation=attestation,
        device=device,
        overwrite=overwrite,
        verify=verify,
        progress=True,
    )
    if manifest is None:
        answer(
            f"{out}: shard {shard} is done; the shard that finishes last writes the predictions",
            {"out": out, "shard": shard, "complete": False},
            as_json,
        )
        return 0
    stays, parsed, abstained = manifest.stays, manifest.parsed, manifest.abstained
    unlike = f"; the model abstains on {abstained}, which are unlike those of training" if abstained else ""
    answer(
        f"{out}: {stays} stays, {parsed} parsed into rationales and diagnoses{unlike}",
        {"out": out, "stays": stays, "parsed": parsed, "abstained": abstained, "remarks": manifest.remarks},
        as_json,
    )
    if not parsed:
        print(
            f"warning: nothing that {model} wrote can be read as rationales and diagnoses: train it longer; its "
            "probabilities do not depend on its text",
            file=sys.stderr,
        )
    return 0 if parsed else 1
