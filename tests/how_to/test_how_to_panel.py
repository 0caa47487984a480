"""The panel that docs/how-to adds to the report, followed from the page."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "how-to" / "add-a-report-panel.md").read_text(encoding="utf-8")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the package with what the page adds."""
    shutil.copytree(ROOT / "clinragen", tmp_path / "clinragen", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    name, source = re.findall(r"```python\n# (\S+)\n(.*?)```", PAGE, flags=re.DOTALL)[0]
    (tmp_path / name).write_text(source, encoding="utf-8")
    (diff,) = re.findall(r"```diff\n(.*?)```", PAGE, flags=re.DOTALL)
    apply = ["git", "apply", "-C1", "-"]
    done = subprocess.run(apply, cwd=tmp_path, input=diff, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"the page's changes do not fit the code any more: {done.stderr}"
    return tmp_path


def test_the_panel_is_on_the_page_of_each_stay_with_old_values(checkout, runs, hospital, tmp_path):
    (line,) = re.findall(r"```console\n(.*?)\n```", PAGE)
    line = line.replace("outputs/predictions", str(runs.predictions)).replace("outputs/cohort", str(hospital.cohort))
    program, *words = shlex.split(line)
    assert program == "clinragen"
    environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", "from clinragen.cli import main; main()", *words]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pages = [path.read_text(encoding="utf-8") for path in (tmp_path / words[-1] / "stays").glob("*.html")]
    panels = [re.search(r"<h2 id=old>Old values</h2>(.*?)</section>", page, flags=re.DOTALL) for page in pages]
    ages = [[int(age) for age in re.findall(r": (\d+) hours before", panel[1])] for panel in panels if panel]
    assert ages
    assert all(listed == sorted(listed, reverse=True) and listed[-1] >= 12 for listed in ages)
