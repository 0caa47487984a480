"""A rationale set on disk: its table, the manifest that says how it came about, the card and some examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from clinragen import __version__, versions
from clinragen.artifacts import sha256_file, write_json, write_table
from clinragen.errors import UserError
from clinragen.schema import RATIONALE_KINDS
from clinragen.teacher import card
from clinragen.teacher.files import Files

#: kind of rationale -> what is counted -> number.
ByKind = dict[str, dict[str, int]]


@dataclass
class Coverage:
    """Diagnoses that stays ``listed``, and those of them for which one of the two rationales states a ground."""

    listed: int = 0
    grounded: int = 0

    def add(self, diagnoses: Collection[str], grounded: Collection[str]) -> None:
        """Count one stay: its diagnoses, and all that its rationales ground."""
        self.listed += len(diagnoses)
        self.grounded += len(set(grounded).intersection(diagnoses))


@dataclass(frozen=True)
class Generation:
    """How a language model wrote a rationale set.

    Attributes:
        served_by: what the server called its model, with the number of answers.
        settings: the resolved teacher config.
        ways: how rationales came about: as written, regenerated, edited, dropped, missing.
        dropped_share: of all rationales.
        first_draft_claims: verdicts before anything was asked for again.
        not_in_form: why answers were no rationales, with counts.
    """

    served_by: dict[str, int]
    settings: dict[str, Any]
    ways: ByKind
    dropped_share: float
    first_draft_claims: ByKind
    not_in_form: dict[str, int]


@dataclass(frozen=True)
class Author:
    """Who writes a rationale set, of what.

    Attributes:
        backend: evidence, openai or vllm.
        model: of a language model, as it is named in the config.
        endpoint: where prompts went, with the attestation; None where they stayed in this process.
        prompt_hash: of all but the patient that shapes a rationale.
        graph: manifest of the concept graph.
    """

    backend: str
    prompt_hash: str
    graph: dict[str, Any]
    model: str | None = None
    endpoint: dict[str, Any] | None = None


def refuse_overwriting(files: Files, *, overwrite: bool, remark: str = "") -> None:
    """Raises:
    UserError: the table is there, and may not be replaced.
    """
    if files.table.exists() and not overwrite:
        raise UserError(f"{files.table} already exists: pass --overwrite to replace it{remark}")


def write(
    files: Files,
    table: pa.Table,
    author: Author,
    taught: Counter[tuple[str, str]],
    coverage: Coverage,
    generation: Generation | None = None,
) -> None:
    """Write table, manifest, card and examples.

    Args:
        files: where they go.
        table: ``schema.RATIONALES``.
        author: who wrote it, of what.
        taught: (kind, verdict) -> claims of those rationales in the table that this author wrote.
        coverage: of the stays' diagnoses.
        generation: of a language model.
    """
    write_table(files.table, table)
    manifest = {
        **versions.RATIONALES.mark,
        "created_by": __version__,
        "teacher": files.name,
        **asdict(author),
        "cohort": {part: sha256_file(getattr(files.cohort, part)) for part in ("stays", "series", "notes", "labels")},
        "table": sha256_file(files.table),
        "taught_claims": by_kind(taught),
        "coverage": asdict(coverage),
        **(asdict(generation) if generation else {}),
    }
    write_json(files.manifest, manifest)
    card.write(files.card, files.examples, table, manifest)


def by_kind(counts: Counter[tuple[str, str]]) -> ByKind:
    """(kind, what) -> number, as a manifest holds it.

    >>> by_kind(Counter({("note", "supported"): 2}))
    {'note': {'supported': 2}, 'series': {}}
    """
    nested: ByKind = {kind: {} for kind in RATIONALE_KINDS}
    for (kind, what), count in sorted(counts.items()):
        nested[kind][what] = count
    return nested
