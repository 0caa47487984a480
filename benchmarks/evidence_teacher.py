"""The evidence teacher at scale: time for 10,000 stays, verdicts of its claims, variety of its text.

    python benchmarks/evidence_teacher.py --cohort COHORT [--cohort COHORT ...] [--stays 10000]

For each cohort: every rationale is checked by the verifier, and every series claim is recomputed from the table of
measurements by independent code. Variety: distinct 4-grams over all 4-grams, and
self-BLEU-4 (Zhu et al. 2018), the BLEU of each of 200 rationales against the other 199: lower is more varied. Then the
stays of the last cohort, repeated until there are as many as asked, are written by `clinragen teach`'s own function.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl

from clinragen.catalog import variables
from clinragen.chart.findings import findings
from clinragen.chart.measurements import measurements
from clinragen.evaluation.text import distinct, words
from clinragen.knowledge.graph import build
from clinragen.schema import SERIES, CohortPaths
from clinragen.teacher.evidence import EvidenceTeacher
from clinragen.teacher.evidence_run import LEARNED_FROM, generate
from clinragen.teacher.stays import Stays, frame
from clinragen.verification.claims import ABSENCE
from clinragen.verification.grounds import grounded_diagnoses, with_absences
from clinragen.verification.rationale import Verifier


def main() -> None:
    """Check, count, time, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cohort", type=Path, action="append", required=True)
    parser.add_argument("--stays", type=int, default=10_000)
    args = parser.parse_args()
    graph = build()
    verifier = Verifier(graph)
    for root in args.cohort:
        check(root, EvidenceTeacher(graph), verifier)
    with tempfile.TemporaryDirectory() as folder:
        repeated(CohortPaths(args.cohort[-1]), CohortPaths(Path(folder)), args.stays)
        began, spent = time.perf_counter(), time.process_time()
        generate(Path(folder))
        wall, spent = time.perf_counter() - began, time.process_time() - spent
        print(f"{args.stays} stays written in {wall:.0f} s, one process, {spent:.0f} s of processor time")


def check(root: Path, teacher: EvidenceTeacher, verifier: Verifier) -> None:
    """Verdicts, recomputation and variety of one cohort's rationales."""
    paths = CohortPaths(root)
    stays = Stays(paths)
    found = findings(frame(paths, SERIES), normal=True)
    teacher.learn(stays.training(LEARNED_FROM), found)
    verdicts: Counter[tuple[str, str]] = Counter()
    texts: dict[str, list[str]] = {"note": [], "series": []}
    recomputed = told = listed = covered = absences = 0
    seconds = 0.0
    for stay in stays:
        note, measured = teacher.rationales(stay.stay_id, stay.sections, found.get(stay.stay_id), stay.diagnoses)
        for claim in json.loads(measured.verdicts)["claims"]:
            told += 1
            recomputed += holds(claim, stay.cells[claim["variable"]])
        began = time.perf_counter()
        chart = measurements(stay.cells)
        judged = []
        for rationale in (note, measured):
            texts[rationale.kind].append(rationale.text)
            claims = verifier.check(rationale.text, rationale.kind, stay.sections, chart, stay.diagnoses)
            judged.append((rationale.text, claims))
            for claim in with_absences(rationale.text, claims):
                absences += claim.standing == ABSENCE
                if claim.standing != ABSENCE:
                    verdicts[f"{rationale.kind}, {claim.kind}", claim.standing] += 1
        listed += len(stay.diagnoses)
        covered += len(grounded_diagnoses(judged).keys() & set(stay.diagnoses))
        seconds += time.perf_counter() - began
    print(f"{root}: {len(stays)} stays; verified in {seconds:.0f} s")
    for kind in sorted({kind for kind, _ in verdicts}):
        counts = {verdict: count for (of, verdict), count in verdicts.items() if of == kind}
        print(f"  {kind}: {counts.get('supported', 0) / sum(counts.values()):.2%} supported of {sum(counts.values())}")
    print(f"  coverage: {covered} of {listed} diagnoses with a stated ground; {absences} statements of absence")
    print(f"  series claims recomputed from the table: {recomputed} of {told} hold")
    for kind, written in texts.items():
        average = sum(len(words(text)) for text in written) / len(written)
        print(
            f"  {kind}: distinct-4 {distinct(written, 4):.3f}, self-BLEU-4 {self_bleu(written):.3f}, "
            f"{len(set(written)) / len(written):.1%} different, {average:.0f} words, "
            f"at most {max(len(text.split()) for text in written)}"
        )


def holds(claim: dict[str, Any], cells: list[tuple[float, float]]) -> bool:
    """A claim of the teacher against (hour, value) rows, by the plainest means."""
    spec = variables()[claim["variable"]]
    values = [float(f"{value:.6g}") for _, value in sorted(cells)]
    low, high = (-math.inf if spec.low is None else spec.low), (math.inf if spec.high is None else spec.high)
    if claim["form"] == "normal":
        return all(low <= round(v, spec.decimals) <= high for v in values)
    charted = {
        "trend": values[-1],
        "extreme": max(values) if claim["direction"] == "high" else min(values),
        "level": values[0],
    }[claim["form"]]
    if not math.isclose(charted, claim["value"], rel_tol=1e-5):
        return False
    if not (charted > high if claim["direction"] == "high" else charted < low):
        return False
    stated = [float(number) for number in claim.get("stated", [])]
    if claim["form"] == "trend":
        rising = " rising " in claim["statement"]
        if (values[-1] > values[0]) != rising or (stated[1] > stated[0]) != rising:
            return False
    return not stated or abs(stated[-1] - charted) <= max(0.1 * abs(charted), 0.51 * 10.0**-spec.decimals)


def self_bleu(texts: list[str], size: int = 200, order: int = 4) -> float:
    """Mean sentence BLEU of a sample against the rest of it."""
    sample = [words(text) for text in random.Random(0).sample(texts, min(size, len(texts)))]
    grams = [[Counter(tuple(t[i : i + n]) for i in range(len(t) - n + 1)) for n in range(1, order + 1)] for t in sample]
    total = 0.0
    for i, ours in enumerate(grams):
        others = [g for j, g in enumerate(grams) if j != i]
        precisions = []
        for n in range(order):
            most: Counter[tuple[str, ...]] = Counter()
            for other in others:
                for gram in ours[n]:
                    most[gram] = max(most[gram], other[n][gram])
            precisions.append(((ours[n] & most).total() + 1e-9) / max(ours[n].total(), 1))
        length = len(sample[i])
        nearest = min((len(t) for j, t in enumerate(sample) if j != i), key=lambda n: (abs(n - length), n))
        brevity = 1.0 if length >= nearest else math.exp(1 - nearest / max(length, 1))
        total += brevity * math.exp(sum(math.log(p) for p in precisions) / order)
    return total / len(sample)


def repeated(source: CohortPaths, target: CohortPaths, stays: int) -> None:
    """A cohort of as many stays as asked: those of another, under new ids as often as it takes."""
    ids = pl.read_parquet(source.stays)["stay_id"].sort()
    copies = pl.DataFrame(
        {"stay_id": [ids[i % len(ids)] for i in range(stays)], "new": range(1, stays + 1)},
        schema={"stay_id": pl.Int64, "new": pl.Int64},
    )
    for name in ("stays", "series", "notes", "labels"):
        table = pl.read_parquet(getattr(source, name))
        made = table.join(copies, on="stay_id").drop("stay_id").rename({"new": "stay_id"}).select(table.columns)
        write(made, getattr(target, name), getattr(source, name))


def write(table: pl.DataFrame, path: Path, like: Path) -> None:
    """In the schema of another Parquet file."""
    import pyarrow.parquet as pq

    pq.write_table(table.to_arrow().cast(pq.read_schema(like)), path)


if __name__ == "__main__":
    main()
