"""Report grammar with three constrained decoders: ours, llguidance and xgrammar, on the tokenizer of a model.

    python benchmarks/report_shell.py [--model FOLDER] [--gguf FILE] [--rivals FOLDER]

The grammar has the three headings, free text below two of them, and a closed list of diagnoses in catalogue order, each
at most once. Each decoder follows one true report; printed are the time to read tokenizer and grammar, and the median
time
a token: the rivals compute and apply a mask, ours also weights the labels by the head's probabilities. ``--rivals`` is
where llguidance and xgrammar are installed (``pip install --target``), if not beside clinragen.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from clinragen.catalog import phenotypes
from clinragen.data.targets import MARKERS, NO_DIAGNOSIS, TargetFormat
from clinragen.inference.decode import ReportGrammar

NAMES = tuple(phenotypes())
NOTE, SERIES = "fever and purulent sputum point to pneumonia", "lactate is high and rising"
BUDGET = 60


def main() -> None:
    """Print a row for each tokenizer and decoder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="folder with a tokenizer")
    parser.add_argument("--gguf", type=Path, help="language model as a GGUF file")
    parser.add_argument("--rivals", type=Path, help="where llguidance and xgrammar are installed")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.rivals:
        sys.path.append(str(args.rivals))
    from transformers import AutoTokenizer

    tokenizers: dict[str, Any] = {}
    if args.model:
        tokenizers[args.model.name] = AutoTokenizer.from_pretrained(args.model)
    if args.gguf:
        tokenizers[args.gguf.name] = AutoTokenizer.from_pretrained(args.gguf.parent, gguf_file=args.gguf.name)
    for name, tokenizer in tokenizers.items():
        print(f"{name}: {len(tokenizer)} tokens")
        for make in (ours, llguidance, xgrammar):
            try:
                make(tokenizer)  # imports and warms up
                began = time.perf_counter()
                step = make(tokenizer)
            except ImportError as error:
                print(f"  {make.__name__:12} left out: {error}")
                continue
            made = time.perf_counter() - began
            ids = TargetFormat(tokenizer, NAMES, ("note", "series", "diagnoses")).encode(
                NOTE, SERIES, [place in (1, 4) for place in range(len(NAMES))], 400
            ).ids  # fmt: skip
            times, followed = follow(step, ids[:-1], len(tokenizer))
            token = 1e6 * np.median(times)
            print(f"  {make.__name__:12} {1e3 * made:7.1f} ms to make  {token:7.1f} us a token  {followed}")


def follow(step: Callable[[list[int], torch.Tensor], None], ids: list[int], size: int) -> tuple[list[float], str]:
    """Seconds of each step along a report, and whether all of it was allowed."""
    times = []
    for place, token in enumerate(ids):
        scores = torch.zeros(1, size)
        began = time.perf_counter()
        step(ids[:place], scores)
        times.append(time.perf_counter() - began)
        if scores[0, token] == -torch.inf:
            return times, f"refused token {place}"
    return times, "follows it"


def ours(tokenizer: Any) -> Callable[[list[int], torch.Tensor], None]:
    target = TargetFormat(tokenizer, NAMES, ("note", "series", "diagnoses"))
    grammar = ReportGrammar(target, BUDGET, 0, np.full((1, len(NAMES)), 0.3))

    def step(ids: list[int], scores: torch.Tensor) -> None:
        grammar(torch.tensor([ids], dtype=torch.long), scores)

    return step


def llguidance(tokenizer: Any) -> Callable[[list[int], torch.Tensor], None]:
    import llguidance.hf  # pyright: ignore[reportMissingImports]
    import llguidance.torch as masks  # pyright: ignore[reportMissingImports]
    from llguidance import LLMatcher  # pyright: ignore[reportMissingImports]

    rules = [
        f'start: "{MARKERS["note"]}" note series list "."',
        rf'note[suffix="{MARKERS["series"]}", max_tokens={BUDGET}]: /(.|\n)*/',
        rf'series[suffix="{MARKERS["diagnoses"]}", max_tokens={BUDGET}]: /(.|\n)*/',
    ]
    grammar = "\n".join(rules + closed_list(": ", '""'))
    matcher = LLMatcher(llguidance.hf.from_tokenizer(tokenizer, n_vocab=len(tokenizer)), grammar)
    mask = masks.allocate_token_bitmask(1, len(tokenizer))

    def step(ids: list[int], scores: torch.Tensor) -> None:
        if ids:
            matcher.consume_token(ids[-1])
        masks.fill_next_token_bitmask(matcher, mask, 0)
        apply(mask, scores)

    return step


def xgrammar(tokenizer: Any) -> Callable[[list[int], torch.Tensor], None]:
    import xgrammar as xgr  # pyright: ignore[reportMissingImports]

    note, series, diagnoses = MARKERS["note"], MARKERS["series"], MARKERS["diagnoses"]
    rules = [f'root ::= "{note}" free "{series}" free "{diagnoses}" list "."', r"free ::= [^:]*"]  # it knows no budget
    grammar = "\n".join(rules + closed_list(" ::= ", '""'))
    information = xgr.TokenizerInfo.from_huggingface(tokenizer, vocab_size=len(tokenizer))
    matcher = xgr.GrammarMatcher(xgr.GrammarCompiler(information).compile_grammar(grammar))
    mask = xgr.allocate_token_bitmask(1, len(tokenizer))

    def step(ids: list[int], scores: torch.Tensor) -> None:
        if ids:
            matcher.accept_token(ids[-1])
        matcher.fill_next_token_bitmask(mask)
        apply(mask, scores)

    return step


def apply(mask: torch.Tensor, scores: torch.Tensor) -> None:
    """Take away what a mask of one bit a token forbids."""
    allowed = np.unpackbits(mask.numpy().view(np.uint8), bitorder="little")[: scores.shape[1]]
    scores.masked_fill_(torch.from_numpy(allowed == 0), -torch.inf)


def closed_list(rule: str, empty: str) -> list[str]:
    """Rules for labels in order, each at most once: what may follow a label begins at the next."""
    rules = [f"list{rule}f0 | {json.dumps(' ' + NO_DIAGNOSIS)}"]
    for place, name in enumerate(NAMES):
        last = place + 1 == len(NAMES)
        rules.append(f"f{place}{rule}{json.dumps(' ' + name)} t{place}" + ("" if last else f" | f{place + 1}"))
        rules.append(f"t{place}{rule}" + (empty if last else f'";" f{place + 1} | {empty}'))
    return rules


if __name__ == "__main__":
    main()
