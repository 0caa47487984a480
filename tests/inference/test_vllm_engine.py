"""vLLM writes what the model itself would: here with a stand-in of vLLM's interface that runs the saved model."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LogitsProcessorList

from clinragen.data.targets import TargetFormat
from clinragen.errors import UserError
from clinragen.inference.decode import ReportGrammar
from clinragen.inference.vllm_engine import RowGrammar, vllm_writes
from clinragen.model.language_model import Causal

NAMES = ("Acute myocardial infarction", "Sepsis", "Shock")


class Engine:
    """``vllm.LLM``: greedy decoding of each prompt alone, with the request's own logits processor."""

    def __init__(self, folder, **options):
        assert options["enable_prompt_embeds"]
        assert options["skip_tokenizer_init"]
        self.model = AutoModelForCausalLM.from_pretrained(folder)
        (processor,) = options["logits_processors"]
        self.processor = processor()

    def generate(self, prompts, options, use_tqdm):
        return [self.alone(prompt["prompt_embeds"][None], one) for prompt, one in zip(prompts, options, strict=True)]

    @torch.inference_mode()
    def alone(self, embeddings, options):
        grammar, ids = self.processor.new_req_logits_processor(options), []
        while len(ids) < options.max_tokens and ids[-1:] != options.stop_token_ids:
            if len(ids) == 5:  # taken up again, as after memory ran short
                grammar = self.processor.new_req_logits_processor(options)
            logits = grammar(ids, self.model(inputs_embeds=embeddings).logits[0, -1])
            ids.append(int(logits.argmax()))
            embeddings = torch.cat([embeddings, self.model.get_input_embeddings()(torch.tensor([ids[-1:]]))], dim=1)
        return SimpleNamespace(outputs=[SimpleNamespace(token_ids=ids)])


@pytest.fixture
def vllm(monkeypatch):
    module, processors = ModuleType("standvllm"), ModuleType("standvllm.v1.sample.logits_processor")
    module.LLM, module.SamplingParams = Engine, SimpleNamespace  # type: ignore[attr-defined]
    processors.AdapterLogitsProcessor = object  # type: ignore[attr-defined]
    for name in ("standvllm.v1", "standvllm.v1.sample"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    for part in (module, processors):
        monkeypatch.setitem(sys.modules, part.__name__, part)
    return module


@pytest.fixture
def causal(llama) -> Causal:
    return Causal(AutoModelForCausalLM.from_pretrained(llama).eval(), AutoTokenizer.from_pretrained(llama))


def test_the_text_is_that_of_the_model_itself(causal, vllm):
    torch.manual_seed(1)
    lengths, width = [3, 9, 6], causal.hidden_size
    mask = torch.tensor([[position < length for position in range(9)] for length in lengths])
    ids = torch.randint(5, 200, mask.shape)
    target = TargetFormat(causal.tokenizer, NAMES, ("note", "series", "diagnoses"))
    beliefs = np.array([[0.9, 0.2, 0.6], [0.1, 0.4, 0.1], [0.5, 0.7, 0.8]])

    def write() -> list[list[int]]:
        grammar = ReportGrammar(target, 8, causal.decoder_start, beliefs)
        with torch.inference_mode():
            context = causal.context(prefix, ids, mask)
            return causal.generate(context, LogitsProcessorList([grammar]), grammar.longest).tolist()

    prefix = torch.randn(3, 4, width)
    own = write()
    with vllm_writes(causal, vllm):
        assert write() == own
    assert write() == own  # and afterwards its own again
    assert len({tuple(row) for row in own}) > 1


def test_a_request_that_is_taken_up_again_goes_on_where_it_was():
    asked = []

    def grammar(ids, scores):
        asked.append(ids[0].tolist())
        return scores

    row = RowGrammar(lambda: grammar)  # type: ignore[arg-type, return-value]
    row([7, 8], torch.zeros(3))
    row([7, 8, 9], torch.zeros(3))
    assert asked == [[], [7], [7, 8], [7, 8, 9]]


def test_without_vllm_one_line_says_so(causal, monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(UserError, match="--engine vllm needs vLLM: pip install vllm"), vllm_writes(causal):
        pass


@pytest.mark.parametrize("options", [(), ("--decoding", "free", "--diagnoses-only")])
def test_vllm_writes_free_text_alone(options, command, tmp_path, capsys):
    arguments = ("--model", tmp_path, "--cohort", tmp_path, "--out", tmp_path / "out", "--engine", "vllm")
    assert command("clinragen", "predict", *arguments, *options) == 2
    assert "--engine vllm writes free text: pass --decoding free" in capsys.readouterr().err


@pytest.mark.slow
def test_a_sequence_to_sequence_model_is_refused_with_one_line(runs, hospital, command, tmp_path, capsys):
    arguments = ("--model", runs.multimodal, "--cohort", hospital.cohort, "--out", tmp_path / "out")
    assert command("clinragen", "predict", *arguments, "--engine", "vllm", "--decoding", "free") == 2
    assert "--engine vllm writes with causal language models" in capsys.readouterr().err
