"""The console commands themselves."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

from clinragen import __version__
from clinragen.cli import COMMANDS, dispatch
from clinragen.errors import exit_code

HEAVY = ("torch", "transformers", "pytorch_lightning", "polars", "pandas", "pyarrow", "numpy", "networkx", "sklearn")


@pytest.mark.parametrize(("module", "arguments"), [("clinragen.cli", ["--help"]), ("mimic_prep.cli", ["--version"])])
def test_help_imports_nothing_heavy(module, arguments):
    """What keeps `--help` under a second."""
    code = f"""
import sys, importlib
entry = importlib.import_module({module!r})
try:
    entry.dispatch({arguments!r})
except SystemExit:
    pass
loaded = sorted(set({HEAVY!r}) & set(sys.modules))
sys.exit("imported " + ", ".join(loaded) if loaded else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_help_names_every_command(capsys):
    assert dispatch([]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in COMMANDS)
    assert "Not for clinical use" in shown


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_explains_itself(name, capsys):
    module = importlib.import_module(f"clinragen.commands.{name}")
    assert module.HELP
    with pytest.raises(SystemExit) as stopped:
        dispatch([name, "--help"])
    assert stopped.value.code == 0
    assert f"clinragen {name}" in capsys.readouterr().out


def test_version(capsys):
    dispatch(["--version"])
    assert capsys.readouterr().out == f"clinragen {__version__}\n"


@pytest.mark.parametrize(
    ("raised", "code", "shown"),
    [
        (KeyboardInterrupt(), 130, "stopped"),
        (PermissionError(13, "Permission denied", "/out"), 2, "error: Permission denied (/out)"),
        (OSError(28, "No space left on device"), 2, "error: No space left on device"),
    ],
)
def test_what_stops_a_command_is_said_in_one_line(raised, code, shown, capsys):
    def command(argv):
        raise raised

    assert exit_code(command, []) == code
    assert capsys.readouterr().err.strip() == shown
