import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "evaluation"))

from once import built_once  # noqa: F401 (a fixture)
from small_hospital import make_cohort, make_predictions


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cohort of 60 stays; tests must not change it."""
    return make_cohort(tmp_path_factory.mktemp("hospital") / "cohort", stays=60)


@pytest.fixture(scope="session")
def predictions(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Predictions for its test split; tests must not change them."""
    return make_predictions(tmp_path_factory.mktemp("predicted") / "observed", cohort)
