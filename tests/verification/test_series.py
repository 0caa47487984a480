"""Series claims: read from ordinary wording, checked against the chart, never supported with the direction flipped."""

import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml
from flips import flipped
from generated import shorthand, statements
from hypothesis import given, settings
from hypothesis import strategies as st
from labelled import CHARTS, agrees, judged, labelled, wording
from whole_graph import GRAPH

from clinragen.catalog import phenotypes, variables
from clinragen.chart.findings import findings
from clinragen.chart.measurements import SeriesChart
from clinragen.chart.measurements import measurements as chart
from clinragen.teacher.evidence import EvidenceTeacher
from clinragen.verification.claims import Verdict
from clinragen.verification.rationale import Verifier
from clinragen.verification.reader import SeriesReader
from clinragen.verification.series import check

CLAIMS = Path(__file__).parent / "claims"
LABELLED = yaml.safe_load((CLAIMS / "small_charts.yaml").read_text(encoding="utf-8"))
SMALL = {
    name: chart({k: [tuple(c) for c in cells] for k, cells in rows.items()})
    for name, rows in LABELLED["charts"].items()
}
HOSPITAL = {
    int(stay): chart({key: [tuple(cell) for cell in cells] for key, cells in rows.items()})
    for stay, rows in json.loads((CLAIMS / "hospital_charts.json").read_text(encoding="utf-8")).items()
}
READER = SeriesReader(GRAPH)
TEACHER, VERIFIER = EvidenceTeacher(GRAPH), Verifier(GRAPH)
BOUNDED = sorted(key for key, spec in variables().items() if spec.low is not None and spec.high is not None)


def verdicts(text: str, stay: SeriesChart) -> list[Verdict]:
    return [check(claim, stay) for claim in READER.read(text)]


#: The labelled statements that are judged wrong, all of them, and why.
WRONG = {
    "small": {"Febrile to 101 F."},  # read as a value that occurs, meant as the highest
    "development": {"Creatinine 3.1 (baseline 2.2)."},  # 2.2 occurs, but is not the first value
    "held_back": {
        "His pressure went from 120/80 to 85/40.",  # "pressure" alone names no variable
        "His pressure went from 120/80 to 70/40.",
        "Urine output fell to 0.2 cc/kg/hr.",  # the amount for each kilogram is left out, and the fall is read
    },
}


def test_of_the_statements_on_small_charts_exactly_these_are_judged_wrong():
    wrong = {row["t"] for row in LABELLED["claims"] if not agrees(row["v"], judged(row["t"], SMALL[row["c"]], READER))}
    assert wrong == WRONG["small"]


@pytest.mark.parametrize("part", ["development", "held_back"])
def test_every_statement_on_the_synthetic_hospital_is_judged_right(part):
    rows = [row for row in labelled(part) if row.cohort == "hospital"]
    assert len(rows) > 50
    assert [row.text for row in rows if not agrees(row.label, judged(row.text, HOSPITAL[row.stay], READER))] == []


@pytest.mark.parametrize("part", ["development", "held_back"])
def test_of_the_statements_in_the_shorthand_of_notes_exactly_these_are_judged_wrong(part):
    wrong = {text for stay, label, text in wording(part) if not agrees(label, judged(text, CHARTS[stay], READER))}
    assert wrong == WRONG[part]


#: True whichever way they are turned: the variable went there and came back.
THERE_AND_BACK = {
    "The lactate climbed to above 5.",
    "Systolic pressure dropped to less than 90 mmHg.",
    "Heart rate rose to more than 130.",
}


#: True whichever way they are turned: the variable went there and came back.
THERE_AND_BACK = {
    "The lactate climbed to above 5.",
    "Systolic pressure dropped to less than 90 mmHg.",
    "Heart rate rose to more than 130.",
}


@pytest.mark.parametrize(
    ("stay", "text"),
    [
        (stay, text)
        for stay, label, text in wording("development")
        if label == "s"
        and flipped(text) != text
        and text not in THERE_AND_BACK
        and not re.search(r"\b(over|for) (\d|the)|normal <|limit of normal|or equal", text, re.I)  # no directions
    ],
)
def test_shorthand_with_its_direction_flipped_is_never_supported(stay, text):
    assert set(judged(flipped(text), CHARTS[stay], READER)) != {"s"}, flipped(text)


@pytest.mark.parametrize("text", sorted(THERE_AND_BACK))
def test_a_bound_passed_on_the_way_there_and_back_is_passed_both_ways(text):
    assert {judged(each, CHARTS["shock"], READER) for each in (text, flipped(text))} == {"s"}


@pytest.mark.parametrize("row", LABELLED["claims"], ids=lambda row: row["t"])
def test_a_flipped_direction_is_never_supported(row):
    if row["v"] == "s" and flipped(row["t"]) != row["t"] and not re.match("no ", row["t"], re.I):
        assert set(judged(flipped(row["t"]), SMALL[row["c"]], READER)) != {"s"}


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_generated_claims_on_a_stay_hold_and_their_opposites_do_not(data):
    """What is said of the values of a stay is supported; the same with up and down exchanged never is."""
    stay = HOSPITAL[data.draw(st.sampled_from(sorted(HOSPITAL)))]
    keys = sorted(key for key in stay if len(stay[key].values) > 1 and key not in ("height", "weight"))
    key = data.draw(st.sampled_from(keys))
    places = st.lists(st.integers(0, len(stay[key].values) - 1), min_size=2, max_size=2, unique=True)
    i, j = sorted(data.draw(places))
    for true, turned in statements(variables()[key], stay[key], i, j):
        assert set(verdicts(true, stay)) == {Verdict.SUPPORTED}, true
        assert Verdict.SUPPORTED not in verdicts(turned, stay), turned
    for true, turned in shorthand(variables()[key], stay[key], i, j):
        assert set(verdicts(true, stay)) == {Verdict.SUPPORTED}, true
        assert Verdict.SUPPORTED not in verdicts(turned, stay), turned
    values = stay[key].values
    above = int((values > values[i]).sum())
    name = variables()[key].label.partition(" (")[0].replace(",", "")
    assert verdicts(f"{name} was above {values[i]:g} on {above + 1} occasions.", stay) == [Verdict.CONTRADICTED]


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(BOUNDED), st.lists(st.floats(0, 1), min_size=1, max_size=6), st.sampled_from(["high", "low"]))
def test_high_and_low_are_supported_only_by_such_values(key, shares, word):
    spec = variables()[key]
    values = [spec.plausible[0] + share * (spec.plausible[1] - spec.plausible[0]) for share in shares]
    stay = chart({key: list(enumerate(values))})
    label = spec.label.partition(" (")[0].replace(",", "")
    outside = [float(f"{v:.6g}") for v in values]
    expected = any(spec.direction(v) == (1 if word == "high" else -1) for v in outside)
    assert verdicts(f"{word} {label}.", stay) == [Verdict.SUPPORTED if expected else Verdict.CONTRADICTED]
    assert verdicts(f"{label} was never {word}.", stay) == [Verdict.CONTRADICTED if expected else Verdict.SUPPORTED]


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=st.sampled_from(list("creatinine HR K fell to from 3.2,;()->≥%\n no 48 h µ")), max_size=60))
def test_any_text_is_read_and_spans_lie_within_it(text):
    for claim in READER.read(text):
        assert 0 <= claim.start < claim.end <= len(text)
        assert check(claim, HOSPITAL[39550756]) in Verdict


def assert_read_and_supported(cells: dict[tuple[str, int], float], gold: set[str], stay: int) -> None:
    """All the evidence teacher says of these values, (variable, hour) -> value, is read and supported."""
    frame = pl.DataFrame(
        [(stay, float(hour), key, value) for (key, hour), value in cells.items()],
        schema={"stay_id": pl.Int64, "hour": pl.Float32, "variable": pl.String, "value": pl.Float32},
        orient="row",
    )
    rationale = TEACHER.series(stay, findings(frame, normal=True)[stay], sorted(gold))
    by_variable: dict[str, list[tuple[float, float]]] = {}
    for (key, hour), value in cells.items():
        by_variable.setdefault(key, []).append((hour, value))
    checked = VERIFIER.check(rationale.text, "series", [], chart(by_variable), gold)
    assert {claim.verdict for claim in checked} <= {Verdict.SUPPORTED}, (rationale.text, checked)
    found = [claim.verdict for claim in checked if claim.kind == "series"]
    assert len(found) >= len(json.loads(rationale.verdicts)["claims"]), (rationale.text, found)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 47), st.sampled_from(sorted(variables())), st.floats(0, 1)), min_size=1, max_size=40
    ),
    st.sets(st.sampled_from(sorted(phenotypes())), max_size=6),
    st.integers(0, 10**6),
)
def test_every_claim_of_the_evidence_teacher_is_read_and_supported(rows, gold, stay):
    cells = {}
    for hour, key, share in rows:
        low, high = variables()[key].plausible
        cells[(key, hour)] = float(np.float32(low + share**3 * (high - low)))
    assert_read_and_supported(cells, gold, stay)


@pytest.mark.parametrize("key", sorted(variables()))
def test_the_highest_and_the_lowest_value_of_every_variable_are_read(key):
    for value in variables()[key].plausible:
        assert_read_and_supported({(key, 0): float(np.float32(value))}, {"shock"}, 0)
