"""Pre-trained language models from a hub name, a local folder or a GGUF file; low-rank adapters and checkpointing.

A GGUF file is converted once: unpacking its tensors takes most of a minute, so the result is cached as safetensors in
the user's cache folder under the hash of the file. It contains no patient data.
"""

from __future__ import annotations

import hashlib
import os
from functools import partial
from pathlib import Path
from types import MethodType
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers import (
    AddedToken,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    BertConfig,
    BertLMHeadModel,
    EncoderDecoderModel,
)
from transformers.modeling_layers import GradientCheckpointingLayer

from clinragen.artifacts import atomic_folder, sha256_file
from clinragen.errors import UserError, missing_extra
from clinragen.model.choice import check_source, source
from clinragen.model.config import LanguageModelConfig, LoraSettings
from clinragen.questions.outline import PLACES

AUTO = {"seq2seq": AutoModelForSeq2SeqLM, "causal": AutoModelForCausalLM}
#: options of transformers: load from this machine only, and run no code from the model's folder
SAFELY: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
ADAPTER = ".lora_"  # in the name of every weight that peft adds


def load_pretrained(config: LanguageModelConfig, *, fetch: bool) -> tuple[Any, Any]:
    """The model (float32, without adapters) and the tokenizer that ``config`` names.

    Args:
        config: settings that name it: on the hub, in a folder, or a GGUF file.
        fetch: whether a name that is not in the cache may be downloaded from the hub.

    Raises:
        UserError: the model cannot be loaded.
    """
    assert config.name
    folder = _converted(config) if config.gguf_file else source(config, fetch=fetch)
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(folder, **SAFELY)
        kind = AutoModel if config.decoder_layers else AUTO[config.architecture]
        model = kind.from_pretrained(folder, dtype=torch.float32, use_safetensors=True, **SAFELY)
    except Exception as error:  # noqa: BLE001 (transformers passes on whatever a damaged folder causes)
        raise UserError(f"language_model.name: cannot load '{config.name}' ({reason(error)})") from None
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    if config.decoder_layers:
        model = with_decoder(model, tokenizer, config.decoder_layers)
    return model, tokenizer


def with_decoder(encoder: Any, tokenizer: Any, layers: int) -> Any:
    """A pre-trained encoder with a new decoder of so many layers, which reads its word embeddings (Rothe et al. 2020,
    "Leveraging Pre-trained Checkpoints for Sequence Generation Tasks"). What it writes with is new: only so are the few
    words that are ever written told from all others within a few steps.

    Args:
        encoder: BERT and its kin.
        tokenizer: of the encoder. Where it is uncased, the letters that stand for something in an outline
            (``questions.outline``) become tokens of their own: the A of an hour is no article.
        layers: of the decoder.

    Raises:
        UserError: it is no encoder.
    """
    if tokenizer.sep_token is None or encoder.config.is_encoder_decoder:
        raise UserError(
            "language_model.decoder_layers: expected the name or folder of an encoder such as MiniLM or BERT"
        )
    tokenizer.eos_token = tokenizer.sep_token
    tokenizer.add_tokens([AddedToken(letter, single_word=True, normalized=False) for letter in PLACES])
    encoder.resize_token_embeddings(len(tokenizer))
    names = ("hidden_size", "num_attention_heads", "max_position_embeddings")
    sizes = {name: getattr(encoder.config, name) for name in names}
    decoder = BertLMHeadModel(
        BertConfig(
            vocab_size=len(tokenizer),
            num_hidden_layers=layers,
            is_decoder=True,
            add_cross_attention=True,
            tie_word_embeddings=False,
            pad_token_id=tokenizer.pad_token_id,
            intermediate_size=4 * encoder.config.hidden_size,
            **sizes,
        )
    )
    model = EncoderDecoderModel(encoder=encoder, decoder=decoder)
    model.config.decoder_start_token_id = tokenizer.cls_token_id
    model.config.pad_token_id, model.config.eos_token_id = tokenizer.pad_token_id, tokenizer.eos_token_id
    model.config.vocab_size = len(tokenizer)
    return model


def share_embeddings(model: Any) -> None:
    """Let both halves of an encoder with a decoder have one table of word embeddings, that of the encoder, which is not
    trained: words that no training text has stay near to those that mean the same."""
    table = model.get_encoder().get_input_embeddings()
    table.requires_grad_(False)
    model.decoder.set_input_embeddings(table)
    model.get_encoder().pooler = None  # it is never read


def _converted(config: LanguageModelConfig) -> Path:
    """A folder with the tokenizer and the unpacked weights of a GGUF file."""
    from transformers import logging

    assert config.name
    assert config.gguf_file
    check_source(config, config.name)
    file = Path(config.name) / config.gguf_file
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "clinragen" / "gguf"
    folder = cache / f"{config.architecture}-{sha256_file(file)[:24]}"
    if not folder.is_dir():
        logging.disable_progress_bar()
        try:
            tokenizer: Any = AutoTokenizer.from_pretrained(config.name, gguf_file=config.gguf_file, **SAFELY)
            kind = AUTO[config.architecture]
            model = kind.from_pretrained(config.name, gguf_file=config.gguf_file, dtype=torch.float32, **SAFELY)
        except ImportError:
            raise missing_extra("a GGUF file", "gguf") from None
        except Exception as error:  # noqa: BLE001 (transformers passes on whatever a damaged file causes)
            raise UserError(f"{file} cannot be loaded ({reason(error)}): download or convert it anew") from None
        model.hf_quantizer.remove_quantization_config(model)  # this entry describes the file, not the unpacked weights
        with atomic_folder(folder, replace=True) as temporary:
            model.save_pretrained(temporary)
            tokenizer.save_pretrained(temporary)
    return folder


def reason(error: Exception) -> str:
    """The first line of a library's error, or its name."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def fingerprint(model: nn.Module) -> str:
    """Hex SHA-256 of the names and values of all weights except adapters."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        if ADAPTER not in name:
            digest.update(name.replace(".base_layer", "").encode())
            digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def add_adapters(model: Any, settings: LoraSettings) -> Any:
    """The model with adapters, the only trainable weights.

    Raises:
        UserError: peft is not installed, or the model has no layer of a given name.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise missing_extra("language_model.lora", "lora") from None
    adapters = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,  # type: ignore[arg-type]
        lora_dropout=settings.dropout,
        target_modules=list(settings.targets) or "all-linear",
    )
    try:
        return inject_adapter_in_model(adapters, model)
    except ValueError as error:
        raise UserError(f"language_model.lora.targets: {str(error).splitlines()[0]}") from None


def base_weights(model: nn.Module) -> dict[str, nn.Parameter]:
    """The frozen weights below the adapters of a model, by their name in the base model; tied ones once."""
    return {
        name.replace(".base_layer", ""): weight
        for name, weight in model.named_parameters()
        if ADAPTER not in name and not weight.requires_grad
    }


def share_base(model: nn.Module, other: nn.Module) -> int:
    """Let the base weights of a model with adapters lie in the memory of those of another, where their bytes are equal.

    Each model keeps parameters of its own, so what replaces the values of one, such as a conversion to bf16 or a move
    to another device, leaves the other as it is.

    Returns:
        The bytes that are shared.
    """
    loaded, shared = base_weights(other), 0
    for name, weight in base_weights(model).items():
        if (equal := loaded.get(name)) is not None and _same_bytes(weight.data.to(equal.device), equal.data):
            weight.data = equal.data
            shared += equal.nbytes
    return shared


def _same_bytes(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two tensors are the same bit by bit: as numbers, 0 equals -0 and NaN differs from itself."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return torch.equal(*(tensor.contiguous().view(-1).view(torch.uint8) for tensor in (one, other)))


def recompute_layers(model: nn.Module) -> None:
    """Gradient checkpointing: keep only the input of each layer, and recompute the rest in the backward pass.

    It also works where the model is frozen and gradients only pass through it to the prompts; transformers' own switch
    does nothing there, since it depends on the layers' training mode.

    Raises:
        UserError: none of the model's layers can be run twice.
    """
    layers = [layer for layer in model.modules() if isinstance(layer, GradientCheckpointingLayer)]
    if not layers:
        raise UserError(f"language_model.gradient_checkpointing: a {type(model).__name__} has no layers that allow it")
    for layer in layers:
        layer.forward = MethodType(_recomputed, layer)


def _recomputed(layer: nn.Module, *args: Any, **kwargs: Any) -> Any:
    compute = partial(type(layer).forward, layer)
    if not torch.is_grad_enabled():
        return compute(*args, **kwargs)
    return checkpoint(compute, *args, use_reentrant=False, **kwargs)  # with the same dropout


def merge_adapters(model: nn.Module) -> None:
    """Add each adapter to its base weight, and restore the plain layer."""
    from peft.tuners.lora import LoraLayer

    adapted: list[tuple[str, Any]] = [(n, m) for n, m in model.named_modules() if isinstance(m, LoraLayer)]
    for name, layer in adapted:
        layer.merge(safe_merge=True)
        parent, _, attribute = name.rpartition(".")
        setattr(model.get_submodule(parent), attribute, layer.get_base_layer())
