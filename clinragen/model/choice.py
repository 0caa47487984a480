"""Resolve ``--model``: a preset, a YAML file, a folder, a GGUF file, or a name on the Hugging Face hub.

Imports no torch, so that errors appear at once. A language model is read from a local folder only, without running its
code or unpickling anything. The hub is contacted only for a name that is not in the cache, and only for a new model.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from clinragen.artifacts import read_json
from clinragen.config import build, load, names
from clinragen.errors import UserError, unknown_choice
from clinragen.model.config import LanguageModelConfig, ModelConfig
from clinragen.model.gguf_header import read_header

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
#: what is fetched from the hub: no pickles, no code
_FETCHED = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
_HEAD_WIDTH = 64  # the usual width of an attention head
_MOST_HEADS = 32
_CAUSAL, _SEQ2SEQ = "causal", "seq2seq"
#: positions reserved for the target, the prompts and the markers, in a language model with few positions
_RESERVED = 768
_WIDTHS = ("hidden_size", "d_model", "n_embd")
_POSITIONS = ("max_position_embeddings", "n_positions")
_LAYERS = ("num_hidden_layers", "num_layers", "n_layer", "encoder_layers", "decoder_layers", "num_decoder_layers")
_INNER = ("intermediate_size", "d_ff", "n_inner", "encoder_ffn_dim", "decoder_ffn_dim")
_LIMITS = {**dict.fromkeys(_WIDTHS, 1 << 17), **dict.fromkeys(_INNER, 1 << 19), **dict.fromkeys(_LAYERS, 1000),
           **dict.fromkeys(_POSITIONS, 1 << 26), "vocab_size": 1 << 24}  # fmt: skip


def choose(model: str, overrides: list[str]) -> ModelConfig:
    """The settings of a new model.

    Args:
        model: the user's ``--model``.
        overrides: ``key=value`` with dotted keys.

    Raises:
        UserError: an unknown name, an unsuitable setting, or a language model that cannot be read.
    """
    path = Path(model)
    if model in names("model") or path.suffix in (".yaml", ".yml"):
        config = load("model", model, ModelConfig, overrides)
    else:
        config = build(ModelConfig, {**_described(model, path)}, f"--model {model}", overrides)
    check_source(config.language_model, model)
    return config


def check_source(language: LanguageModelConfig, model: str) -> None:
    """Raise a UserError if the language model is given twice, or if its files are missing.

    Args:
        language: the settings of the language model.
        model: the user's ``--model``.
    """
    if language.scratch and (language.name or language.gguf_file):
        named = language.gguf_file or language.name
        raise UserError(
            f"--model {model} makes a language model of its own and cannot take '{named}': pass --model FOLDER, a hub "
            "name or FILE.gguf itself"
        )
    if language.gguf_file:
        if not language.name:
            raise UserError("language_model.gguf_file needs language_model.name, its folder; or pass --model FILE.gguf")
        _gguf(Path(language.name) / language.gguf_file)
    elif language.name and _is_path(language.name):
        _of_folder(Path(language.name))


def source(config: LanguageModelConfig, *, fetch: bool) -> Path:
    """The local folder of a pre-trained language model.

    Args:
        config: settings that name a pre-trained model, on the hub or by its folder.
        fetch: whether a name that is not in the cache may be downloaded from the hub.

    Raises:
        UserError: it is neither on this machine nor available from the hub.
    """
    assert config.name
    if _is_path(config.name):
        folder = Path(config.name).expanduser()
    else:
        from huggingface_hub import snapshot_download

        try:
            folder = Path(snapshot_download(config.name, local_files_only=True, allow_patterns=_FETCHED))
        except (OSError, ValueError):
            if not fetch:
                raise UserError(
                    f"language_model.name: '{config.name}' is not in the cache of this machine, and a finished model "
                    "asks no hub: copy the language model here and name its folder"
                ) from None
            folder = _fetched(config.name)
    _of_folder(folder)
    return folder


def _fetched(name: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=_FETCHED, etag_timeout=10))
    except Exception as error:  # noqa: BLE001 (the hub client passes on errors of several HTTP libraries)
        raise UserError(
            f"language_model.name: '{name}' is no folder here, not in the cache, and could not be had from the hub "
            f"({str(error).splitlines()[0][:160]}): download it elsewhere and name its folder"
        ) from None


def _is_path(name: str) -> bool:
    return Path(name).expanduser().exists() or not _HUB_NAME.fullmatch(name)


def _described(model: str, path: Path) -> dict[str, Any]:
    """Settings for a language model that is named directly."""
    if path.suffix.lower() == ".gguf":
        return _settings(_gguf(path), name=str(path.parent.resolve()), gguf_file=path.name)
    if model and path.is_dir():
        if (path / "clinragen.json").exists() or (path / "model" / "clinragen.json").exists():
            raise UserError(f"--model {model} is a clinragen model: continue it with --parent, or predict with it")
        files = sorted(path.glob("*.gguf"))
        if len(files) == 1 and not (path / "config.json").exists():
            return _settings(_gguf(files[0]), name=str(path.resolve()), gguf_file=files[0].name)
        return _settings(_of_folder(path), name=str(path.resolve()))
    if _HUB_NAME.fullmatch(model) and not path.exists():
        return _settings(_of_folder(source(LanguageModelConfig(name=model), fetch=True)), name=model)
    if (model and (path.exists() or path.is_absolute())) or model.startswith((".", "~")):
        raise UserError(f"--model {model} not found: expected the folder of a language model, or a .gguf or .yaml file")
    choices = [*names("model"), "FOLDER", "FILE.gguf", "FILE.yaml", "HUB/NAME"]
    raise unknown_choice("model", model, choices)


def _of_folder(folder: Path) -> dict[str, Any]:
    """The configuration of a language model in a folder, checked."""
    if not folder.is_dir():
        raise UserError(f"language_model.name: {folder} is not a folder: expected a language model")
    described = read_json(folder / "config.json", "the language model that --model or language_model.name names")
    check_sizes(described, folder / "config.json")
    if (folder / "adapter_config.json").exists():
        raise UserError(f"{folder} holds adapters: merge them into their language model, and name that")
    if not any(folder.glob("*.safetensors")):
        pickled = sorted(path.name for path in (*folder.glob("*.bin"), *folder.glob("*.pt"), *folder.glob("*.pth")))
        content = f"only {pickled[0]}, a pickle, which may run code" if pickled else "no weights"
        raise UserError(f"{folder} holds {content}: expected *.safetensors")
    return described


def _gguf(path: Path) -> dict[str, Any]:
    """The header of a GGUF file as a transformers configuration."""
    header = read_header(path)
    kind = header.get("general.architecture")
    if not isinstance(kind, str):
        raise UserError(f"{path} does not say its architecture: download or convert it anew")
    sizes = {"hidden_size": "embedding_length", "max_position_embeddings": "context_length", "num_hidden_layers":
             "block_count", "intermediate_size": "feed_forward_length"}  # fmt: skip
    described: dict[str, Any] = {ours: header.get(f"{kind}.{theirs}") for ours, theirs in sizes.items()}
    described = {key: value for key, value in described.items() if isinstance(value, int)}
    check_sizes(described, path)
    return described | {"is_encoder_decoder": kind.startswith("t5"), "architectures": ["ForCausalLM"]}


def check_sizes(described: dict[str, Any], where: Path) -> None:
    """Raise a UserError for implausible sizes, or a language model larger than this machine's memory."""
    inner_config = described.get("text_config")  # the text part of a multimodal model
    values = {**described, **(inner_config if isinstance(inner_config, dict) else {})}
    for key, limit in _LIMITS.items():
        value = values.get(key)
        if value is not None and (type(value) is not int or not 0 < value <= limit):
            raise UserError(f"{where}: {key} is {value!r:.40}, expected a whole number from 1 to {limit}")
    width = _largest(values, _WIDTHS)
    layers = sum(values.get(key) or 0 for key in _LAYERS)
    inner = _largest(values, _INNER) or 4 * width
    weights = width * (values.get("vocab_size") or 0) + layers * width * (4 * width + 2 * inner)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if 4 * weights > memory:
        raise UserError(
            f"{where} describes a language model of about {weights / 1e9:.0f} billion weights, "
            f"{4 * weights / 2**30:.0f} GiB; this machine has {memory / 2**30:.0f}: take a smaller one"
        )


def _largest(values: dict[str, Any], keys: tuple[str, ...]) -> int:
    return max((values[key] for key in keys if values.get(key)), default=0)


def _settings(described: dict[str, Any], **language: Any) -> dict[str, Any]:
    """Settings that fit a language model: its architecture, attention heads that divide its width, its positions."""
    architectures = described.get("architectures") or []
    if described.get("is_encoder_decoder") is True:
        architecture = _SEQ2SEQ
    elif any(str(name).endswith(("ForCausalLM", "LMHeadModel")) for name in architectures) or not architectures:
        architecture = _CAUSAL
    else:
        raise UserError(
            f"--model {language['name']} is a {architectures[0]}, which writes no text: expected a "
            "sequence-to-sequence or causal language model; stage 'ask' reads with an encoder by "
            "--model sentence_encoder --set model.language_model.name=FOLDER"
        )
    settings: dict[str, Any] = {"language_model": {**language, "architecture": architecture, "chat": True}}
    settings |= {"max_note_tokens": 1024, "learning_rate": 1e-4, "learning_rate_new": 1e-3}
    if width := _largest(described, _WIDTHS):
        heads = [heads for heads in range(1, _MOST_HEADS + 1) if width % heads == 0]
        settings["attention"] = {"heads": min(heads, key=lambda heads: abs(width / heads - _HEAD_WIDTH))}
    positions = _largest(described, _POSITIONS[:1])
    if positions and positions < settings["max_note_tokens"] + _RESERVED:
        settings["max_note_tokens"] = max(64, positions - _RESERVED)
    return settings
