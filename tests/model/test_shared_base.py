"""Models with adapters on one language model hold its weights once, and compute what they compute alone."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from whole_graph import GRAPH, LINKER

from clinragen.config import load
from clinragen.data.series import SeriesStatistics
from clinragen.errors import UserError
from clinragen.knowledge.graph import build
from clinragen.manifests import StageManifest
from clinragen.model.clinragen import ClinRaGen, assemble
from clinragen.model.config import LoraSettings, ModelConfig
from clinragen.model.precision import numbers_of
from clinragen.model.pretrained import base_weights, share_base
from clinragen.model.query_reader import QuestionReader, save_reader
from tests.model.conftest import HOURS, MICRO_MODEL, VARIABLES, make_grid, make_model

RUNS = ("diagnosis", "mortality", "wide")


def with_adapters(base: Path, seed: int, rank: int = 2, targets: tuple[str, ...] = ()) -> ClinRaGen:
    """A model whose adapters are drawn at random, on the language model of a folder."""
    config = load("model", str(MICRO_MODEL), ModelConfig)
    config.language_model.architecture, config.hours = "causal", HOURS
    config.language_model.name, config.language_model.scratch = str(base), {}
    config.language_model.lora = LoraSettings(rank=rank, dropout=0, targets=list(targets))
    statistics = SeriesStatistics.fit(make_grid(40, seed=1), VARIABLES, config.series.bins)
    torch.manual_seed(seed)
    model = assemble(config, statistics, build(), None)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """Folders of models with adapters on one language model, and one on a language model of other weights."""
    root = tmp_path_factory.mktemp("runs")
    language_model = make_model("llama").language_model
    for name in ("base", "other"):
        language_model.model.save_pretrained(root / name)
        language_model.tokenizer.save_pretrained(root / name)
        with torch.no_grad():
            language_model.model.model.norm.weight.neg_()  # all weights but these are equal
    for seed, (name, options) in enumerate(zip(RUNS, ({}, {}, {"rank": 4, "targets": ("q_proj",)}), strict=True)):
        with_adapters(root / "base", seed, **options).save_pretrained(root / name)
    elsewhere = with_adapters(root / "other", 3)
    elsewhere.save_pretrained(root / "elsewhere")
    save_reader(elsewhere.language_model, elsewhere.config.language_model, root / "ask" / "model")
    manifest = dict.fromkeys(("clinragen", "cohort", "cohort_sha256", "identity", "stays", "best", "seconds"))
    StageManifest(**manifest, stage="ask", model_sha256="").write(root / "ask" / "manifest.json")
    make_model("llama").save_pretrained(root / "whole")
    return root


def computed(model: ClinRaGen, batch) -> list[torch.Tensor]:
    with torch.inference_mode():
        output = model(batch, ["note", "series"])
    assert output.nll is not None
    return [output.logits, output.nll]


def storages(*models: ClinRaGen) -> int:
    """The bytes of the base weights of these models."""
    weights = [weight for model in models for weight in base_weights(model.language_model.model).values()]
    return sum({weight.data_ptr(): weight.nbytes for weight in weights}.values())


@pytest.fixture
def batch(runs, make_stay, batch_of):
    model = ClinRaGen.from_pretrained(runs / "diagnosis")
    return batch_of(model, make_stay(model, 9, 7, 0), make_stay(model, 4, 12, 1))


def shared(runs: Path) -> list[ClinRaGen]:
    models: list[ClinRaGen] = []
    for name in RUNS:
        models.append(ClinRaGen.from_pretrained(runs / name, models[-1] if models else None))
    return models


def test_models_that_share_a_base_hold_it_once_and_compute_the_same_in_turn(runs, batch):
    alone = [ClinRaGen.from_pretrained(runs / name) for name in RUNS]
    together = shared(runs)
    assert storages(*together) == storages(alone[0]) == storages(*alone) // 3 > 0
    assert [model.language_model.shared_bytes for model in together] == [0, *[storages(alone[0])] * 2]
    expected = [computed(model, batch) for model in alone]
    assert not any(torch.equal(one[0], other[0]) for one, other in pairwise(expected))
    for _ in range(2):
        for model, numbers in zip(together, expected, strict=True):
            assert all(torch.equal(*pair) for pair in zip(computed(model, batch), numbers, strict=True))


def test_weights_that_differ_are_not_shared(runs, batch):
    first = ClinRaGen.from_pretrained(runs / "diagnosis")
    other = ClinRaGen.from_pretrained(runs / "elsewhere", first)
    norm = other.language_model.model.model.norm.weight
    assert other.language_model.shared_bytes == storages(first) - norm.nbytes
    expected = computed(ClinRaGen.from_pretrained(runs / "elsewhere"), batch)
    assert all(torch.equal(*pair) for pair in zip(computed(other, batch), expected, strict=True))


@pytest.mark.parametrize(("name", "sharing"), [("whole", "diagnosis"), ("diagnosis", "whole")])
def test_a_model_whose_every_weight_is_trained_shares_none(runs, name, sharing):
    first = ClinRaGen.from_pretrained(runs / sharing)
    second = ClinRaGen.from_pretrained(runs / name, first)
    assert second.language_model.shared_bytes == 0
    assert not {one.data_ptr() for one in first.parameters()} & {one.data_ptr() for one in second.parameters()}


def test_zero_and_minus_zero_are_not_the_same_bytes_and_nan_is():
    one, other, minus = (torch.nn.Linear(2, 1, bias=False).requires_grad_(False) for _ in range(3))
    for layer, zero in ((one, 0.0), (other, 0.0), (minus, -0.0)):
        layer.weight.copy_(torch.tensor([[zero, torch.nan]]))
    assert share_base(one, minus) == 0
    assert share_base(one, other) == 8
    assert one.weight.data_ptr() == other.weight.data_ptr() != minus.weight.data_ptr()


def test_what_is_done_to_one_model_leaves_those_that_share_its_base_as_they_are(runs, batch):
    first, second, _ = shared(runs)
    expected = computed(second, batch)

    def unchanged() -> bool:
        return all(torch.equal(*pair) for pair in zip(computed(second, batch), expected, strict=True))

    first.train()
    optimizer = torch.optim.AdamW(first.parameters(), lr=0.1)
    output = first(batch, ["note", "series"])
    (output.nll.sum() + output.logits.sum()).backward()
    optimizer.step()
    assert unchanged()
    with numbers_of(first.eval(), torch.bfloat16):
        assert unchanged()
    assert storages(first, second) == storages(first)
    first.load_weights({name: 2 * weight for name, weight in first.weights().items()})
    assert unchanged()
    with torch.no_grad():
        first.language_model.merge()
    assert unchanged()
    first.double()
    assert unchanged()


def test_the_first_model_can_go(runs, batch):
    first, second, _ = shared(runs)
    expected = computed(ClinRaGen.from_pretrained(runs / "mortality"), batch)
    del first
    assert all(torch.equal(*pair) for pair in zip(computed(second, batch), expected, strict=True))


def test_changed_base_weights_are_refused_though_others_are_loaded(runs):
    first = ClinRaGen.from_pretrained(runs / "diagnosis")
    held, weights = (runs / "base" / "model.safetensors").read_bytes(), runs / "base" / "model.safetensors"
    weights.write_bytes((runs / "other" / "model.safetensors").read_bytes())
    with pytest.raises(UserError, match="trained on other weights"):
        ClinRaGen.from_pretrained(runs / "mortality", first)
    weights.write_bytes(held)


def test_a_reader_of_questions_shares_with_a_student(runs):
    student = ClinRaGen.from_pretrained(runs / "elsewhere")
    readers = [QuestionReader.load(runs / "ask", GRAPH, LINKER, other) for other in (None, student)]
    assert readers[1].language_model.shared_bytes == storages(ClinRaGen.from_pretrained(runs / "elsewhere"))
    asked = ["What was the highest lactate in the first 24 hours?", "Does the note mention chest pain?"]
    assert readers[0].read(asked) == readers[1].read(asked)
    whole = student.language_model.state_dict().items()
    zeros = {name: torch.zeros_like(weight) for name, weight in whole if "lm_head" not in name}
    save_file(zeros, runs / "ask" / "model" / "model.safetensors")
    with pytest.raises(UserError, match="does not fit its description"):  # nor does a file write into what is shared
        QuestionReader.load(runs / "ask", GRAPH, LINKER, student)
    assert all(weight.any() for weight in base_weights(student.language_model.model).values())
