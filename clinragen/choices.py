"""Choices that users make by name, as types: the command line lists them, the type checker holds callers to them."""

from __future__ import annotations

from typing import Literal, get_args

Split = Literal["train", "validation", "test"]
#: of predictions: a stay's own series, none, or those of another patient
SeriesInput = Literal["observed", "zeroed", "shuffled"]
#: what may be written of note and series: what they show, or anything
Decoding = Literal["constrained", "free"]
#: who writes rationales: composed from the chart, a server of language models, an engine in this process
Backend = Literal["evidence", "openai", "vllm"]
#: where a model runs; ``auto`` is the first accelerator, or else the processor
Device = Literal["auto", "cpu", "cuda", "mps"]

SPLITS: tuple[Split, ...] = get_args(Split)
SERIES_INPUTS: tuple[SeriesInput, ...] = get_args(SeriesInput)
DECODINGS: tuple[Decoding, ...] = get_args(Decoding)
