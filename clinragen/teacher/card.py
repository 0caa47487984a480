"""The dataset card of a rationale set: its author, checks and statistics.

Cards may be shared, so they contain counts only; examples, which are patient data, are in a file of their own.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

import pyarrow as pa
import pyarrow.compute as pc

from clinragen import cards
from clinragen.artifacts import write_text
from clinragen.chart.wording import words
from clinragen.manifests import RationalesManifest
from clinragen.schema import RATIONALE_KINDS

#: Examples shown of each kind.
SHOWN = 3


class Statistics(TypedDict):
    """Numbers of texts, of words in one, and of duplicates; ``distinct_4`` is the share of distinct 4-grams."""

    count: int
    mean_words: float
    median_words: int
    most_words: int
    duplicates: int
    distinct_4: float


def statistics(texts: list[str]) -> Statistics:
    """The statistics of some texts."""
    lengths = sorted(map(words, texts))
    grams = [gram for text in texts for gram in _grams(text.lower().split(), 4)]
    return {
        "count": len(texts),
        "mean_words": sum(lengths) / len(lengths) if lengths else 0.0,
        "median_words": lengths[len(lengths) // 2] if lengths else 0,
        "most_words": lengths[-1] if lengths else 0,
        "duplicates": len(texts) - len(set(texts)),
        "distinct_4": len(set(grams)) / len(grams) if grams else 0.0,
    }


def write(card: Path, examples: Path, table: pa.Table, manifest: RationalesManifest) -> None:
    """Write the card of ``table`` (``schema.RATIONALES``) from it and its manifest, and some of its texts."""
    kinds = {}
    for kind in RATIONALE_KINDS:
        rows = table.filter(pc.field("kind") == kind).to_pylist()
        texts = [row["text"] for row in rows]
        kinds[kind] = {
            **statistics(texts),
            "stand_ins": sum(row["teacher"] != manifest.teacher for row in rows),
            "examples": texts[:SHOWN],
            "ways": (manifest.ways or {}).get(kind, {}),
            "claims": (manifest.first_draft_claims or {}).get(kind, {}),
            "taught": (manifest.taught_claims or {}).get(kind, {}),
        }
    for path, template in ((card, "card.md.j2"), (examples, "examples.md.j2")):
        write_text(path, cards.card(f"teacher/{template}", manifest=manifest, kinds=kinds, examples=examples.name))


def _grams(tokens: list[str], size: int) -> list[tuple[str, ...]]:
    return [tuple(tokens[start : start + size]) for start in range(len(tokens) - size + 1)]
