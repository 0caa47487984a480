"""One way of training for `train_throughput.py`, in a process of its own: prints its speed and peak memory as JSON."""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from llama_server import smollm2

from clinragen.cohort.folder import Cohort
from clinragen.config import load
from clinragen.data.batch import IGNORED
from clinragen.data.dataset import Stay, StayDataset, collate
from clinragen.model.clinragen import ClinRaGen
from clinragen.model.config import ModelConfig
from clinragen.model.head import NoteStates, SeriesStates
from clinragen.model.language_model import Causal
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
PACK = 1024  # tokens of a packed sequence, the default of SFTTrainer


ACCELERATOR = "cuda" if torch.cuda.is_available() else "cpu"


def settle() -> None:
    """Wait for the accelerator, which works on while Python goes on."""
    if ACCELERATOR == "cuda":
        torch.cuda.synchronize()


class Clock:
    """Seconds of wall and of processor time between the last start and the last stop."""

    wall = cpu = 0.0

    def start(self) -> None:
        settle()
        self._began = time.perf_counter(), time.process_time()

    def stop(self) -> None:
        settle()
        self.wall, self.cpu = time.perf_counter() - self._began[0], time.process_time() - self._began[1]


def configured(name: str, gguf: Path | None) -> RunConfig:
    """The multimodal stage of that language model, reading notes of up to 1,600 tokens (`tiny`: as it is)."""
    if name == "tiny":
        return resolve("multimodal", load("model", "tiny", ModelConfig), "evidence", ["stage.batch_size=8"])
    model = load("model", "smollm2_135m" if name == "smollm2" else "flan_t5_small", ModelConfig)
    if name == "t5_small":
        model.language_model.name, model.language_model.scratch = None, T5_SMALL
    else:
        gguf = gguf or smollm2()
        model.language_model.name, model.language_model.gguf_file = str(gguf.parent), gguf.name
    model.max_note_tokens, model.max_target_tokens = NOTE, TARGET
    return resolve("multimodal", model, "evidence", ["stage.batch_size=8", "stage.tokens=6144"])


class Few(StayDataset):
    """The first stays of a dataset."""

    def __init__(self, whole: StayDataset, count: int):
        self.__dict__ |= whole.__dict__
        self.stay_ids = whole.stay_ids[:count]


def plain(model: ClinRaGen, data: Few, config: RunConfig, size: int) -> Clock:
    """Times one pass over the stays by the plain loop."""
    lm, pad = model.language_model, model.tokenizer.pad_token_id
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, weight_decay=0.05)
    model.train()
    clock = Clock()
    clock.start()
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
    clock.stop()
    return clock


def padded(stay: Stay, pad: int) -> Stay:
    """The stay as the published code holds it: padding is text like any other."""
    note = [*stay.note_ids, *[pad] * NOTE][:NOTE]
    return Stay(**{**vars(stay), "note_ids": note, "target_ids": [*stay.target_ids, *[pad] * TARGET][:TARGET]})


def ours(model: ClinRaGen, data: Few, config: RunConfig, args: argparse.Namespace) -> tuple[Clock, float]:
    """Times a second pass over the stays by the loop of ``clinragen train``; also the mean loss of the first."""
    clock = Clock()
    strategy = "ddp_find_unused_parameters_true" if args.variant == "ddp" else "auto"
    numbers = chosen_precision(model, config)
    fabric = Fabric(accelerator=ACCELERATOR, devices=1, strategy=strategy, precision=numbers)
    fabric.launch()
    if args.variant == "compiled":
        model.language_model.model.base_model.compile(dynamic=True)
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
        sums, loss = loop.state.sums, 0.0
        for epoch in range(2):
            clock.start()
            for weight, batches in loop.batches(epoch, 0):
                loop._step(weight, batches)
            clock.stop()
            loss = loss or sums["loss"] / sums["stays"]
        if args.profile:
            with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as recorded:
                weight, batches = next(loop.batches(1, 0))
                loop._step(weight, batches)
            report(recorded)
    return clock, loss


def trl(model: ClinRaGen, data: Few, config: RunConfig) -> Clock:
    """Times the second epoch over the stays by Hugging Face's SFTTrainer, which packs them."""
    from datasets import Dataset, disable_progress_bars  # pyright: ignore[reportMissingImports]
    from transformers import TrainerCallback
    from trl import SFTConfig, SFTTrainer, pack_dataset  # pyright: ignore[reportMissingImports, reportPrivateImportUsage]

    disable_progress_bars()
    lm = model.language_model
    assert isinstance(lm, Causal), "SFTTrainer packs texts of causal models only"
    opened, closed = lm.open_ids.tolist(), lm.close_ids.tolist()
    texts = [(opened + list(data[row].note_ids) + closed, list(data[row].target_ids)) for row in range(len(data))]
    dataset = Dataset.from_list(
        [{"input_ids": read + written, "labels": [IGNORED] * len(read) + written} for read, written in texts]
    )
    packs, steps = len(pack_dataset(dataset, PACK, "bfd")), -(-len(data) // config.stage.batch_size)
    clock = Clock()

    class Listen(TrainerCallback):
        def on_epoch_begin(self, *args: Any, **kwargs: Any) -> None:
            clock.start()

        def on_epoch_end(self, *args: Any, **kwargs: Any) -> None:
            clock.stop()

    with tempfile.TemporaryDirectory() as folder:
        settings = SFTConfig(
            folder,
            packing=True,
            max_length=PACK,
            per_device_train_batch_size=1,
            gradient_accumulation_steps=max(1, round(packs / steps)),
            num_train_epochs=2,
            gradient_checkpointing=False,
            bf16=chosen_precision(model, config) == "bf16-mixed",
            use_cpu=ACCELERATOR == "cpu",
            optim="adamw_torch_fused",
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        trainer = SFTTrainer(
            lm.model, settings, train_dataset=dataset, processing_class=model.tokenizer, callbacks=[Listen()]
        )
        trainer.train()
    made = trainer.state.global_step / 2
    print(f"  trl: {packs} packed sequences, {made:g} steps an epoch where ours makes {steps}", file=sys.stderr)
    return clock


def chosen_precision(model: ClinRaGen, config: RunConfig) -> Any:
    return precision(config.stage.precision, model.language_model.hidden_size)


def report(recorded: torch.profiler.profile) -> None:
    """Where the time of a step goes, by operation."""
    events = sorted(recorded.key_averages(), key=lambda event: -event.self_cpu_time_total)
    total = sum(event.self_cpu_time_total for event in events)
    for event in events[:10]:
        print(f"  {event.self_cpu_time_total / total:6.1%}  {event.key} ({event.count} calls)", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--variant", required=True)
    parser.add_argument("--cohort", type=Path, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--gguf", type=Path)
    parser.add_argument("--stays", type=int, required=True)
    parser.add_argument("--precision", required=True)
    parser.add_argument("--plain-batch", type=int, required=True)
    parser.add_argument("--profile", action="store_true")
    args = parser.parse_args()
    quiet_libraries()
    torch.manual_seed(0)
    config = configured(args.model, args.gguf)
    config.stage.precision = args.precision
    config.model.language_model.gradient_checkpointing = args.variant == "checkpointed"
    cohort = Cohort.load(args.cohort)
    model = new_model(config, cohort, None)
    if args.model == "t5_small":
        model.language_model.model.resize_token_embeddings(VOCABULARY)
    data = Few(stays(model, config, cohort, "train"), args.stays)
    targets = sum(len(data[row].target_ids) for row in range(len(data)))
    tokens = sum(data.length(row) for row in range(len(data))) / len(data)
    begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    loss: float | None = None
    if args.variant == "plain":
        clock = plain(model, data, config, args.plain_batch)
    elif args.variant == "trl":
        clock = trl(model, data, config)
    else:
        clock, loss = ours(model, data, config, args)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 2**10
    if ACCELERATOR == "cuda":
        peak, begin = torch.cuda.max_memory_allocated(), 0
    found = {
        "rate": len(data) / clock.wall,
        "targets": targets / clock.wall,
        "targets_by_cpu": targets / clock.cpu,
        "peak": peak / 2**30,
        "before": begin / 2**20,
        "tokens": tokens,
        "accelerator": ACCELERATOR,
        "parameters": sum(p.numel() for p in model.parameters()),
        "loss": loss,
        "precision": "32-true" if args.variant == "plain" else chosen_precision(model, config),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
