"""How a text is searched for, and in which numbers: options of ``clinragen predict``, without torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

from clinragen.choices import Decoding
from clinragen.errors import UserError


@dataclass(frozen=True)
class Search:
    """How free text is searched for: greedily, among beams, or as the best of samples.

    Attributes:
        beams: beams of a stay; 1 takes the likeliest token at each step. With more, the likeliest report is written.
        samples: reports that are drawn of a stay; 0 draws none. The one that is written can be read back, has the
            highest share of claims that the chart supports, and is the likeliest of those that are equal in this.
        temperature: of the draws: above 1 they differ more, below 1 less.
        seed: of the draws. They depend on it and on the stay alone, not on the stays of the same batch.
    """

    beams: int = 1
    samples: int = 0
    temperature: float = 1.0
    seed: int = 0

    @classmethod
    def of_options(
        cls, beams: int = 1, samples: int | None = None, temperature: float | None = None, seed: int | None = None
    ) -> Search:
        """From options, None for those that are not given.

        Raises:
            UserError: they contradict each other.
        """
        if samples is None:
            given = [name for name, value in (("--temperature", temperature), ("--seed", seed)) if value is not None]
            if given:
                raise UserError(f"{' and '.join(given)}: nothing is drawn: pass --samples N as well")
        elif samples < 1:
            raise UserError(f"--samples {samples}: expected at least 1; without it text is decoded greedily")
        return cls(beams, samples or 0, 1.0 if temperature is None else temperature, seed or 0)

    def __post_init__(self) -> None:
        if self.beams < 1 or self.samples < 0:
            raise UserError("--beams must be at least 1, and --samples not negative")
        if self.beams > 1 and self.samples:
            raise UserError(
                "--beams and --samples: one report is written of a stay, the likeliest or the best: pass one"
            )
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise UserError(f"--temperature {self.temperature}: expected a number above 0")
        if self.seed < 0:
            raise UserError(f"--seed {self.seed}: expected a whole number, not negative")

    @property
    def width(self) -> int:
        """Texts of a stay that are written side by side."""
        return max(self.beams, self.samples, 1)

    def check(self, decoding: Decoding, *, diagnoses_only: bool) -> None:
        """Raise a UserError where there is nothing to search for."""
        if self == GREEDY:
            return
        option = "--beams" if self.beams > 1 else "--samples"
        if diagnoses_only:
            raise UserError(f"{option} and --diagnoses-only: no text is written: pass one of them")
        if decoding != "free":
            raise UserError(
                f"{option} needs --decoding free: constrained decoding chooses each statement by the evidence on which "
                "the probabilities rest, not by how likely the text is"
            )


#: The likeliest token at each step.
GREEDY = Search()
