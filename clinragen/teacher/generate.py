"""Rationales for every stay of a cohort, written to ``<cohort>/rationales/<teacher>.parquet``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from clinragen.artifacts import read_table, sha256_json, write_table
from clinragen.errors import UserError, unknown_choice
from clinragen.knowledge.relabel import open_graph
from clinragen.schema import RATIONALES, SERIES, STAYS, CohortPaths
from clinragen.teacher import evidence
from clinragen.teacher.facts import facts
from clinragen.teacher.stays import diagnoses_of, frame, sections_of

TEACHERS = ("evidence",)


def generate(
    cohort: Path,
    graph: Path | None = None,
    teacher: str = "evidence",
    *,
    overwrite: bool = False,
    progress: Callable[[int], None] = lambda done: None,
) -> pa.Table:
    """Write and return the rationales (``schema.RATIONALES``, two rows per stay, in stay order).

    Args:
        graph: concept graph folder; None takes the curated core.
        progress: told the number of stays done.

    Raises:
        UserError: unknown teacher, a cohort or graph that cannot be read, rationales already there.
    """
    if teacher not in TEACHERS:
        raise unknown_choice("teacher", teacher, TEACHERS)
    paths = CohortPaths(cohort)
    out = paths.rationales(teacher)
    if out.exists() and not overwrite:
        raise UserError(f"{out} already exists: pass --overwrite to replace it")
    stays = read_table(paths.stays, STAYS).column("stay_id").to_pylist()
    diagnoses = diagnoses_of(paths)
    if missing := [stay for stay in stays if stay not in diagnoses]:
        raise UserError(f"{paths.labels}: no row for stay {missing[0]} of stays.parquet; prepare the cohort anew")
    sections = sections_of(paths)
    found = facts(frame(paths, SERIES), normal=True)
    concepts = open_graph(graph)
    composer = evidence.EvidenceTeacher(concepts)
    prompt = sha256_json({"teacher": teacher, "version": evidence.VERSION, "graph": concepts.manifest})
    rows = []
    for done, stay in enumerate(sorted(stays), start=1):
        gold = diagnoses[stay]
        written = (composer.note(stay, sections.get(stay, ()), gold), composer.series(stay, found.get(stay), gold))
        for rationale in written:
            rows.append(
                {
                    "stay_id": stay,
                    "kind": rationale.kind,
                    "text": rationale.text,
                    "verdicts": rationale.verdicts,
                    "teacher": teacher,
                    "prompt_hash": prompt,
                }
            )
        if done % 50 == 0 or done == len(stays):
            progress(done)
    table = pa.Table.from_pylist(rows, RATIONALES)
    write_table(out, table)
    return table
