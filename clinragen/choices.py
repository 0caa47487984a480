"""Choices that users make by name, as types: the command line lists them, the type checker holds callers to them."""

from __future__ import annotations

from typing import Literal, get_args

Split = Literal["train", "validation", "test"]
#: what the model reads in a control experiment: no series, or those of another patient
Control = Literal["zeroed", "permuted"]
#: of predictions: a stay's own series, or a control
SeriesInput = Literal["observed", Control]
#: what may be written of note and series: what they show, or anything
Decoding = Literal["constrained", "free"]
#: who writes rationales: composed from the chart, a server of language models, an engine in this process
Backend = Literal["evidence", "openai", "vllm"]
#: where a model runs; ``auto`` is the first accelerator, or else the processor
Device = Literal["auto", "cpu", "cuda", "mps"]
#: what a model reads of a stay
Modality = Literal["note", "series"]
#: what a model writes: rationales of note and series, and the list of the task's labels
Target = Literal["note", "series", "diagnoses"]

#: the stage before those of a distillation: it learns to fill in hidden values of unlabelled series
PRETRAIN = "pretrain"
SPLITS: tuple[Split, ...] = get_args(Split)
CONTROLS: tuple[Control, ...] = get_args(Control)
SERIES_INPUTS: tuple[SeriesInput, ...] = get_args(SeriesInput)
#: series inputs as the release before wrote them into manifests and evaluations
FORMER_SERIES_INPUTS: dict[str, Control] = {"shuffled": "permuted"}
DECODINGS: tuple[Decoding, ...] = get_args(Decoding)
INPUTS: tuple[Modality, ...] = get_args(Modality)
TARGETS: tuple[Target, ...] = get_args(Target)
