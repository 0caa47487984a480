"""``clinragen prescribe``: suggest drugs to start, with grounds and cautions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from clinragen.choices import PrescriptionEngine
from clinragen.command_line import answer
from clinragen.options import (
    AsJson,
    CohortFolder,
    GraphFolder,
    MaybeWholeNumber,
    OneOfDevices,
    Out,
    Overwrite,
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
    device: OneOfDevices = "auto",
    overwrite: Overwrite = False,
    verify: Verify = False,
    as_json: AsJson = False,
) -> None:
    """Suggest classes of drugs to start within 24 hours of the prediction time, with grounds and cautions.

    For research: no suggestion is a recommendation to treat, and a drug without a caution is not thereby safe.

    Args:
        engine: neighbours: what similar training stays were started on; popularity: how often each class is started;
            student: a model of task prescription.
        model: Run folder of task prescription, for --engine student.
        split: The stays.
        limit: Only the first stays.
        most: Classes to suggest for each stay.
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
        device=device,
        overwrite=overwrite,
        verify=verify,
    )
    if not as_json:
        _show(result.stays, Console())
        for what in result.unchecked:
            print(f"not checked: {what}")
    values = {"stays": len(result), "unchecked": result.unchecked, "folder": str(out)}
    answer(f"{out}: suggestions for {len(result)} stays", values, as_json)


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
