"""Of the words that the evidence teacher cites from notes, the share a student reads, by what it reads of long notes.

    python benchmarks/note_reading.py --cohort COHORT --model RUN|FOLDER|FILE.gguf [--tokens 144 256 512] [--every 5]

The cohort needs rationales of the teacher `evidence`. *Cited* is the share of cited words that are read, *whole* the
share of stays of which all are. Milliseconds are of processor time a note, without the rest of the encoding.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import polars as pl
from printed_tables import Console
from rich.table import Table
from transformers import AutoTokenizer

from clinragen.choices import NotePassages
from clinragen.cohort.folder import Cohort
from clinragen.cohort.sections import sections_by_stay, written_places
from clinragen.data.mentions import MentionEncoder
from clinragen.data.passages import NoteReader, ReadNote
from clinragen.knowledge.graph import build

WAYS: tuple[NotePassages, ...] = ("first", "named")


def tokenizer_of(model: Path) -> object:
    """The tokenizer of a run, of a model's folder, or of a GGUF file."""
    if model.suffix == ".gguf":
        return AutoTokenizer.from_pretrained(model.parent, gguf_file=model.name)
    inner = model / "model" / "tokenizer"
    return AutoTokenizer.from_pretrained(inner if inner.is_dir() else model)


def is_read(note: ReadNote, sections: list[tuple[str, str]], cited: dict[str, object]) -> bool:
    """Whether the first character of cited words is in a token that is read."""
    start, end = int(str(cited["start"])), int(str(cited["end"]))
    for position, (name, text) in enumerate(sections):
        tokens = note.sections == position
        if name == cited["section"] and end <= len(text) and tokens.any() and note.places is not None:
            place = written_places(name, text)[start]
            first, after = note.places[tokens].T
            if ((first <= place) & (place < after)).any():
                return True
    return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cohort", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--tokens", type=int, nargs="+", default=[144, 256, 512])
    parser.add_argument("--every", type=int, default=5, help="take every n-th stay")
    given = parser.parse_args()
    cohort = Cohort.load(given.cohort)
    sections = sections_by_stay(cohort.notes, labels=cohort.label_set, layout=True)
    rationales = pl.read_parquet(cohort.paths.rationales("evidence")).filter(pl.col("kind") == "note")
    pairs = zip(rationales["stay_id"], rationales["verdicts"], strict=True)
    cited = {stay: places for stay, verdicts in pairs if (places := json.loads(verdicts).get("evidence"))}
    stays = sorted(cited)[:: given.every]
    graph = build()
    link, tokenizer = MentionEncoder(graph, list(graph.nodes)), tokenizer_of(given.model)
    table = Table("tokens", "passages", "cited", "whole", "ms a note")
    for budget in given.tokens:
        for way in WAYS:
            reader, shares, began = NoteReader(tokenizer, link, budget, way), [], time.process_time()
            notes = [reader(sections[stay]) for stay in stays]
            spent = (time.process_time() - began) / len(stays)
            for stay, note in zip(stays, notes, strict=True):
                shares.append([is_read(note, sections[stay], each) for each in cited[stay]])
            table.add_row(
                str(budget),
                way,
                f"{np.mean([read for stay in shares for read in stay]):.3f}",
                f"{np.mean([all(stay) for stay in shares]):.3f}",
                f"{1000 * spent:.1f}",
            )
    Console().print(f"{len(stays):,} stays with cited words")
    Console().print(table)


if __name__ == "__main__":
    main()
