"""Every example in a docstring of either package gives the documented result."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WITH_EXAMPLES = [
    path for package in ("clinragen", "mimic_prep") for path in sorted((ROOT / package).rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]  # fmt: skip


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_there_are_examples_in_both_packages():
    assert {module_name(path).partition(".")[0] for path in WITH_EXAMPLES} == {"clinragen", "mimic_prep"}
    assert len(WITH_EXAMPLES) > 40


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=module_name)
def test_examples(path):
    failed, tried = doctest.testmod(importlib.import_module(module_name(path)), optionflags=doctest.ELLIPSIS)
    assert tried
    assert not failed
