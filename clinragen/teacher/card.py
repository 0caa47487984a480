"""The dataset card of a rationale set: who wrote it, how it was checked, what it is like."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import jinja2
import pyarrow as pa
import pyarrow.compute as pc

from clinragen.artifacts import write_text
from clinragen.config import CONFIG_ROOT
from clinragen.teacher.wording import words

#: Examples shown of each kind.
SHOWN = 3


def statistics(texts: list[str]) -> dict[str, Any]:
    """Number, words, duplicates, and the share of 4-word sequences that occur once only in being counted."""
    lengths = sorted(map(words, texts))
    grams = [gram for text in texts for gram in _grams(text.lower().split(), 4)]
    counted = Counter(texts)
    return {
        "count": len(texts),
        "mean_words": sum(lengths) / len(lengths) if lengths else 0.0,
        "median_words": lengths[len(lengths) // 2] if lengths else 0,
        "most_words": lengths[-1] if lengths else 0,
        "duplicates": len(texts) - len(counted),
        "distinct_4": len(set(grams)) / len(grams) if grams else 0.0,
    }


def write(path: Path, table: pa.Table, manifest: dict[str, Any]) -> None:
    """Write the card of ``table`` (``schema.RATIONALES``) from it and its manifest."""
    kinds = {}
    for kind in ("note", "series"):
        rows = table.filter(pc.field("kind") == kind)
        texts = rows.column("text").to_pylist()
        kinds[kind] = {
            **statistics(texts),
            "stand_ins": sum(name != manifest["teacher"] for name in rows.column("teacher").to_pylist()),
            "examples": texts[:SHOWN],
            "ways": manifest.get("ways", {}).get(kind, {}),
            "claims": manifest.get("first_draft_claims", {}).get(kind, {}),
        }
    loader = jinja2.FileSystemLoader(CONFIG_ROOT / "teacher")
    environment = jinja2.Environment(
        loader=loader, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    write_text(path, environment.get_template("card.md.j2").render(manifest=manifest, kinds=kinds) + "\n")


def _grams(tokens: list[str], size: int) -> list[tuple[str, ...]]:
    return [tuple(tokens[place : place + size]) for place in range(len(tokens) - size + 1)]
