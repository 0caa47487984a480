"""A common interface of Hugging Face sequence-to-sequence and causal language models.

Both read ``[prefix prompts | note | caption]`` as embeddings and write target ids. Their differences (where the context
ends, positions under padding, what may see the caption) are handled in this module.

The hidden states of prompts and note, which the label head reads, never depend on a caption: a causal model has read
them before it, and an encoder reads the caption apart (fusion in the decoder; Izacard and Grave 2021).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoTokenizer,
    DynamicCache,
    EncoderDecoderCache,
    LogitsProcessorList,
    PreTrainedTokenizerFast,
)
from transformers.modeling_outputs import BaseModelOutput

from clinragen.artifacts import read_json
from clinragen.data.batch import IGNORED, SoftBatch
from clinragen.errors import UserError
from clinragen.model.chat import chat_frame
from clinragen.model.choice import check_sizes
from clinragen.model.config import LanguageModelConfig
from clinragen.model.guided import Cursor, Guide, write
from clinragen.model.pretrained import (
    ADAPTER,
    AUTO,
    SAFELY,
    add_adapters,
    fingerprint,
    load_pretrained,
    merge_adapters,
    reason,
    recompute_layers,
    share_base,
    share_embeddings,
)
from clinragen.model.soft_loss import divergence


@dataclass
class Context:
    """Input of the language model: embeddings [B, S, d], and a mask of the real ones [B, S].

    Attributes:
        uncaptioned: mask of those whose hidden states do not depend on a caption, [B, S]; by default all that are real.
        caption: embeddings [B, W, d] and mask [B, W] of a caption that is read apart from the rest.
    """

    embeddings: Tensor
    mask: Tensor
    uncaptioned: Tensor | None = None
    caption: tuple[Tensor, Tensor] | None = None

    def repeated(self, times: int) -> Context:
        """Each stay this many times, one after the other."""
        caption = self.caption and (_repeated(self.caption[0], times), _repeated(self.caption[1], times))
        uncaptioned = None if self.uncaptioned is None else _repeated(self.uncaptioned, times)
        return Context(_repeated(self.embeddings, times), _repeated(self.mask, times), uncaptioned, caption)


#: Generates target ids from contexts, greedily, in place of the model's own generation.
type Writer = Callable[[Context, LogitsProcessorList, int], Tensor]


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn: from probabilities at a temperature, among the likeliest that hold ``top_p`` together."""

    temperature: float = 1.0
    top_p: float = 1.0


@dataclass
class Reading:
    """Hidden states of the context [B, S, d], a mask of those that no caption shapes, and losses per stay [B] or None.

    Attributes:
        nll: mean negative log-likelihood of a stay's target tokens, independent of padding and the rest of the batch.
        kl: :func:`~clinragen.model.soft_loss.divergence` from the soft targets, if given.
    """

    states: Tensor
    mask: Tensor
    nll: Tensor | None
    kl: Tensor | None


class HasLanguageModel(Protocol):
    """Whatever was loaded with a language model."""

    @property
    def language_model(self) -> LanguageModel:
        """Its language model."""
        ...


class LanguageModel(nn.Module):
    """A language model with its tokenizer. Use :func:`create` or :func:`restore`.

    Attributes:
        base: with adapters, the fingerprint of the base weights.
        shared_bytes: of the base weights, how many lie in the memory of another language model (:func:`restore`).
    """

    decoder_start = 0  # initial tokens of a generated sequence that are not part of the target

    def __init__(self, model: Any, tokenizer: Any, chat: bool = False):
        super().__init__()
        self.model = model
        self.tokenizer = tokenizer
        self.writer: Writer | None = None  # generates in place of the model
        self.base: str | None = None
        self.shared_bytes = 0
        self._scored: Tensor | None = None
        model.get_output_embeddings().register_forward_pre_hook(self._keep_scored)

    def _keep_scored(self, module: nn.Module, args: tuple[Tensor]) -> tuple[Tensor]:
        """Pass only the positions that enter the loss to the output layer: padding would double its cost."""
        return args if self._scored is None else (args[0][self._scored],)

    def _losses(self, logits: Tensor, target_ids: Tensor, soft: SoftBatch | None) -> tuple[Tensor, Tensor | None]:
        """``nll`` and ``kl`` of :class:`Reading` from logits [scored tokens, vocabulary], by one softmax."""
        scored = target_ids != IGNORED
        log_probs = logits.float().log_softmax(1)
        losses = F.nll_loss(log_probs, target_ids[scored], reduction="none")
        sums = losses.new_zeros(len(target_ids)).index_add(0, scored.nonzero()[:, 0], losses)
        return sums / scored.sum(1).clamp_min(1), None if soft is None else divergence(log_probs, scored, soft)

    @property
    def hidden_size(self) -> int:
        """Width d of the input embeddings."""
        return self.model.get_input_embeddings().embedding_dim

    @property
    def embedding_weight(self) -> Tensor:
        """Input embeddings, [vocabulary, d]."""
        return self.model.get_input_embeddings().weight

    def context(
        self,
        prefix: Tensor | None,
        note_ids: Tensor,
        note_mask: Tensor,
        caption: tuple[Tensor, Tensor] | None = None,
    ) -> Context:
        """Join prefix prompts [B, n, d] (or None), note tokens [B, N] and any caption (ids and mask [B, W])."""
        embeddings, mask = self.model.get_input_embeddings()(note_ids), note_mask
        if prefix is not None:
            embeddings = torch.cat([prefix.to(embeddings.dtype), embeddings], dim=1)
            mask = torch.cat([mask.new_ones(prefix.shape[:2]), mask], dim=1)
        if caption is None:
            return self._frame(embeddings, mask, None)
        return self._frame(embeddings, mask, (self.model.get_input_embeddings()(caption[0]), caption[1]))

    def _frame(self, embeddings: Tensor, mask: Tensor, caption: tuple[Tensor, Tensor] | None) -> Context:
        raise NotImplementedError(f"{type(self).__name__}._frame")

    def note_start(self, mask: Tensor, lengths: Tensor) -> Tensor:
        """Position in a context without caption at which each note begins, [B].

        Args:
            mask: of the context, [B, S].
            lengths: tokens of each note, [B]; the longest is that of the batch.
        """
        return torch.full_like(lengths, mask.shape[1] - int(lengths.max()))

    def read(self, context: Context, target_ids: Tensor | None, soft: SoftBatch | None = None) -> Reading:
        """Encode the context and, if targets [B, M] are given, score them, also against soft targets if given."""
        raise NotImplementedError(f"{type(self).__name__}.read")

    def room(self, context: int, target: int) -> int:
        """Positions needed to read and write this many tokens."""
        return max(context, target)

    def generate(
        self,
        context: Context,
        processors: LogitsProcessorList,
        max_new_tokens: int,
        sampling: Sampling | None = None,
        beams: int = 1,
        states: Tensor | None = None,
    ) -> Tensor:
        """Greedy decoding, beam search or sampling.

        Args:
            context: of B stays.
            processors: alter the scores of the next tokens.
            max_new_tokens: most tokens of a target.
            sampling: how tokens are drawn; None takes the likeliest.
            beams: of each stay.
            states: hidden states of the context, [B, S, d], if it was read before.

        Returns:
            Target ids [B, <= max_new_tokens], padded after the end of sequence; of beams, the likeliest.
        """
        if self.writer is not None and sampling is None and beams == 1:
            return self.writer(context, processors, max_new_tokens)
        drawn: dict[str, Any] = {"do_sample": False}
        if sampling is not None:  # top_k=0: transformers would otherwise draw among fifty
            drawn = {"do_sample": True, "temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": 0}
        generated = self.model.generate(
            **self._input(context, states),
            logits_processor=processors,
            max_new_tokens=max_new_tokens,
            **drawn,
            num_beams=beams,
            pad_token_id=self.tokenizer.pad_token_id,
            eos_token_id=self.tokenizer.eos_token_id,
        )
        return generated[:, self.decoder_start :]

    def guided(self, context: Context, guide: Guide, states: Tensor | None = None) -> Tensor:
        """Greedy decoding along a grammar.

        Args:
            context: of B stays.
            guide: their grammar.
            states: hidden states of the context, [B, S, d], if it was read before.

        Returns:
            Target ids [B, longest] with the end of sequence, padded.
        """
        cursor = self._before(context, states)
        return write(self, cursor, guide, self.tokenizer.eos_token_id, self.tokenizer.pad_token_id)

    def _before(self, context: Context, states: Tensor | None) -> Cursor:
        """The cursor before the first token of a text."""
        raise NotImplementedError(f"{type(self).__name__}._before")

    def read_on(self, cursor: Cursor, ids: Tensor, choosing: Tensor) -> Tensor:
        """Read ids [B, S] on from a cursor: the logits after the last of them, [rows that are choosing, vocabulary]."""
        self._scored = torch.zeros_like(ids, dtype=torch.bool)
        self._scored[:, -1] = choosing
        try:
            return self.model(**self._next(cursor, ids), past_key_values=cursor.cache, use_cache=True).logits
        finally:
            self._scored = None

    def _next(self, cursor: Cursor, ids: Tensor) -> dict[str, Any]:
        """The inputs of a pass over the next ids."""
        raise NotImplementedError(f"{type(self).__name__}._next")

    @property
    def _cache(self) -> DynamicCache:
        """An empty memory of the model that writes."""
        return DynamicCache(config=self.model.config.get_text_config(decoder=True))

    def _input(self, context: Context, states: Tensor | None) -> dict[str, Any]:
        """The context as the language model's own generation takes it."""
        return {"inputs_embeds": context.embeddings, "attention_mask": context.mask.long()}

    def freeze_reading(self) -> None:
        """Stop training what shapes the hidden states of an input, as far as the rest can be trained without: the
        embeddings, and of a sequence-to-sequence model the encoder."""
        self.model.get_input_embeddings().requires_grad_(False)

    def saved(self, name: str) -> bool:
        """Whether a run folder holds the weight of that name; with adapters, base weights are not saved."""
        return self.base is None or ADAPTER in name

    def merge(self) -> None:
        """Merge adapters into the weights; the result is an ordinary language model."""
        if self.base is not None:
            merge_adapters(self.model)
            self.base = None

    def save(self, folder: Path) -> None:
        """Save the architecture and the tokenizer; weights are saved with the whole model."""
        self.model.config.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)


class Seq2Seq(LanguageModel):
    """T5-like models: the encoder reads, the decoder writes."""

    decoder_start = 1

    def _frame(self, embeddings: Tensor, mask: Tensor, caption: tuple[Tensor, Tensor] | None) -> Context:
        return Context(embeddings, mask, caption=caption)

    def freeze_reading(self) -> None:
        """Stop training the embeddings and the encoder: hidden states of an input stay what they are."""
        super().freeze_reading()
        self.model.get_encoder().requires_grad_(False)

    def _encode(self, embeddings: Tensor, mask: Tensor) -> Tensor:
        return self.model.get_encoder()(inputs_embeds=embeddings, attention_mask=mask.long()).last_hidden_state

    def _with_caption(self, context: Context, states: Tensor) -> tuple[Tensor, Tensor]:
        """What the decoder attends to, and its mask: the states of the context, and those of the caption."""
        if context.caption is None or not context.caption[0].shape[1]:
            return states, context.mask
        embeddings, mask = context.caption
        return torch.cat([states, self._encode(embeddings, mask)], dim=1), torch.cat([context.mask, mask], dim=1)

    def _input(self, context: Context, states: Tensor | None) -> dict[str, Any]:
        if states is None:
            states = self._encode(context.embeddings, context.mask)
        states, mask = self._with_caption(context, states)
        return {"encoder_outputs": BaseModelOutput(last_hidden_state=states), "attention_mask": mask.long()}

    def _before(self, context: Context, states: Tensor | None) -> Cursor:
        start = [self.model.config.decoder_start_token_id]
        return Cursor(start, EncoderDecoderCache(self._cache, self._cache), self._input(context, states))

    def _next(self, cursor: Cursor, ids: Tensor) -> dict[str, Any]:
        return {**cursor.inputs, "decoder_input_ids": ids}

    def read(self, context: Context, target_ids: Tensor | None, soft: SoftBatch | None = None) -> Reading:
        """Encode the context [B, S, d]; the decoder scores targets [B, M]."""
        states = self._encode(context.embeddings, context.mask)
        nll = kl = None
        if target_ids is not None:
            self._scored = target_ids != IGNORED
            attended, mask = self._with_caption(context, states)
            logits = self.model(
                encoder_outputs=BaseModelOutput(last_hidden_state=attended),
                attention_mask=mask.long(),
                decoder_input_ids=self.model.prepare_decoder_input_ids_from_labels(target_ids),
                use_cache=False,
            ).logits
            self._scored = None
            nll, kl = self._losses(logits, target_ids, soft)
        return Reading(states, context.mask, nll, kl)


class Causal(LanguageModel):
    """Decoder-only models: the context is padded on the left, and the target follows it directly."""

    open_ids: Tensor
    close_ids: Tensor

    def __init__(self, model: Any, tokenizer: Any, chat: bool = False):
        super().__init__(model, tokenizer)
        for name, text in zip(("open_ids", "close_ids"), chat_frame(tokenizer, chat), strict=True):
            ids = tokenizer(text, add_special_tokens=False)["input_ids"]
            self.register_buffer(name, torch.tensor(ids, dtype=torch.long), persistent=False)

    def room(self, context: int, target: int) -> int:
        """Positions for input and output, and for the chat template around the input."""
        return len(self.open_ids) + context + len(self.close_ids) + target

    def note_start(self, mask: Tensor, lengths: Tensor) -> Tensor:
        """Position in the context at which each note begins, [B]: the padding stands to the left."""
        return mask.shape[1] - len(self.close_ids) - lengths

    def _frame(self, embeddings: Tensor, mask: Tensor, caption: tuple[Tensor, Tensor] | None) -> Context:
        size, embed = len(embeddings), self.model.get_input_embeddings()
        sides = [embed(ids).expand(size, -1, -1).to(embeddings.dtype) for ids in (self.open_ids, self.close_ids)]
        before, behind = (mask.new_ones(size, side.shape[1]) for side in sides)
        plain = torch.cat([before, mask], dim=1)
        if caption is not None:
            sides[1] = torch.cat([caption[0].to(embeddings.dtype), sides[1]], dim=1)
            behind = torch.cat([caption[1], behind], dim=1)
        embeddings = torch.cat([sides[0], embeddings, sides[1]], dim=1)
        mask = torch.cat([plain, behind], dim=1)
        order = mask.int().argsort(dim=1, stable=True)  # move padding to the left, keep the order of the rest
        framed = _taken(embeddings, order), mask.gather(1, order)
        if caption is None:
            return Context(*framed)
        plain = torch.cat([plain, torch.zeros_like(behind)], dim=1)
        return Context(*framed, uncaptioned=plain.gather(1, order))

    def _before(self, context: Context, states: Tensor | None) -> Cursor:
        """The context but for its last token, which is that of the frame."""
        mask = context.mask[:, :-1].long()
        cursor = Cursor(self.close_ids[-1:].tolist(), self._cache, {"attention_mask": mask})
        embeddings, cache = context.embeddings[:, :-1], cursor.cache
        positions = self._positions(mask, mask.shape[1])
        self.model.base_model(
            inputs_embeds=embeddings, attention_mask=mask, past_key_values=cache, use_cache=True, **positions
        )
        return cursor

    def _next(self, cursor: Cursor, ids: Tensor) -> dict[str, Any]:
        mask = cursor.inputs["attention_mask"] = F.pad(cursor.inputs["attention_mask"], (0, ids.shape[1]), value=1)
        return {"input_ids": ids, "attention_mask": mask, **self._positions(mask, ids.shape[1])}

    def _positions(self, mask: Tensor, count: int) -> dict[str, Tensor]:
        """Where the last so many tokens stand if padding is not counted, for a model that does not see it itself."""
        if "position_ids" not in signature(self.model.forward).parameters:
            return {}
        return {"position_ids": (mask.cumsum(1) - 1).clamp_min(0)[:, -count:]}

    def read(self, context: Context, target_ids: Tensor | None, soft: SoftBatch | None = None) -> Reading:
        """Read the context [B, S, d], directly followed by targets [B, M], in one pass."""
        embeddings, mask = context.embeddings, context.mask
        length = embeddings.shape[1]
        if target_ids is not None:
            ids = target_ids.masked_fill(target_ids == IGNORED, self.tokenizer.pad_token_id)
            embeddings = torch.cat([embeddings, self.model.get_input_embeddings()(ids).to(embeddings.dtype)], dim=1)
            mask = torch.cat([mask, target_ids != IGNORED], dim=1)
        # With padding on the right, causality alone keeps real tokens from it. Without a mask, attention takes fused
        # kernels, which skip the half that no token sees and need no copies of the keys of grouped heads.
        order = (~mask).int().argsort(dim=1, stable=True)
        hidden = self.model.base_model(inputs_embeds=_taken(embeddings, order), use_cache=False).last_hidden_state
        states = _taken(hidden, order.argsort(dim=1))
        nll = kl = None
        if target_ids is not None:
            logits = self.model.get_output_embeddings()(states[:, length - 1 : -1][target_ids != IGNORED])
            nll, kl = self._losses(logits, target_ids, soft)
        mask = context.mask if context.uncaptioned is None else context.uncaptioned
        return Reading(states[:, :length], mask, nll, kl)


def _repeated(rows: Tensor, times: int) -> Tensor:
    return rows.repeat_interleave(times, dim=0)


def _taken(states: Tensor, order: Tensor) -> Tensor:
    """The positions [B, S] of states [B, S, d], in that order."""
    return states.gather(1, order[..., None].expand_as(states))


_KINDS: dict[str, type[LanguageModel]] = {"seq2seq": Seq2Seq, "causal": Causal}


def create(config: LanguageModelConfig, tokenizer: Any | None) -> LanguageModel:
    """Load a pre-trained model by name or, with ``scratch``, create one with the given tokenizer.

    Raises:
        UserError: the model cannot be loaded.
    """
    kind = _KINDS[config.architecture]
    if config.scratch:
        assert tokenizer is not None, "a model from scratch needs a trained tokenizer"
        values = {key: value for key, value in config.scratch.items() if key != "model_type"}
        values |= {
            "vocab_size": len(tokenizer),
            "pad_token_id": tokenizer.pad_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "decoder_start_token_id": tokenizer.pad_token_id,
        }
        model = AUTO[config.architecture].from_config(AutoConfig.for_model(config.scratch["model_type"], **values))
        return _adapted(kind, model, tokenizer, config)
    if not config.name:
        raise UserError("language_model.name: give a hub name or a local folder, or `scratch` values for a new model")
    model, loaded = load_pretrained(config, fetch=True)
    return _adapted(kind, model, loaded, config)


def _adapted(kind: type[LanguageModel], model: Any, tokenizer: Any, config: LanguageModelConfig) -> LanguageModel:
    """Wrap a model, with adapters and checkpointing as configured."""
    if config.decoder_layers:
        share_embeddings(model)
    base = fingerprint(model) if config.lora else None
    if config.lora:
        model = add_adapters(model, config.lora)
    if config.gradient_checkpointing:
        recompute_layers(model)
    adapted = kind(model, tokenizer, config.chat)
    adapted.base = base
    return adapted


def restore(
    config: LanguageModelConfig, folder: Path, base: str | None, sharing: HasLanguageModel | None = None
) -> LanguageModel:
    """A language model of the saved architecture with its tokenizer; the caller loads the weights.

    Args:
        config: the saved settings of the language model.
        folder: folder with its architecture and tokenizer.
        base: with adapters, the :func:`~clinragen.model.pretrained.fingerprint` of their base weights.
        sharing: a loaded model; base weights that both have are held once. The file of the base is read and checked
            as ever, and its copy given back at once: what is computed cannot depend on it.
    """
    kind = _KINDS[config.architecture]
    check_sizes(read_json(folder / "config.json", "the configuration of a language model"), folder / "config.json")
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, **SAFELY)
        described = None if config.lora else AutoConfig.from_pretrained(folder, **SAFELY)
        model = described and AUTO[config.architecture].from_config(described, trust_remote_code=False)
    except Exception as error:  # noqa: BLE001 (transformers passes on whatever a damaged folder causes)
        raise UserError(f"{folder} does not hold a language model ({reason(error)}): train anew") from None
    if model is None:
        model, _ = load_pretrained(config, fetch=False)
    restored = _adapted(kind, model, tokenizer, config)
    if restored.base != base:
        raise UserError(
            f"{folder}: these adapters were trained on other weights than '{config.name}' holds now: "
            "put the language model back that they were trained on, or train anew"
        )
    if sharing is not None and restored.base is not None and sharing.language_model.base is not None:
        restored.shared_bytes = share_base(restored.model, sharing.language_model.model)
    return restored


def train_tokenizer(texts: list[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer with single digits, trained on the given texts."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\d"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=["<pad>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>")
