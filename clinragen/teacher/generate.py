"""Rationales of a whole cohort by the evidence teacher, held against the chart like anyone's: table, manifest, card."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from clinragen.artifacts import sha256_json, write_json, write_table
from clinragen.chart.findings import findings
from clinragen.errors import UserError, unknown_choice
from clinragen.knowledge.relabel import open_graph, unknown
from clinragen.schema import RATIONALES, CohortPaths
from clinragen.teacher import card, evidence
from clinragen.teacher.files import Files
from clinragen.teacher.judge import Judge
from clinragen.teacher.stays import Stays
from clinragen.verify.grounds import grounded_diagnoses

TEACHERS = ("evidence",)


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
        graph: concept graph folder; None takes the curated core.
        progress: told the number of stays done.
        say: told what begins, phase by phase, and what should be known.

    Raises:
        UserError: unknown teacher, a cohort or graph that cannot be read, rationales already there.
    """
    if teacher not in TEACHERS:
        raise unknown_choice("teacher", teacher, TEACHERS)
    files = Files(CohortPaths(cohort), teacher)
    if files.table.exists() and not overwrite:
        raise UserError(f"{files.table} already exists: pass --overwrite to replace it")
    say("reading the cohort ...")
    stays = Stays(files.cohort)
    found = findings(stays.series, normal=True)
    say("opening the concept graph ...")
    concepts = open_graph(graph, stays.labels)
    if silent := unknown(concepts):
        say(
            f"note: the concept graph knows nothing that speaks for {', '.join(silent)}: the evidence teacher will "
            "find no grounds for them; an LLM teacher may"
        )
    composer, judge = evidence.EvidenceTeacher(concepts), Judge(concepts)
    say(f"writing {2 * len(stays)} rationales ...")
    prompt = sha256_json({"teacher": teacher, "version": evidence.VERSION, "graph": concepts.manifest})
    rows, taught, coverage = [], Counter[tuple[str, str]](), Counter[str]()
    for done, stay in enumerate(stays, start=1):
        grounded: set[str] = set()
        for rationale in (
            composer.note(stay.stay_id, stay.sections, stay.diagnoses),
            composer.series(stay.stay_id, found.get(stay.stay_id), stay.diagnoses),
        ):
            rows.append(
                {
                    "stay_id": stay.stay_id,
                    "kind": rationale.kind,
                    "text": rationale.text,
                    "verdicts": rationale.verdicts,
                    "teacher": teacher,
                    "prompt_hash": prompt,
                }
            )
            judged = judge.judge(rationale.text, stay, rationale.kind)
            taught.update((rationale.kind, claim.standing) for claim in judged.claims)
            grounded |= grounded_diagnoses([(rationale.text, judged.claims)])
        coverage.update(listed=len(stay.diagnoses), grounded=len(grounded.intersection(stay.diagnoses)))
        if done % 50 == 0 or done == len(stays):
            progress(done)
    table = pa.Table.from_pylist(rows, RATIONALES)
    write_table(files.table, table)
    manifest = card.provenance(
        files,
        concepts,
        backend=teacher,
        model=None,
        endpoint=None,
        prompt_hash=prompt,
        taught=taught,
        coverage=coverage,
    )
    write_json(files.manifest, manifest)
    card.write(files.card, files.examples, table, manifest)
    return table
