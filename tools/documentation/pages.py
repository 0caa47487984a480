"""Write the pages of the site: those of docs/, those beside it, and what the code says of itself.

The site generator reads only what this writes, plain Markdown with links between pages, so that another one can take
its part: ``python tools/documentation/pages.py FOLDER``, then ``mkdocs build``.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import command_reference
import links
import notebook_pages
import python_reference
import settings_reference

#: in a page, where what the code says of itself goes: its name -> what makes it
_FROM_THE_CODE = {
    "commands": command_reference.page,
    "settings": settings_reference.page,
    "python": python_reference.page,
}
_MARK = re.compile(r"<!-- from the code: (\w+) -->")
_PICTURES = (".png", ".svg", ".css", ".js")


def written() -> dict[str, str]:
    """Every page of the site.

    Returns:
        Path of the page relative to the site -> its Markdown.
    """
    sources = [*links.PAGES, *sorted(_relative(path) for path in (links.ROOT / "docs").rglob("*.md"))]
    texts = {name: (links.ROOT / name).read_text(encoding="utf-8") for name in sources}
    texts = {name: _MARK.sub(lambda mark: _FROM_THE_CODE[mark[1]](), text) for name, text in texts.items()}
    for path in sorted((links.ROOT / "docs").rglob("*.ipynb")):
        texts[_relative(path)] = notebook_pages.page(path.read_text(encoding="utf-8"))
    pages = {links.page_of(name): links.rewritten(text, name, links.page_of(name)) for name, text in texts.items()}
    return pages | {links.page_of(file): links.file_page(file) for file in links.files_shown(texts)}


def write(folder: Path) -> None:
    """Write the pages and pictures to a folder, in place of what was in it."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, text in written().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for picture in (links.ROOT / "docs").rglob("*"):
        if picture.suffix in _PICTURES:
            path = folder / picture.relative_to(links.ROOT / "docs")
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(picture, path)


def _relative(path: Path) -> str:
    return path.relative_to(links.ROOT).as_posix()


if __name__ == "__main__":
    write(Path(sys.argv[1]))
