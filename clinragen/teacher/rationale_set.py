"""A rationale set on disk: its table, manifest, card and some examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from clinragen import __version__
from clinragen.artifacts import sha256_file, write_table
from clinragen.chart.worth import Learned
from clinragen.errors import UserError
from clinragen.manifests import ByKind, RationalesManifest
from clinragen.schema import RATIONALE_KINDS
from clinragen.teacher import card
from clinragen.teacher.files import Files
from clinragen.teacher.policy import EndpointRecord


@dataclass
class Coverage:
    """Number of ``listed`` diagnoses, and of those for which one of the two rationales states a ground."""

    listed: int = 0
    grounded: int = 0

    def add(self, diagnoses: Collection[str], grounded: Collection[str]) -> None:
        """Count one stay: its diagnoses, and those that its rationales ground."""
        self.listed += len(diagnoses)
        self.grounded += len(set(grounded).intersection(diagnoses))


@dataclass(frozen=True)
class Generation:
    """How a language model wrote a rationale set.

    Attributes:
        served_by: the server's name of its model, with the number of answers.
        settings: the resolved teacher config.
        ways: counts of rationales as written, regenerated, edited, dropped, missing.
        dropped_share: share of dropped rationales.
        first_draft_claims: verdicts of first drafts.
        not_in_form: counts of rejected answers by reason.
    """

    served_by: dict[str, int]
    settings: dict[str, Any]
    ways: ByKind
    dropped_share: float
    first_draft_claims: ByKind
    not_in_form: dict[str, int]


@dataclass(frozen=True)
class Author:
    """The author of a rationale set, and its inputs.

    Attributes:
        backend: evidence, openai or vllm.
        model: name of a language model in the config.
        endpoint: endpoint of prompts, with the attestation; None if they stayed in this process.
        prompt_hash: hash of everything that affects a rationale, except the patient.
        graph: manifest of the concept graph.
        worth: training stays from which the evidence teacher learned the worth of signs (``chart.worth``).
    """

    backend: str
    prompt_hash: str
    graph: dict[str, Any]
    model: str | None = None
    endpoint: EndpointRecord | None = None
    worth: Learned | None = None


def refuse_overwriting(files: Files, *, overwrite: bool, remark: str = "") -> None:
    """Raises:
    UserError: the table exists, and may not be replaced.
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
        files: their paths.
        table: ``schema.RATIONALES``.
        author: author and inputs.
        taught: (kind, verdict) -> claims of the rationales in the table by this author.
        coverage: coverage of the stays' diagnoses.
        generation: how a language model wrote it.
    """
    write_table(files.table, table)
    manifest = RationalesManifest(
        created_by=__version__,
        teacher=files.name,
        **asdict(author),
        cohort={part: sha256_file(getattr(files.cohort, part)) for part in ("stays", "series", "notes", "labels")},
        table=sha256_file(files.table),
        taught_claims=by_kind(taught),
        coverage=asdict(coverage),
        **(asdict(generation) if generation else {}),
    )
    manifest.write(files.manifest)
    card.write(files.card, files.examples, table, manifest)


def by_kind(counts: Counter[tuple[str, str]]) -> ByKind:
    """(kind, quantity) -> number, in the form of a manifest.

    >>> by_kind(Counter({("note", "supported"): 2}))
    {'note': {'supported': 2}, 'series': {}}
    """
    nested: ByKind = {kind: {} for kind in RATIONALE_KINDS}
    for (kind, what), count in sorted(counts.items()):
        nested[kind][what] = count
    return nested
