"""Times of FHIR: one at a time and by columns they read alike, and a zone brings them to the site's clock."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinragen.errors import UserError
from mimic_prep.releases.fhir.clock import Clock, version_of

ODD = st.sampled_from(
    [
        "", "x", "2030", "2030-01-05", "2030-13-01T00:00:00Z", "2030-01-05T10:00Z", "2030-01-05T24:00:00Z",
        "2030-01-05t10:00:00z", "2030-01-05T23:59:60Z", "2030-01-05T10:00:00.5+01:00", "2030-06-05T10:00:00-0400",
        " 2030-01-05T10:00:00Z ",
    ]
)  # fmt: skip
USUAL = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)).map(lambda time: time.strftime("%Y-%m-%dT%H:%M:%S"))
TIMES = st.lists(
    st.none() | ODD | st.builds(str.__add__, USUAL, st.sampled_from(["Z", "-05:00", "+05:30"])), max_size=8
)


@settings(deadline=None)
@given(TIMES, st.sampled_from(["written", "America/New_York", "Europe/Berlin"]))
def test_a_column_reads_as_its_times_do(texts, zone):
    whole, single = Clock(zone), Clock(zone)
    times, problems = whole.column(texts, [1] * len(texts))
    assert list(zip(times.to_list(), problems.to_list(), strict=True)) == [single.read(text) for text in texts]
    assert whole.offsets == single.offsets


@pytest.mark.parametrize(
    ("text", "zone", "time"),
    [
        ("2030-01-05T12:00:00Z", "written", datetime(2030, 1, 5, 12)),
        ("2030-01-05T12:00:00Z", "America/New_York", datetime(2030, 1, 5, 7)),
        ("2030-07-05T12:00:00Z", "America/New_York", datetime(2030, 7, 5, 8)),
        ("2030-07-05T12:00:00+02:00", "Europe/Berlin", datetime(2030, 7, 5, 12)),
        ("2030-07-05T12:00:00", "Europe/Berlin", datetime(2030, 7, 5, 12)),  # without an offset: the site's clock
    ],
)
def test_the_zone_of_the_site_counts(text, zone, time):
    assert Clock(zone).read(text) == (time, None)


def test_offsets_that_do_not_belong_to_one_clock_are_refused():
    clock = Clock("written")
    clock.column(["2030-01-05T12:00:00-05:00", "2030-07-05T12:00:00-04:00"], [1, 1])  # summer time
    clock.check("here")
    clock.read("2030-01-05T12:00:00Z")
    with pytest.raises(UserError, match="--zone"):
        clock.check("here")
    with pytest.raises(UserError, match="no such time zone"):
        Clock("Mars/Base")


def test_versions_are_compared_as_instants():
    assert (
        version_of("2030-01-05T12:00:00-05:00")
        == version_of("2030-01-05T17:00:00Z")
        > version_of("2030-01-05T16:59:59.9Z")
    )
    assert version_of(None) == version_of("yesterday") == -1
