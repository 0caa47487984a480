"""``--model`` takes a preset, a YAML file, a folder, a GGUF file or a hub name; others are an error at once."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clinragen.errors import UserError
from clinragen.model.chat import chat_frame
from clinragen.model.choice import choose, source
from clinragen.model.config import LanguageModelConfig
from clinragen.model.gguf_header import read_header
from clinragen.model.language_model import create, restore

from .conftest import make_model


@pytest.fixture
def folder(llama, tmp_path) -> Path:
    """A copy of a small language model to damage."""
    return Path(shutil.copytree(llama, tmp_path / "lm"))


def described(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    values = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in values.items() if value is not None}))


def string(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def gguf(entries: dict[str, object], *, magic: bytes = b"GGUF", version: int = 3, count: int | None = None) -> bytes:
    """A GGUF file of metadata alone."""
    made = magic + struct.pack("<IQQ", version, 0, len(entries) if count is None else count)
    for key, value in entries.items():
        made += string(key)
        if isinstance(value, str):
            made += struct.pack("<I", 8) + string(value)
        elif isinstance(value, list):
            made += struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(string, value))
        else:
            made += struct.pack("<Ii", 5, value)
    return made


LLAMA = {"general.architecture": "llama", "llama.embedding_length": 576, "llama.context_length": 2048,
         "llama.block_count": 30, "tokenizer.ggml.tokens": ["a", "b" * 300, ""]}  # fmt: skip


def test_a_folder_is_taken_as_it_is(llama):
    config = choose(str(llama), [])
    assert config.language_model.name == str(llama.resolve())
    assert (config.language_model.architecture, config.language_model.scratch) == ("causal", {})
    assert 32 % config.attention.heads == 0
    assert config.learning_rate == 1e-4


@pytest.mark.parametrize(
    ("width", "heads"), [(576, 9), (512, 8), (896, 14), (768, 12), (640, 10), (97, 1), (2048, 32), (64, 1), (1000, 20)]
)
def test_attention_heads_fit_the_width(folder, width, heads):
    described(folder, hidden_size=width)
    assert choose(str(folder), []).attention.heads == heads
    assert choose(str(folder), ["attention.heads=1"]).attention.heads == 1


@pytest.mark.parametrize(
    ("changes", "architecture"),
    [
        ({"is_encoder_decoder": True, "architectures": ["T5ForConditionalGeneration"]}, "seq2seq"),
        ({"architectures": ["GPT2LMHeadModel"]}, "causal"),
        ({"architectures": ["Qwen2ForCausalLM"]}, "causal"),
        ({"architectures": None}, "causal"),
    ],
)
def test_the_architecture_comes_from_the_configuration(folder, changes, architecture):
    described(folder, **changes)
    assert choose(str(folder), []).language_model.architecture == architecture


def test_a_language_model_of_few_positions_reads_shorter_notes(folder):
    described(folder, max_position_embeddings=1024)
    assert choose(str(folder), []).max_note_tokens == 256
    described(folder, max_position_embeddings=8192)
    assert choose(str(folder), []).max_note_tokens == 1024


def test_a_gguf_file_is_taken_by_its_path_and_by_its_folder(tmp_path):
    (tmp_path / "m.GGUF").write_bytes(gguf(LLAMA))
    (tmp_path / "m.GGUF").rename(tmp_path / "m.gguf")
    for name in (tmp_path / "m.gguf", tmp_path):
        config = choose(str(name), [])
        assert config.language_model.gguf_file == "m.gguf"
        assert config.language_model.architecture == "causal"
        assert config.attention.heads == 9
    (tmp_path / "m.gguf").write_bytes(gguf(LLAMA | {"general.architecture": "t5"}))
    assert choose(str(tmp_path), []).language_model.architecture == "seq2seq"


BAD_GGUF = {
    "empty": b"",
    "short": b"GGUF",
    "other magic": gguf(LLAMA, magic=b"GGML"),
    "version": gguf(LLAMA, version=9),
    "many entries": gguf({}, count=2**60),
    "more entries than there are": gguf(LLAMA, count=9),
    "cut": gguf(LLAMA)[:-3],
    "long key": b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 2**62),
    "long array": b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + string("a") + struct.pack("<IIQ", 9, 0, 2**62),
    "long array of strings": b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + string("a") + struct.pack("<IIQ", 9, 8, 2**62),
    "array of arrays": b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + string("a") + struct.pack("<IIQ", 9, 9, 4),
    "unknown type": b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + string("a") + struct.pack("<I", 99),
    "no text": b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 2) + b"\xff\xfe",
    "no architecture": gguf({"general.name": "x"}),
    "architecture a number": gguf({"general.architecture": 7}),
    "absurd width": gguf(LLAMA | {"llama.embedding_length": 2**30}),
    "negative layers": gguf(LLAMA | {"llama.block_count": -4}),
    "many tensors": b"GGUF" + struct.pack("<IQQ", 3, 2**50, 0),
    "html": b"<!DOCTYPE html><title>404</title>",
}


@pytest.mark.parametrize("data", BAD_GGUF.values(), ids=BAD_GGUF.keys())
def test_a_gguf_file_that_is_damaged_is_named(data, tmp_path):
    path = tmp_path / "m.gguf"
    path.write_bytes(data)
    with pytest.raises(UserError) as refused:
        choose(str(path), [])
    assert str(path) in str(refused.value)


@given(data=st.binary(max_size=300), keep=st.integers(0, 400))
@settings(max_examples=150, deadline=None)
def test_any_bytes_are_a_header_or_an_error(tmp_path_factory, data, keep):
    path = tmp_path_factory.getbasetemp() / "any.gguf"
    path.write_bytes((gguf(LLAMA)[:keep] + data)[:700])
    with suppress(UserError):
        assert isinstance(read_header(path), dict)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"hidden_size": 10**9}, "hidden_size"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers"),
        ({"vocab_size": 10**12}, "vocab_size"),
        ({"hidden_size": "wide"}, "hidden_size"),
        ({"hidden_size": -4}, "hidden_size"),
        ({"hidden_size": 100_000, "num_hidden_layers": 900}, "billion weights"),
        ({"architectures": ["BertForMaskedLM"]}, "writes no text"),
    ],
)
def test_a_configuration_that_is_absurd_is_refused_before_torch(folder, changes, says):
    described(folder, **changes)
    with pytest.raises(UserError, match=says):
        choose(str(folder), [])


def test_weights_that_may_run_code_are_not_read(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(UserError, match="pickle"):
        choose(str(folder), [])
    with pytest.raises(UserError, match="pickle"):
        create(LanguageModelConfig("causal", str(folder)), None)


def test_adapters_alone_are_no_language_model(folder):
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "someone/else"}')
    with pytest.raises(UserError, match="adapters"):
        choose(str(folder), [])


def test_code_beside_the_weights_never_runs(folder, tmp_path, monkeypatch):
    flag = tmp_path / "ran"
    code = f"open({str(flag)!r}, 'w')\nfrom transformers import LlamaConfig as Mine, LlamaForCausalLM as Model\n"
    (folder / "mine.py").write_text(code)
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    described(folder, auto_map={"AutoConfig": "mine.Mine", "AutoModelForCausalLM": "mine.Model"}, model_type="mine")
    with pytest.raises(UserError, match="cannot load"):
        create(LanguageModelConfig("causal", str(folder)), None)
    described(folder, model_type="llama")
    create(LanguageModelConfig("causal", str(folder)), None)
    assert not flag.exists()


def test_a_damaged_folder_is_one_line(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(UserError, match="cannot load") as refused:
        create(LanguageModelConfig("causal", str(folder)), None)
    assert "\n" not in str(refused.value)


def test_restoring_never_asks_the_hub(folder, dialled, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    config = LanguageModelConfig("causal", "nobody/nothing-of-this-name")
    with pytest.raises(UserError, match="not in the cache"):
        source(config, fetch=False)
    restore(LanguageModelConfig("causal", "nobody/nothing-of-this-name"), folder, None)
    assert dialled == []


def test_a_hub_name_that_cannot_be_had_is_told_at_once():
    with pytest.raises(UserError, match="could not be had from the hub"):
        choose("nobody/nothing-of-this-name", [])


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("tinny", "did you mean 'tiny'"),
        ("./nowhere", "not found"),
        ("/nowhere/at/all", "not found"),
        ("nowhere.gguf", "not found"),
        ("nowhere.yaml", "not found"),
        ("", "unknown model"),
        ("a b", "unknown model"),
    ],
)
def test_a_name_of_nothing_is_refused(given, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=says):
        choose(given, [])


def test_a_clinragen_model_is_no_language_model(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "clinragen.json").write_text("{}")
    for folder in (tmp_path, tmp_path / "model"):
        with pytest.raises(UserError, match="--parent"):
            choose(str(folder), [])


@pytest.mark.parametrize("key", ["name", "gguf_file"])
def test_a_preset_that_makes_its_own_language_model_takes_no_other(llama, key):
    with pytest.raises(UserError, match="--model FOLDER"):
        choose("tiny", [f"language_model.{key}={llama}"])


@pytest.mark.parametrize("override", ["language_model.name=/nowhere", "language_model.name=./nowhere"])
def test_a_preset_with_a_folder_that_is_not_there_is_refused(override):
    with pytest.raises(UserError, match="nowhere"):
        choose("smollm2_135m", [override])


def test_the_chat_template_frames_the_context(folder, llama):
    config = LanguageModelConfig("causal", str(folder), chat=True)
    plain = create(config, None)
    assert len(plain.open_ids) == 0
    (folder / "chat_template.jinja").write_text(
        "{% for m in messages %}user: {{ m.content }} end\n{% endfor %}"
        "{% if add_generation_prompt %}sepsis: {% endif %}"
    )
    framed = create(config, None)
    before, after = chat_frame(framed.tokenizer, True)
    assert (before, after) == ("user: ", "\nAssessment: end\nsepsis: ")
    assert framed.room(10, 5) == 15 + len(framed.open_ids) + len(framed.close_ids)
    note = torch.tensor([[5, 6, 7], [5, 0, 0]])
    context = framed.context(None, note, torch.tensor([[1, 1, 1], [1, 0, 0]], dtype=torch.bool))
    embed = framed.model.get_input_embeddings()
    expected = embed(torch.cat([framed.open_ids, note[1, :1], framed.close_ids]))
    assert torch.equal(context.embeddings[1, context.mask[1]], expected)
    (folder / "chat_template.jinja").write_text("{{ ''.__class__.__mro__[1].__subclasses__() }}")
    with pytest.raises(UserError, match="chat template"):
        create(config, None)


def test_choosing_a_model_imports_no_torch():
    code = "import sys; from clinragen.stages.config import resolve; resolve('notes', 'tiny', 'evidence', []); "
    code += "sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("positions", [1024, 0, 40])
def test_rationales_take_the_room_that_the_positions_leave(positions):
    model = make_model("llama")
    most, room = model.config.max_target_tokens, model.language_model.model.config
    room.max_position_embeddings += model._beyond(most) + positions if positions != 1024 else 8192
    model.check_context()
    assert model.rationale_tokens == (most if positions == 1024 else most // 2 + positions // 2)
    assert model._beyond(2 * model.rationale_tokens) <= 0
    if positions == 0:
        room.max_position_embeddings -= 1
        with pytest.raises(UserError, match=r"need \d+ positions, the language model has \d+: lower one"):
            model.check_context()
