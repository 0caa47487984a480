"""Students of several tasks: one set of weights, a head for each, and an instruction that tells them apart."""

from __future__ import annotations

import json

import pytest
import torch

from clinragen.chart.captions import TITLE
from clinragen.errors import UserError
from clinragen.inference.captions import _Titled
from clinragen.label_sets import LabelSet
from clinragen.model.clinragen import ClinRaGen
from clinragen.model.task_heads import (
    for_task,
    learned_dialogues,
    read_instruction,
    save_head,
    save_instruction,
    with_head,
)
from clinragen.tasks import ListWording, mortality
from tests.model.conftest import make_model

INPUTS = ["note", "series"]
WORDING = ListWording("Outcome", "discharged alive")


@pytest.fixture(scope="module")
def first() -> ClinRaGen:
    return make_model("pegasus").instructed("Which diagnoses?")


@pytest.fixture(scope="module")
def second(first) -> ClinRaGen:
    torch.manual_seed(4)
    return for_task(first, mortality.LABELS, WORDING, "Will the patient die?").eval()


def computed(model: ClinRaGen, batch, inputs=INPUTS) -> list[torch.Tensor]:
    with torch.inference_mode():
        output = model(batch, inputs)
    assert output.nll is not None
    return [output.logits, output.nll]


@pytest.mark.parametrize("inputs", [["note"], ["series"], ["note", "series"]])
def test_an_instruction_changes_what_is_read_and_without_one_nothing_changes(model, make_stay, batch_of, inputs):
    batch = batch_of(model, make_stay(model, 9, 7, 0), make_stay(model, 4, 12, 1))
    plain = computed(model, batch, inputs)
    asked = [computed(model.instructed(text), batch, inputs) for text in ("shows 1.2", "none of the listed")]
    assert all(torch.equal(*pair) for pair in zip(computed(model.instructed(""), batch, inputs), plain, strict=True))
    for one, other in ((plain, asked[0]), (plain, asked[1]), asked):
        assert not torch.allclose(one[1], other[1])
    if inputs != ["series"]:  # of a series the head reads tokens that come before the language model
        assert not torch.allclose(plain[0], asked[0][0])


def test_padding_changes_nothing_behind_an_instruction(model, make_stay, batch_of):
    asked = model.instructed("shows 1.2")
    stays = [make_stay(model, 9, 7, 0), make_stay(model, 40, 12, 1)]
    alone = computed(asked, batch_of(model, stays[0]))
    together = computed(asked, batch_of(model, *stays))
    assert torch.allclose(alone[0][0], together[0][0], atol=1e-4)
    assert torch.allclose(alone[1][0], together[1][0], atol=1e-4)


def test_tasks_share_all_weights_but_the_head(first, second):
    mine = {id(weight) for weight in first.parameters()}
    shared = {name for name, weight in second.named_parameters() if id(weight) in mine}
    assert {name for name, _ in second.named_parameters()} - shared == {
        name for name, _ in second.named_parameters() if name.startswith("head.")
    }
    assert (len(first.labels), len(second.labels)) == (25, 1)
    assert first.instruction != second.instruction


def test_a_task_is_read_back_beside_the_student(first, second, make_stay, batch_of, tmp_path):
    first.save_pretrained(tmp_path)
    save_head(second, tmp_path / "tasks" / "mortality")
    save_instruction(tmp_path / "tasks" / "captions", "What do the measurements show?")
    loaded = ClinRaGen.from_pretrained(tmp_path)
    other = with_head(loaded, tmp_path / "tasks" / "mortality")
    assert (loaded.instruction, other.instruction) == ("Which diagnoses?", "Will the patient die?")
    assert (other.labels.names, other.wording) == (second.labels.names, WORDING)
    assert read_instruction(tmp_path / "tasks" / "captions") == "What do the measurements show?"
    save_instruction(tmp_path / "tasks" / "ask", "Read the question.", follows=True)
    assert [learned_dialogues(tmp_path / "tasks" / name) for name in ("captions", "ask")] == [False, True]
    stays = [make_stay(first, 9, 7, 0)]
    for before, after in ((first, loaded), (second, other)):
        stays[0].labels.resize(len(before.labels), refcheck=False)
        batch = batch_of(before, *stays)
        assert all(torch.equal(*pair) for pair in zip(computed(before, batch), computed(after, batch), strict=True))


def test_captions_are_opened_by_their_title_whatever_is_likelier(first):
    titled, ids = _Titled(first), first.tokenizer(f" {TITLE}", add_special_tokens=False)["input_ids"]
    written = [first.tokenizer.pad_token_id] * first.language_model.decoder_start
    scores = torch.arange(len(first.tokenizer), dtype=torch.float32)[None]
    for token in (*ids, len(first.tokenizer) - 1):  # behind the title, the likeliest
        chosen = int(titled(torch.tensor([written], dtype=torch.long), scores.clone()).argmax())
        assert chosen == token
        written.append(chosen)


def test_releases_that_know_no_instructions_refuse_the_model(first, tmp_path):
    first.save_pretrained(tmp_path / "instructed")
    make_model("pegasus").save_pretrained(tmp_path / "plain")
    described = [json.loads((tmp_path / name / "clinragen.json").read_text()) for name in ("instructed", "plain")]
    assert ["instruction" in one["config"] for one in described] == [True, False]


def test_a_damaged_task_is_named(first, second, tmp_path):
    folder = tmp_path / "mortality"
    save_head(second, folder)
    described = json.loads((folder / "task.json").read_text())
    for damage, says in (
        ({"wording": None}, "wording"),
        ({"instruction": 3}, "instruction"),
        ({"labels": {}}, "labels"),
        ({"labels": LabelSet("two", (*mortality.LABELS.values(), *first.labels.values())).names, "label_set": None},
         "does not fit"),
    ):  # fmt: skip
        (folder / "task.json").write_text(json.dumps(described | damage))
        with pytest.raises(UserError, match=says):
            with_head(first, folder)
    (folder / "task.json").write_text(json.dumps(described))
    (folder / "head.safetensors").write_bytes(b"no weights")
    with pytest.raises(UserError, match="train anew"):
        with_head(first, folder)
