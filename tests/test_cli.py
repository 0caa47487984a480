"""The console commands themselves."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from clinragen import __version__
from clinragen.cli import PROGRAM, dispatch
from clinragen.command_line import Program, headline
from clinragen.errors import UserError, exit_code
from mimic_prep import cli as preparation

HEAVY = ("torch", "transformers", "pytorch_lightning", "polars", "pandas", "pyarrow", "numpy", "networkx", "sklearn")
PROGRAMS = {"clinragen": PROGRAM, "mimic-prep": preparation.PROGRAM}
EVERY_COMMAND = [(program, command) for program in PROGRAMS for command in PROGRAMS[program].commands()]


@pytest.mark.parametrize(("program", "command"), [*((program, None) for program in PROGRAMS), *EVERY_COMMAND])
def test_help_imports_nothing_heavy(program, command):
    """What lets `--help` answer at once."""
    module = {"clinragen": "clinragen.cli", "mimic-prep": "mimic_prep.cli"}[program]
    code = f"""
import sys, importlib
importlib.import_module({module!r}).dispatch({[*([command] if command else []), "--help"]!r})
loaded = sorted(set({HEAVY!r}) & set(sys.modules))
sys.exit("imported " + ", ".join(loaded) if loaded else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"Usage: {program}")


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["help"]])
def test_the_overview_lists_every_command_in_order_and_what_it_does(program, words, capsys):
    assert not PROGRAMS[program].run(words)
    shown = capsys.readouterr().out
    places = [shown.index(f"│ {command} ") for command in PROGRAMS[program].commands()]
    assert places == sorted(places)
    assert "--install-completion" in shown


def test_the_overview_says_what_it_is_not_for(capsys):
    dispatch([])
    assert "Not for clinical use" in capsys.readouterr().out


@pytest.mark.parametrize(("program", "command"), EVERY_COMMAND)
def test_every_command_explains_itself(program, command, capsys):
    assert not PROGRAMS[program].run([command, "--help"])
    shown = capsys.readouterr().out
    assert shown.startswith(f"Usage: {program} {command}")
    assert "[default: False]" not in shown
    assert "[default: None]" not in shown


def test_choices_are_in_the_help(capsys):
    dispatch(["predict", "--help"])
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "[choices: train, validation, test] [default: test]" in shown


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("flag", ["--version", "-V"])
def test_version(program, flag, capsys):
    PROGRAMS[program].run([flag])
    assert capsys.readouterr().out == f"{program} {__version__}\n"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("predit", "unknown command 'predit': did you mean 'predict'? Choose from: ask, "),
        ("graph shwo", "unknown action 'shwo': did you mean 'show'?"),
        ("teach stauts --cohort x", "unknown action 'stauts': did you mean 'status'?"),
        ("predict", "clinragen predict: --model, --cohort, --out are missing; see `clinragen predict --help`"),
        ("export --model a --oot b", "--out is missing, and --oot is no option: did you mean '--out'?"),
        ("export --model a --out b --titel c", "unknown option --titel: did you mean '--title'?"),
        ("export --model --out b", "--model expects a value"),
        ("export --model a --out b c", "clinragen export: unexpected 'c'"),
        ("export --model a --out b --overwrite=yes", "--overwrite takes no value"),
        ("export --model a --out b --no-overwrite", "unknown option --no-overwrite"),
        ("predict --model a --cohort b --out c --split tset", "unknown split 'tset': did you mean 'test'?"),
        ("predict --model a --cohort b --out c --series-input zeoed", "unknown series input 'zeoed': did you mean"),
        ("predict --model a --cohort b --out c --limit 2.5", "--limit 2.5: expected a whole number"),
        ("predict --model a --cohort b --out c --limit 0x10", "--limit 0x10: expected a whole number"),
        ("graph draw --out a.png --min-weight half", "--min-weight half: expected a number"),
        ("explain --model a --cohort b --stay 7 --stay x", "--stay x: expected a whole number"),
        ("teach --cohort x --set a b", "unknown action 'b'"),
        ("graph show", "clinragen graph show: NAME is missing"),
    ],
)
def test_a_slip_is_one_line_that_says_what_to_do(words, says):
    with pytest.raises(UserError) as told:
        dispatch(words.split())
    assert says in str(told.value)
    assert "\n" not in str(told.value)


def test_the_last_of_repeated_values_holds_and_lists_grow():
    function, bound = PROGRAM.parse(
        ["train", "notes", "--cohort", "a", "--cohort", "b", "--out", "c", "--set", "x=1", "--set=y=2"]
    )
    assert function.__module__ == "clinragen.commands.train"
    assert bound.args == ("notes",)
    assert bound.kwargs["cohort"] == Path("b")
    assert bound.kwargs["settings"] == ("x=1", "y=2")


def test_values_may_begin_with_a_minus_only_as_numbers():
    _, bound = PROGRAM.parse(["evaluate", "--predictions", "a", "--cohort", "b", "--seed", "-1"])
    assert bound.kwargs["seed"] == -1


def test_an_abbreviated_option_works_and_asks_to_be_written_in_full(capsys):
    _, bound = PROGRAM.parse(["predict", "--mod", "a", "--coh=b", "--out", "c"])
    assert (bound.kwargs["model"], bound.kwargs["cohort"]) == (Path("a"), Path("b"))
    told = capsys.readouterr().err
    assert "--mod is short for --model: write it in full" in told
    assert "--coh is short for --cohort" in told


def test_an_abbreviation_of_two_options_is_none():
    with pytest.raises(UserError, match="unknown option --s"):
        PROGRAM.parse(["predict", "--model", "a", "--cohort", "b", "--out", "c", "--s", "test"])


def test_an_old_spelling_works_with_a_hint(capsys):
    function, bound = preparation.PROGRAM.parse(["verify", "--raw", "a"])
    assert function.__module__ == "mimic_prep.commands.check_release"
    assert bound.kwargs["raw"] == Path("a")
    assert "`mimic-prep verify` is now `mimic-prep check-release`" in capsys.readouterr().err


@pytest.mark.parametrize("old", [["--claims", "grounded"], ["--claims=grounded"], ["--decoding", "grounded"]])
def test_an_old_choice_of_an_old_option_works_with_a_hint(old, capsys):
    _, bound = PROGRAM.parse(["predict", "--model", "m", "--cohort", "c", "--out", "o", *old])
    assert bound.kwargs["decoding"] == "constrained"
    told = capsys.readouterr().err
    assert "--decoding grounded is now --decoding constrained" in told
    assert ("--claims is now --decoding" in told) == old[0].startswith("--claims")


def test_the_old_name_of_permuted_series_works_with_a_hint(capsys):
    _, bound = PROGRAM.parse(["predict", "--model", "m", "--cohort", "c", "--out", "o", "--series-input", "shuffled"])
    assert bound.kwargs["series_input"] == "permuted"
    assert "--series-input shuffled is now --series-input permuted" in capsys.readouterr().err


def test_json_is_all_that_stands_on_standard_output(tmp_path, capsys):
    dispatch(["graph", "build", "--out", str(tmp_path / "g"), "--json"])
    answer = json.loads(capsys.readouterr().out)
    assert answer["out"] == str(tmp_path / "g")
    assert answer["edges"] > answer["nodes"] > 100
    dispatch(["graph", "show", "shock", "--json"])
    assert json.loads(capsys.readouterr().out)["id"] == "phenotype:shock"


def test_completion_is_installed_for_a_shell(tmp_path, capsys):
    script = tmp_path / "clinragen.bash"
    assert not dispatch(["--install-completion", "--shell", "bash", "--output", str(script)])
    assert "--series-input" in script.read_text()
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0


def test_a_new_file_is_a_new_command(tmp_path, monkeypatch, capsys):
    package = tmp_path / "newly_made_commands"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "_shared.py").write_text("")
    (package / "say_hello.py").write_text(
        '"""``greeter say-hello``: greet somebody."""\n\n'
        'def command(name: str, *, loud: bool = False) -> None:\n    """Greet."""\n'
        "    print(name.upper() if loud else name)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    program = Program("greeter", "Greets.", "newly_made_commands")
    assert program.commands() == {"say-hello": "greet somebody"}
    program.run(["say-hello", "Ada", "--loud"])
    assert capsys.readouterr().out == "ADA\n"


def test_a_file_that_does_not_say_what_it_does_is_told(tmp_path):
    path = tmp_path / "silent.py"
    path.write_text('"""Does something."""\n')
    with pytest.raises(ValueError, match=r"silent\.py must begin with"):
        headline(path)


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
