"""Write docs/modules.md: every module with the first line of its docstring. `make reference` runs it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("clinragen", "mimic_prep", "benchmarks")
INTRODUCTION = """# Modules

Every module with the first line of its docstring. Made by `make reference`; a test holds it to the code.
The packages, in the order in which data flows, are in [architecture.md](architecture.md#the-repository).
"""


def summary(path: Path) -> str:
    """The first sentence of a module's docstring, without its full stop; empty where it has none."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(docstring.split("\n\n")[0].split()).removesuffix(".")


def lines() -> Iterator[str]:
    """The page, section by section: a package's own line, then a table of its modules."""
    yield INTRODUCTION
    folders = sorted({path.parent for package in PACKAGES for path in (ROOT / package).rglob("*.py")})
    for folder in folders:
        package = folder / "__init__.py"
        yield f"## {folder.relative_to(ROOT).as_posix()}\n"
        if package.is_file() and (about := summary(package)):
            yield f"{about}.\n"
        modules = [path for path in sorted(folder.glob("*.py")) if path != package]
        if modules:
            yield "| module | what it does |\n|---|---|"
            yield from (f"| `{path.name}` | {summary(path).replace('|', '&#124;')} |" for path in modules)
            yield ""


def page() -> str:
    """The whole page.

    Returns:
        Markdown, ending in a line end.
    """
    return "\n".join(lines()).rstrip() + "\n"


if __name__ == "__main__":
    (ROOT / "docs" / "modules.md").write_text(page(), encoding="utf-8")
