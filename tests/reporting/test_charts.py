import re
from xml.etree import ElementTree

from hypothesis import given, settings
from hypothesis import strategies as st

from clinragen.catalog import variable, variables
from clinragen.reporting import charts


@st.composite
def measured(draw):
    """A variable with plausible values at ascending hours."""
    found = draw(st.sampled_from(list(variables().values())))
    hours = sorted(draw(st.sets(st.integers(0, 47), min_size=1, max_size=20)))
    values = [draw(st.floats(*found.plausible)) for _ in hours]
    return found, [float(h) for h in hours], values


def drawn(key: str, hours: list[float], values: list[float]) -> str:
    return charts.series_chart(charts.Measured(variable(key), hours, values), 48.0)


@given(measured(), st.integers(1, 400))
@settings(max_examples=150, deadline=None)
def test_every_value_has_one_mark_inside_the_frame(sample, window):
    found, hours, values = sample
    svg = ElementTree.fromstring(charts.series_chart(charts.Measured(found, hours, values), float(window)))
    marks = [element for element in svg.iter() if element.find("title") is not None and element is not svg]
    assert len(marks) == len(values)
    for mark, hour, value in zip(marks, hours, values, strict=True):
        assert mark.findtext("title").startswith(f"hour {hour:g}: {value:.{found.decimals}f}")
        assert mark.get("class") == "lnh"[found.direction(value) + 1]
        x, y = map(float, re.match(r"M(-?[\d.]+) (-?[\d.]+)", mark.get("d")).groups())
        assert charts.LEFT - 5 <= x <= charts.WIDTH + 5
        assert -5 <= y <= charts.HEIGHT


def test_reference_range_is_shaded_where_there_is_one():
    assert 'class="range"' in drawn("sodium", [0.0], [140.0])
    assert 'class="range"' in drawn("gcs_eye", [0.0], [4.0])
    assert 'class="range"' not in drawn("weight", [0.0], [80.0])


def test_line_is_dashed_where_nothing_was_measured():
    near = drawn("sodium", [0.0, 4.0, 8.0], [140.0, 141.0, 142.0])
    assert near.count('class="line"') == 1
    assert "line gap" not in near
    far = drawn("sodium", [0.0, 24.0], [140.0, 141.0])
    assert "line gap" in far
    assert 'class="line"' not in far


def test_screen_reader_hears_what_is_out_of_range():
    heard = charts.Measured(variable("potassium"), [0.0, 6.0, 12.0], [4.0, 5.6, 3.1]).summary
    assert heard == (
        "potassium: 3 values, from 3.1 mEq/L to 5.6 mEq/L, last 3.1 mEq/L at hour 12, "
        "1 above the reference range, 1 below the reference range"
    )


def test_stored_single_precision_does_not_make_a_value_abnormal():
    stored = 1.2000000476837158  # float32 of 1.2, the upper bound of creatinine
    assert "above" not in drawn("creatinine", [0.0], [stored])


@given(st.floats(-1e5, 1e5), st.floats(1e-3, 1e5), st.integers(0, 3))
def test_ticks_are_few_and_inside(low, width, decimals):
    found = charts.ticks(low, low + width, decimals)
    assert len(found) <= 9
    slack = 1e-6 * max(1.0, abs(low), width)
    assert all(low - slack <= tick <= low + width + slack for tick in found)


def test_reliability_of_a_single_bin():
    ElementTree.fromstring(charts.reliability_chart([{"count": 3, "probability": 0.1, "observed": 0.0}]))
