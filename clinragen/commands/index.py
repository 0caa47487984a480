"""``clinragen index``: build an index of training stays, to find similar cases in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from clinragen.command_line import answer
from clinragen.options import AsJson, CohortFolder, GraphFolder, OneOfDevices, Out, Overwrite, Texts, Verify

command = App(name="index", help="Build an index of training stays, to find similar cases in.")


@command.command
def build(
    *,
    cohort: CohortFolder,
    out: Out,
    modalities: Annotated[Texts, Parameter(name="--modality")] = (),
    model: Path | None = None,
    graph: GraphFolder = None,
    device: OneOfDevices = "auto",
    overwrite: Overwrite = False,
    verify: Verify = False,
    as_json: AsJson = False,
) -> None:
    """Write vectors of the training stays, without their text, and how much each modality counts.

    Args:
        modalities: What stays are compared by: words and concepts of the note, series, diagnoses, and with --model
            aligned and embedding; may be repeated. Default: all that there are.
        model: Run folder of a student, by which stays are compared, too: aligned, the space of stage align, and
            embedding, the states of any student. The index holds a hash of it, and is then asked with it.
    """
    from clinragen.api.similarity import build_index
    from clinragen.quiet import quiet_libraries

    quiet_libraries()
    index = build_index(
        cohort,
        out,
        modalities=modalities,
        model=model,
        graph=graph,
        device=device,
        overwrite=overwrite,
        verify=verify,
        progress=True,
    ).index
    weights = ", ".join(f"{name} {weight:.2f}" for name, weight in index.weights.items())
    text = f"{out}: {len(index)} stays; weights: {weights}"
    answer(text, {"out": out, "stays": len(index), "weights": index.weights}, as_json)
