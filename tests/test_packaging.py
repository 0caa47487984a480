"""A version has one home, and the files around the code agree with it; `make wheel` checks the wheel itself."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path

import yaml

import clinragen

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def test_the_version_is_that_which_was_installed(monkeypatch):
    assert clinragen.__version__ == metadata.version("clinragen")
    monkeypatch.delitem(vars(clinragen), "__version__")

    def nothing_installed(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", nothing_installed)
    assert clinragen.__version__ == "0+unknown"
    monkeypatch.delitem(vars(clinragen), "__version__")


def test_no_file_states_a_version_of_its_own():
    assert "version" not in PROJECT["project"]
    assert "version" in PROJECT["project"]["dynamic"]
    assert "version" not in yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert not re.search(r"^__version__ = ", Path(clinragen.__file__).read_text(encoding="utf-8"), re.MULTILINE)


def test_a_container_holds_code_alone_and_extras_that_exist():
    recipe = (ROOT / "Containerfile").read_text(encoding="utf-8")
    extras = re.findall(r"^ARG EXTRAS=(\S+)", recipe, re.MULTILINE)[0].split(",")
    assert set(extras) <= set(PROJECT["project"]["optional-dependencies"])
    assert recipe.rpartition("FROM ")[2].index("USER clinragen") > 0
    ignored = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] not in ("", "#")]
    assert ignored[0] == "*"
    entering = {line[1:] for line in ignored if line.startswith("!")}
    packaged = {*PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"], "configs"}
    assert entering == packaged | {"pyproject.toml", "uv.lock", "README.md", "LICENSE"}
    assert all((ROOT / name).exists() for name in entering)


def test_hooks_and_forms_are_the_projects_own():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    assert [repository["repo"] for repository in hooks] == ["local"]
    for hook in hooks[0]["hooks"]:
        program, target = hook["entry"].split()
        assert program == "make"
        assert f"\n{target}: setup" in MAKEFILE
    for form in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("[!c]*.yml"):
        assert {"name", "description", "body"} <= set(yaml.safe_load(form.read_text(encoding="utf-8")))
