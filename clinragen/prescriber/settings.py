"""The settings of ``configs/prescription/*.yaml``: of a language model that prescribes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from clinragen.teacher.settings import ModelSettings


@dataclass
class PrescriberSettings(ModelSettings):
    """Settings of a language model that prescribes."""

    config: ClassVar[str] = "prescription"
    answer: ClassVar[str] = "prescription"
    least: ClassVar[dict[str, int]] = {"listed": 1, "similar": 0, "treatments": 0, "cautions": 0, "calibration": 0}

    note_words: int = 400
    series_lines: int = 12
    listed: int = 5  # classes that the model is asked for
    reasons: bool = True  # ask for a reason for each
    similar: int = 3  # similar stays that are shown, where cases are retrieved
    treatments: int = 6  # phenotypes whose treatment is shown, where knowledge is retrieved
    cautions: int = 4  # and cautions
    calibration: int = 0  # validation stays that are asked too, by which places in the list become probabilities
