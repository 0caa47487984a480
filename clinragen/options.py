"""Options that several commands share: one spelling, one meaning, one line of help."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import CoercionError, Parameter, Token

from clinragen import choices


def _whole(kind: Any, tokens: Sequence[Token]) -> int:
    """A whole number in decimal digits; 2.5 is refused, not rounded."""
    try:
        return int(tokens[0].value)
    except ValueError:
        raise CoercionError(token=tokens[0], target_type=int) from None


def _real(kind: Any, tokens: Sequence[Token]) -> float:
    try:
        return float(tokens[0].value)
    except ValueError:
        raise CoercionError(token=tokens[0], target_type=float) from None


WholeNumber = Annotated[int, Parameter(converter=_whole)]
MaybeWholeNumber = Annotated[int | None, Parameter(converter=_whole)]
Number = Annotated[float, Parameter(converter=_real)]
MaybeNumber = Annotated[float | None, Parameter(converter=_real)]
#: an option without a value
Flag = Annotated[bool, Parameter(show_default=False)]
#: options that may be repeated, with one value each
Texts = Annotated[tuple[str, ...], Parameter(show_default=False)]
Paths = Annotated[tuple[Path, ...], Parameter(show_default=False)]
WholeNumbers = Annotated[tuple[WholeNumber, ...], Parameter(show_default=False)]

CohortFolder = Annotated[Path, Parameter(name="--cohort", help="Cohort folder made by mimic-prep.")]
GraphFolder = Annotated[Path | None, Parameter(name="--graph", help="Concept graph folder. Default: the curated core.")]
ModelFolder = Annotated[
    Path, Parameter(name="--model", help="Run folder written by `clinragen train`, or what `clinragen export` wrote.")
]
PredictionsFolder = Annotated[Path, Parameter(name="--predictions", help="Folder written by `clinragen predict`.")]
Out = Annotated[Path, Parameter(name="--out", help="Folder to write.")]
Overwrite = Annotated[Flag, Parameter(name="--overwrite", help="Replace what an earlier run of this command wrote.")]
Settings = Annotated[Texts, Parameter(name="--set")]
Split = Annotated[choices.Split, Parameter(name="--split")]
OneOfDevices = Annotated[
    choices.Device,
    Parameter(name="--device", help="Where the model runs; auto: the first accelerator, or the CPU without one."),
]
Seed = Annotated[int, Parameter(name="--seed", converter=_whole)]
MaybeSeed = Annotated[int | None, Parameter(name="--seed", converter=_whole)]
AsJson = Annotated[
    Flag, Parameter(name="--json", help="Print the result as JSON, and everything else to standard error.")
]
Verify = Annotated[Flag, Parameter(name="--verify", help="Check the hashes of large files, too, before reading them.")]
