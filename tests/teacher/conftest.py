import sys
from pathlib import Path

import pytest

from clinragen.knowledge.graph import build

sys.path.insert(0, str(Path(__file__).parent))

from fault_server import write_cohort


@pytest.fixture(scope="session")
def graph():
    return build()


@pytest.fixture
def cohort(tmp_path):
    return write_cohort(tmp_path / "cohort")
