"""How much faster a stage trains here than by the plain loop of the published code, on the same stays and model.

Plain: 32-bit, notes padded to 1,600 tokens and targets to their limit, no bucketing, logits and loss over the padding
too, the encoder run once for the label head and once for the text. Ours: the loop of ``clinragen train``; checkpointed:
the same with gradient checkpointing. All train every weight with AdamW on the same stays, each in a process of its own,
so that its peak memory can be told.

    python benchmarks/train_throughput.py --cohort ../shared-cohorts/eicu --model t5_small
    python benchmarks/train_throughput.py --cohort ../shared-cohorts/eicu --model smollm2 --gguf FILE
    python benchmarks/train_throughput.py --cohort COHORT --model smollm2 --gguf FILE --variants ours checkpointed
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from lightning_fabric import Fabric

from clinragen.cohort.folder import Cohort
from clinragen.config import load
from clinragen.data.batch import IGNORED
from clinragen.data.dataset import Stay, StayDataset, collate
from clinragen.model.clinragen import ClinRaGen
from clinragen.model.config import ModelConfig
from clinragen.model.head import NoteStates, SeriesStates
from clinragen.quiet import quiet_libraries
from clinragen.stages.build import new_model, stays
from clinragen.stages.config import RunConfig, resolve
from clinragen.stages.hardware import precision
from clinragen.stages.loop import Loop
from clinragen.stages.module import StageModule
from clinragen.stages.progress import StageProgress

NOTE, TARGET = 1600, 256
T5_SMALL = {"model_type": "t5", "d_model": 512, "d_kv": 64, "d_ff": 1024, "num_layers": 8, "num_heads": 6}
T5_SMALL |= {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
VOCABULARY = 32128
VARIANTS = ("plain", "ours", "checkpointed")


def configured(name: str, gguf: Path | None) -> RunConfig:
    """The multimodal stage of that language model, reading notes of up to 1,600 tokens."""
    model = load("model", "smollm2_135m" if name == "smollm2" else "flan_t5_small", ModelConfig)
    if name == "t5_small":
        model.language_model.name, model.language_model.scratch = None, T5_SMALL
    elif gguf:
        model.language_model.name, model.language_model.gguf_file = str(gguf.parent), gguf.name
    model.max_note_tokens, model.max_target_tokens = NOTE, TARGET
    return resolve("multimodal", model, "evidence", ["stage.batch_size=8", "stage.tokens=6144"])


class Few(StayDataset):
    """The first stays of a dataset."""

    def __init__(self, whole: StayDataset, count: int):
        self.__dict__ |= whole.__dict__
        self.stay_ids = whole.stay_ids[:count]


def plain(model: ClinRaGen, data: Few, config: RunConfig, size: int) -> float:
    """Seconds for one pass over the stays by the plain loop."""
    lm, pad = model.language_model, model.tokenizer.pad_token_id
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, weight_decay=0.05)
    model.train()
    began = time.perf_counter()
    for start in range(0, len(data), size):
        batch = collate([padded(data[row], pad) for row in range(start, min(start + size, len(data)))], pad)
        series = model.series_encoder(batch.values, batch.observed)
        knowledge = model.concept_attention(series, lm.embedding_weight, batch.mentions)
        context = lm.context(knowledge.prompts, batch.note_ids, batch.note_mask)
        states = lm.read(context, None).states  # for the label head; the text below encodes it again
        note = NoteStates(states, context.mask, batch.mentions, batch.term_ids, batch.term_weights)
        read = SeriesStates(knowledge.hidden, knowledge.mask, series.bins, batch.values, batch.observed)
        logits = model.head(note, read)
        if config.model.language_model.architecture == "seq2seq":
            loss = lm.model(
                inputs_embeds=context.embeddings, attention_mask=context.mask.long(), labels=batch.target_ids
            ).loss
        else:
            targets = lm.model.get_input_embeddings()(batch.target_ids)
            full = torch.cat([context.embeddings, targets], dim=1)
            mask = torch.cat([context.mask, torch.ones_like(batch.target_ids, dtype=torch.bool)], dim=1)
            ignored = torch.full(context.mask.shape, IGNORED)
            loss = lm.model(
                inputs_embeds=full, attention_mask=mask.long(), labels=torch.cat([ignored, batch.target_ids], dim=1)
            ).loss
        (loss + F.binary_cross_entropy_with_logits(logits, batch.labels)).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return time.perf_counter() - began


def padded(stay: Stay, pad: int) -> Stay:
    """The stay as the published code holds it: padding is text like any other."""
    note = [*stay.note_ids, *[pad] * NOTE][:NOTE]
    return Stay(**{**vars(stay), "note_ids": note, "target_ids": [*stay.target_ids, *[pad] * TARGET][:TARGET]})


def ours(model: ClinRaGen, data: Few, config: RunConfig, profile: bool) -> float:
    """Seconds for one pass over the stays by the loop of ``clinragen train``."""
    fabric = Fabric(accelerator="cpu", devices=1, precision=precision("auto", model.language_model.hidden_size))
    fabric.launch()
    pad = model.tokenizer.pad_token_id
    with tempfile.TemporaryDirectory() as folder:
        loop = Loop(
            fabric,
            StageModule(model, config.stage),
            config.stage,
            {"train": data},
            lambda rows: collate(rows, pad),
            Path(folder),
            StageProgress(None, None),
        )
        loop.module.train()
        began = time.perf_counter()
        for weight, batches in loop.batches(0, 0):
            loop._step(weight, batches)
        spent = time.perf_counter() - began
        if profile:
            with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as recorded:
                weight, batches = next(loop.batches(1, 0))
                loop._step(weight, batches)
            report(recorded)
    return spent


def report(recorded: torch.profiler.profile) -> None:
    """Where the time of a step goes, by operation."""
    events = sorted(recorded.key_averages(), key=lambda event: -event.self_cpu_time_total)
    total = sum(event.self_cpu_time_total for event in events)
    for event in events[:10]:
        print(f"  {event.self_cpu_time_total / total:6.1%}  {event.key} ({event.count} calls)", file=sys.stderr)


def child(args: argparse.Namespace) -> None:
    """One variant; prints its result as JSON."""
    quiet_libraries()
    torch.manual_seed(0)
    config = configured(args.model, args.gguf)
    config.model.language_model.gradient_checkpointing = args.variant == "checkpointed"
    cohort = Cohort.load(args.cohort)
    model = new_model(config, cohort, None)
    if args.model == "t5_small":
        model.language_model.model.resize_token_embeddings(VOCABULARY)
    data = Few(stays(model, config, cohort, "train"), args.stays)
    tokens = sum(data.length(row) for row in range(len(data))) / len(data)
    begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    spent = (
        plain(model, data, config, args.plain_batch)
        if args.variant == "plain"
        else ours(model, data, config, args.profile)
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        json.dumps(
            {
                "rate": len(data) / spent,
                "peak": peak / 2**20,
                "before": begin / 2**20,
                "tokens": tokens,
                "parameters": sum(p.numel() for p in model.parameters()),
            }
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cohort", type=Path, required=True)
    parser.add_argument("--model", choices=("t5_small", "smollm2"), required=True)
    parser.add_argument("--gguf", type=Path, help="SmolLM2-135M as a GGUF file, where the hub is out of reach")
    parser.add_argument("--stays", type=int, default=8)
    parser.add_argument("--plain-batch", type=int, default=1, help="stays of a forward pass of the plain loop")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=VARIANTS[:2])
    parser.add_argument("--variant", choices=VARIANTS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.variant:
        child(args)
        return
    found = {}
    for variant in args.variants:
        done = subprocess.run(
            [sys.executable, __file__, *sys.argv[1:], "--variant", variant],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        found[variant] = row = json.loads(done.stdout.splitlines()[-1])
        if len(found) == 1:
            size = row["parameters"] / 1e6
            print(f"{args.model}: {size:.0f} M parameters, {args.stays} stays of {row['tokens']:.0f} tokens")
        memory = f"peak memory {row['peak']:.2f} GiB ({row['before']:.2f} before)"
        print(f"  {variant:<12} {row['rate']:7.3f} stays/s   {memory}", flush=True)
    if {"plain", "ours"} <= found.keys():
        print(f"  ratio        {found['ours']['rate'] / found['plain']['rate']:7.1f}")


if __name__ == "__main__":
    main()
