"""The verifier and the evidence teacher on the open demos of MIMIC-IV and eICU."""

from __future__ import annotations

import json
import sys
from itertools import islice
from pathlib import Path

import polars as pl
import pytest

from clinragen.catalog import variables
from clinragen.chart.findings import findings
from clinragen.chart.measurements import SeriesChart, measurements
from clinragen.knowledge.graph import build
from clinragen.schema import SERIES, CohortPaths
from clinragen.teacher.evidence import EvidenceTeacher
from clinragen.teacher.stays import Stays, frame
from clinragen.verification import series
from clinragen.verification.claims import Verdict
from clinragen.verification.rationale import Verifier
from clinragen.verification.reader import SeriesReader
from mimic_prep.cli import main

sys.path.insert(0, str(Path(__file__).parents[1] / "verification"))

from flips import flipped
from generated import statements
from labelled import agrees, judged, labelled

pytestmark = pytest.mark.real
GRAPH = build()
READER = SeriesReader(GRAPH)
#: The labelled statements that are judged wrong, all of them.
WRONG = {
    ("mimic4", "development"): {
        "INR and PTT were unremarkable.",  # one PTT of three lies below its range
        "Severe hypoxemia with a PaO2 of 33 mmHg at hour 18.",  # the cohort has no such gas: not arterial
        "PaO2 improved from 33 to 97 mmHg.",
        "Comatose with GCS of 3 for the first 16 hours, then 8 to 10.",  # "then" is anything after the first value
    }
}
RELEASES = {"eicu": ("eicu", "eicu-demo"), "mimic4": ("mimic-iv", "mimic-iv-demo")}


@pytest.fixture(scope="module", params=list(RELEASES))
def release(request, shared, tmp_path_factory) -> tuple[str, CohortPaths]:
    command, folder = RELEASES[request.param]
    out = tmp_path_factory.mktemp(request.param) / "cohort"
    assert main([command, "--raw", str(shared(folder)), "--out", str(out)]) == 0
    return request.param, CohortPaths(out)


def charts_of(paths: CohortPaths, stays: set[int]) -> dict[int, SeriesChart]:
    cells: dict[int, dict[str, list[tuple[float, float]]]] = {stay: {} for stay in stays}
    table = frame(paths, SERIES).filter(pl.col("stay_id").is_in(list(stays)))
    for stay, hour, key, value in table.select("stay_id", "hour", "variable", "value").iter_rows():
        cells[stay].setdefault(key, []).append((hour, value))
    return {stay: measurements(rows) for stay, rows in cells.items()}


@pytest.mark.parametrize("part", ["development", "held_back"])
def test_labelled_statements_are_judged_right_and_flipped_ones_are_not_supported(release, part):
    name, paths = release
    rows = [row for row in labelled(part) if row.cohort == name]
    charts = charts_of(paths, {row.stay for row in rows})
    wrong = {row.text for row in rows if not agrees(row.label, judged(row.text, charts[row.stay], READER))}
    assert wrong == WRONG.get((name, part), set())
    for row in rows:
        events = " down to , up to , rose , fell , peaked , as low as , rising , falling "
        directed = any(word.strip() in row.text for word in events.split(","))
        if set(row.label) == {"s"} and directed and flipped(row.text) != row.text:
            assert set(judged(flipped(row.text), charts[row.stay], READER)) != {"s"}, flipped(row.text)


def test_generated_statements_hold_and_their_opposites_do_not(release):
    _, paths = release
    told = 0
    for stay in islice(Stays(paths), 20):
        chart = measurements(stay.cells)
        for key, measured in chart.items():
            if len(measured.values) < 2 or key in ("height", "weight"):
                continue
            for true, turned in statements(variables()[key], measured, 0, len(measured.values) // 2):
                found = [series.check(claim, chart) for claim in READER.read(true)]
                assert set(found) == {Verdict.SUPPORTED}, (stay.stay_id, true)
                assert Verdict.SUPPORTED not in [series.check(claim, chart) for claim in READER.read(turned)], turned
                told += 1
    assert told > 500


def test_every_claim_of_the_evidence_teacher_is_supported(release):
    _, paths = release
    teacher, verifier = EvidenceTeacher(GRAPH), Verifier(GRAPH)
    found = findings(frame(paths, SERIES), normal=True)
    stays = Stays(paths)
    teacher.learn(stays.training(500), found)
    claims = 0
    for stay in islice(stays, 60):
        chart = measurements(stay.cells)
        note, measured = teacher.rationales(stay.stay_id, stay.sections, found.get(stay.stay_id), stay.diagnoses)
        for rationale in (note, measured):
            for claim in verifier.check(rationale.text, rationale.kind, stay.sections, chart, stay.diagnoses):
                assert claim.verdict == Verdict.SUPPORTED, (stay.stay_id, claim)
        for claim in json.loads(measured.verdicts)["claims"]:  # by the plainest means, from the rows themselves
            values = [float(f"{value:.6g}") for _, value in sorted(stay.cells[claim["variable"]])]
            known = {"trend": values[-1], "level": values[0], "normal": values[-1]}
            known["extreme"] = max(values) if claim["direction"] == "high" else min(values)
            assert claim["value"] == pytest.approx(known[claim["form"]], rel=1e-5)
            claims += 1
    assert claims > 150
