"""A disk that is full at any point of a preparation: one line, no partial output, and the next run resumes."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

_SCRIPT = """
import contextlib, io, json, resource, sys
from pathlib import Path
from mimic_prep.cli import main
out = Path(sys.argv[-1])
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
said = []
for limit in [100, 1000, 2000, 3000, 4000, 6000, 9000, hard]:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    with contextlib.redirect_stderr(io.StringIO()) as error, contextlib.redirect_stdout(io.StringIO()):
        code = main(sys.argv[1:])
    half = [str(path) for path in out.parent.rglob(".*.tmp")]
    said.append([code, error.getvalue(), out.exists(), half])
    if code == 0:
        break
print(json.dumps(said))
"""


@pytest.fixture
def filled(hospital, tmp_path):
    """Exit code, error, whether the cohort exists, and half files, of runs with ever more room for each file."""
    hospital.write(tmp_path / "raw")
    command = [sys.executable, "-c", _SCRIPT, "mimic-iv", "--raw", str(tmp_path / "raw"), "--out"]
    done = subprocess.run([*command, str(tmp_path / "full" / "cohort")], capture_output=True, check=True, text=True)
    return json.loads(done.stdout)


def test_a_full_disk_stops_with_one_line_and_the_next_run_goes_on(filled, hospital, prepared, tmp_path):
    *stopped, last = filled
    assert len(stopped) >= 3
    for code, error, exists, half in stopped:
        assert code == 2
        assert "has no room left" in error
        assert error.count("error: ") == 1
        assert "Traceback" not in error
        assert not exists
        assert half == []
    assert last[0] == 0
    whole = prepared(hospital)
    for path in whole.root.iterdir():
        assert path.read_bytes() == (tmp_path / "full" / "cohort" / path.name).read_bytes()
