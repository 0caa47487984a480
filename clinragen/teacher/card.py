"""The dataset card of a rationale set: who wrote it, how it was checked, what it is like.

Cards are made to be shown around, so they hold counts only; examples, which are patient data, are a file of their own.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import jinja2
import pyarrow as pa
import pyarrow.compute as pc

from clinragen import __version__
from clinragen.artifacts import sha256_file, write_text
from clinragen.chart.wording import words
from clinragen.config import CONFIG_ROOT
from clinragen.knowledge.graph import ConceptGraph
from clinragen.schema import RATIONALE_KINDS
from clinragen.teacher.files import Files

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


def provenance(
    files: Files,
    graph: ConceptGraph,
    *,
    backend: str,
    model: str | None,
    endpoint: Any,
    prompt_hash: str,
    taught: Counter[tuple[str, str]],
    coverage: Counter[str],
) -> dict[str, Any]:
    """What the manifest of every rationale set says: who wrote it, of what, with which graph, and the table's hash.

    Args:
        taught: (kind, verdict) -> claims of the rationales in the table that this teacher wrote.
        coverage: number of diagnoses ``listed``, and of those that one of its two rationales has ``grounded``.
    """
    return {
        "created_by": __version__,
        "teacher": files.name,
        "backend": backend,
        "model": model,
        "endpoint": endpoint,
        "prompt_hash": prompt_hash,
        "graph": graph.manifest,
        "cohort": {part: sha256_file(getattr(files.cohort, part)) for part in ("stays", "series", "notes", "labels")},
        "table": sha256_file(files.table),
        "taught_claims": by_kind(taught),
        "coverage": {"listed": coverage["listed"], "grounded": coverage["grounded"]},
    }


def by_kind(counts: Counter[tuple[str, str]]) -> dict[str, dict[str, int]]:
    """(kind, what) -> number, as a manifest holds it.

    >>> by_kind(Counter({("note", "supported"): 2}))
    {'note': {'supported': 2}, 'series': {}}
    """
    nested: dict[str, dict[str, int]] = {kind: {} for kind in RATIONALE_KINDS}
    for (kind, what), count in sorted(counts.items()):
        nested[kind][what] = count
    return nested


def write(card: Path, examples: Path, table: pa.Table, manifest: dict[str, Any]) -> None:
    """Write the card of ``table`` (``schema.RATIONALES``) from it and its manifest, and some of its texts."""
    kinds = {}
    for kind in RATIONALE_KINDS:
        rows = table.filter(pc.field("kind") == kind).to_pylist()
        texts = [row["text"] for row in rows]
        kinds[kind] = {
            **statistics(texts),
            "stand_ins": sum(row["teacher"] != manifest["teacher"] for row in rows),
            "examples": texts[:SHOWN],
            "ways": manifest.get("ways", {}).get(kind, {}),
            "claims": manifest.get("first_draft_claims", {}).get(kind, {}),
            "taught": manifest["taught_claims"][kind],
        }
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(CONFIG_ROOT / "teacher"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for path, template in ((card, "card.md.j2"), (examples, "examples.md.j2")):
        text = environment.get_template(template).render(manifest=manifest, kinds=kinds, examples=examples.name)
        write_text(path, text + "\n")


def _grams(tokens: list[str], size: int) -> list[tuple[str, ...]]:
    return [tuple(tokens[place : place + size]) for place in range(len(tokens) - size + 1)]
