"""The synthetic hospital three hours after admission, when most drugs are still to be ordered."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from clinragen.cohort.folder import Cohort
from tests.conftest import call

sys.path.insert(0, str(Path(__file__).parents[1] / "teacher"))


@pytest.fixture(scope="session")
def early(hospital, tmp_path_factory) -> Path:
    """The folder of its cohort; tests must not change it."""
    out = tmp_path_factory.mktemp("early") / "cohort"
    assert call("mimic-prep", "mimic-iv", "--raw", hospital.raw, "--out", out, "--set", "window.hours=3") == 0
    return out


@pytest.fixture(scope="session")
def cohort(early) -> Cohort:
    """Its cohort."""
    return Cohort.load(early)


@pytest.fixture(scope="session")
def suggested(early, tmp_path_factory) -> Path:
    """Suggestions for the test split; tests must not change them."""
    out = tmp_path_factory.mktemp("suggested") / "prescriptions"
    assert call("clinragen", "prescribe", "--cohort", early, "--out", out, "--most", 6) == 0
    return out
