"""Micro models with weights drawn at random, of three kinds, and stays of very different lengths."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from clinragen.catalog import phenotypes
from clinragen.config import load
from clinragen.data.batch import Batch
from clinragen.data.dataset import Stay, collate
from clinragen.data.series import SeriesStatistics
from clinragen.knowledge.graph import build
from clinragen.model.clinragen import ClinRaGen, assemble
from clinragen.model.config import ModelConfig
from clinragen.model.language_model import train_tokenizer
from clinragen.quiet import quiet_libraries

MICRO_MODEL = Path(__file__).parents[1] / "micro_model.yaml"
VARIABLES = ["creatinine", "heart_rate", "lactate", "sodium"]
HOURS = 24
SCRATCH: dict[str, dict[str, Any]] = {
    "llama": {
        "model_type": "llama",
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 1024,
    },
    "t5": {"model_type": "t5", "d_model": 32, "d_kv": 16, "d_ff": 32, "num_layers": 1, "num_heads": 2},
}
quiet_libraries()


def make_grid(stays: int, seed: int) -> np.ndarray:
    """Canonical values of each variable's own order of size, about half of them missing, [stays, variables, hours]."""
    random = np.random.default_rng(seed)
    level = np.array([1.2, 85, 2.0, 139], dtype=np.float32)[None, :, None]
    grid = (level * random.lognormal(0, 0.3, (stays, len(VARIABLES), HOURS))).astype(np.float32)
    grid[random.random(grid.shape) < 0.5] = np.nan
    return grid


def make_model(kind: str) -> ClinRaGen:
    """An untrained micro model whose every weight is moved off its neutral start, for zeros hide mistakes."""
    config = load("model", str(MICRO_MODEL), ModelConfig)
    if kind in SCRATCH:
        config.language_model.scratch = SCRATCH[kind]
    config.language_model.architecture = "causal" if kind == "llama" else "seq2seq"
    config.hours = HOURS
    statistics = SeriesStatistics.fit(make_grid(40, seed=1), VARIABLES, config.series.bins)
    texts = [f"{p.name}; none of the listed phenotypes. Note rationale: shows 1.2" for p in phenotypes().values()]
    torch.manual_seed(0)
    model = assemble(config, statistics, build(), train_tokenizer(texts, 400))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


@pytest.fixture(scope="session", params=["pegasus", "t5", "llama"])
def model(request: pytest.FixtureRequest) -> ClinRaGen:
    """Sequence-to-sequence with sinusoidal and with relative positions, and causal. Tests must not change it."""
    return make_model(request.param)


@pytest.fixture(scope="session")
def make_stay() -> Callable[..., Stay]:
    """``make_stay(model, note_tokens, target_tokens, seed)``: a stay of random content."""

    def make(model: ClinRaGen, note_tokens: int, target_tokens: int, seed: int) -> Stay:
        random = np.random.default_rng(seed)
        values, observed = model.statistics.standardise(make_grid(1, seed))
        vocabulary = len(model.tokenizer)
        return Stay(
            stay_id=seed,
            note_ids=random.integers(2, vocabulary, note_tokens).tolist(),
            mentions=random.random((2, len(model.concepts.ids))) < 0.05,
            target_ids=random.integers(2, vocabulary, target_tokens).tolist(),
            values=values[0],
            observed=observed[0],
            labels=random.random(len(model.labels)) < 0.3,
        )

    return make


@pytest.fixture(scope="session")
def batch_of() -> Callable[..., Batch]:
    """``batch_of(model, *stays)``: the stays padded into a batch."""
    return lambda model, *stays: collate(stays, model.tokenizer.pad_token_id)
