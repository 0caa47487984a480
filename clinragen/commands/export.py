"""``clinragen export``: write a finished run as a self-contained model folder, with a model card."""

from __future__ import annotations

from pathlib import Path

from clinragen.command_line import answer
from clinragen.options import AsJson, ModelFolder, Out, Overwrite, Verify


def command(
    *,
    model: ModelFolder,
    out: Out,
    evaluation: Path | None = None,
    title: str | None = None,
    overwrite: Overwrite = False,
    verify: Verify = False,
    as_json: AsJson = False,
) -> None:
    """Write a finished run as a folder in Hugging Face layout: merged weights in safetensors, and a model card.

    With --out NAME.zip the folder becomes one file, to be shared: every --model takes it, and refuses it where a byte
    has changed.

    Args:
        evaluation: evaluation.json of this model, for the card.
        title: Title of the card. Default: the folder's name.
    """
    from clinragen.api.prediction import export
    from clinragen.quiet import quiet_libraries

    quiet_libraries()
    manifest = export(model, out, evaluation=evaluation, title=title, overwrite=overwrite, verify=verify, progress=True)
    summary = f"{out}: {manifest.parameters:,} parameters; the card is README.md"
    answer(summary, {"out": out, **manifest.to_json()}, as_json)
