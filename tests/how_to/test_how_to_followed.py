"""Exercises of docs/how-to: their files are written, their commands run, their assertions checked."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "how-to"
#: a block, and the file that it is: named in the line above, or by the first line of Python
_BLOCK = re.compile(
    r"(?:^`(?P<above>[\w./-]+)`\n\n)?^```(?P<language>\w+)\n(?:# (?P<first>[\w./-]+\.py)\n)?(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
#: what is written below the checkout's packages is looked for there as if it stood in the checkout
_START = """
import sys
from importlib import import_module

for name in {packages!r}:
    import_module(name).__path__.append(sys.argv.pop(1))
"""
_PROGRAMS = {"mimic-prep": "mimic_prep.cli", "clinragen": "clinragen.cli"}


def run(code: str, packages: dict[str, Path], folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python code in a fresh process, in which the packages hold what was written to the folders as well."""
    start = _START.format(packages=list(packages))
    command = [sys.executable, "-c", f"{start}\n{code}", *map(str, packages.values()), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "package", "most_files"),
    [
        ("add-a-database.md", "mimic_prep.releases", 3),
        ("add-a-knowledge-source.md", "clinragen.knowledge.sources", 1),
    ],
)
def test_the_page_is_followed_word_by_word(page: str, package: str, most_files: int, tmp_path: Path) -> None:
    home = package.replace(".", "/")
    written, typed, asserted = [], 0, 0
    packages = {package: tmp_path / home}
    for block in _BLOCK.finditer((PAGES / page).read_text(encoding="utf-8")):
        name, language, text = block["above"] or block["first"], block["language"], block["text"]
        if name and not name.startswith("tests/"):
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            written += [name] if name.endswith(".py") else []
        elif language == "console":
            for line in text.splitlines():
                program, *arguments = shlex.split(line)
                code = f"from {_PROGRAMS[program]} import main\nsys.exit(main())"
                done = run(code, packages, tmp_path, *arguments)
                assert done.returncode == 0, (line, done.stdout, done.stderr)
                typed += 1
        else:
            done = run(text, packages, tmp_path)
            assert done.returncode == 0, done.stderr
            asserted += text.count("assert ")
    assert 0 < len(written) <= most_files
    assert all(name.startswith(f"{home}/") for name in written)
    assert typed >= 2
    assert asserted >= 2
