"""Links between files of the repository, as links between pages of the site."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: files beside docs/ -> their page
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}
_FENCE = re.compile(r"^(```|~~~).*?^\1\s*$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?P<before>\]\(|<img [^>]*src=\")(?P<target>[^)\s#\"]+)(?P<anchor>#[^)\s\"]*)?(?P<after>\)|\")")


def outside_code(text: str) -> Iterator[tuple[str, bool]]:
    """The text in pieces, each with whether links in it are links: those of fenced blocks are not."""
    start = 0
    for fence in _FENCE.finditer(text):
        yield text[start : fence.start()], True
        yield fence[0], False
        start = fence.end()
    yield text[start:], True


def target_file(source: str, target: str) -> str | None:
    """The file of the repository that a link leads to.

    Args:
        source: the file that holds the link, relative to the repository.
        target: the link without its anchor.

    Returns:
        Its path relative to the repository, or None of a link to elsewhere.
    """
    if re.match(r"[a-z]+:|/", target):
        return None
    return posixpath.normpath(posixpath.join(posixpath.dirname(source), target))


def page_of(file: str) -> str:
    """The page of the site that shows a file of the repository."""
    if file in PAGES:
        return PAGES[file]
    if not file.startswith("docs/"):
        return f"files/{file}.md"
    return re.sub(r"\.ipynb$", ".md", file.removeprefix("docs/"))


def rewritten(text: str, source: str, page: str) -> str:
    """Markdown of a file of the repository, with its links as they are from its page on the site.

    Args:
        text: the Markdown.
        source: the file, relative to the repository.
        page: its page, relative to the site.

    Returns:
        The Markdown of the page. A link to a file that is not there stays, for the strict build to refuse.
    """

    def moved(link: re.Match[str]) -> str:
        file = target_file(source, link["target"])
        if file is None or not (ROOT / file).exists():
            return link[0]
        relative = posixpath.relpath(page_of(file), posixpath.dirname(page) or ".")
        return f"{link['before']}{relative}{link['anchor'] or ''}{link['after']}"

    return "".join(_LINK.sub(moved, piece) if prose else piece for piece, prose in outside_code(text))


def files_shown(sources: Mapping[str, str]) -> list[str]:
    """Files and folders outside docs/ that pages link to and that need pages of their own.

    Args:
        sources: file of the repository -> its Markdown.

    Returns:
        Their paths relative to the repository, sorted.
    """
    shown = set()
    for source, text in sources.items():
        for piece, prose in outside_code(text):
            for link in _LINK.finditer(piece) if prose else ():
                file = target_file(source, link["target"])
                if file and not file.startswith("docs/") and file not in PAGES and (ROOT / file).exists():
                    shown.add(file)
    return sorted(shown)


def file_page(file: str) -> str:
    """The page of a file or folder of the repository: its text as it is."""
    path = ROOT / file
    parts = sorted(path.iterdir()) if path.is_dir() else [path]
    shown = [f"# {file}\n", "As it is in the repository.\n"]
    for part in (part for part in parts if part.is_file()):
        name = part.relative_to(ROOT).as_posix()
        shown += [f"## {part.name}\n"] if path.is_dir() else []
        shown.append(f"````{_language(name)}\n{part.read_text(encoding='utf-8')}````\n")
    return "---\nsearch:\n  exclude: true\n---\n\n" + "\n".join(shown)


def _language(name: str) -> str:
    return {".py": "python", ".yaml": "yaml", ".json": "json"}.get(posixpath.splitext(name)[1], "text")
