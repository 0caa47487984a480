"""The example command of docs/how-to works."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from clinragen import commands
from clinragen.cli import PROGRAM, dispatch
from clinragen.errors import UserError

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "add-a-command.md").read_text(encoding="utf-8")


@pytest.fixture
def file(tmp_path, monkeypatch) -> Path:
    """The page's file, where the page puts it (beside the package's own files, not among them)."""
    where, source = re.findall(r"```python\n# (\S+)\n(.*?)```", PAGE, flags=re.DOTALL)[0]
    assert Path(where).parent == Path("clinragen/commands")
    path = tmp_path / Path(where).name
    path.write_text(source)
    monkeypatch.setattr(commands, "__path__", [*commands.__path__, str(tmp_path)])
    assert commands.__spec__ is not None
    monkeypatch.setattr(commands.__spec__, "submodule_search_locations", commands.__path__)
    return path


def test_one_file_is_all_of_it(file, hospital, capsys):
    assert PROGRAM.commands()["count"] == "count the stays of a cohort"
    dispatch(["--help"])
    assert "count the stays of a cohort" in capsys.readouterr().out
    dispatch(["count", "--help"])
    assert "[choices: split, sex] [default: split]" in " ".join(capsys.readouterr().out.replace("│", "").split())
    typed = re.findall(r"```console\nclinragen (.*?)\n```", PAGE)[0]
    dispatch(typed.replace("COHORT", str(hospital.cohort)).split())
    by_sex = json.loads(capsys.readouterr().out)
    dispatch(["count", "--cohort", str(hospital.cohort)])
    by_split = dict(line.split(": ") for line in capsys.readouterr().out.splitlines())
    assert set(by_split) == {"train", "validation", "test"}
    assert sum(by_sex.values()) == sum(map(int, by_split.values())) > 50
    with pytest.raises(UserError, match="expected a cohort made by mimic-prep"):
        dispatch(["count", "--cohort", "nowhere"])
    with pytest.raises(UserError, match="unknown by 'age'"):
        dispatch(["count", "--cohort", "nowhere", "--by", "age"])
