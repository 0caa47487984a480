"""``clinragen prescribe``: suggest drugs to start, with grounds and cautions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from clinragen.choices import PrescriptionEngine, PrescriptionPrompt, Retrieval
from clinragen.command_line import answer
from clinragen.options import (
    AsJson,
    CohortFolder,
    GraphFolder,
    MaybeWholeNumber,
    OneOfDevices,
    Out,
    Overwrite,
    Settings,
    Split,
    Verify,
    WholeNumber,
)

if TYPE_CHECKING:
    from clinragen.prescription.suggest import Prescription


def command(
    *,
    cohort: CohortFolder,
    out: Out,
    engine: PrescriptionEngine = "neighbours",
    model: Annotated[Path | None, Parameter(name="--model")] = None,
    graph: GraphFolder = None,
    split: Split = "test",
    limit: MaybeWholeNumber = None,
    most: WholeNumber = 5,
    rag: Retrieval = "none",
    prompt: PrescriptionPrompt = "free",
    config: str | None = None,
    settings: Settings = (),
    device: OneOfDevices = "auto",
    overwrite: Overwrite = False,
    verify: Verify = False,
    as_json: AsJson = False,
) -> int:
    """Suggest classes of drugs to start within 24 hours of the prediction time, with grounds and cautions.

    For research: no suggestion is a recommendation to treat, and a drug without a caution is not thereby safe. Ends
    with exit code 1 if a language model has not answered about every stay.

    Args:
        engine: neighbours: what similar training stays were started on; popularity: how often each class is started;
            student: a model of task prescription; openai: a language model behind any OpenAI-compatible server; vllm:
            one in this process.
        model: Run folder of task prescription, for --engine student.
        split: The stays.
        limit: Only the first stays.
        most: Classes to suggest for each stay.
        rag: Shown to a language model beside the chart: cases, what similar training stays were started on; knowledge,
            what treats what the chart shows, and cautions.
        prompt: free: what to start; keep_add_stop: first what to keep and stop of the drugs in force.
        config: Config of the language model, a shipped name or a YAML file. Default: the engine's name.
        settings: Override a setting of the config, as in server.model=NAME; may be repeated.
    """
    from rich.console import Console

    from clinragen.api.prescription import prescribe
    from clinragen.quiet import quiet_libraries

    quiet_libraries()
    result = prescribe(
        cohort,
        out,
        engine=engine,
        model=model,
        graph=graph,
        split=split,
        limit=limit,
        most=most,
        rag=rag,
        prompt=prompt,
        config=config,
        set=settings,
        device=device,
        overwrite=overwrite,
        verify=verify,
        progress=True,
    )
    counts = result.answers.lines() if result.answers is not None else []
    if not as_json:
        _show(result.stays, Console())
        for line in counts:
            print(line)
        for what in result.unchecked:
            print(f"not checked: {what}")
    values = {"stays": len(result), "unchecked": result.unchecked, "folder": str(out)}
    if counts:
        values["answers"] = counts
    answer(f"{out}: suggestions for {len(result)} stays", values, as_json)
    return 1 if result.answers is not None and result.answers.missing else 0


def _show(stays: list[Prescription], console: object) -> None:
    """How many suggestions have grounds and cautions."""
    suggestions = [one for stay in stays for one in stay.suggestions]
    grounded = sum(bool(one.grounds) for one in suggestions)
    cautions = sum(any(member.cautions for member in one.members) for one in suggestions)
    withheld = sum(len(stay.withheld) for stay in stays)
    unknown = sum(not stay.orders_known for stay in stays)
    print(f"{len(suggestions)} suggestions, {grounded} with a ground, {cautions} with a caution; {withheld} withheld")
    if unknown:
        print(f"{unknown} of {len(stays)} stays have no order before the prediction time: their hospital may send none")
