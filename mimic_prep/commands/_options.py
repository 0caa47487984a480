"""Options and output that the commands of one release each share."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter, Token

from clinragen.command_line import answer
from clinragen.options import Texts, WholeNumber

if TYPE_CHECKING:
    from clinragen.cohort.manifest import CohortManifest


def _folder_or_url(kind: Any, tokens: Sequence[Token]) -> Path | str:
    """A URL is no path: its two slashes stay."""
    return tokens[0].value if "://" in tokens[0].value else Path(tokens[0].value)


#: a path, so that shells complete it
Raw = Annotated[Path | str, Parameter(name="--raw", converter=_folder_or_url)]
CohortOut = Annotated[Path, Parameter(name="--out", help="The cohort folder to write.")]
ProtocolName = Annotated[
    str,
    Parameter(
        name="--protocol",
        help="admission (only what was known), paper (retrospective), or a YAML file.",
    ),
]
ProtocolSettings = Annotated[Texts, Parameter(name="--set", help="Change one key of the protocol; may be repeated.")]
Variables = Annotated[
    Texts,
    Parameter(
        name="--variables",
        help="A YAML file of variables beside those of the catalogue, or a shipped name; may be repeated.",
    ),
]
Workers = Annotated[WholeNumber, Parameter(name="--workers", help="Threads that parse.")]
CORES = os.cpu_count() or 1


def show_cohort(manifest: CohortManifest, out: Path, as_json: bool) -> None:
    """Print the summary of a preparation, as tables or as JSON."""
    if as_json:
        fields = ("source", "cohort", "rows", "attrition", "warnings")
        about = dict(manifest)
        answer("", {"out": out, **{key: about[key] for key in fields if key in about}}, as_json)
        return
    from rich.console import Console

    from clinragen import label_sets
    from mimic_prep import preparation_summary

    console = Console()
    if "attrition" in manifest and "tables" in manifest and "cohort" in manifest:  # older exports do not say
        labels = {key: label.name for key, label in label_sets.of_manifest(manifest).items()}
        preparation_summary.show(manifest["attrition"], manifest["tables"], manifest["cohort"], labels, console)
        preparation_summary.warn(manifest.get("warnings", []), console)
    elif "rows" in manifest:
        console.print(", ".join(f"{count:,} {what.replace('_', ' ')}" for what, count in manifest["rows"].items()))
    console.print(f"[bold]{out}[/bold]", highlight=False, soft_wrap=True)
