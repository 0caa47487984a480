"""The settings of ``configs/zeroshot``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from clinragen import config
from clinragen.errors import UserError

GROUP, DEFAULT = "zeroshot", "default"


@dataclass
class Weights:
    """How much each standardised part counts: of the note, of the series, and of both."""

    concepts: float = 1.0
    words: float = 1.0
    sentences: float = 1.0
    findings: float = 1.0
    aligned: float = 0.5
    note: float = 1.0
    series: float = 0.4


@dataclass
class Transfer:
    """Penalties of the regressions over training stays; 0 leaves one out."""

    note: float = 10.0
    series: float = 1000.0


@dataclass
class ZeroShotSettings:
    """What turns labels into scores.

    Attributes:
        templates: sentences, with a name of the label in place of ``{}``.
        mention: strength of a concept that a name or description names beside other words.
        further: factor for the signs of what belongs to the label.
        evidence: most pieces of evidence of a stay and label.
    """

    templates: list[str] = field(default_factory=lambda: ["{}"])
    mention: float = 0.5
    further: float = 0.5
    evidence: int = 5
    weights: Weights = field(default_factory=Weights)
    transfer: Transfer = field(default_factory=Transfer)


def load(settings: Sequence[str] = ()) -> ZeroShotSettings:
    """The shipped settings with overrides, such as ``weights.series=0``.

    Raises:
        UserError: an unknown key, a value of the wrong type or out of range.
    """
    loaded = config.load(GROUP, DEFAULT, ZeroShotSettings, list(settings))
    if not loaded.templates or any(template.count("{}") != 1 for template in loaded.templates):
        raise UserError("templates: expected one or more sentences, each with one {} for the name of the label")
    for name, value in (("mention", loaded.mention), ("further", loaded.further)):
        if not 0 <= value <= 1:
            raise UserError(f"{name}={value}: expected a number from 0 to 1")
    for part in ("weights", "transfer"):
        for name, value in asdict(loaded)[part].items():
            if value < 0:
                raise UserError(f"{part}.{name}={value}: expected 0 or more")
    if loaded.evidence < 0:
        raise UserError(f"evidence={loaded.evidence}: expected 0 or more")
    return loaded
