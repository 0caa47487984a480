"""Pages that are typed as they stand: each file is written, each command run, each assertion checked."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: a file with its name in the line above, or lines of a console, or a test of what came out
_BLOCK = re.compile(
    r"(?:^`(?P<name>[\w./-]+)`\n\n)?^```(?P<language>\w+)\n(?:# tests/\S+\n)?(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@pytest.fixture
def type_page(command, tmp_path, monkeypatch):
    """``type_page("how-to/x.md", {"RAW": folder})`` follows a page; the number of commands and assertions."""
    monkeypatch.chdir(tmp_path)

    def follow(page: str, stands_for: dict[str, str]) -> tuple[int, int]:
        typed = asserted = 0
        for block in _BLOCK.finditer((ROOT / "docs" / page).read_text(encoding="utf-8")):
            text = block["text"]
            if block["name"]:
                Path(block["name"]).write_text(text, encoding="utf-8")
            elif block["language"] == "console":
                for line in text.splitlines():
                    program, *words = [stands_for.get(word, word) for word in shlex.split(line)]
                    if words[0] != "demo":
                        assert command(program, *words) == 0, line
                        typed += 1
            else:
                exec(text, {})
                asserted += text.count("assert ")
        return typed, asserted

    return follow


@pytest.mark.slow
def test_a_phenotype_set(type_page, hospital):
    assert type_page("how-to/add-a-phenotype-set.md", {"RAW": str(hospital.raw)}) == (2, 2)


def test_questions_about_a_stay(type_page, hospital, runs, capsys, tmp_path):
    """The tutorial, with the folders of a small run in place of the demo's."""
    from clinragen import Cohort

    (tmp_path / "outputs" / "demo").mkdir(parents=True)
    (tmp_path / "outputs" / "demo" / "cohort").symlink_to(hospital.cohort)
    (tmp_path / "outputs" / "demo" / "predictions").symlink_to(runs.predictions)
    stay = Cohort.load(hospital.cohort).split("test")[0]
    typed, _ = type_page("tutorials/questions.md", {"30113696": str(stay)})
    assert typed == 6
    answers = capsys.readouterr().out
    assert "The highest heart rate in hours 0 to 24" in answers
    assert (tmp_path / "outputs" / "report-with-answers" / "index.html").is_file()
