"""The settings of a model, as structured configs (``configs/model/*.yaml``)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from clinragen.choices import NotePassages, TargetOrder
from clinragen.config import setting
from clinragen.errors import UserError

Architecture = Literal["seq2seq", "causal"]
#: what the attention looks at, see ``AttentionConfig``
KnowledgeKind = Literal["graph", "random_graph", "vocabulary", "plain_vocabulary", "none"]
KNOWLEDGE: tuple[KnowledgeKind, ...] = get_args(KnowledgeKind)


@dataclass
class LoraSettings:
    """Low-rank adapters (Hu et al. 2022) beside the frozen weights of a pre-trained language model.

    Attributes:
        rank: rank of the update of each adapted weight, which is scaled by ``alpha / rank``.
        targets: names of the linear layers to adapt, such as ``q_proj``; none means every linear layer.
    """

    rank: int = 16
    alpha: float = 32.0
    dropout: float = 0.05
    targets: list[str] = field(default_factory=list)


@dataclass
class LanguageModelConfig:
    """Which language model. ``name`` is a hub name or a local folder; with ``scratch`` a new one is made instead.

    ``scratch`` holds values of a transformers config (``model_type`` and the rest); its tokenizer of ``vocabulary``
    entries is trained on the cohort's own training text. With ``lora`` only adapters are trained and saved.
    With ``decoder_layers``, ``name`` is an encoder (such as MiniLM), and a new decoder of so many layers writes.
    ``chat`` places the input in the language model's chat template, if it has one.
    ``gradient_checkpointing`` recomputes activations instead of keeping them: less memory, a third slower.
    """

    architecture: Architecture = "seq2seq"
    name: str | None = None
    gguf_file: str | None = None
    chat: bool = False
    scratch: dict[str, Any] = field(default_factory=dict)
    vocabulary: int = 4096
    decoder_layers: int = 0
    lora: LoraSettings | None = None
    gradient_checkpointing: bool = False


@dataclass
class SeriesConfig:
    """The series encoder: PatchTST over hourly patches, beside binned summaries of each variable."""

    patch_hours: int = 6
    d_model: int = 64
    layers: int = 2
    heads: int = 4
    ffn: int = 128
    dropout: float = 0.1
    identity: int = 8  # size of the learned embedding of a patch's variable
    bins: int = 6
    min_share: float = 0.02  # variables measured in fewer training stays are left out


@dataclass
class AttentionConfig:
    """Knowledge-augmented attention (eq. 6), the resampler to prefix prompts, and the knowledge prior.

    ``knowledge`` selects the keys of the attention: ``graph``; ``random_graph``, with the same degrees but permuted
    edges; ``vocabulary``, the paper's subwords of the knowledge terms; ``plain_vocabulary``, as many subwords of any
    kind; or ``none``. Without a graph there is no message passing, no bias and no knowledge prior.
    """

    knowledge: KnowledgeKind = "graph"
    seed: int = 0  # seed of the random graph and the plain vocabulary
    vocabulary: int = 512  # most subwords of a vocabulary, which all variables share; those in most terms are kept
    heads: int = 4
    prompts: int = 8
    neighbours: int = 64  # number of nearest concepts to which a variable's tokens attend
    layers: int = 1  # rounds of message passing between concept embeddings
    bases: int = 4  # basis matrices that the relations share
    mentions: bool = True  # learned attention bias for concepts that the note affirms or denies
    knowledge_prior: bool = setting(True, formerly="graph_path")  # evidence propagates along edges
    residual: bool = True  # false: prompts consist of concept values only, as in the paper
    graph_bias: bool = setting(True, formerly="prior")  # the graph's structure as attention bias
    dropout: float = 0.1


@dataclass
class HeadConfig:
    """The multi-label head.

    ``wide``: a linear layer from binned summaries and mentions to the logits, trained with the network.
    ``linear_probes``: logistic regressions fitted after training, which also read up to ``lexicon`` terms of the note.
    """

    dim: int = 64
    dropout: float = 0.2
    wide: bool = True
    linear_probes: bool = setting(True, formerly="linear")
    lexicon: int = 20_000


@dataclass
class ModelConfig:
    """All settings of a model.

    ``max_caption_tokens`` lets the language model read the series in words, too, behind the note; 0 for prompts only.
    Whatever it is, the label head does not read them. ``note_passages`` are read of a longer note: those that name
    concepts before all others, or its first tokens.
    """

    language_model: LanguageModelConfig = field(default_factory=LanguageModelConfig)
    series: SeriesConfig = field(default_factory=SeriesConfig)
    attention: AttentionConfig = field(default_factory=AttentionConfig)
    head: HeadConfig = field(default_factory=HeadConfig)
    max_note_tokens: int = 512
    note_passages: NotePassages = "named"
    max_target_tokens: int = 256
    max_caption_tokens: int = 0
    hours: int | None = None  # length of the window, taken from the cohort
    target_order: TargetOrder = "rationales_first"  # diagnoses_first is the paper's
    threads: int = 0  # CPU threads of one operation; 0: torch's default
    learning_rate: float = 1e-5  # of the language model
    learning_rate_new: float = 1e-3  # of the randomly initialised parts: encoder, attention, head, a decoder's layers

    def check(self, where: str) -> None:
        """Raise a UserError for invalid values, or sizes that no machine could hold."""
        for key, value, least, most in (
            ("hours", 1 if self.hours is None else self.hours, 1, 1 << 16),
            ("max_note_tokens", self.max_note_tokens, 1, 1 << 20),
            ("max_target_tokens", self.max_target_tokens, 2, 1 << 20),
            ("max_caption_tokens", self.max_caption_tokens, 0, 1 << 20),
            ("threads", self.threads, 0, 4096),
            ("series.patch_hours", self.series.patch_hours, 1, 24 * 366),
            ("series.d_model", self.series.d_model, 1, 1 << 14),
            ("series.layers", self.series.layers, 1, 200),
            ("series.heads", self.series.heads, 1, 1 << 10),
            ("series.ffn", self.series.ffn, 1, 1 << 17),
            ("series.identity", self.series.identity, 0, 1 << 14),
            ("series.bins", self.series.bins, 2, 1 << 10),
            ("attention.heads", self.attention.heads, 1, 1 << 10),
            ("attention.prompts", self.attention.prompts, 1, 1 << 12),
            ("attention.neighbours", self.attention.neighbours, 1, 1 << 20),
            ("attention.vocabulary", self.attention.vocabulary, 1, 1 << 24),
            ("attention.layers", self.attention.layers, 0, 200),
            ("attention.bases", self.attention.bases, 1, 1 << 10),
            ("head.dim", self.head.dim, 1, 1 << 16),
            ("head.lexicon", self.head.lexicon, 0, 1 << 24),
            ("language_model.vocabulary", self.language_model.vocabulary, 1, 1 << 24),
            ("language_model.decoder_layers", self.language_model.decoder_layers, 0, 200),
        ):
            if value < least:
                raise UserError(f"{where}: {key} is {value}, expected at least {least}")
            if value > most:
                raise UserError(f"{where}: {key} is {value}, expected at most {most}")
        self._check_shares_and_rates(where)
        language = self.language_model
        if language.decoder_layers and (language.architecture != "seq2seq" or not language.name or language.gguf_file):
            raise UserError(
                f"{where}: language_model.decoder_layers goes with architecture seq2seq and the name or folder of an "
                "encoder"
            )
        if lora := self.language_model.lora:
            if self.language_model.scratch:
                raise UserError(
                    f"{where}: language_model.lora adapts a pre-trained model, and this one is from scratch"
                )
            if lora.rank < 1 or not 0 <= lora.dropout < 1:
                raise UserError(f"{where}: language_model.lora needs rank >= 1 and 0 <= dropout < 1")
        if self.series.d_model % self.series.heads:
            raise UserError(f"{where}: series.d_model {self.series.d_model} is not a multiple of series.heads")

    def _check_shares_and_rates(self, where: str) -> None:
        for key, share in (
            ("series.dropout", self.series.dropout),
            ("series.min_share", self.series.min_share),
            ("attention.dropout", self.attention.dropout),
            ("head.dropout", self.head.dropout),
        ):
            if not 0 <= share < 1:
                raise UserError(f"{where}: {key} is {share}, expected a share from 0 to below 1")
        for key, rate in (("learning_rate", self.learning_rate), ("learning_rate_new", self.learning_rate_new)):
            if not 0 <= rate < math.inf:
                raise UserError(f"{where}: {key} is {rate}, expected a positive number")
