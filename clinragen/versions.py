"""The version of every file format, and the rule of which older and newer files can be read.

A format's version is raised when its files can no longer be read as before; a change of code, wording or comments
raises nothing. ``tests/format_layouts.json`` records the layout of each format, and a test fails when it changes but
the version does not. The steps of a preparation have their own versions in ``mimic_prep.steps``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clinragen.errors import UserError


@dataclass(frozen=True)
class Format:
    """A kind of file or folder that one command writes and others read.

    Attributes:
        name: its name in messages.
        key: key of the version in its manifest or record.
        version: the current version.
        oldest: the oldest version that can be read.
        anew: how to rebuild a file that cannot be read.
        unmarked: version of files without one, from before versions were written.
        kinds: of the folders whose manifest it is, as ``clinragen.outputs`` names them; a folder of another kind is
            called what it is. Empty for other files.
    """

    name: str
    key: str
    version: int
    oldest: int
    anew: str
    unmarked: int | None = None
    kinds: tuple[str, ...] = ()

    @property
    def mark(self) -> dict[str, int]:
        """The version entry of a manifest or record."""
        return {self.key: self.version}

    def check(self, described: Any, where: Path) -> int:
        """The version of a file, if it can be read.

        Args:
            described: its manifest or record.
            where: the file or folder, for the error.

        Raises:
            UserError: it is something else, has no version, was written by a newer clinragen, or is too old.
        """
        kind = described.get("kind") if isinstance(described, dict) else None
        if self.kinds and isinstance(kind, str) and kind not in self.kinds:
            folder = where.parent if where.suffix else where
            raise UserError(f"{folder}: expected a {self.name}, and this is a folder of another kind ({kind})")
        version = described.get(self.key, self.unmarked) if isinstance(described, dict) else None
        if type(version) is not int or version < 1:
            expected = f"{self.oldest} to {self.version}" if self.oldest < self.version else f"{self.version}"
            raise UserError(
                f"{where}: {self.key} is {version!r}, expected version {expected} of a {self.name}: {self.anew}"
            )
        if version > self.version:
            raise UserError(
                f"{where}: a {self.name} of version {version} ({self.key}), and this clinragen reads none above "
                f"{self.version}: install the clinragen that wrote it, or {self.anew}"
            )
        if version < self.oldest:
            raise UserError(
                f"{where}: a {self.name} of version {version} ({self.key}), which is no longer read; from "
                f"{self.oldest} on they are: {self.anew}"
            )
        return version


COHORT = Format("cohort", "schema_version", 1, 1, "prepare it anew with mimic-prep", kinds=("cohort",))
GRAPH = Format(
    "concept graph", "graph_version", 1, 1, "build it anew with `clinragen graph build`", kinds=("concept graph",)
)
RATIONALES = Format("rationale set", "rationales_version", 1, 1, "write it anew with `clinragen teach`", unmarked=1)
JOURNAL = Format("teacher's journal", "journal_version", 1, 1, "move it away and run `clinragen teach`", unmarked=1)
MODEL = Format("model", "format_version", 5, 3, "train it anew with `clinragen train`")
RUN = Format(
    "run", "run_version", 1, 1, "train it anew with `clinragen train`", unmarked=1, kinds=("run", "exported model")
)
PREDICTIONS = Format(
    "predictions folder",
    "predictions_version",
    1,
    1,
    "predict anew with `clinragen predict`",
    unmarked=1,
    kinds=("predictions",),
)
EVALUATION = Format("evaluation", "evaluation_version", 1, 1, "run `clinragen evaluate` again", unmarked=1)
INDEX = Format(
    "similarity index", "index_version", 1, 1, "build it anew with `clinragen index build`", kinds=("similarity index",)
)
ARCHIVE = Format("model in one file", "archive_version", 1, 1, "write it anew with `clinragen export`")
SAMPLES = Format("sample journal", "samples_version", 1, 1, "move it away and run `clinragen train refine`")
RATING_PACK = Format("rating pack", "pack_version", 1, 1, "write it anew with `clinragen rate pack`")
RATINGS = Format("rating file", "ratings_version", 1, 1, "save it anew from the rater's page")
FEDERATION = Format(
    "federation", "federation_version", 1, 1, "make it anew with `clinragen federate init`", kinds=("federation",)
)
LEDGER = Format("ledger", "ledger_version", 1, 1, "begin a new log, with another key")

#: The version of models from which on they were trained on the passages of long notes that name concepts.
NOTE_PASSAGES = 5
#: Version of cached tokens, mentions and targets of a run: raised when the same cohort, tokenizer and graph give
#: others. A run that is resumed by a newer clinragen then encodes its stays again.
ENCODING = 2
#: The same of the captions of series (``clinragen.chart.captions``).
CAPTIONS = 1

FORMATS = (
    COHORT, GRAPH, RATIONALES, JOURNAL, MODEL, RUN, PREDICTIONS, EVALUATION, INDEX, ARCHIVE, SAMPLES, RATING_PACK,
    RATINGS, FEDERATION, LEDGER,
)  # fmt: skip
