"""A pre-trained encoder with a new decoder, as stage `ask` takes it: what is trained, kept and read again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertModel, BertTokenizerFast
from whole_graph import GRAPH, LINKER

from clinragen.errors import UserError
from clinragen.model.language_model import LanguageModel, create, restore
from clinragen.model.query_reader import Tokens, read_queries, save_reader
from clinragen.questions.outline import Outliner
from clinragen.stages.ask import Questions, ReadQuestions, collate
from clinragen.stages.config import RunConfig, resolve

PAIRS = [("what was the highest X between A and B", ["highest", "X", "A-B"]), ("a first X", ["value", "first", "X"])]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> Path:
    """A small uncased encoder with random weights."""
    folder = tmp_path_factory.mktemp("encoder")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "-", *"abcdefghijklmnopqrstuvwxyz", "highest", "what", "was"]
    (folder / "vocab.txt").write_text("\n".join([*words, *(f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz")]))
    tokenizer = BertTokenizerFast(str(folder / "vocab.txt"), do_lower_case=True)
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    model = BertModel(BertConfig(vocab_size=len(tokenizer), max_position_embeddings=64, **sizes))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def config(encoder) -> RunConfig:
    return resolve("ask", "sentence_encoder", "evidence", [f"model.language_model.name={encoder}"])


@pytest.fixture
def language_model(config) -> LanguageModel:
    torch.manual_seed(1)
    return create(config.model.language_model, None)


def test_the_letters_of_an_outline_are_no_words_of_an_uncased_encoder(language_model):
    question = Tokens(language_model.tokenizer).question
    article, hour = question("a"), question("A")
    assert len(hour) == 1
    assert hour != article
    assert question("a first X") != question("a first x")
    assert question("HIGHEST") == question("highest")


def test_all_but_the_word_embeddings_is_trained_and_the_decoder_at_its_own_rate(config, language_model):
    objective = ReadQuestions(language_model, config)
    before = {name: weight.detach().clone() for name, weight in language_model.named_parameters()}
    data = Questions(PAIRS, Tokens(language_model.tokenizer))
    batch = collate([data[0], data[1]], language_model.tokenizer.pad_token_id)
    optimizer = torch.optim.AdamW(objective.groups())
    objective.score(batch).loss.mean().backward()
    optimizer.step()
    moved = {name for name, weight in language_model.named_parameters() if not torch.equal(weight, before[name])}
    assert any("encoder.encoder.layer" in name for name in moved)
    assert any("decoder.bert.encoder.layer" in name for name in moved)
    assert not any("word_embeddings" in name for name in moved)
    assert {group["lr"] for group in objective.groups()} == {config.model.learning_rate, config.model.learning_rate_new}


def test_it_is_saved_and_read_again_with_the_same_queries(config, language_model, tmp_path):
    language_model.eval()
    save_reader(language_model, config.model.language_model, tmp_path)
    from safetensors.torch import load_file

    stored = load_file(tmp_path / "model.safetensors")
    assert sum("word_embeddings" in name for name in stored) == 1
    torch.manual_seed(2)
    restored = restore(config.model.language_model, tmp_path / "language_model", None)
    restored.load_state_dict(stored, strict=False)
    outliner = Outliner(GRAPH, LINKER)
    outlines = [outliner.of("What was the highest lactate between hours 3 and 9?"), outliner.of("Any chest pain?")]
    assert read_queries(restored.eval(), outlines) == read_queries(language_model, outlines)


def test_what_is_no_encoder_is_refused_in_one_line(config, encoder, llama):
    with pytest.raises(UserError, match="expected the name or folder of an encoder"):
        create(replace(config.model.language_model, name=str(llama)), None)
    with pytest.raises(UserError, match="goes with architecture seq2seq"):
        resolve("ask", "outline", "evidence", ["model.language_model.decoder_layers=1"])
    with pytest.raises(UserError, match="--model sentence_encoder"):
        resolve("ask", str(encoder), "evidence", [])
