"""The page of the Python API: the names that `import clinragen` offers, by what they do, from their docstrings."""

from __future__ import annotations

import ast
from collections import defaultdict
from importlib.util import find_spec
from pathlib import Path

import clinragen


def page() -> str:
    """What is put into the page, as directives of mkdocstrings: a section for each module of the API."""
    sections: defaultdict[str, list[str]] = defaultdict(list)
    for name in sorted(clinragen._HOMES, key=str.lower):
        sections[clinragen._HOMES[name]].append(name)
    parts: list[str] = []
    for module in sorted(sections, key=lambda module: (not module.startswith("clinragen.api"), module)):
        parts.append(f"## {_first_line(module)}\n")
        parts += [f"::: {module}.{name}\n" for name in sections[module] + _results(module, sections[module])]
    return "\n".join(parts)


def _tree(module: str) -> ast.Module:
    spec = find_spec(module)
    assert spec
    assert spec.origin
    return ast.parse(Path(spec.origin).read_text(encoding="utf-8"))


def _first_line(module: str) -> str:
    """What a module says it does."""
    return (ast.get_docstring(_tree(module)) or module).splitlines()[0].rstrip(".")


def _results(module: str, offered: list[str]) -> list[str]:
    """The public classes of a module of the API, which its functions return."""
    if not module.startswith("clinragen.api."):
        return []
    classes = [node.name for node in _tree(module).body if isinstance(node, ast.ClassDef)]
    return [name for name in classes if not name.startswith("_") and name not in offered]
