"""Variable names are informative: a list of vague names is not used again."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
#: participles and stand-ins; the name of what is held (mentions, offset, vocabulary, requested) takes their place
VAGUE = frozenset(
    ["asked", "found", "gone", "kept", "known", "made", "own", "place", "rest", "said", "taken", "told", "wanted"]
)


def vague_names(source: str) -> list[tuple[int, str]]:
    """(line, name) of each variable and argument that is called so, but not of attributes, fields and keys of data."""
    bound = []
    tree = ast.parse(source)
    fields = {
        id(entry.target)
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        for entry in node.body
        if isinstance(entry, ast.AnnAssign)
    }
    for node in ast.walk(tree):
        if id(node) in fields:
            continue
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            bound.append((node.lineno, node.id))
        elif isinstance(node, ast.arg):
            bound.append((node.lineno, node.arg))
        elif isinstance(node, ast.MatchAs | ast.MatchStar) and node.name:
            bound.append((node.lineno, node.name))
    return sorted((line, name) for line, name in bound if name in VAGUE)


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("found = []", ["found"]),
        ("def f(known, *, asked=1): ...", ["asked", "known"]),
        ("for place, item in rows: pass", ["place"]),
        ("[told for told in rows if (said := told)]", ["said", "told"]),
        ("match x:\n  case [first, *rest]: ...", ["rest"]),
        ("self.place = item.found; f(known=1)", []),
        ("class Rows:\n  kept: int = 0", []),
    ],
)
def test_variables_and_arguments_are_seen_and_attributes_are_not(source, names):
    assert sorted(name for _, name in vague_names(source)) == names


def test_no_variable_has_a_name_that_says_nothing():
    files = [path for package in ("clinragen", "mimic_prep") for path in (ROOT / package).rglob("*.py")]
    assert len(files) > 200
    vague = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in sorted(files)
        for line, name in vague_names(path.read_text(encoding="utf-8"))
    ]
    assert not vague, "say what is held: " + ", ".join(vague)
