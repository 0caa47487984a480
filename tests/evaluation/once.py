"""The concept graph and its verifier take a second to build: the tests of a session share them."""

from __future__ import annotations

from functools import cache

import pytest

from clinragen.evaluation import faithfulness, inputs


@pytest.fixture(scope="session", autouse=True)
def built_once():
    """One graph per folder, one verifier per graph."""
    opened = inputs.open_known_graph
    shipped = cache(opened)

    def once(folder, labels, *added):
        return opened(folder, labels, *added) if any(added) else shipped(folder, labels)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inputs, "open_known_graph", once)
        patch.setattr(faithfulness, "Verifier", cache(faithfulness.Verifier))
        yield
