"""Rationales of a whole cohort by the evidence teacher, checked against the chart like those of other teachers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import pyarrow as pa

from clinragen.artifacts import sha256_json
from clinragen.chart.findings import findings
from clinragen.chart.worth import Learned
from clinragen.errors import unknown_choice
from clinragen.knowledge.graph import ConceptGraph
from clinragen.knowledge.relabel import open_graph, unknown
from clinragen.schema import RATIONALES, CohortPaths
from clinragen.teacher import evidence, rationale_set
from clinragen.teacher.claim_check import ClaimChecker
from clinragen.teacher.files import Files
from clinragen.teacher.rationale_set import Author, Coverage
from clinragen.teacher.stays import StayRecord, Stays
from clinragen.verification.grounds import grounded_diagnoses

TEACHERS = ("evidence",)
#: Training stays at most from which the worth of signs is learned.
LEARNED_FROM = 5000
_TOLD_EVERY = 50  # stays


def generate(
    cohort: Path,
    graph: Path | None = None,
    teacher: str = "evidence",
    *,
    overwrite: bool = False,
    progress: Callable[[int], None] = lambda done: None,
    say: Callable[[str], None] = lambda line: None,
) -> pa.Table:
    """Write and return the rationales (``schema.RATIONALES``, two rows per stay, in stay order).

    Args:
        cohort: folder with labels.
        graph: concept graph folder; None takes the curated core.
        teacher: evidence, the only one.
        overwrite: replace rationales that are there.
        progress: called with the number of finished stays.
        say: called with a line for each phase, and for each remark.

    Raises:
        UserError: unknown teacher, a cohort or graph that cannot be read, rationales that already exist.
    """
    if teacher not in TEACHERS:
        raise unknown_choice("teacher", teacher, TEACHERS)
    files = Files(CohortPaths(cohort), teacher)
    rationale_set.refuse_overwriting(files, overwrite=overwrite)
    say("reading the cohort ...")
    stays = Stays(files.cohort)
    by_stay = findings(stays.series, normal=True)
    say("opening the concept graph ...")
    concepts = open_graph(graph, stays.labels, stays.added)
    if silent := unknown(concepts):
        say(
            f"note: the concept graph has no evidence for {', '.join(silent)}: the evidence teacher will "
            "find no grounds for them; an LLM teacher may"
        )
    writer, checked = evidence.EvidenceTeacher(concepts), _Checks(ClaimChecker(concepts))
    say("learning the worth of signs from training stays ...")
    writer.learn(stays.training(LEARNED_FROM), by_stay)
    worth = writer.worth.origin
    author = Author("evidence", _prompt_hash(teacher, concepts, worth), concepts.manifest.to_json(), worth=worth)
    say(f"writing {2 * len(stays)} rationales ...")
    rows: list[dict[str, object]] = []
    for done, stay in enumerate(stays, start=1):
        rationales = writer.rationales(stay.stay_id, stay.sections, by_stay.get(stay.stay_id), stay.diagnoses)
        checked.add(stay, rationales)
        shared = {"stay_id": stay.stay_id, "teacher": teacher, "prompt_hash": author.prompt_hash}
        rows += [{**shared, "kind": one.kind, "text": one.text, "verdicts": one.verdicts} for one in rationales]
        if done % _TOLD_EVERY == 0 or done == len(stays):
            progress(done)
    table = pa.Table.from_pylist(rows, RATIONALES)
    rationale_set.write(files, table, author, checked.claims, checked.coverage)
    return table


class _Checks:
    """Counts of the claim checker over all rationales.

    Attributes:
        claims: (kind, verdict) -> number.
    """

    def __init__(self, checker: ClaimChecker) -> None:
        self._checker = checker
        self.claims: Counter[tuple[str, str]] = Counter()
        self.coverage = Coverage()

    def add(self, stay: StayRecord, rationales: Iterable[evidence.EvidenceRationale]) -> None:
        """Check the rationales of one stay."""
        grounded: set[str] = set()
        for rationale in rationales:
            check = self._checker.check(rationale.text, stay, rationale.kind)
            self.claims.update((rationale.kind, claim.standing) for claim in check.claims)
            grounded |= grounded_diagnoses([(rationale.text, check.claims)]).keys()
        self.coverage.add(stay.diagnoses, grounded)


def _prompt_hash(teacher: str, graph: ConceptGraph, worth: Learned) -> str:
    """Hash of everything that affects a rationale of the evidence teacher: its version, the graph, what it learned."""
    return sha256_json(
        {"teacher": teacher, "version": evidence.VERSION, "graph": graph.manifest.to_json(), "worth": worth}
    )
