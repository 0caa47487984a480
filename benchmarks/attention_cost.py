"""Cost of the knowledge: a training step with the graph compared with the same step without knowledge.

    python benchmarks/attention_cost.py [--large] [--rounds 12]

A step reads notes and series and writes both rationales: forward, backward and AdamW, random tokens, on one thread. The
variants alternate within a round, and ratios are taken within a round, so that load on the machine affects both sides;
the table gives medians with quartiles of processor time. `--large` adds a T5 of the shape of flan-t5-small (with a
smaller vocabulary), without pre-trained weights, which do not affect the time.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from printed_tables import Console
from rich.table import Table

from clinragen.catalog import variables
from clinragen.config import load
from clinragen.data.dataset import Stay, collate
from clinragen.data.series import SeriesStatistics
from clinragen.knowledge.graph import build
from clinragen.model.clinragen import ClinRaGen, assemble
from clinragen.model.config import LanguageModelConfig, ModelConfig
from clinragen.model.language_model import train_tokenizer
from clinragen.quiet import quiet_libraries

KINDS = ("none", "graph", "vocabulary")
TARGET = 120  # tokens written
FLAN_T5_SMALL = {
    "model_type": "t5",
    "d_model": 512,
    "d_kv": 64,
    "d_ff": 1024,
    "num_layers": 8,
    "num_heads": 6,
    "feed_forward_proj": "gated-gelu",
    "tie_word_embeddings": False,
}


def grid(stays: int, names: list[str], seed: int) -> np.ndarray:
    """Random values about the middle of each reference range, a third of them measured, [stays, variables, 48]."""
    random = np.random.default_rng(seed)
    middle = [
        np.nanmean([b for b in (variables()[n].low, variables()[n].high) if b is not None] or [1.0]) for n in names
    ]
    values = np.array(middle)[None, :, None] * random.lognormal(0, 0.3, (stays, len(names), 48))
    values[random.random(values.shape) > 1 / 3] = np.nan
    return values.astype(np.float32)


def model_of(config: ModelConfig, knowledge: str, statistics: SeriesStatistics, tokenizer: Any) -> ClinRaGen:
    """An untrained model with one kind of knowledge."""
    torch.manual_seed(0)
    config = replace(config, attention=replace(config.attention, knowledge=knowledge))
    return assemble(config, statistics, build(), tokenizer)


def batch_of(model: ClinRaGen, size: int, names: list[str]) -> Any:
    """Full notes, full targets."""
    random = np.random.default_rng(0)
    words = len(model.tokenizer)
    values, observed = model.statistics.standardise(grid(size, names, 1))
    stays = [
        Stay(
            row,
            random.integers(2, words, model.config.max_note_tokens).tolist(),
            random.random((2, len(model.concepts.ids))) < 0.01,
            random.integers(2, words, TARGET).tolist(),
            values[row],
            observed[row],
            random.random(len(model.labels)) < 0.2,
        )
        for row in range(size)
    ]
    return collate(stays, model.tokenizer.pad_token_id)


def main() -> None:
    """Time the steps and print one table per language model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--rounds", type=int, default=12)
    args = parser.parse_args()
    quiet_libraries()
    torch.set_num_threads(1)
    names = list(variables())
    statistics = SeriesStatistics.fit(grid(60, names, 0), names, 6)
    texts = [data["name"] + " " + (data["definition"] or "") for data in build().nodes.values()] * 3
    cases = [("tiny", load("model", "tiny", ModelConfig), train_tokenizer(texts, 2048), 8)]
    if args.large:
        config = load("model", "flan_t5_small", ModelConfig, ["max_note_tokens=512"])
        config.language_model = LanguageModelConfig("seq2seq", scratch=FLAN_T5_SMALL)
        cases.append(("the shape of flan-t5-small", config, cases[0][2], 2))
    for title, config, tokenizer, size in cases:
        kinds = KINDS if size > 2 else KINDS[:2]  # memory
        models = {kind: model_of(config, kind, statistics, tokenizer) for kind in kinds}
        batches = {kind: batch_of(model, size, names) for kind, model in models.items()}
        optimizers = {kind: torch.optim.AdamW(model.parameters(), 1e-5) for kind, model in models.items()}
        seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
        rounds = args.rounds if size > 2 else max(3, args.rounds // 3)
        for number in range(rounds + 1):
            for kind, model in models.items():
                began = time.thread_time()
                output = model.train()(batches[kind], ["note", "series"])
                assert output.nll is not None
                loss = F.binary_cross_entropy_with_logits(output.logits, batches[kind].labels) + output.nll.mean()
                loss.backward()
                optimizers[kind].step()
                optimizers[kind].zero_grad()
                if number:  # the first round warms up
                    seconds[kind].append(time.thread_time() - began)
        table = Table("knowledge", "parameters", "step, ms", "against none", title=f"{title}, {size} stays a step")
        for kind, model in models.items():
            ratio = np.quantile(np.array(seconds[kind]) / np.array(seconds["none"]), [0.25, 0.5, 0.75])
            table.add_row(
                kind,
                f"{sum(p.numel() for p in model.parameters()):,}",
                f"{1e3 * np.median(seconds[kind]):.0f}",
                f"{ratio[1]:.3f} ({ratio[0]:.3f} to {ratio[2]:.3f})",
            )
        Console().print(table)


if __name__ == "__main__":
    main()
