"""Hand-labelled statements: read from ``claims/*.yaml``, judged by the verifier, and counted."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import yaml

from clinragen.chart.measurements import SeriesChart
from clinragen.chart.measurements import measurements as chart
from clinragen.verification.claims import Verdict
from clinragen.verification.reader import SeriesReader
from clinragen.verification.series import check

FOLDER = Path(__file__).parent / "claims"
LETTERS = {Verdict.SUPPORTED: "s", Verdict.CONTRADICTED: "c", Verdict.NOT_IN_CHART: "n"}


WORDING = yaml.safe_load((FOLDER / "wording.yaml").read_text(encoding="utf-8"))
#: The hand-written charts of ``wording.yaml``, by name.
CHARTS = {
    name: chart({key: [tuple(cell) for cell in cells] for key, cells in rows.items()})
    for name, rows in WORDING["charts"].items()
}


class Labelled(NamedTuple):
    """A statement about a stay of a cohort. One letter judges it as a whole; several name each of its claims."""

    cohort: str
    stay: int
    label: str
    text: str


def labelled(part: str) -> list[Labelled]:
    """The statements of ``claims/<part>.yaml``."""
    found = []
    for key, lines in yaml.safe_load((FOLDER / f"{part}.yaml").read_text(encoding="utf-8")).items():
        cohort, stay = key.split()
        for line in lines.splitlines():
            label, _, text = line.partition("  ")
            assert re.fullmatch("[scn]+|-", label), line
            found.append(Labelled(cohort, int(stay), label, text))
    return found


def wording(part: str) -> list[tuple[str, str, str]]:
    """(chart, label, statement) of a part of ``wording.yaml``: development or held_back."""
    rows = [(name, line) for name, lines in WORDING[part].items() for line in lines.splitlines()]
    return [(name, *line.split("  ", 1)) for name, line in rows]


def judged(text: str, stay: SeriesChart, reader: SeriesReader) -> str:
    """The letters of a statement's claims in reading order; "-" without any."""
    return "".join(LETTERS[check(claim, stay)] for claim in reader.read(text)) or "-"


def agrees(label: str, letters: str) -> bool:
    """Whether the verifier's letters mean what the label says."""
    if len(label) > 1:
        return label == letters
    return label == next((letter for letter in "cns" if letter in letters), "-")
