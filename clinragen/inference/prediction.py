"""What is to be predicted, and how: the options of ``clinragen predict``, without torch."""

from __future__ import annotations

from dataclasses import dataclass

from clinragen.choices import (
    DECODINGS,
    NUMBER_FORMATS,
    SERIES_INPUTS,
    SPLITS,
    Decoding,
    NumberFormat,
    SeriesInput,
    Split,
)
from clinragen.errors import UserError, unknown_choice
from clinragen.inference.search import GREEDY, Search


@dataclass(frozen=True)
class Shard:
    """One of several processes that share the parts: the first takes the first part, and then every ``of``-th."""

    number: int = 1
    of: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """
        >>> Shard.parse("2/4")
        Shard(number=2, of=4)

        Raises:
            UserError: not two whole numbers with the first within the second.
        """
        number, slash, count = text.partition("/")
        if not (slash and number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
            raise UserError(f"--shard {text}: expected I/N with I from 1 to N, such as 2/4 for the second of four")
        return cls(int(number), int(count))


#: All parts.
WHOLE = Shard()


@dataclass(frozen=True)
class Prediction:
    """Options of a prediction.

    Attributes:
        split: split to predict.
        series_input: ``observed``, or a control: ``zeroed``, ``permuted`` or ``reversed``.
        decoding: ``constrained`` allows only statements that note and series support, and in the list of labels only
            those that the head predicts and the rationales argue for; ``free`` leaves both to the language model.
        batch_size: texts per batch: stays, or as many fewer as a stay has beams or samples.
        limit: only the first stays.
        diagnoses_only: write no rationales: one pass of the model over each stay, and nothing generated.
        shard: the parts to predict, if several processes share them; the one that finishes last puts them together.
        search: how free text is searched for.
        precision: numbers in which the language model computes; the rest of the model computes in fp32.
    """

    split: Split = "test"
    series_input: SeriesInput = "observed"
    decoding: Decoding = "constrained"
    batch_size: int = 64
    limit: int | None = None
    diagnoses_only: bool = False
    shard: Shard = WHOLE
    search: Search = GREEDY
    precision: NumberFormat = "auto"

    def __post_init__(self) -> None:
        if self.batch_size < 1 or (self.limit is not None and self.limit < 1):
            raise UserError("--batch-size and --limit must be at least 1")
        for name, value, valid in (
            ("split", self.split, SPLITS),
            ("series input", self.series_input, SERIES_INPUTS),
            ("decoding", self.decoding, DECODINGS),
            ("precision", self.precision, NUMBER_FORMATS),
        ):
            if value not in valid:
                raise unknown_choice(name, value, valid)
        self.search.check(self.decoding, diagnoses_only=self.diagnoses_only)

    @property
    def batch_stays(self) -> int:
        """Stays per batch: beams and samples share the room of a batch."""
        return max(1, self.batch_size // self.search.width)
