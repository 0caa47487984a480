"""README: commands, size; the map of packages in docs/architecture.md; the list of modules."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

from clinragen.cli import PROGRAM
from mimic_prep.cli import PROGRAM as PREPARATION

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MAP = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def packages() -> list[str]:
    """Every package of the repository, as a folder."""
    return sorted(
        f"{path.parent.relative_to(ROOT)}/"
        for name in ("clinragen", "mimic_prep")
        for path in ROOT.glob(f"{name}/**/__init__.py")
        if path.parent.name != "sources" or path.parent.parent.name != "knowledge"
        if path.parent.parent.name != "releases"  # each is one database
    )


def test_the_map_names_every_package_and_no_other() -> None:
    listed = re.findall(r"^((?:clinragen|mimic_prep)/[a-z_/]*) ", MAP, flags=re.MULTILINE)
    assert sorted(listed) == packages()


def test_the_list_of_modules_is_that_of_the_code() -> None:
    written = (ROOT / "docs" / "modules.md").read_text(encoding="utf-8")
    assert written == runpy.run_path(str(ROOT / "tools" / "modules.py"))["page"](), "type `make reference`"


def test_every_module_says_what_it_does() -> None:
    rows = re.findall(
        r"^\| `(\S+\.py)` \| (.*) \|$", (ROOT / "docs" / "modules.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert len(rows) > 200
    assert [name for name, about in rows if not about] == []


def test_the_commands_it_types_exist() -> None:
    typed = re.findall(r"^(clinragen|mimic-prep) ([a-z-]+)", README, flags=re.MULTILINE)
    assert typed
    for program, command in typed:
        assert command in (PROGRAM if program == "clinragen" else PREPARATION).commands(), f"{program} {command}"


def test_it_is_short_and_its_pictures_are_small() -> None:
    assert README.count("\n") <= 130
    pictures = re.findall(r'<img src="([^"]+)" alt="[^"]{40,}"', README)
    assert len(pictures) == README.count("<img") == 2
    assert all((ROOT / picture).stat().st_size <= 150_000 for picture in pictures)
