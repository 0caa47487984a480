"""Named choices of users, as types: the command line lists them, and the type checker checks callers."""

from __future__ import annotations

from typing import Literal, get_args

Split = Literal["train", "validation", "test"]
#: splits that nothing is learned of
HeldOut = Literal["validation", "test"]
#: what a classical baseline reads
BaselineReads = Literal["note", "series", "both"]
#: series input of a control experiment: no series, that of another patient, or the stay's own backwards in time
SeriesControl = Literal["zeroed", "permuted", "reversed"]
#: series input of predictions: a stay's own series, or a control
SeriesInput = Literal["observed", SeriesControl]
#: note input: a stay's own notes, or none, as a control
NoteInput = Literal["observed", "emptied"]
#: control experiments: an altered input of the same model, or a model that learned from permuted labels
Control = Literal[SeriesControl, "emptied", "labels_permuted"]
#: what is read of a note that does not fit: passages that name concepts first, or simply its first tokens
NotePassages = Literal["named", "first"]
#: allowed statements about note and series: only supported ones, or any
Decoding = Literal["constrained", "free"]
#: what predicts: this process, the workers of a Ray cluster, or this process with vLLM for the text
EngineName = Literal["local", "ray", "vllm"]
#: teachers: composed from the chart, a server with a language model, an engine in this process
Backend = Literal["evidence", "openai", "vllm"]
#: device of a model; ``auto`` is the first accelerator, or the CPU without one
Device = Literal["auto", "cpu", "cuda", "mps"]
#: numbers in which a language model computes; ``auto``: bf16 on a GPU that has it, else fp32
NumberFormat = Literal["auto", "fp32", "bf16"]
#: modalities that a model reads
Modality = Literal["note", "series"]
#: what a rationale argues from
RationaleKind = Modality
#: what a model writes: rationales of note and series, and the list of the task's labels
Target = Literal["note", "series", "diagnoses"]

#: whether rationales or diagnoses are written first
TargetOrder = Literal["rationales_first", "diagnoses_first"]

#: what ranks classes of drugs: how often they are started, what similar stays were started on, a student, or a language
#: model behind a server or in this process
PrescriptionEngine = Literal["neighbours", "popularity", "student", "openai", "vllm"]
#: what a prescribing language model is asked: what to start, or first what to keep and stop of what is in force
PrescriptionPrompt = Literal["free", "keep_add_stop"]
#: what is shown to it beside the chart: similar stays, treatments and cautions, or both
Retrieval = Literal["none", "cases", "knowledge", "both"]
#: what reads questions about a stay: the rules, a student of stage ``ask``, or a language model, behind a server or in
#: this process
QuestionEngine = Literal["rules", "student", "openai", "vllm"]
#: what writes questions about stays: a program, or a language model, behind a server or in this process
QuestionTeacher = Literal["program", "openai", "vllm"]
#: which questions an engine reads: the rest, which the rules do not read, or all
EngineReads = Literal["rest", "all"]
#: forms of a report: pages, a printed page per stay, FHIR R4 bundles, tables, plain values
ReportForm = Literal["html", "pdf", "fhir", "csv", "json"]

#: forms of a cohort for other tools
ExchangeForm = Literal["huggingface", "meds", "pyhealth"]
#: forms of an evaluation: the file of clinragen alone, or beside it predictions and results as MEDS-DEV takes them
EvaluationForm = Literal["json", "meds-dev"]

#: the optional first stage: masked-patch modelling on unlabelled series
PRETRAIN = "pretrain"
#: the stage in which a language model learns which query a question means
ASK = "ask"
#: the task of a student of several that writes the series in words
CAPTIONS = "captions"
#: what a student of several learns beside tasks with labels
WITHOUT_LABELS = (ASK, CAPTIONS)
#: stages with an objective of their own, which make no student
WITHOUT_STUDENT = (PRETRAIN, ASK)
SPLITS: tuple[Split, ...] = get_args(Split)
HELD_OUT: tuple[HeldOut, ...] = get_args(HeldOut)
BASELINE_READS: tuple[BaselineReads, ...] = get_args(BaselineReads)
#: controls of the model itself, with another input
INPUT_CONTROLS: tuple[Control, ...] = (*get_args(SeriesControl), "emptied")
SERIES_CONTROLS: tuple[SeriesControl, ...] = get_args(SeriesControl)
CONTROLS: tuple[Control, ...] = get_args(Control)
EXCHANGE_FORMS: tuple[ExchangeForm, ...] = get_args(ExchangeForm)
EVALUATION_FORMS: tuple[EvaluationForm, ...] = get_args(EvaluationForm)
SERIES_INPUTS: tuple[SeriesInput, ...] = get_args(SeriesInput)
#: series inputs as the release before wrote them into manifests and evaluations
FORMER_SERIES_INPUTS: dict[str, SeriesControl] = {"shuffled": "permuted"}
DECODINGS: tuple[Decoding, ...] = get_args(Decoding)
ENGINES: tuple[EngineName, ...] = get_args(EngineName)
NUMBER_FORMATS: tuple[NumberFormat, ...] = get_args(NumberFormat)
INPUTS: tuple[Modality, ...] = get_args(Modality)
TARGETS: tuple[Target, ...] = get_args(Target)
