"""``clinragen zeroshot``: score stays for labels that no model was trained on, by their names and descriptions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from clinragen.command_line import answer
from clinragen.options import (
    AsJson,
    CohortFolder,
    GraphFolder,
    OneOfDevices,
    Out,
    Overwrite,
    Settings,
    Split,
    Verify,
)

if TYPE_CHECKING:
    from clinragen.api.zeroshot import ZeroShot


def command(
    *,
    cohort: CohortFolder,
    labels: Annotated[str, Parameter(name="--labels")],
    out: Out,
    model: Annotated[Path | None, Parameter(name="--model")] = None,
    encoder: Path | None = None,
    graph: GraphFolder = None,
    split: Split = "test",
    settings: Settings = (),
    device: OneOfDevices = "auto",
    overwrite: Overwrite = False,
    verify: Verify = False,
    as_json: AsJson = False,
) -> None:
    """Score stays for labels that no model was trained on, with the places in the chart that speak for them.

    Scores order stays and can be compared between labels; they are no probabilities. No label of a stay is read for
    them: if the cohort has some of these labels, AUROC is told for evaluation only.

    Args:
        labels: YAML or JSON file that describes the labels, or the name of a shipped label set.
        model: Run folder of `clinragen train align`, which compares series with descriptions.
        encoder: Folder of a local sentence encoder, which compares notes with descriptions.
        split: The stays.
        settings: Override a setting of configs/zeroshot, as in weights.series=0; may be repeated.
    """
    from clinragen.api.zeroshot import zeroshot
    from clinragen.quiet import quiet_libraries

    quiet_libraries()
    result = zeroshot(
        cohort,
        labels,
        out,
        model=model,
        encoder=encoder,
        graph=graph,
        split=split,
        set=settings,
        device=device,
        overwrite=overwrite,
        verify=verify,
        progress=True,
    )
    if not as_json:
        _show(result)
    stays = result.table["stay_id"].n_unique()
    values = {
        "out": out, "stays": stays, "linked": result.linked, "unreadable": result.unreadable,
        "evaluation": result.evaluation,
    }  # fmt: skip
    answer(f"{out}: scores, no probabilities, of {stays} stays for {len(result.linked)} labels", values, as_json)


def _show(result: ZeroShot) -> None:
    for line in result.unreadable:
        print(f"not read: {line}")
    if result.evaluation is None:
        return
    means, few = result.evaluation["macro_auroc"], result.evaluation["least_stays"]
    if not means:
        print(f"evaluation: no label has {few} stays in this split, so there is no mean AUROC")
        return
    parts = ", ".join(
        f"{name} {value['value']:.3f} ({value['low']:.3f} to {value['high']:.3f})" for name, value in means.items()
    )
    print(f"evaluation only: mean AUROC of {result.evaluation['labels_counted']} labels with {few} stays: {parts}")
