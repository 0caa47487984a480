"""Prompt templates in Jinja's sandbox, safe even if untrusted: limited in time and size, one line for any error.

The sandbox keeps templates away from Python. It does not limit their time and size, so loop iterations, macro calls and
all output and string operations are counted here; only filters and methods of short allow-lists are available.
"""

from __future__ import annotations

import json
import sys
import time
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from clinragen.errors import UserError

#: Limits of one prompt. The longest that any model reads has a few hundred thousand characters.
MOST_CHARACTERS = 2_000_000
_MOST_TURNS = 200_000
_MOST_SECONDS = 5.0
_MOST_BITS = 4096
_LARGEST_FILE = 1_000_000  # bytes of a template
_FILTERS = (
    "abs", "capitalize", "count", "d", "default", "dictsort", "first", "float", "groupby", "int", "items", "last",
    "length", "list", "lower", "map", "max", "min", "reject", "rejectattr", "reverse", "select", "selectattr", "sort",
    "string", "sum", "title", "trim", "truncate", "unique", "upper", "wordcount",
)  # fmt: skip
_STRING_METHODS = (
    "capitalize", "count", "endswith", "find", "isalpha", "isdigit", "isupper", "lower", "lstrip", "partition",
    "removeprefix", "removesuffix", "rpartition", "rsplit", "rstrip", "split", "splitlines", "startswith", "strip",
    "title", "upper",
)  # fmt: skip
_METHODS: dict[type, tuple[str, ...]] = {
    str: _STRING_METHODS,
    list: ("count", "index"),
    tuple: ("count", "index"),
    dict: ("get", "items", "keys", "values"),
    int: (),
    float: ("is_integer",),
    bytes: (),
    range: (),
}


#: Renamed templates, whose old names in users' folders work for one release.
EARLIER_NAMES = {"retry.j2": "again.j2", "_macros.j2": "parts.j2"}
_SPELLINGS = {**EARLIER_NAMES, **{earlier: name for name, earlier in EARLIER_NAMES.items()}}


def folders_of(given: str | None, shipped: Path, config: str) -> list[Path]:
    """Folders of templates, the user's before the shipped one.

    Args:
        given: the user's folder, if there is one.
        shipped: that of the project.
        config: what kind of configuration names it, for the error.

    Raises:
        UserError: it is no folder.
    """
    folders = [Path(given)] if given else []
    if folders and not folders[0].is_dir():
        raise UserError(f"{config} config: prompts is {folders[0]}, expected a folder of templates")
    return [*folders, shipped]


class Templates:
    """The templates of some folders; earlier folders take precedence.

    Raises:
        UserError: a file that is no template.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = folders
        for path in (path for folder in folders for path in sorted(folder.glob("*.j2"))):
            if not path.is_file():
                raise UserError(f"prompt template {path} is no file")
            if path.stat().st_size > _LARGEST_FILE:
                raise UserError(f"prompt template {path} is larger than {_LARGEST_FILE} bytes")
            if path.name in EARLIER_NAMES.values():
                new = _SPELLINGS[path.name]
                print(
                    f"note: prompt template {path} is now called {new}; the old name works until the next release",
                    file=sys.stderr,
                )
        self._jinja = _Environment(folders)

    def render(self, name: str, values: dict[str, Any], *, explain: bool = False) -> str:
        """Render one template, without blanks at its ends.

        Args:
            name: name of the file.
            values: variables of the template.
            explain: include Jinja's error message; not with a patient's values, which it may quote.

        Raises:
            UserError: any error in the template, with its file and line.
        """
        self._jinja.begin()
        try:
            template = self._jinja.get_template(name)
            return "".join(self._jinja.bounded(template.generate(values))).strip()
        except jinja2.TemplateNotFound as error:
            where = self._location(error, name) if error.name != name else name
            raise UserError(f"prompt template {where}: {error.name} not found in {self._listed()}") from None
        except Exception as error:  # noqa: BLE001 (a template can raise whatever Python can)
            explained = explain or isinstance(error, jinja2.TemplateSyntaxError)
            words = " ".join(str(error).split())[:200] if explained else ""
            what = {"RecursionError": "nested too deeply, or without end"}.get(type(error).__name__, words)
            what = f"{type(error).__name__}: {what}" if what else type(error).__name__
            what = "".join(letter if letter.isprintable() else "?" for letter in what)
            raise UserError(f"prompt template {self._location(error, name)}: {what}") from None

    def _location(self, error: Exception, name: str) -> str:
        """File and line of an error, as far as known."""
        if isinstance(error, jinja2.TemplateSyntaxError):
            return f"{error.filename or self._file(name)}, line {error.lineno}"
        folders = {str(folder) for folder in self._folders}
        for frame in reversed(traceback.extract_tb(error.__traceback__)):
            if str(Path(frame.filename).parent) in folders:
                return f"{frame.filename}, line {frame.lineno}"
        return str(self._file(name))

    def _file(self, name: str) -> Path:
        paths = (folder / spelling for folder in self._folders for spelling in _spellings(name))
        return next((path for path in paths if path.exists()), Path(name))

    def _listed(self) -> str:
        return ", ".join(map(str, self._folders))


def _spellings(name: str) -> list[str]:
    """A template's name, then its other one if it has been renamed."""
    return [name, _SPELLINGS[name]] if name in _SPELLINGS else [name]


class _Folder(jinja2.FileSystemLoader):
    """The templates of one folder, under their current or earlier names."""

    def get_source(self, environment: jinja2.Environment, template: str) -> Any:
        for spelling in _spellings(template):
            try:
                return super().get_source(environment, spelling)
            except jinja2.TemplateNotFound:
                continue
        raise jinja2.TemplateNotFound(template)


class _Environment(ImmutableSandboxedEnvironment):
    """Jinja's sandbox with a budget for each rendering."""

    intercepted_binops = frozenset(("+", "*", "**", "%"))

    def __init__(self, folders: Iterable[Path]) -> None:
        super().__init__(
            loader=jinja2.ChoiceLoader([_Folder(folder) for folder in folders]),
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            autoescape=False,  # plain text for a model, no HTML
            finalize=self.written,
        )
        self.begin()
        self.filters = {name: self.filters[name] for name in _FILTERS} | {
            "json": lambda value: json.dumps(value, ensure_ascii=False),  # jinja2's own is for HTML
            "join": self._join,
            "replace": self._replace,
            "round": lambda value, precision=0: round(float(value), max(0, min(int(precision), 15))),
        }
        self.globals = {name: self.globals[name] for name in ("range", "dict")}

    def begin(self) -> None:
        """A new budget."""
        self._turns, self._characters, self._end = 0, 0, time.monotonic() + _MOST_SECONDS

    def tick(self, characters: int) -> None:
        """Count a loop iteration, macro call or template, with its characters of plain text."""
        self._turns += 1
        self._count(characters)
        if self._turns > _MOST_TURNS or time.monotonic() > self._end:
            raise SecurityError(f"more than {_MOST_TURNS} turns of loops and macros, or {_MOST_SECONDS:g} seconds")

    def written(self, value: Any) -> Any:
        """Count the output of an expression. Undefined values raise their own error."""
        if isinstance(value, jinja2.Undefined):
            return value
        text = value if isinstance(value, str) else str(value)
        self._count(len(text))
        return text

    def joined(self, *values: Any) -> str:
        """The operator ``~``."""
        return self.written("".join(str(self.written(value)) for value in values))

    def bounded(self, pieces: Iterable[str]) -> Iterable[str]:
        """Pieces of a text, limited to the length of a prompt."""
        length = 0
        for piece in pieces:
            length += len(piece)
            if length > MOST_CHARACTERS:
                raise SecurityError(f"more than {MOST_CHARACTERS} characters")
            yield piece

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """An intercepted operator, refused if its result could be too large."""
        sized = [value for value in (left, right) if isinstance(value, str | bytes | list | tuple)]
        if operator == "%" and isinstance(left, str | bytes):
            raise SecurityError("% is for numbers; write texts side by side, or with ~")
        if operator == "+" and len(sized) == 2:
            self._count(len(left) + len(right))
        elif operator == "*" and sized:
            times = right if sized[0] is left else left
            self._count(len(sized[0]) * times if isinstance(times, int) else 0)
        elif operator in ("*", "**") and isinstance(left, int) and isinstance(right, int):
            bits = left.bit_length() * max(right, 0) if operator == "**" else left.bit_length() + right.bit_length()
            if bits > _MOST_BITS:
                raise SecurityError("number too large")
        return super().call_binop(context, operator, left, right)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Allow only the listed methods of built-in types."""
        for kind, allowed in _METHODS.items():
            if isinstance(obj, kind):
                return attr in allowed
        return super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> Any:
        """Refuse ``format``: its widths are unlimited."""
        if super().wrap_str_format(value) is not None:
            raise SecurityError("format and format_map are not for templates: write {{ }} or ~")

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        return _Counted().visit(super()._parse(source, name, filename)).set_environment(self)

    def _count(self, characters: int) -> None:
        self._characters += characters
        if self._characters > 2 * MOST_CHARACTERS:  # text in a variable counts twice
            raise SecurityError(f"more than {MOST_CHARACTERS} characters")

    def _join(self, values: Iterable[Any], separator: str = "") -> str:
        texts = [str(value) for value in values]
        self._count(sum(map(len, texts)) + len(separator) * len(texts))
        return separator.join(texts)

    def _replace(self, text: Any, old: str, new: str) -> str:
        text = str(text)
        self._count(len(text) + (text.count(old) if old else len(text) + 1) * len(new))
        return text.replace(old, new)


class _Counted(NodeTransformer):
    """Insert a tick into everything that can repeat, and a limited function in place of ``~``."""

    def _ticked(self, node: Any) -> Any:
        characters = sum(len(data.data) for data in node.find_all(nodes.TemplateData))
        self.generic_visit(node)
        node.body.insert(0, nodes.ExprStmt(_call("tick", [nodes.Const(characters)]), lineno=node.lineno))
        return node

    # Jinja calls a visitor by the name of the node.
    visit_For = visit_Macro = visit_CallBlock = visit_Block = visit_Template = _ticked  # noqa: N815

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _call("joined", node.nodes).set_lineno(node.lineno)


def _call(name: str, arguments: list[nodes.Expr]) -> nodes.Call:
    return nodes.Call(nodes.EnvironmentAttribute(name), arguments, [], None, None)
