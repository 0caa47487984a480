"""Real data is beside the checkout. Tests skip without it; with CLINRAGEN_REQUIRE_ALL=1 they fail instead."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

_SHARED = Path(__file__).parents[2].parent / "shared" / "data"


@pytest.fixture(scope="session")
def shared() -> Callable[[str], Path]:
    """``shared("mimic-iv-demo")``: the folder, or a skipped test."""

    def find(name: str) -> Path:
        folder = _SHARED / name
        if not folder.exists():
            message = f"development data {name} is not beside the checkout"
            if os.environ.get("CLINRAGEN_REQUIRE_ALL") == "1":
                pytest.fail(message)
            pytest.skip(message)
        return folder

    return find
