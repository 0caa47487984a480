"""The README's map names every module, and its commands exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from clinragen.cli import COMMANDS
from mimic_prep.cli import COMMANDS as PREP_COMMANDS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("package", ["clinragen", "mimic_prep", "benchmarks"])
def test_the_map_names_every_module(package: str) -> None:
    modules = [path for path in sorted((ROOT / package).rglob("*.py")) if path.name != "__init__.py"]
    folders = {f"{path.parent.relative_to(ROOT)}/" for path in modules}
    assert [path.name for path in modules if f"  {path.name} " not in README] == []
    assert [folder for folder in sorted(folders) if f"\n{folder}\n" not in README] == []


def test_the_map_names_nothing_that_is_not_there() -> None:
    listed = re.findall(r"^  (\w+\.py) ", README, flags=re.MULTILINE)
    present = {
        path.name for folder in ("clinragen", "mimic_prep", "benchmarks") for path in (ROOT / folder).rglob("*.py")
    }
    assert [name for name in listed if name not in present] == []


def test_the_commands_it_types_exist() -> None:
    typed = re.findall(r"^(clinragen|mimic-prep) ([a-z-]+)", README, flags=re.MULTILINE)
    assert typed
    for program, command in typed:
        assert command in (COMMANDS if program == "clinragen" else PREP_COMMANDS), f"{program} {command}"
