"""``clinragen similar``: the training stays that are most like a chart, and what they share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from clinragen.command_line import answer
from clinragen.options import AsJson, GraphFolder, MaybeWholeNumber, OneOfDevices, Verify, WholeNumber

if TYPE_CHECKING:
    from clinragen.api.similarity import Case


def command(
    *,
    index: Annotated[Path, Parameter(name="--index", help="Folder written by `clinragen index build`.")],
    cohort: Annotated[Path | None, Parameter(name="--cohort")] = None,
    stay: Annotated[MaybeWholeNumber, Parameter(name="--stay")] = None,
    text: str | None = None,
    series: Path | None = None,
    count: Annotated[WholeNumber, Parameter(name="--k")] = 10,
    model: Path | None = None,
    graph: GraphFolder = None,
    device: OneOfDevices = "auto",
    verify: Verify = False,
    as_json: AsJson = False,
) -> None:
    """Show the training stays that are most like a chart: what they share, how they were coded, what was newly started.

    A stay of the same patient is never shown; nor, where the dates of patients can be compared, one that ended after
    the prediction time. For research: what was done for others is no advice.

    Args:
        cohort: Cohort of the stay. If the index was built from it, what the charts share is shown, too.
        stay: Stay id.
        text: In place of --stay, a note in quotes, or the file that it is in.
        series: In place of --stay, or beside --text, a CSV file with the columns hour, variable and value.
        count: How many cases.
        model: Run folder that the index was built with, where it was built with one.
    """
    from clinragen.api.similarity import similar
    from clinragen.quiet import quiet_libraries

    quiet_libraries()
    result = similar(
        index,
        cohort,
        stay,
        text=text,
        series=series,
        count=count,
        graph=graph,
        model=model,
        device=device,
        verify=verify,
    )
    if not as_json:
        chart = "the chart" if stay is None else f"stay {stay}"
        weights = ", ".join(f"{weight:.2f} {name}" for name, weight in result.weights.items() if weight)
        print(f"{len(result)} cases most like {chart} (similarity = {weights})")
        for rank, case in enumerate(result, 1):
            _show(rank, case)
    answer("", result.as_json(), as_json)


def _show(rank: int, case: Case) -> None:
    parts = ", ".join(f"{name} {value:.2f}" for name, value in case.similarities.items())
    print(f"{rank:>3}. stay {case.stay_id}, similarity {case.score:.3f} ({parts})")
    print(f"     coded: {'; '.join(case.label_names) or 'none of the labels'}")
    if case.started:
        print(f"     newly started: {', '.join(case.started)}")
    note = [one.text for one in case.shared if one.kind == "note"] or list(case.concepts[:5])
    if note:
        print(f"     in both notes: {', '.join(note)}")
    for one in case.shared:
        if one.kind == "series":
            print(f"     in both series: {one.here['statement']} (case: {one.there['statement']})")
