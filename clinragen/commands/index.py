"""``clinragen index``: build an index of training stays, to find similar cases in."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from clinragen.command_line import answer
from clinragen.options import AsJson, CohortFolder, GraphFolder, Out, Overwrite, Texts, Verify

command = App(name="index", help="Build an index of training stays, to find similar cases in.")


@command.command
def build(
    *,
    cohort: CohortFolder,
    out: Out,
    modalities: Annotated[Texts, Parameter(name="--modality")] = (),
    graph: GraphFolder = None,
    overwrite: Overwrite = False,
    verify: Verify = False,
    as_json: AsJson = False,
) -> None:
    """Write vectors of the training stays, without their text, and how much each modality counts.

    Args:
        modalities: What stays are compared by: words and concepts of the note, series, diagnoses; may be repeated.
            Default: all.
    """
    from clinragen.api.similarity import build_index
    from clinragen.quiet import quiet_libraries

    quiet_libraries()
    index = build_index(cohort, out, modalities=modalities, graph=graph, overwrite=overwrite, verify=verify).index
    weights = ", ".join(f"{name} {weight:.2f}" for name, weight in index.weights.items())
    text = f"{out}: {len(index)} stays; weights: {weights}"
    answer(text, {"out": out, "stays": len(index), "weights": index.weights}, as_json)
