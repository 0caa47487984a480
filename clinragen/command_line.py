"""The command line of both programs: a command is a file, its options a typed function, each user error one line.

Every file of a package of commands is one command. Its docstring begins with the program and the name between double
backquotes, a colon, and what the command does, its line in the overview: this is read without importing it.
The file's ``command`` is a function, or a cyclopts ``App`` where there are further words to choose from; it is imported
only when its command is called, and itself imports what is heavy only when it runs.
"""

from __future__ import annotations

import contextlib
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from inspect import BoundArguments
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from cyclopts import (
    App,
    CoercionError,
    CycloptsError,
    Group,
    MissingArgumentError,
    Parameter,
    UnknownOptionError,
    UnusedCliTokensError,
)
from cyclopts.exceptions import UnknownCommandError

from clinragen import __version__
from clinragen.errors import UserError, exit_code, hint, near_name, unknown_choice
from clinragen.waiting import no_silence

#: the first line of a command's file
_HEADLINE = re.compile(r'"""``[\w-]+ [\w-]+``: (.+?)\.?(?:""")?\n')


@dataclass(frozen=True)
class Program:
    """One console program.

    Attributes:
        name: the program's name on the command line.
        about: its purpose, for the help.
        package: the package whose files are its commands.
        order: in which the overview lists the commands; those not named follow by name.
        closing: lines below the overview.
        renamed: old spellings, which work for one release with a hint: (command, option) -> option,
            (command, option, choice) -> choice, and ("", command) -> command.
        further: commands that are not files: name -> (what it does, the function).
    """

    name: str
    about: str
    package: str
    order: tuple[str, ...] = ()
    closing: str = ""
    renamed: Mapping[tuple[str, ...], str] = field(default_factory=dict)
    further: Mapping[str, tuple[str, Callable[..., int | None]]] = field(default_factory=dict)

    def commands(self) -> dict[str, str]:
        """Command -> what it does, in the order of the overview. No command is imported."""
        entries = {name: headline(path) for name, path in self._files().items()}
        entries |= {name: line for name, (line, _) in self.further.items()}
        ranks = {name: rank for rank, name in enumerate(self.order)}
        return {name: entries[name] for name in sorted(entries, key=lambda name: (ranks.get(name, len(ranks)), name))}

    def app(self) -> App:
        """The program as cyclopts sees it."""
        app = App(
            name=self.name,
            help=self.about,
            version=f"{self.name} {__version__}",
            version_flags=["--version", "-V"],
            help_format="plaintext",
            help_epilogue=self.closing or None,
            # a list option takes one value each time it is given; the last of repeated values counts; no --no-FLAG
            default_parameter=Parameter(negative=(), consume_multiple=False, allow_repeating=True),
        )
        general = Group("Options of the program", sort_key=1)
        files = self._files()
        for rank, (name, line) in enumerate(self.commands().items()):
            entry = {"name": name, "help": line, "sort_key": rank}
            if name in files:
                app.command(f"{self.package}.{files[name].stem}:command", **entry)
            else:
                app.command(self.further[name][1], **entry)
        app.register_install_completion_command(
            help="Install completion of commands, options and choices; it works from the shell's next start.",
            group=general,
        )
        for flag in (*app.help_flags, *app.version_flags):
            app[flag].group = general
        return app

    def run(self, argv: Sequence[str]) -> int | None:
        """Run one command; errors are raised.

        Raises:
            UserError: the command line is not understood, or what the command raises.
        """
        command, bound = self.parse(argv)
        return command(*bound.args, **bound.kwargs)

    def main(self, argv: Sequence[str]) -> int:
        """Run one command as a user typed it: its exit code. Says what comes next, and that it is still at work."""
        return exit_code(self._typed, argv)

    def _typed(self, argv: Sequence[str]) -> int | None:
        command, bound = self.parse(argv)
        with no_silence():
            code = command(*bound.args, **bound.kwargs)
        bound.apply_defaults()
        if not code and not bound.arguments.get("as_json") and (line := self.next_step(argv, bound)):
            print(f"next: {line}", file=sys.stderr)
        return code

    def next_step(self, argv: Sequence[str], bound: BoundArguments) -> str | None:
        """What to do after a command line, if anything follows it."""
        from clinragen.next_steps import next_step

        chain, _, _ = self.app().parse_commands(self._today(list(argv)))
        if not chain or any(name.startswith("-") for name in chain):  # help, the version, completion
            return None
        first = next((value for value in bound.args if isinstance(value, str)), "")
        return next_step(" ".join([self.name, *chain, first]), bound.arguments)

    def parse(self, argv: Sequence[str]) -> tuple[Callable[..., int | None], BoundArguments]:
        """The function that a command line calls, and its arguments. The command is imported, but not run.

        Raises:
            UserError: the command line is not understood.
        """
        app = self.app()
        words = self._today(["--help"] if argv[:1] in (["help"], []) else list(argv))
        if words[0] in self.commands():
            app.help_epilogue = None
            if app[words[0]].default_command:  # its own help begins with its docstring
                app[words[0]].help = None
        words = _in_full(app, words)
        try:
            command, bound, _ = app.parse_args(words, print_error=False, exit_on_error=False)
        except CycloptsError as error:
            raise _user_error(error, self.name, words) from None
        return command, bound

    def _files(self) -> dict[str, Path]:
        spec = find_spec(self.package)
        folders = spec.submodule_search_locations if spec else None
        paths = [path for folder in folders or () for path in Path(folder).glob("*.py")]
        return {path.stem.replace("_", "-"): path for path in paths if not path.stem.startswith("_")}

    def _today(self, words: list[str]) -> list[str]:
        """Replace old spellings by current ones, with a hint for each."""
        command = words[0]
        if new := self.renamed.get(("", command)):
            hint(f"`{self.name} {command}` is now `{self.name} {new}`")
            command = words[0] = new
        for index, word in enumerate(words[1:], 1):
            name, equals, value = word.partition("=")
            if new := self.renamed.get((command, name)):
                hint(f"{name} is now {new}")
                name = new
            if equals and (new := self.renamed.get((command, name, value))):
                hint(f"{name} {value} is now {name} {new}")
                value = new
            elif new := self.renamed.get((command, words[index - 1], word)):
                hint(f"{words[index - 1]} {word} is now {words[index - 1]} {new}")
                name = new
            words[index] = f"{name}{equals}{value}"
        return words


def headline(path: Path) -> str:
    """The line of a command in the overview, from the first line of its file.

    Raises:
        ValueError: the file does not begin as the file of a command does.
    """
    with open(path, encoding="utf-8") as file:
        matched = _HEADLINE.match(file.readline())
    if not matched:
        raise ValueError(f'{path} must begin with """``PROGRAM COMMAND``: what it does."""')
    return matched[1]


def answer(text: str, values: Mapping[str, Any] | Sequence[Any], as_json: bool) -> None:
    """Print the result of a command: its text, or with ``--json`` its values and nothing else."""
    if as_json:
        print(json.dumps(values, ensure_ascii=False, indent=2, default=str))
    elif text:
        print(text)


@contextlib.contextmanager
def only_the_answer(as_json: bool) -> Iterator[None]:
    """With ``--json``, redirect what is printed within to standard error: standard output holds the JSON alone."""
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        yield


def _options(app: App) -> dict[str, bool]:
    """The options of a command, and whether each takes a value."""
    if app.default_command is None:
        return {}
    options: dict[str, bool] = {}
    for argument in app.assemble_argument_collection():
        options |= dict.fromkeys((name for name in argument.names if name.startswith("--")), argument.hint is not bool)
    return options


def _in_full(app: App, words: list[str]) -> list[str]:
    """Expand abbreviated options, which earlier releases accepted, with a hint; refuse flags that were given a value.

    Raises:
        UserError: a flag was given a value.
    """
    chain, apps, _ = app.parse_commands(words)
    if any(name.startswith("-") for name in chain):  # --help and --version are commands to cyclopts
        return words
    with app.app_stack(apps):
        options = _options(apps[-1])
    for index, word in enumerate(words):
        if word == "--":
            break
        name, equals, value = word.partition("=")
        if not name.startswith("--"):
            continue
        if name not in options and len(full := [one for one in options if one.startswith(name)]) == 1:
            hint(f"{name} is short for {full[0]}: write it in full")
            name = full[0]
        if equals and options.get(name) is False:
            raise UserError(f"{name} takes no value: write {name} alone")
        words[index] = f"{name}{equals}{value}"
    return words


def _user_error(error: CycloptsError, program: str, words: Sequence[str]) -> UserError:
    """The error of cyclopts as one line in our style."""
    typed = " ".join([program, *(error.command_chain or ())])
    see = f"; see `{typed} --help`"
    match error:
        case UnknownCommandError():
            names = [name for name in error.app or () if not name.startswith("-")]
            what = "action" if error.command_chain else "command"
            return unknown_choice(what, (error.unused_tokens or [""])[0], names)
        case UnknownOptionError():
            name = error.token.keyword or error.token.value
            options = [one for argument in error.argument_collection for one in argument.names]
            return UserError(f"{typed}: unknown option {name}{near_name(name, options)}{see}")
        case MissingArgumentError():
            return UserError(f"{typed}: {_missing(error, words)}{see}")
        case UnusedCliTokensError():
            return UserError(f"{typed}: unexpected '{(error.unused_tokens or [''])[0]}'{see}")
        case CoercionError() if error.token is not None:
            return _not_of_its_kind(error, typed, see)
    return UserError(f"{typed}: {error}{see}")


def _missing(error: MissingArgumentError, words: Sequence[str]) -> str:
    """All missing options, and an unknown option that may be a misspelling of one."""
    if error.keyword:
        return f"{error.keyword} expects a value"
    arguments = list(error.app.assemble_argument_collection()) if error.app else []
    names = [name for argument in arguments for name in argument.names]
    options = [word.partition("=")[0] for word in words if word.startswith("--")]
    lacking = [a.name for a in arguments if a.required and a.name.startswith("--") and not {*a.names} & {*options}]
    if error.argument and error.argument.name not in lacking:
        lacking.insert(0, error.argument.name)
    text = f"{', '.join(lacking)} {'is' if len(lacking) == 1 else 'are'} missing"
    if unknown := [option for option in options if option not in names]:
        text += f", and {unknown[0]} is no option{near_name(unknown[0], names)}"
    return text


def _not_of_its_kind(error: CoercionError, typed: str, see: str) -> UserError:
    value = error.token.value if error.token else ""
    name = (error.token and error.token.keyword) or (error.argument.name if error.argument else "")
    if get_origin(error.target_type) is Literal:
        return unknown_choice(name.lstrip("-").replace("-", " ").lower(), value, get_args(error.target_type))
    kind = {int: "a whole number", float: "a number"}.get(error.target_type or str, "another kind of value")
    return UserError(f"{typed}: {name} {value}: expected {kind}{see}")
